//! Predicts the memory of training from shapes alone, for plans of runs.
//!
//! The terms count the tensors that libtorch saves for the backward pass of the operations in [`crate::nn`] and
//! [`crate::model`]; `lora bench memory` compares the prediction with the measured memory of a process.

use crate::batch::{Row, Target, UNSCORED};
use crate::model::{Arch, Model, ModelShape};
use crate::nn::{BuiltParams, Owner, ParamKind, Role};
use serde_json::Value;
use tch::Kind;

/// Bytes of an fp32 value.
const F32: f64 = 4.0;

/// Memory held per byte of tensors saved for the backward pass: the allocator's gaps and libtorch's intermediate
/// tensors. Measured (`lora bench memory`).
const SAVED_OVERHEAD: f64 = 1.4;

/// Memory held per byte of temporary tensors, much of which is freed but not returned to the system. Measured.
const TEMPORARY_OVERHEAD: f64 = 2.4;

/// Bytes per trained element: value, gradient and two moments, all in fp32.
const TRAINED: f64 = 4.0 * F32;

/// The properties of a model and a method that determine the memory of training.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryModel {
    /// The model's dimensions.
    pub shape: ModelShape,
    /// Data type of frozen weights and activations.
    pub kind: Kind,
    /// Whether blocks are recomputed in the backward pass.
    pub recompute: bool,
    /// Whether there is dropout: its masks are saved, and attention materialises its probabilities.
    pub dropout: bool,
    /// Elements of all variables.
    pub total: i64,
    /// Elements of the trained variables.
    pub trained: i64,
    /// Elements of the largest trained variable.
    pub largest: i64,
    /// Elements of the trained matrices and embeddings of the base.
    pub base: i64,
    /// Blocks with a backward pass: those from the first trained variable on.
    pub blocks: i64,
    /// Tokens that the method inserts into each row.
    pub prompt: i64,
}

/// The size of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchShape {
    /// Rows.
    pub rows: i64,
    /// Mean length of a row in tokens.
    pub mean: f64,
    /// Length of the longest row in tokens.
    pub longest: i64,
    /// Mean number of scored tokens per row (language models).
    pub scored: f64,
}

impl BatchShape {
    /// A batch of `size` rows with the mean length of `rows` and its longest row.
    pub fn of(rows: &[Row], size: usize) -> BatchShape {
        let scored = |row: &Row| match &row.target {
            Target::Tokens(wanted) => wanted.iter().filter(|id| **id != UNSCORED).count(),
            _ => 0,
        };
        let mean = |of: &dyn Fn(&Row) -> usize| rows.iter().map(of).sum::<usize>() as f64 / rows.len().max(1) as f64;
        BatchShape {
            rows: size.min(rows.len()) as i64,
            mean: mean(&|row| row.ids.len()),
            longest: rows.iter().map(|row| row.ids.len()).max().unwrap_or(0) as i64,
            scored: mean(&scored),
        }
    }
}

impl MemoryModel {
    /// Of a built model; `config` is its config.json.
    pub fn new(
        (arch, config): (&Arch, &Value),
        shape: ModelShape,
        (model, built): (&dyn Model, &BuiltParams),
        kind: Kind,
        recompute: bool,
    ) -> MemoryModel {
        let config = arch.completed(config);
        let rates: Vec<f64> = arch
            .dropouts
            .iter()
            .filter_map(|key| config.get(key)?.as_f64())
            .collect();
        let trained = || built.params.trainable();
        let elements = |e: &crate::nn::NamedParam| e.tensor.numel() as i64;
        let below = trained().filter(|e| e.param.owner != Owner::Head);
        let first = below.map(|e| e.param.depth.map_or(0, |d| d.index as i64)).min();
        let base = trained().filter(|e| e.param.owner == Owner::Base);
        let base = base.filter(|e| matches!(e.param.kind, ParamKind::Weight | ParamKind::Embedding));
        MemoryModel {
            kind,
            recompute,
            dropout: rates.is_empty() || rates.iter().any(|rate| *rate > 0.0),
            total: built.counts.total,
            trained: trained().map(elements).sum(),
            largest: trained().map(elements).max().unwrap_or(0),
            base: base.map(elements).sum(),
            blocks: first.map_or(0, |first| shape.layers - first),
            prompt: model.prompt_tokens(),
            shape,
        }
    }

    /// Peak bytes of a training step, without the memory of the process itself.
    pub fn bytes(&self, batch: &BatchShape) -> f64 {
        // The optimiser makes three temporaries of one variable at a time, after the activations are freed.
        self.resting() + self.activations(batch).max(3.0 * F32 * self.largest as f64)
    }

    /// Bytes held between steps: weights, gradients and moments.
    pub fn resting(&self) -> f64 {
        (self.total - self.trained) as f64 * self.width() + self.trained as f64 * TRAINED
    }

