//! Generated data about a small closed world of people, things and places: eight tasks of the shapes of GLUE, the grammar of the
//! generated text data sets ([`crate::text::Dataset::generate`]), and text for pretraining small models. It needs no files and no
//! network, and is equal on every machine.
//!
//! The sentences come from a small grammar with meaning: facts (who did what to whom, who has how many of what, what was
//! where and when) that can be told in several voices and asked about, and reviews that praise or blame. Labels follow from the
//! facts behind the sentences, so every example can be checked by reading it.

pub(crate) mod chat;
pub(crate) mod ledger;
mod prose;
pub(crate) mod relation;
mod review;
pub(crate) mod structured;
mod tasks;
mod verdict;
pub(crate) mod words;
pub(crate) mod world;

use crate::{DataError, Example, GlueData, GlueTask, Label, LabelledSplit};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

pub use prose::{Document, document, prose};
pub use verdict::Verdict;

/// Training rows of each task.
pub const TRAIN_ROWS: usize = 1024;

/// Rows of each evaluation split.
pub const DEV_ROWS: usize = 400;

/// The generated task of the shape of `task`.
///
/// # Errors
/// [`DataError::NotGenerated`] for WNLI, which needs no adaptation in the paper and has no generator here.
pub fn load(task: &'static GlueTask) -> Result<GlueData, DataError> {
    let mut digest = Sha256::new();
    let mut split = |name: &str, rows: usize| -> Result<LabelledSplit, DataError> {
        let mut rng = ChaCha8Rng::from_seed(Sha256::digest(format!("{}/{name}", task.id)).into());
        let examples = (0..rows)
            .map(|_| tasks::example(task.id, name, &mut rng))
            .collect::<Option<Vec<_>>>()
            .ok_or(DataError::NotGenerated { task: task.id })?;
        examples.iter().for_each(|e| digest.update(line(e)));
        Ok(LabelledSplit {
            name: name.to_owned(),
            examples,
        })
    };
    let train = split("train", TRAIN_ROWS)?;
    let evals = task
        .eval_splits
        .iter()
        .map(|name| split(name, DEV_ROWS))
        .collect::<Result<_, _>>()?;
    Ok(GlueData {
        task,
        train,
        evals,
        sha256: format!("{:x}", digest.finalize()),
    })
}

/// An example as a line of text, for the data's hash.
fn line(example: &Example) -> String {
    let label = match example.label {
        Label::Class(class) => class.to_string(),
        Label::Score(score) => score.to_string(),
    };
    format!(
        "{}\t{}\t{label}\n",
        example.first,
        example.second.as_deref().unwrap_or_default()
    )
}
