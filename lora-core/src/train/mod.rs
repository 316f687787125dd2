//! Training: one loop for all tasks, with exact resume.

mod checkpoint;
mod fit;
mod loss;
mod loss_scale;
mod memory;
mod optim;
mod predict;
mod ranks;
mod schedule;
mod step;
mod trainer;

pub use checkpoint::{Checkpoint, Progress};
pub use fit::{Criterion, EarlyStopping, Eval, FitConfig, Select, select_best};
pub use loss::{Objective, loss, training_loss};
pub use loss_scale::LossScale;
pub use memory::{BatchShape, MemoryModel};
pub use optim::{AdamForm, AdamW};
pub use predict::{Passes, TokenScores, check_rows, predict, predict_by, token_scores, token_scores_by};
pub use ranks::{Alone, Ranks, Traffic};
pub use schedule::{Schedule, ScheduleKind};
pub use step::Stepper;
pub use trainer::{BestCheckpoint, Evaluate, Event, Fitted, Trainer};
