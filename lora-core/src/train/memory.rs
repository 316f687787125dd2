//! How much memory training takes, from shapes alone: what a plan says before anything is run.
//!
//! The terms are counted from what libtorch keeps for the backward pass of the operations in [`crate::nn`] and
//! [`crate::model`]; `lora bench memory` holds the sum against what a process really takes.

use crate::batch::{Row, Target, UNSCORED};
use crate::model::{Arch, Model, ModelShape};
use crate::nn::{BuiltParams, Owner, ParamKind};
use serde_json::Value;
use tch::Kind;

/// Bytes of a number in fp32.
const FULL: f64 = 4.0;

/// What is held while something is kept for the backward pass, over the thing itself: the allocator's gaps, and what libtorch
/// makes between two operations. Measured (`lora bench memory`).
const KEPT: f64 = 1.4;

/// The same of what is alive in passing, much of which is freed and not given back to the system.
const PASSING: f64 = 2.4;

/// Bytes of a trained number: its value, its gradient, and two moments, all in fp32.
const TRAINED: f64 = 4.0 * FULL;

/// What of a model and a method decides the memory of training.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryModel {
    /// The model's dimensions.
    pub shape: ModelShape,
    /// Number type of frozen weights and activations.
    pub kind: Kind,
    /// Whether blocks are computed again in the backward pass.
    pub recompute: bool,
    /// Whether there is dropout: its masks are kept, and attention writes its probabilities out.
    pub dropout: bool,
    /// Numbers of all variables.
    pub total: i64,
    /// Numbers that are trained.
    pub trained: i64,
    /// Numbers of the largest trained variable.
    pub largest: i64,
    /// Numbers of the base's matrices and tables that are trained.
    pub base: i64,
    /// Blocks that a gradient passes through: those from the first trained variable on.
    pub blocks: i64,
    /// Tokens that the method puts into each row.
    pub prompt: i64,
}

/// What of a batch does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchShape {
    /// Rows.
    pub rows: i64,
    /// Their mean length in tokens.
    pub mean: f64,
    /// The length of the longest.
    pub longest: i64,
    /// The mean number of tokens in a row that are scored against the whole vocabulary.
    pub scored: f64,
}

