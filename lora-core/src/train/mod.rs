//! Training: one loop for every task, with exact resume.

mod checkpoint;
mod loss;
mod optim;
mod schedule;
mod step;
mod trainer;

pub use checkpoint::{Checkpoint, Progress};
pub use loss::{Objective, loss};
pub use optim::AdamW;
pub use schedule::Schedule;
pub use step::Stepper;
pub(crate) use trainer::check_rows;
pub use trainer::{Eval, Evaluate, Event, FitConfig, Fitted, Keep, Trainer, predict};
