//! SAMSum (Gliwa et al., 2019): chats, and what they come to.
//!
//! The paper fixes no prompt; the default here is the chat, one utterance a line, and a blank line. Chats that are empty
//! (one is, in the original's training file) are left out.

use serde::Deserialize;

use super::data::Record;
use super::dataset::{CONVERTED, Dataset, HubFiles, SplitFiles};
use super::input::Input;
use crate::DataError;

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
    template: Some("{dialogue}\n\n"),
    placeholders: &["dialogue"],
    read,
};

#[derive(Deserialize)]
struct Row {
    dialogue: Option<String>,
    summary: Option<String>,
}

fn read(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    let rows: Vec<Row> = input.entries()?;
    Ok(rows.into_iter().map(|row| record(input, &row)).collect())
}

fn record(input: &Input<'_>, row: &Row) -> Record {
    let dialogue = row.dialogue.as_deref().unwrap_or_default().replace("\r\n", "\n");
    let dialogue = dialogue.trim();
    let summary = row.summary.as_deref().unwrap_or_default().trim();
    if dialogue.is_empty() || summary.is_empty() {
        return Record::default();
    }
    Record {
        context: input.prompt.fill(&[dialogue]),
        references: vec![summary.to_owned()],
        ..Record::default()
    }
}
