//! Metrics: of labels, equal to scikit-learn's and scipy's, and of generated texts, equal to the field's tools, one module each.
//!
//! An undefined metric (no examples, correlation with a constant) is `None` and prints as "–". Degenerate cases that
//! scikit-learn defines are defined here: F1 without positives and Matthews of a constant are 0.

pub mod bleu_e2e;
pub mod chrf;
pub mod cider;
pub mod classification;
pub mod correlation;
pub mod e2e;
pub mod generated;
mod labels;
pub mod meteor;
pub mod mteval;
mod ngram;
pub mod nltk;
mod pinned;
pub mod porter;
pub mod ptb;
pub mod pyter;
pub mod rouge;
pub mod rouge_l;
pub mod sacrebleu;
pub mod scorers;
pub mod sql;
pub mod ter;
pub mod webnlg;

pub use labels::{Metric, MetricError, Predictions, compute};
pub use pinned::Mismatch;