impl BatchShape {
    /// A batch of `size` rows that are like `rows` on the average, one of them like the longest.
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
    /// Of a model as it was built, `config` its config.json.
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
        let numbers = |e: &crate::nn::NamedParam| e.tensor.numel() as i64;
        let below = trained().filter(|e| e.param.owner != Owner::Head);
        let first = below.map(|e| e.param.depth.map_or(0, |d| d.index as i64)).min();
        let base = trained().filter(|e| e.param.owner == Owner::Base);
        let base = base.filter(|e| matches!(e.param.kind, ParamKind::Weight | ParamKind::Embedding));
        MemoryModel {
            kind,
            recompute,
            dropout: rates.is_empty() || rates.iter().any(|rate| *rate > 0.0),
            total: built.counts.total,
            trained: trained().map(numbers).sum(),
            largest: trained().map(numbers).max().unwrap_or(0),
            base: base.map(numbers).sum(),
            blocks: first.map_or(0, |first| shape.layers - first),
            prompt: model.prompt_tokens(),
            shape,
        }
    }

    /// Bytes of the most that is held at once in a training step, without what the process itself takes.
    pub fn bytes(&self, load: &BatchShape) -> f64 {
        // The optimiser makes a few copies of one gradient after the other, when the activations are gone.
        self.resting() + self.activations(load).max(3.0 * FULL * self.largest as f64)
    }

    /// Bytes that are held between steps: weights, gradients and moments.
    pub fn resting(&self) -> f64 {
        (self.total - self.trained) as f64 * self.width() + self.trained as f64 * TRAINED
    }

    /// Bytes of what the backward pass needs of a forward pass, and of what both make and drop.
    pub fn activations(&self, load: &BatchShape) -> f64 {
        let tokens = load.rows as f64 * (load.mean + self.prompt as f64);
        let (d, layers) = (self.shape.hidden as f64, self.shape.layers as f64);
        let (kept, passing) = (KEPT * self.block(load), PASSING * self.passing(load));
        // The head of a classifier asks for each row's first token, so that of the last block no more is kept than keys
        // and values.
        let last = if self.shape.head_hidden.is_some() {
            3.0 * d * tokens
        } else {
            kept
        };
        let inside = match (self.blocks, self.recompute) {
            (0, _) => passing,
            (_, true) => layers * d * tokens + kept + passing,
            (blocks, false) => (blocks - 1) as f64 * kept + last + passing,
        };
        // Sums of tables and their LayerNorm; what is trained in fp32 is turned into the kind of the activations.
        let embedded = 3.0 * d * tokens;
        let turned = if self.kind == Kind::Float {
            0.0
        } else {
            self.base as f64
        };
        (inside + embedded + turned) * self.width() + self.scores(load)
    }

    /// Numbers that one block keeps for the backward pass.
    fn block(&self, load: &BatchShape) -> f64 {
        let (d, f) = (self.shape.hidden as f64, self.shape.ffn as f64);
        let (rows, cells, square) = self.sizes(load);
        let tokens = rows * (load.mean + self.prompt as f64);
        // The block's input, the inputs of two LayerNorms, and that of the activation; masks; and of a trained matrix its input.
        let masks = if self.dropout { 2.0 * d } else { 0.0 };
        let inputs = if self.base > 0 { 2.0 * d + f } else { 0.0 };
        let token = 3.0 * d + f + masks + inputs;
        // Queries, keys and values, and what attention answers or, with dropout, the probabilities, their mask and the product.
        let written = match (&self.shape.relative, self.dropout) {
            (_, true) => 3.0 * square,
            (Some(_), false) => 2.0 * square, // a bias with a gradient keeps libtorch from its fused kernel
            (None, false) => d * cells,
        };
        let relative = self.shape.relative.as_ref().map_or(0.0, |relative| {
            let reached = relative.reached(load.longest + self.prompt) as f64;
            // Each term has scaled queries or keys, and the projected table once a row; the table is normalised and dropped.
            relative.terms as f64 * d * (cells + rows * reached + reached) + 3.0 * d * reached
        });
        token * tokens + 3.0 * d * cells + written + relative
    }

    /// Numbers that are alive in passing, while one block is computed or gone back through.
    fn passing(&self, load: &BatchShape) -> f64 {
        let (d, f) = (self.shape.hidden as f64, self.shape.ffn as f64);
        let (rows, cells, square) = self.sizes(load);
        let tokens = rows * (load.mean + self.prompt as f64);
        let fused = self.shape.relative.is_none() && !self.dropout;
        let scores = if fused { 0.0 } else { 3.0 * square };
        let relative = self.shape.relative.as_ref().map_or(0.0, |relative| {
            let reached = relative.reached(load.longest + self.prompt) as f64;
            relative.terms as f64 * (square + self.shape.heads as f64 * reached * cells + d * rows * reached)
        });
        (4.0 * d * cells + scores + relative).max((2.0 * f + 2.0 * d) * tokens)
    }

    /// Bytes of the scores of a vocabulary: themselves, their softmax, and the gradients of both.
    fn scores(&self, load: &BatchShape) -> f64 {
        load.rows as f64 * load.scored * self.shape.vocab as f64 * 4.0 * FULL
    }

    /// Rows; cells of the grid on which attention works; and the numbers of one matrix of scores for all heads.
    fn sizes(&self, load: &BatchShape) -> (f64, f64, f64) {
        let (rows, width) = (load.rows as f64, (load.longest + self.prompt) as f64);
        (rows, rows * width, rows * width * width * self.shape.heads as f64)
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

    fn load(rows: i64, longest: i64) -> BatchShape {
        BatchShape {
            rows,
            mean: longest as f64 * 0.8,
            longest,
            scored: 0.0,
        }
    }

    #[test]
    fn more_rows_longer_rows_more_blocks_and_wider_numbers_take_more() {
        for name in ["roberta-base", "deberta-v3-base"] {
            let of = |kind, recompute, layers| memory(name, LORA, kind, recompute, layers);
            for recompute in [false, true] {
                let whole = of(Kind::Float, recompute, 6);
                let base = whole.bytes(&load(8, 64));
                assert!(whole.bytes(&load(9, 64)) > base, "{name}: rows");
                assert!(whole.bytes(&load(8, 65)) > base, "{name}: length");
                assert!(
                    of(Kind::Float, recompute, 7).bytes(&load(8, 64)) > base,
                    "{name}: blocks"
                );
                assert!(
                    of(Kind::BFloat16, recompute, 6).bytes(&load(8, 64)) < 0.6 * base,
                    "{name}: bf16"
                );
            }
            let (kept, again) = (of(Kind::Float, false, 6), of(Kind::Float, true, 6));
            assert!(
                again.activations(&load(8, 64)) < 0.5 * kept.activations(&load(8, 64)),
                "{name}: recompute"
            );
            let more = |f: &MemoryModel| f.activations(&load(8, 256)) / f.activations(&load(8, 128));
            assert!(
                more(&kept) > 2.0,
                "{name}: attention grows with the square of the length"
            );
        }
    }

    #[test]
    fn relative_positions_prompts_and_trained_weights_take_more() {
        let (plain, relative) = (
            memory("roberta-base", LORA, Kind::Float, false, 4),
            memory("deberta-v3-base", LORA, Kind::Float, false, 4),
        );
        assert!(relative.activations(&load(8, 128)) > plain.activations(&load(8, 128)));
        let prompt = "{kind: pre_embed, prefix: 20, infix: 4}";
        let prompt = memory("roberta-base", prompt, Kind::Float, false, 4);
        assert_eq!(prompt.prompt, 24);
        let without = MemoryModel {
            prompt: 0,
            ..prompt.clone()
        };
        assert!(prompt.activations(&load(8, 64)) > 1.2 * without.activations(&load(8, 64)));
        let of = |method| memory("roberta-base", method, Kind::Float, false, 4);
        let sizes = ["{kind: head}", "{kind: ft_top, layers: 2}", LORA, "{kind: full}"]
            .map(|m| of(m).activations(&load(8, 128)));
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
    fn the_vocabulary_counts_where_tokens_are_scored() {
        let gpt2 = known_config("gpt2").unwrap();
        let row = |n: usize| batch::Row {
            ids: vec![1; n],
            types: Vec::new(),
            prompt: None,
            target: Target::Tokens([1, UNSCORED, 1].repeat(n / 3)),
        };
        let load = BatchShape::of(&[row(30), row(60), row(90)], 2);
        assert_eq!((load.rows, load.mean, load.longest, load.scored), (2, 60.0, 90, 40.0));
        let (method, arch) = (method::from_yaml(LORA).unwrap(), arch(&gpt2).unwrap());
        let build = Build::new(method.as_ref(), 1);
        let model = arch.language_model(&gpt2, &build.scope()).unwrap();
        let (built, shape) = (build.finish().unwrap(), (arch.shape)(&gpt2).unwrap());
        let f = MemoryModel::new((arch, &gpt2), shape, (model.as_ref(), &built), Kind::Float, false);
        let silent = BatchShape { scored: 0.0, ..load };
        assert_eq!(f.bytes(&load) - f.bytes(&silent), 2.0 * 40.0 * 50257.0 * 16.0);
    }
}
