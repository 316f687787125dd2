use crate::batch::{Batch, UNSCORED};
use tch::{Kind, Reduction, Tensor};

/// What training minimises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Objective {
    /// Cross-entropy over classes; `label_smoothing` spreads that share of the target evenly over all classes.
    Classes {
        /// From 0 (none) to below 1.
        label_smoothing: f64,
    },
    /// Mean squared error of one output.
    Score,
    /// Cross-entropy over the vocabulary, the mean over all scored tokens of the batch, so that each token counts alike however
    /// long its row is. (The paper's GPT-2 code divides by the number of tokens + 0.0001, a relative difference below 1e-5.)
    Tokens {
        /// As above, over the whole vocabulary, the target included.
        label_smoothing: f64,
    },
    /// The same, the sum over the scored tokens of a text and the mean over texts: a long text counts for more. What Li and
    /// Liang's code minimises in prefix tuning.
    Texts {
        /// As above.
        label_smoothing: f64,
    },
}

/// The mean loss over the rows (or scored tokens, as the objective says) of `batch`, a scalar in fp32, for the model's answers `[B, labels]` (or
/// `[S, vocab]`).
pub fn loss(answers: &Tensor, batch: &Batch, objective: Objective) -> Tensor {
    let answers = answers.to_kind(Kind::Float);
    match objective {
        Objective::Classes { label_smoothing } | Objective::Tokens { label_smoothing } => answers.cross_entropy_loss(
            &batch.targets,
            None::<&Tensor>,
            Reduction::Mean,
            UNSCORED,
            label_smoothing,
        ),
        Objective::Texts { label_smoothing } => {
            let sum = answers.cross_entropy_loss(
                &batch.targets,
                None::<&Tensor>,
                Reduction::Sum,
                UNSCORED,
                label_smoothing,
            );
            sum / batch.layout.rows as f64
        }
        Objective::Score => answers.squeeze_dim(-1).mse_loss(&batch.targets, Reduction::Mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Row, Target};
    use tch::Device;

    #[test]
    fn a_mean_over_texts_counts_long_texts_for_more() {
        // Two texts with 1 and 3 scored tokens among two equally likely ones: log 2 a token.
        let row = |scored: usize| Row {
            ids: vec![0; 4],
            types: Vec::new(),
            prompt: Some(1),
            target: Target::Tokens((0..4).map(|at| if at < 4 - scored { UNSCORED } else { 1 }).collect()),
        };
        let rows = [row(1), row(3)];
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu).unwrap();
        let answers = Tensor::zeros([4, 2], (Kind::Float, Device::Cpu));
        let of = |objective| f64::try_from(loss(&answers, &batch, objective)).unwrap();
        let log2 = std::f64::consts::LN_2;
        let label_smoothing = 0.0;
        assert!((of(Objective::Tokens { label_smoothing }) - log2).abs() < 1e-6);
        assert!(
            (of(Objective::Texts { label_smoothing }) - 2.0 * log2).abs() < 1e-6,
            "4 tokens in 2 texts"
        );
    }
}
