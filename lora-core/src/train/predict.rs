//! Evaluation: a model's outputs without dropout.

use super::{Objective, loss};
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

/// The outputs of the head for `rows`: one vector per row, in their order, without dropout.
///
/// # Errors
/// Rows that do not fit the model; [`Error::OutOfMemory`].
pub fn predict(model: &dyn Model, rows: &[Row], batch_size: usize, device: Device) -> Result<Vec<Vec<f32>>> {
    check_rows(model, rows)?;
    let _guard = tch::no_grad_guard();
    let mut outputs = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(batch_size.max(1)) {
        let chunk: Vec<&Row> = chunk.iter().collect();
        guarded("evaluating", || {
            let out = model
                .forward(&Batch::new(&chunk, device)?, false)
                .to_device(Device::Cpu);
            let flat: Vec<f32> = Vec::try_from(out.reshape([-1])).map_err(Error::torch("reading the outputs"))?;
            outputs.extend(flat.chunks(flat.len() / chunk.len()).map(<[f32]>::to_vec));
            Ok(())
        })?;
    }
    Ok(outputs)
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
    check_rows(model, rows)?;
    let _guard = tch::no_grad_guard();
    let (mut loss_sum, mut right, mut tokens) = (0.0, 0.0, 0.0);
    for chunk in rows.chunks(batch_size.max(1)) {
        let chunk: Vec<&Row> = chunk.iter().collect();
        guarded("evaluating", || {
            let batch = Batch::new(&chunk, device)?;
            let logits = model.forward(&batch, false);
            let count = logits.size()[0] as f64;
            let mean = loss(&logits, &batch, Objective::Tokens { label_smoothing: 0.0 });
            let hits = logits.argmax(-1, false).eq_tensor(&batch.targets).sum(Kind::Double);
            let read = |t: &Tensor| f64::try_from(t).map_err(Error::torch("reading the loss"));
            loss_sum += count * read(&mean)?;
            right += read(&hits)?;
            tokens += count;
            Ok(())
        })?;
    }
    Ok(TokenScores {
        loss: loss_sum / tokens,
        accuracy: right / tokens,
        tokens: tokens as u64,
    })
}
