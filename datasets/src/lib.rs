//! Data sets, tokenising and metrics of the LoRA reproduction. Nothing here needs libtorch.
//!
//! The path of a GLUE run: [`glue::find`] names the task, [`glue::load`] reads its files, [`tokenize::Tokenizer::encode_cached`]
//! turns the examples into ids, [`GlueTask::predictions`] and [`GlueTask::score`] turn a model's logits into the task's metrics.
//!
//! Without local files, [`hub::Hub`] brings them from the Hugging Face hub: [`Hub::model`](hub::Hub::model) a model's folder for
//! the tokenizer and the weights, [`Hub::glue`](hub::Hub::glue) a task's examples, each with the commit that it came from.
//! [`glue_parquet::load`] reads a copy of the hub's data set from any folder. [`text`] has the data sets of texts, [`text::encode`] their ids. With neither, [`synthetic::load`] generates tasks of
//! the same shapes:
//!
//! ```
//! use datasets::{Label, Predictions, find, synthetic};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let task = find("mrpc")?;
//! let data = synthetic::load(task)?;
//! let dev = &data.evals[0].examples;
//! println!("{:?}\n{:?}\n{:?}", dev[0].first, dev[0].second, dev[0].label);
//! // Whoever always says "equivalent" is right about half of the time.
//! let labels: Vec<Label> = dev.iter().map(|e| e.label).collect();
//! let metrics = task.score(&Predictions::Classes(vec![1; dev.len()]), &labels)?;
//! assert!((metrics["accuracy"].unwrap_or_default() - 0.5).abs() < 0.1);
//! # Ok(()) }
//! ```

pub mod cache;
mod error;
mod example;
pub mod glue;
pub mod glue_parquet;
pub mod hub;
pub mod metric;
mod parquet_rows;
pub mod spacing;
mod spm;
pub mod sql;
pub mod synthetic;
mod template;
pub mod text;
mod text_file;
pub mod tokenize;

pub use error::DataError;
pub use example::{Example, Label, LabelledSplit};
pub use glue::{GlueData, GlueTask, TASKS, TaskKind, find, load};
pub use hub::{Hub, HubError, Snapshot};
pub use metric::{Metric, MetricError, Predictions};
pub use template::Template;
pub use tokenize::{Encoded, TokenizeError, Tokenizer};
