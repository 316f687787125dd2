use crate::batch::{Batch, UNSCORED};
use crate::model::Model;
use crate::nn;
use tch::{Kind, Reduction, Tensor};

/// The loss that training minimises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Objective {
    /// Cross-entropy over classes.
    Classes {
        /// Share of the target distribution that is spread evenly over all classes: from 0 (none) to below 1.
        label_smoothing: f64,
    },
    /// Mean squared error of a single output.
    Score,
    /// Cross-entropy over the vocabulary, averaged over all scored tokens of the batch: every token has the same
    /// weight. (The paper's GPT-2 code divides by the number of tokens + 0.0001, a relative difference below 1e-5.)
    Tokens {
        /// Share of the target distribution that is spread evenly over the vocabulary, target included.
        label_smoothing: f64,
    },
    /// Cross-entropy over the vocabulary, summed over the scored tokens of a text and averaged over texts: long texts
    /// have more weight. Li and Liang's code minimises it in prefix tuning.
    Texts {
        /// As in [`Objective::Tokens`].
        label_smoothing: f64,
    },
}

/// The loss of `logits` `[B, labels]` (language model: `[S, vocab]` for S scored tokens) on `batch`: a scalar in fp32,
/// averaged over rows or scored tokens as `objective` says.
pub fn loss(logits: &Tensor, batch: &Batch, objective: Objective) -> Tensor {
    let logits = logits.to_kind(Kind::Float);
    match objective {
        Objective::Classes { label_smoothing } | Objective::Tokens { label_smoothing } => logits.cross_entropy_loss(
            &batch.targets,
            None::<&Tensor>,
            Reduction::Mean,
            UNSCORED,
            label_smoothing,
        ),
        Objective::Texts { label_smoothing } => {
            let sum = logits.cross_entropy_loss(
                &batch.targets,
                None::<&Tensor>,
                Reduction::Sum,
                UNSCORED,
                label_smoothing,
            );
            sum / batch.layout.rows as f64
        }
        Objective::Score => logits.squeeze_dim(-1).mse_loss(&batch.targets, Reduction::Mean),
    }
}

/// [`loss`] of the logits of `features`. For a language model on the CPU it is computed for some tokens at a time,
/// together with its gradient, so that the logits of a batch never exist at once.
pub fn training_loss(model: &dyn Model, features: &Tensor, batch: &Batch, objective: Objective) -> Tensor {
    let of_tokens = match objective {
        Objective::Tokens { label_smoothing } => Some((label_smoothing, features.size()[0])),
        Objective::Texts { label_smoothing } => Some((label_smoothing, batch.layout.rows)),
        Objective::Classes { .. } | Objective::Score => None,
    };
    if let Some((label_smoothing, count)) = of_tokens.filter(|_| nn::takes(features))
        && let Some((hidden, matrix)) = model.output_layer(features)
    {
        return nn::vocabulary_loss(&hidden, matrix, &batch.targets, label_smoothing, 1.0 / count as f64);
    }
    loss(&model.logits(features, true), batch, objective)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Row, Target};
    use tch::Device;

    #[test]
    fn a_mean_over_texts_gives_long_texts_more_weight() {
        // Two texts with 1 and 3 scored tokens, over a vocabulary of two equally likely tokens: log 2 per token.
        let row = |scored: usize| Row {
            ids: vec![0; 4],
            types: Vec::new(),
            prompt: Some(1),
            target: Target::Tokens((0..4).map(|at| if at < 4 - scored { UNSCORED } else { 1 }).collect()),
        };
        let rows = [row(1), row(3)];
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap();
        let logits = Tensor::zeros([4, 2], (Kind::Float, Device::Cpu));
        let of = |objective| f64::try_from(loss(&logits, &batch, objective)).unwrap();
        let log2 = std::f64::consts::LN_2;
        let label_smoothing = 0.0;
        assert!((of(Objective::Tokens { label_smoothing }) - log2).abs() < 1e-6);
        assert!(
            (of(Objective::Texts { label_smoothing }) - 2.0 * log2).abs() < 1e-6,
            "4 tokens in 2 texts"
        );
    }
}
