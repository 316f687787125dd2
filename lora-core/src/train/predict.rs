//! Evaluation: a model's outputs without dropout.

use super::ranks::floats;
use super::{Alone, Objective, Ranks, loss};
use crate::batch::{Batch, Row};
use crate::device::guarded;
use crate::model::Model;
use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// Checks that the model can take `rows`.
///
/// # Errors
/// [`Error::Config`] for a row longer than the model's maximum, or a token beyond its vocabulary.
pub fn check_rows<'r>(model: &dyn Model, rows: impl IntoIterator<Item = &'r Row> + Clone) -> Result<()> {
    let longest = rows.clone().into_iter().map(|r| r.ids.len()).max().unwrap_or(0) as i64;
    if longest > model.max_len() {
        return Err(Error::Config(format!(
            "a row has {longest} tokens but the model takes {}: lower the max length",
            model.max_len()
        )));
    }
    let highest = rows.into_iter().flat_map(|r| r.ids.iter().copied()).max().unwrap_or(0);
    if highest >= model.vocab() {
        return Err(Error::Config(format!(
            "token id {highest} is beyond the model's vocabulary of {}: the tokenizer is another model's",
            model.vocab()
        )));
    }
    Ok(())
}

/// Forward passes for evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Passes<'a> {
    /// Rows a pass.
    pub batch_size: usize,
    /// Where the model is.
    pub device: Device,
    /// Who computes them. Each pass is computed by one rank, and all get the results.
    pub ranks: &'a dyn Ranks,
}

impl Passes<'_> {
    /// What `pass` returns for the rows of each pass, in their order.
    fn each(&self, model: &dyn Model, rows: &[Row], pass: &dyn Fn(&Batch) -> Result<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        check_rows(model, rows)?;
        let _guard = tch::no_grad_guard();
        let chunks: Vec<&[Row]> = rows.chunks(self.batch_size.max(1)).collect();
        self.ranks.deal(chunks.len(), &mut |i| {
            let chunk: Vec<&Row> = chunks[i].iter().collect();
            guarded("evaluating", || pass(&Batch::new(&chunk, self.device)?))
        })
    }
}

/// The outputs of the head for `rows`: one vector per row, in their order, without dropout.
///
/// # Errors
/// Rows that do not fit the model; [`Error::OutOfMemory`].
pub fn predict(model: &dyn Model, rows: &[Row], batch_size: usize, device: Device) -> Result<Vec<Vec<f32>>> {
    predict_by(
        model,
        rows,
        &Passes {
            batch_size,
            device,
            ranks: &Alone,
        },
    )
}

/// [`predict`] by several ranks, all of which get all outputs.
///
/// # Errors
/// As [`predict`], on any rank.
pub fn predict_by(model: &dyn Model, rows: &[Row], passes: &Passes) -> Result<Vec<Vec<f32>>> {
    let outputs = passes.each(model, rows, &|batch| {
        let out = model.forward(batch, false).to_device(Device::Cpu);
        let flat: Vec<f32> = Vec::try_from(out.reshape([-1])).map_err(Error::torch("reading the outputs"))?;
        Ok(flat.iter().flat_map(|value| value.to_le_bytes()).collect())
    })?;
    let mut all = Vec::with_capacity(rows.len());
    for (chunk, bytes) in rows.chunks(passes.batch_size.max(1)).zip(outputs) {
        let flat = floats(&bytes);
        all.extend(flat.chunks(flat.len() / chunk.len()).map(<[f32]>::to_vec));
    }
    Ok(all)
}

/// How well a language model predicts the scored tokens of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TokenScores {
    /// Mean negative log-likelihood of a scored token, in nats, without label smoothing.
    pub loss: f64,
    /// Share of the scored tokens to which the model gives the highest probability.
    pub accuracy: f64,
    /// Number of scored tokens.
    pub tokens: u64,
}

/// Evaluates a language model on `rows`. Every scored token has the same weight, regardless of batching.
///
/// # Errors
/// Rows that do not fit the model or have no scored token; [`Error::OutOfMemory`].
pub fn token_scores(model: &dyn Model, rows: &[Row], batch_size: usize, device: Device) -> Result<TokenScores> {
    token_scores_by(
        model,
        rows,
        &Passes {
            batch_size,
            device,
            ranks: &Alone,
        },
    )
}

/// [`token_scores`] by several ranks, all of which get the scores of all rows.
///
/// # Errors
/// As [`token_scores`], on any rank.
pub fn token_scores_by(model: &dyn Model, rows: &[Row], passes: &Passes) -> Result<TokenScores> {
    let scores = passes.each(model, rows, &|batch| {
        let logits = model.forward(batch, false);
        let count = logits.size()[0] as f64;
        let mean = loss(&logits, batch, Objective::Tokens { label_smoothing: 0.0 });
        let hits = logits.argmax(-1, false).eq_tensor(&batch.targets).sum(Kind::Double);
        let read = |t: &Tensor| f64::try_from(t).map_err(Error::torch("reading the loss"));
        let scores = [count * read(&mean)?, read(&hits)?, count];
        Ok(scores.iter().flat_map(|value| value.to_le_bytes()).collect())
    })?;
    // In the order of rows, so that the sums do not depend on who computed them.
    let (mut loss_sum, mut right, mut tokens) = (0.0, 0.0, 0.0);
    for bytes in scores {
        if let ([loss, hits, count], _) = bytes.as_chunks() {
            loss_sum += f64::from_le_bytes(*loss);
            right += f64::from_le_bytes(*hits);
            tokens += f64::from_le_bytes(*count);
        }
    }
    Ok(TokenScores {
        loss: loss_sum / tokens,
        accuracy: right / tokens,
        tokens: tokens as u64,
    })
}
