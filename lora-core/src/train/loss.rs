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
}

/// The mean loss over the rows (or scored tokens) of `batch`, a scalar in fp32, for the model's answers `[B, labels]` (or
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
        Objective::Score => answers.squeeze_dim(-1).mse_loss(&batch.targets, Reduction::Mean),
    }
}
