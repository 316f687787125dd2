//! XSum (Narayan et al., 2018): news articles and summaries of one sentence. It is not in the paper.
//!
//! The default prompt is the article, one paragraph a line, and a blank line.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::data::Record;
use super::dataset::{CONVERTED, Dataset, HubFiles, SplitFiles};
use super::input::Input;
use super::score::TextScorer;
use super::summary;
use crate::DataError;
use crate::synthetic::relation::{some_details, tell, unlike};
use crate::synthetic::words::{DAYS, NAMES, REPORTS};
use crate::synthetic::world::{Fact, Slot, one, sentence};
use crate::template::Template;

pub(crate) static DATASET: Dataset = Dataset {
    id: "xsum",
    name: "XSum",
    splits: &[
        SplitFiles {
            name: "train",
            files: &["train.json", "train.jsonl"],
            hub: "train",
        },
        SplitFiles {
            name: "dev",
            files: &["validation.json", "validation.jsonl", "val.json", "val.jsonl"],
            hub: "validation",
        },
        SplitFiles {
            name: "test",
            files: &["test.json", "test.jsonl"],
            hub: "test",
        },
    ],
    hub: HubFiles {
        id: "EdinburghNLP/xsum",
        revision: CONVERTED,
        config: "default",
    },
    default_template: Some("{document}\n\n"),
    placeholders: &["document"],
    metrics: summary::METRICS,
    li_liang: None,
    folder: "the folder with train.jsonl, validation.jsonl and test.jsonl",
    read,
    generate,
    scorer: TextScorer(summary::score),
};

#[derive(Deserialize)]
#[serde(expecting = "an object with document and summary")]
struct XsumRow {
    document: Option<String>,
    summary: Option<String>,
}

fn read(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    let rows: Vec<XsumRow> = input.entries()?;
    let record = |row: XsumRow| summary::record(input, row.document.as_deref(), row.summary.as_deref());
    Ok(rows.into_iter().map(record).collect())
}

/// An article: what happened, a witness who says where and when, and what else is reported. The summary is what happened, with
/// all its details.
fn generate(_: &str, template: &Template, rng: &mut ChaCha8Rng) -> Record {
    let fact = Fact::any(rng);
    let told = some_details(&fact, rng);
    let mut lines = vec![sentence(&tell(&fact, &told, rng))];
    for slot in fact.kind.details().iter().filter(|slot| !told.contains(slot)).copied() {
        let witness = one(&NAMES, rng).unwrap_or_default();
        let detail = match slot {
            Slot::Day => format!("it was on {}", DAYS[fact.get(Slot::Day)]),
            _ => format!("it was {}", fact.place()),
        };
        lines.push(format!("\"{}\" said {witness}.", sentence(&detail).replace('.', ",")));
    }
    for _ in 0..rng.random_range(1..=2) {
        let other = unlike(&fact, rng);
        let report = one(&REPORTS, rng).unwrap_or("they say that");
        lines.push(sentence(&format!("{report} {}", tell(&other, &[], rng))));
    }
    Record {
        context: template.fill(&[&lines.join("\n")]),
        references: vec![sentence(&fact.tell(0, fact.kind.details(), rng))],
        ..Record::default()
    }
}
