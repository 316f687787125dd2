//! Training: one loop for every task, with exact resume.

mod checkpoint;
mod loss;
mod memory;
mod optim;
mod predict;
mod schedule;
mod step;
mod trainer;

pub use checkpoint::{Checkpoint, Progress};
pub use loss::{Objective, loss};
pub use memory::{Footprint, Load};
pub use optim::{AdamForm, AdamW};
pub(crate) use predict::check_rows;
pub use predict::{TokenScores, predict, token_scores};
pub use schedule::Schedule;
pub use step::Stepper;
pub use trainer::{Eval, Evaluate, Event, FitConfig, Fitted, Keep, Trainer};
