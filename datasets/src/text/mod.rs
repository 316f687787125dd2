//! Data sets of text generation: contexts, each with one or more references.
//!
//! ```
//! use datasets::text;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let data = text::find("e2e")?.generate(None)?;
//! let dev = data.split("dev").ok_or("no dev split")?;
//! println!("{}\n{:?}", dev.prompts[0].context, dev.prompts[0].references);
//! assert!(dev.pairs.len() > dev.prompts.len());
//! # Ok(()) }
//! ```
//!
//! To add a data set: a file in this folder, a `mod` line, and a line in [`DATASETS`].

mod dart;
mod data;
mod dataset;
pub mod e2e;
pub mod encode;
mod input;
pub mod own;
mod samsum;
mod score;
mod summary;
mod triples;
pub mod webnlg;
pub mod wikisql;
mod xsum;

pub use data::{Category, Pair, Prompt, TextSplit};
pub use dataset::{CONVERTED, Dataset, EVAL_CONTEXTS, HubFiles, SplitFiles, TRAIN_CONTEXTS, TextData};
pub use score::TextScorer;

use crate::DataError;

/// All data sets of texts.
pub static DATASETS: &[&Dataset] = &[
    &e2e::DATASET,
    &wikisql::DATASET,
    &samsum::DATASET,
    &webnlg::DATASET,
    &dart::DATASET,
    &xsum::DATASET,
];

/// The data set of that name; case, `-` and `_` do not matter.
///
/// # Errors
/// [`DataError::UnknownDataset`].
pub fn find(name: &str) -> Result<&'static Dataset, DataError> {
    let plain = |s: &str| s.replace(['-', '_'], "").to_ascii_lowercase();
    let found = DATASETS.iter().find(|d| plain(d.id) == plain(name)).copied();
    found.ok_or_else(|| DataError::UnknownDataset {
        name: name.to_owned(),
        known: DATASETS.iter().map(|d| d.id).collect::<Vec<_>>().join(", "),
    })
}
