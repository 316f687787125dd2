//! SAMSum (Gliwa et al., 2019): chats and their summaries.
//!
//! The paper states no prompt; the default is the chat, one utterance per line, and a blank line. Empty chats (one in the
//! published training file) are skipped.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::data::Record;
use super::dataset::{CONVERTED, Dataset, HubFiles, SplitFiles};
use super::input::Input;
use super::score::TextScorer;
use super::summary;
use crate::DataError;
use crate::synthetic::chat;
use crate::template::Template;

pub(crate) static DATASET: Dataset = Dataset {
    id: "samsum",
    name: "SAMSum",
    splits: &[
        SplitFiles {
            name: "train",
            files: &["train.json", "train.jsonl"],
            hub: "train",
        },
        SplitFiles {
            name: "dev",
            files: &["val.json", "validation.json", "val.jsonl"],
            hub: "validation",
        },
        SplitFiles {
            name: "test",
            files: &["test.json", "test.jsonl"],
            hub: "test",
        },
    ],
    hub: HubFiles {
        id: "knkarthick/samsum",
        revision: CONVERTED,
        config: "default",
    },
    default_template: Some("{dialogue}\n\n"),
    placeholders: &["dialogue"],
    metrics: summary::METRICS,
    li_liang: None,
    folder: "the folder with train.json, val.json and test.json",
    read,
    generate,
    scorer: TextScorer(summary::score),
};

#[derive(Deserialize)]
#[serde(expecting = "an object with dialogue and summary")]
struct SamsumRow {
    dialogue: Option<String>,
    summary: Option<String>,
}

fn read(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    let rows: Vec<SamsumRow> = input.entries()?;
    let record = |row: SamsumRow| summary::record(input, row.dialogue.as_deref(), row.summary.as_deref());
    Ok(rows.into_iter().map(record).collect())
}

/// A chat and a summary of the facts in it.
fn generate(_: &str, template: &Template, rng: &mut ChaCha8Rng) -> Record {
    let chat = chat::chat(rng);
    Record {
        context: template.fill(&[&chat.lines.join("\n")]),
        references: vec![chat::summary(&chat, rng)],
        ..Record::default()
    }
}