    /// Bytes of the tensors saved for the backward pass and of the temporary tensors of both passes.
    pub fn activations(&self, batch: &BatchShape) -> f64 {
        let tokens = batch.rows as f64 * (batch.mean + self.prompt as f64);
        let (d, layers) = (self.shape.hidden as f64, self.shape.layers as f64);
        let saved = SAVED_OVERHEAD * self.saved_per_block(batch);
        let temporary = TEMPORARY_OVERHEAD * self.temporary(batch);
        // A classifier's head reads only the first token of each row: the last block saves little more than keys and
        // values.
        let last = if self.shape.head_hidden.is_some() {
            3.0 * d * tokens
        } else {
            saved
        };
        let inside = match (self.blocks, self.recompute) {
            (0, _) => temporary,
            (_, true) => layers * d * tokens + saved + temporary,
            (blocks, false) => (blocks - 1) as f64 * saved + last + temporary,
        };
        // Sums of embeddings and their LayerNorm.
        let embedded = 3.0 * d * tokens;
        // Trained fp32 weights are cast to the data type of the activations.
        let cast = if self.kind == Kind::Float {
            0.0
        } else {
            self.base as f64
        };
        (inside + embedded + cast) * self.width() + self.logits(batch)
    }

    /// Elements that one block saves for the backward pass.
    fn saved_per_block(&self, batch: &BatchShape) -> f64 {
        let (d, f, [q, kv]) = (self.shape.hidden as f64, self.shape.ffn() as f64, self.attended());
        let (rows, cells, square) = self.sizes(batch);
        let tokens = rows * (batch.mean + self.prompt as f64);
        // Per token: the inputs of the block, of two normalisations and of the activation; dropout masks; inputs of
        // trained matrices. A gated network multiplies two outputs and saves both.
        let masks = if self.dropout { 2.0 * d } else { 0.0 };
        let inputs = if self.base > 0 { 2.0 * d + f } else { 0.0 };
        let gated = if self.gated() { 2.0 * f } else { 0.0 };
        let token = 3.0 * d + f + gated + masks + inputs;
        // Attention saves its output or, with dropout, the probabilities, their mask and the product.
        let attention = match (&self.shape.relative, self.dropout) {
            (_, true) => 3.0 * square,
            (Some(_), false) => 2.0 * square, // the fused kernel takes no bias with a gradient
            (None, false) => q * cells,
        };
        let relative = self.shape.relative.as_ref().map_or(0.0, |relative| {
            let reached = relative.reached(batch.longest + self.prompt) as f64;
            // Each term saves scaled queries or keys and the projected table once per row; the table passes LayerNorm
            // and dropout.
            relative.terms as f64 * d * (cells + rows * reached + reached) + 3.0 * d * reached
        });
        token * tokens + (q + 2.0 * kv) * cells + attention + relative
    }

    /// Elements of the temporary tensors of one block's forward or backward pass.
    fn temporary(&self, batch: &BatchShape) -> f64 {
        let (d, f) = (self.shape.hidden as f64, self.shape.ffn() as f64);
        let (rows, cells, square) = self.sizes(batch);
        let tokens = rows * (batch.mean + self.prompt as f64);
        let ([q, kv], fused) = (self.attended(), self.shape.relative.is_none() && !self.dropout);
        let scores = if fused { 0.0 } else { 3.0 * square };
        let relative = self.shape.relative.as_ref().map_or(0.0, |relative| {
            let reached = relative.reached(batch.longest + self.prompt) as f64;
            relative.terms as f64 * (square + self.shape.heads as f64 * reached * cells + d * rows * reached)
        });
        let feed = if self.gated() { 4.0 * f } else { 2.0 * f };
        (2.0 * (q + kv) * cells + scores + relative).max((feed + 2.0 * d) * tokens)
    }

    /// Bytes of a language model's logits, their softmax, and the gradients of both.
    fn logits(&self, batch: &BatchShape) -> f64 {
        batch.rows as f64 * batch.scored * self.shape.vocab as f64 * 4.0 * F32
    }

    /// Rows; cells of the padded grid of attention; elements of the attention scores of all heads.
    fn sizes(&self, batch: &BatchShape) -> (f64, f64, f64) {
        let (rows, width) = (batch.rows as f64, (batch.longest + self.prompt) as f64);
        (rows, rows * width, rows * width * width * self.shape.heads as f64)
    }

    /// Features of queries, and of keys.
    fn attended(&self) -> [f64; 2] {
        [self.shape.dims(Role::Query).1 as f64, self.shape.kv_width() as f64]
    }

    fn gated(&self) -> bool {
        self.shape.dims(Role::FfnGate).1 > 0
    }

