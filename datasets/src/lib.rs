//! Data sets, tokenisation and metrics of the LoRA reproduction, without libtorch.
//!
//! A GLUE run: [`glue::find`] returns the task, [`glue::load`] reads its files, [`tokenize::Tokenizer::encode_cached`]
//! encodes the examples, [`GlueTask::predictions`] and [`GlueTask::score`] compute the metrics of a model's logits.
//!
//! [`hub::Hub`] downloads from the Hugging Face hub: [`Hub::model`](hub::Hub::model) a model's folder with tokenizer and weights,
//! [`Hub::glue`](hub::Hub::glue) a task's examples, each with its commit. [`glue_parquet::load`] reads a local copy of the hub's
//! GLUE. [`text`] has the data sets of text generation, and [`text::encode`] their encoding for causal models.
//! [`synthetic::load`] generates tasks of the same shapes without files or network:
//!
//! ```
//! use datasets::{Label, Predictions, find, synthetic};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let task = find("mrpc")?;
//! let data = synthetic::load(task)?;
//! let dev = &data.evals[0].examples;
//! println!("{:?}\n{:?}\n{:?}", dev[0].first, dev[0].second, dev[0].label);
//! // The constant prediction "equivalent" is right for about half of the examples.
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
pub mod glue_test;
pub mod hub;
pub mod metric;
pub mod own;
mod parquet_rows;
pub mod rows;
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
