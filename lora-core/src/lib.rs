//! LoRA and the methods it is compared with, on libtorch tensors (CPU and CUDA).
//!
//! In dependency order: [`nn`] has the layers and the interface between models and methods, [`method`] one file per
//! method, [`model`] one file per architecture, [`weights`] reads and writes checkpoints, [`train`] is the training
//! loop with exact resume, and [`generate`] generates text. Models use [`nn::Scope`] and no method; methods use
//! [`nn::Site`] and no model. [`interop`] reads and writes adapters of other libraries, [`adapter_bank`] holds several
//! adapters on one base, and [`analysis`] measures their updates.
//!
//! From a model folder to a trained adapter (the folder is the small model of the embedded demonstration):
//!
//! ```
//! use datasets::{Label, Tokenizer};
//! use lora_core::batch::{Row, Target};
//! use lora_core::train::{Alone, BestCheckpoint, Criterion, FitConfig, Select, Trainer, predict};
//! use lora_core::{method, model, nn::Build, weights::Weights};
//! use std::{collections::BTreeMap, path::Path};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The model with LoRA, and its pretrained weights. A load with missing or unexpected tensors is an error.
//! let dir = Path::new("../experiments/embedded/roberta");
//! let method = method::from_yaml("{kind: lora, r: 8, alpha: 16, targets: [query, value]}")?;
//! let build = Build::new(method.as_ref(), 1);
//! let (model, arch) = model::from_dir(dir, 2, &build)?;
//! let built = build.finish()?;
//! Weights::open(dir)?.load_into(&built.params, arch)?.require_complete()?;
//! println!("LoRA has {} parameters", built.counts.method);
//!
//! // Tokenised rows.
//! let task = datasets::synthetic::load(datasets::find("cola")?)?;
//! let rows = Tokenizer::from_dir(dir)?.encode_all(&task.train.examples[..64], 64)?;
//! let row = |e: datasets::Encoded| Row {
//!     ids: e.ids.into_iter().map(i64::from).collect(),
//!     types: Vec::new(),
//!     prompt: None,
//!     target: Target::Class(if let Label::Class(class) = e.label { class as i64 } else { 0 }),
//! };
//! let rows: Vec<Row> = rows.into_iter().map(row).collect();
//!
//! // Training; the trained variables of the best epoch are written to a file.
//! let config = FitConfig { epochs: 2, lr: 5e-3, ..FitConfig::default() };
//! let adapter = std::env::temp_dir().join(format!("adapter-{}.safetensors", std::process::id()));
//! let accuracy = Criterion::new("accuracy");
//! let keep = Some(BestCheckpoint { criterion: &accuracy, select: Select::Best, path: adapter.clone() });
//! let trainer = Trainer { model: model.as_ref(), params: &built.params, config: &config, checkpoint: None, keep, criterion: None, stop: None, ranks: &Alone };
//! let mut evaluate = |model: &dyn lora_core::model::Model| {
//!     let right = |(logits, row): (&Vec<f32>, &Row)| Target::Class(i64::from(logits[1] > logits[0])) == row.target;
//!     let outputs = predict(model, &rows, 32, config.device)?;
//!     let hits = outputs.iter().zip(&rows).filter(|pair| right(*pair)).count();
//!     Ok(BTreeMap::from([("accuracy".to_string(), Some(hits as f64 / rows.len() as f64))]))
//! };
//! let fitted = trainer.fit(&rows, &mut evaluate, &mut |_| {})?;
//! println!("{:?}; the adapter is in {}", fitted.progress.evals, adapter.display());
//! # assert_eq!(Weights::open(&adapter)?.names().filter(|n| n.contains("lora_")).count(), 16);
//! # std::fs::remove_file(adapter)?;
//! # Ok(()) }
//! ```

pub mod adapter_bank;
pub mod analysis;
pub mod batch;
pub mod device;
mod error;
pub mod fsutil;
pub mod generate;
pub mod interop;
mod load_report;
pub mod method;
pub mod model;
pub mod nn;
pub mod profile;
pub mod seed;
pub mod train;
pub mod weights;

pub use error::{Error, Result};