    fn width(&self) -> f64 {
        self.kind.elt_size_in_bytes() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{arch, known_config};
    use crate::nn::Build;
    use crate::{batch, method};

    const LORA: &str = "{kind: lora, r: 16, alpha: 32, targets: [query, value]}";

    fn memory(name: &str, method: &str, kind: Kind, recompute: bool, layers: i64) -> MemoryModel {
        let mut config = known_config(name).unwrap();
        config["num_hidden_layers"] = layers.into();
        let (method, arch) = (method::from_yaml(method).unwrap(), arch(&config).unwrap());
        let build = Build::new(method.as_ref(), 1).base_kind(kind);
        let model = arch.classifier(&config, 2, &build.scope()).unwrap();
        let built = build.finish().unwrap();
        let shape = (arch.shape)(&config).unwrap();
        MemoryModel::new((arch, &config), shape, (model.as_ref(), &built), kind, recompute)
    }

    fn batch_of(rows: i64, longest: i64) -> BatchShape {
        BatchShape {
            rows,
            mean: longest as f64 * 0.8,
            longest,
            scored: 0.0,
        }
    }

    #[test]
    fn memory_grows_with_rows_length_blocks_and_data_type() {
        for name in ["roberta-base", "deberta-v3-base"] {
            let of = |kind, recompute, layers| memory(name, LORA, kind, recompute, layers);
            for recompute in [false, true] {
                let whole = of(Kind::Float, recompute, 6);
                let base = whole.bytes(&batch_of(8, 64));
                assert!(whole.bytes(&batch_of(9, 64)) > base, "{name}: rows");
                assert!(whole.bytes(&batch_of(8, 65)) > base, "{name}: length");
                assert!(
                    of(Kind::Float, recompute, 7).bytes(&batch_of(8, 64)) > base,
                    "{name}: blocks"
                );
                assert!(
                    of(Kind::BFloat16, recompute, 6).bytes(&batch_of(8, 64)) < 0.6 * base,
                    "{name}: bf16"
                );
            }
            let (stored, recomputed) = (of(Kind::Float, false, 6), of(Kind::Float, true, 6));
            assert!(
                recomputed.activations(&batch_of(8, 64)) < 0.5 * stored.activations(&batch_of(8, 64)),
                "{name}: recompute"
            );
            let more = |f: &MemoryModel| f.activations(&batch_of(8, 256)) / f.activations(&batch_of(8, 128));
            assert!(
                more(&stored) > 2.0,
                "{name}: attention grows with the square of the length"
            );
        }
    }

    #[test]
    fn memory_grows_with_relative_positions_prompts_and_trained_weights() {
        let (plain, relative) = (
            memory("roberta-base", LORA, Kind::Float, false, 4),
            memory("deberta-v3-base", LORA, Kind::Float, false, 4),
        );
        assert!(relative.activations(&batch_of(8, 128)) > plain.activations(&batch_of(8, 128)));
        let prompt = "{kind: pre_embed, prefix: 20, infix: 4}";
        let prompt = memory("roberta-base", prompt, Kind::Float, false, 4);
        assert_eq!(prompt.prompt, 24);
        let without = MemoryModel {
            prompt: 0,
            ..prompt.clone()
        };
        assert!(prompt.activations(&batch_of(8, 64)) > 1.2 * without.activations(&batch_of(8, 64)));
        let of = |method| memory("roberta-base", method, Kind::Float, false, 4);
        let sizes = ["{kind: head}", "{kind: ft_top, layers: 2}", LORA, "{kind: full}"]
            .map(|m| of(m).activations(&batch_of(8, 128)));
        assert!(sizes.is_sorted(), "{sizes:?}");
        assert_eq!(
            (of("{kind: head}").blocks, of("{kind: ft_top, layers: 2}").blocks),
            (0, 2)
        );
        let full = of("{kind: full}");
        assert_eq!((full.trained, full.blocks), (full.total, 4));
        assert!(full.resting() == 16.0 * full.total as f64 && full.largest == 50265 * 768);
    }

    #[test]
    fn logits_of_scored_tokens_take_memory() {
        let gpt2 = known_config("gpt2").unwrap();
        let row = |n: usize| batch::Row {
            ids: vec![1; n],
            types: Vec::new(),
            prompt: None,
            target: Target::Tokens([1, UNSCORED, 1].repeat(n / 3)),
        };
        let batch = BatchShape::of(&[row(30), row(60), row(90)], 2);
        assert_eq!(
            (batch.rows, batch.mean, batch.longest, batch.scored),
            (2, 60.0, 90, 40.0)
        );
        let (method, arch) = (method::from_yaml(LORA).unwrap(), arch(&gpt2).unwrap());
        let build = Build::new(method.as_ref(), 1);
        let model = arch.language_model(&gpt2, &build.scope()).unwrap();
        let (built, shape) = (build.finish().unwrap(), (arch.shape)(&gpt2).unwrap());
        let f = MemoryModel::new((arch, &gpt2), shape, (model.as_ref(), &built), Kind::Float, false);
        let unscored = BatchShape { scored: 0.0, ..batch };
        assert_eq!(f.bytes(&batch) - f.bytes(&unscored), 2.0 * 40.0 * 50257.0 * 16.0);
    }
}
