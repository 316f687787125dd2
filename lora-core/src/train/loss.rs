use crate::batch::Batch;
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
}

/// The mean loss over the rows of `batch`, a scalar in fp32, for the head's answers `[B, labels]`.
pub fn loss(answers: &Tensor, batch: &Batch, objective: Objective) -> Tensor {
    let answers = answers.to_kind(Kind::Float);
    match objective {
        Objective::Classes { label_smoothing } => {
            answers.cross_entropy_loss(&batch.targets, None::<&Tensor>, Reduction::Mean, -100, label_smoothing)
        }
        Objective::Score => answers.squeeze_dim(-1).mse_loss(&batch.targets, Reduction::Mean),
    }
}
