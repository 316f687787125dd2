//! Data sets, tokenising and metrics of the LoRA reproduction. Nothing here needs libtorch.
//!
//! The path of a GLUE run: [`glue::find`] names the task, [`glue::load`] reads its files, [`tokenize::Tokenizer::encode_cached`]
//! turns the examples into ids, and [`metric::score`] turns a model's logits into the task's metrics.

pub mod cache;
mod error;
mod example;
pub mod glue;
pub mod metric;
pub mod synthetic;
mod table;
pub mod tokenize;

pub use error::DataError;
pub use example::{Example, Label, Split};
pub use glue::{Kind, TASKS, Task, TaskData, find, load};
pub use metric::{Metric, MetricError, Predictions, score};
pub use tokenize::{Encoded, TokenizeError, Tokenizer};
