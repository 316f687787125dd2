//! WebNLG 2017 (Gardent et al.): triples of a knowledge base, and their verbalisations.
//!
//! As in the paper's code, contexts are the modified triples, `subject : property : object` joined by ` | `, with one row per
//! text marked good.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::data::{Category, Record};
use super::dataset::{CONVERTED, Dataset, HubFiles, SplitFiles};
use super::input::Input;
use super::score::TextScorer;
use super::triples;
use crate::DataError;
use crate::synthetic::structured::{self, some_facts, tellings};
use crate::synthetic::world::{Fact, FactKind, KINDS, one};
use crate::template::Template;

/// The categories of the training split. The paper says nine of fourteen; its code and the training file have ten.
pub const SEEN: [&str; 10] = [
    "Airport",
    "Astronaut",
    "Building",
    "City",
    "ComicsCharacter",
    "Food",
    "Monument",
    "SportsTeam",
    "University",
    "WrittenWork",
];

pub(crate) static DATASET: Dataset = Dataset {
    id: "webnlg",
    name: "WebNLG 2017",
    splits: &[
        SplitFiles {
            name: "train",
            files: &["train.json", "train.json.gz"],
            hub: "train",
        },
        SplitFiles {
            name: "dev",
            files: &["dev.json", "dev.json.gz"],
            hub: "dev",
        },
        SplitFiles {
            name: "test",
            files: &["test.json", "test.json.gz"],
            hub: "test",
        },
    ],
    hub: HubFiles {
        id: "webnlg-challenge/web_nlg",
        revision: CONVERTED,
        config: "webnlg_challenge_2017",
    },
    default_template: None,
    placeholders: &[],
    metrics: triples::METRICS,
    li_liang: Some("  | "),
    folder: "the folder with train.json, dev.json and test.json of the 2017 challenge",
    read,
    generate,
    scorer: TextScorer(triples::score),
};

#[derive(Deserialize)]
struct Challenge {
    entries: Vec<BTreeMap<String, WebnlgEntry>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with category, lexicalisations and modifiedtripleset")]
struct WebnlgEntry {
    category: String,
    lexicalisations: Vec<Lexicalisation>,
    modifiedtripleset: Vec<Triple>,
}

#[derive(Deserialize)]
struct Lexicalisation {
    comment: String,
    lex: String,
}

#[derive(Deserialize)]
struct Triple {
    subject: String,
    property: String,
    object: String,
}

/// A row of the hub's data set.
#[derive(Deserialize)]
struct WebnlgRow {
    category: String,
    modified_triple_sets: TripleSets,
    lex: Lexes,
}

#[derive(Deserialize)]
struct TripleSets {
    mtriple_set: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Lexes {
    comment: Vec<String>,
    text: Vec<String>,
}

fn read(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    if input.text().is_none() {
        let rows: Vec<WebnlgRow> = input.entries()?;
        return (0..).zip(rows).map(|(at, row)| of_row(input, at, row)).collect();
    }
    let challenge: Challenge = input.document()?;
    let entries = challenge.entries.into_iter().flat_map(BTreeMap::into_values);
    Ok(entries.map(of_entry).collect())
}

fn of_entry(entry: WebnlgEntry) -> Record {
    let triples = entry.modifiedtripleset.iter();
    let triples = triples.map(|t| [&t.subject, &t.property, &t.object].map(String::as_str));
    let texts = entry.lexicalisations.into_iter().map(|l| (l.comment, l.lex));
    record(entry.category, &triples.collect::<Vec<_>>(), texts)
}

/// On the hub a triple is one text, `subject | property | object`.
fn of_row(input: &Input<'_>, at: usize, row: WebnlgRow) -> Result<Record, DataError> {
    let set = row.modified_triple_sets.mtriple_set.first().map(Vec::as_slice);
    let triples = set.unwrap_or_default().iter().map(|text| {
        let mut parts = text.splitn(3, " | ");
        match (parts.next(), parts.next(), parts.next()) {
            (Some(subject), Some(property), Some(object)) => Ok([subject, property, object]),
            _ => Err(DataError::ParquetRow {
                path: input.path.to_path_buf(),
                row: at,
                problem: format!("\"{text}\" is no triple of the form subject | property | object"),
            }),
        }
    });
    let triples = triples.collect::<Result<Vec<_>, _>>()?;
    let texts = row.lex.comment.into_iter().zip(row.lex.text);
    Ok(record(row.category, &triples, texts))
}

fn record(category: String, parts: &[[&str; 3]], texts: impl Iterator<Item = (String, String)>) -> Record {
    let good = texts.filter(|(comment, text)| comment == "good" && !text.trim().is_empty());
    Record {
        context: triples::joined(parts),
        references: good.map(|(_, text)| text.trim().to_owned()).collect(),
        category: Some(Category {
            seen: SEEN.contains(&category.as_str()),
            name: category,
        }),
        question: None,
    }
}

/// The category of facts of a kind. The training split has no entry of the last.
fn category(kind: FactKind) -> Category {
    let name = match kind {
        FactKind::Act => "Deed",
        FactKind::Transfer => "Deal",
        FactKind::Compare => "Comparison",
        FactKind::Own => "Belonging",
        FactKind::Stay => "Whereabouts",
    };
    Category {
        name: name.to_owned(),
        seen: kind != FactKind::Stay,
    }
}

/// Triples of one to three facts of one kind, written with underscores.
fn generate(split: &str, _: &Template, rng: &mut ChaCha8Rng) -> Record {
    let kinds = KINDS.into_iter().filter(|k| split != "train" || category(*k).seen);
    let kind = one(&kinds.collect::<Vec<_>>(), rng).unwrap_or(FactKind::Act);
    let facts = some_facts(3, rng, |rng| Fact::of(kind, rng));
    let parts = structured::triples(&facts).into_iter();
    let parts: Vec<[String; 3]> = parts.map(|t| t.map(|part| part.replace(' ', "_"))).collect();
    Record {
        context: triples::joined(&parts),
        references: tellings(&facts, rng),
        category: Some(category(kind)),
        question: None,
    }
}
