//! LoRA and the methods it is compared with, over libtorch tensors (CPU and CUDA).
//!
//! The reading order is the dependency order: [`nn`] holds the layers and the one seam between models and methods,
//! [`method`] one file a method, [`model`] one file an architecture, [`weights`] safetensors in and out, and [`train`]
//! the loop with exact resume. Models know [`nn::Scope`] and never a method; methods know [`nn::Site`]s and never a model.
//!
//! ```no_run
//! use lora_core::{method, model, nn::Build, weights::Weights};
//! use std::path::Path;
//! # fn main() -> lora_core::Result<()> {
//! let method = method::from_yaml("{kind: lora, r: 8, alpha: 16, targets: [query, value]}")?;
//! let dir = Path::new("roberta-base");
//! let build = Build::new(method.as_ref(), 1);
//! let (model, arch) = model::from_dir(dir, 2, &build)?;
//! let adopted = build.adopt()?;
//! Weights::open(dir)?.load_into(&adopted.params, arch)?.require_complete()?;
//! println!("{} method parameters", adopted.counts.method);
//! # drop(model); Ok(()) }
//! ```

pub mod batch;
pub mod device;
mod error;
pub mod fsutil;
pub mod interop;
pub mod method;
pub mod model;
pub mod nn;
pub mod seed;
pub mod train;
pub mod weights;

pub use error::{Error, Result};
