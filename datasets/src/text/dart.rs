//! DART 1.1.1 (Nan et al., 2021): triples from tables and other data sets, and their verbalisations.
//!
//! As in the paper's code, contexts are `subject : relation : object` joined by ` | ` with relations in lower case, one row per
//! text.
//! Read from the JSON and the XML of its distribution, and from the hub.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::data::Record;
use super::dataset::{CONVERTED, Dataset, HubFiles, SplitFiles};
use super::input::Input;
use super::score::TextScorer;
use super::triples;
use crate::DataError;
use crate::synthetic::structured::{self, some_facts, tellings};
use crate::synthetic::world::Fact;
use crate::template::Template;
use crate::text_file::TextFile;

pub(crate) static DATASET: Dataset = Dataset {
    id: "dart",
    name: "DART",
    splits: &[
        SplitFiles {
            name: "train",
            files: &[
                "dart-v1.1.1-full-train.json",
                "dart-v1.1.1-full-train.json.gz",
                "dart-v1.1.1-full-train.xml",
                "dart-v1.1.1-full-train.xml.gz",
            ],
            hub: "train",
        },
        SplitFiles {
            name: "dev",
            files: &[
                "dart-v1.1.1-full-dev.json",
                "dart-v1.1.1-full-dev.json.gz",
                "dart-v1.1.1-full-dev.xml",
                "dart-v1.1.1-full-dev.xml.gz",
            ],
            hub: "validation",
        },
        SplitFiles {
            name: "test",
            files: &[
                "dart-v1.1.1-full-test.json",
                "dart-v1.1.1-full-test.json.gz",
                "dart-v1.1.1-full-test.xml",
                "dart-v1.1.1-full-test.xml.gz",
            ],
            hub: "test",
        },
    ],
    hub: HubFiles {
        id: "Yale-LILY/dart",
        revision: CONVERTED,
        config: "default",
    },
    default_template: None,
    placeholders: &[],
    metrics: triples::METRICS,
    li_liang: Some(" "),
    folder: "the folder with dart-v1.1.1-full-train.json, -dev.json and -test.json",
    read,
    generate,
    scorer: TextScorer(triples::score),
};

#[derive(Deserialize)]
#[serde(expecting = "an object with tripleset and annotations")]
struct DartEntry {
    tripleset: Vec<[String; 3]>,
    annotations: Annotations,
}

/// A list in the distribution, lists side by side on the hub.
#[derive(Deserialize)]
#[serde(untagged)]
enum Annotations {
    Each(Vec<Annotation>),
    Columns { text: Vec<String> },
}

#[derive(Deserialize)]
struct Annotation {
    text: String,
}

fn read(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    if let Some(file) = input.text()
        && file.text().trim_start().starts_with('<')
    {
        return read_xml(input, file);
    }
    let entries: Vec<DartEntry> = input.entries()?;
    let of = |entry: DartEntry| {
        let texts = match entry.annotations {
            Annotations::Each(each) => each.into_iter().map(|a| a.text).collect(),
            Annotations::Columns { text } => text,
        };
        record(&entry.tripleset, texts)
    };
    Ok(entries.into_iter().map(of).collect())
}

fn record(parts: &[[String; 3]], texts: Vec<String>) -> Record {
    let lower = |[subject, relation, object]: &[String; 3]| [subject.clone(), relation.to_lowercase(), object.clone()];
    let parts: Vec<[String; 3]> = parts.iter().map(lower).collect();
    let texts = texts.into_iter().map(|t| t.trim().to_owned());
    Record {
        context: triples::joined(&parts),
        references: texts.filter(|t| !t.is_empty()).collect(),
        ..Record::default()
    }
}

/// Triples of one or two facts of any kind.
fn generate(_: &str, _: &Template, rng: &mut ChaCha8Rng) -> Record {
    let facts = some_facts(2, rng, Fact::any);
    Record {
        context: triples::joined(&structured::triples(&facts)),
        references: tellings(&facts, rng),
        ..Record::default()
    }
}

/// An `<entry>` that is being read.
#[derive(Default)]
struct OpenEntry {
    triples: Vec<[String; 3]>,
    texts: Vec<String>,
}

/// `<entries><entry>` with `<modifiedtripleset><mtriple>subject | relation | object</mtriple>` and `<lex>text</lex>`.
fn read_xml(input: &Input<'_>, file: &TextFile) -> Result<Vec<Record>, DataError> {
    let text = file.text();
    let mut reader = Reader::from_str(text);
    let mut records = Vec::new();
    let (mut parts, mut inside) = (None::<OpenEntry>, None::<String>);
    loop {
        let at = |position: u64| {
            1 + text.as_bytes()[..position as usize]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
        };
        let event = reader.read_event();
        let here = reader.buffer_position();
        let bad = |problem: String| input.malformed(at(here), problem);
        match event.map_err(|e| input.malformed(at(reader.error_position()), format!("not XML: {e}")))? {
            Event::Start(tag) => match tag.name().as_ref() {
                "entry" => parts = Some(OpenEntry::default()),
                "mtriple" | "lex" => inside = Some(String::new()),
                _ => {}
            },
            Event::Text(piece) => {
                if let Some(inside) = &mut inside {
                    inside.push_str(&piece);
                }
            }
            Event::CData(piece) => {
                if let Some(inside) = &mut inside {
                    inside.push_str(&piece);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(inside) = &mut inside {
                    inside.push_str(&resolved(&reference).map_err(bad)?);
                }
            }
            Event::End(tag) => match (tag.name().as_ref(), &mut parts) {
                ("mtriple", Some(parts)) => {
                    let triple = inside.take().unwrap_or_default();
                    parts.triples.push(split_triple(&triple).map_err(bad)?);
                }
                ("lex", Some(parts)) => parts.texts.push(inside.take().unwrap_or_default()),
                ("entry", open) => {
                    let OpenEntry { triples, texts } = open.take().unwrap_or_default();
                    records.push(record(&triples, texts));
                }
                _ => {}
            },
            Event::Eof if parts.is_some() => return Err(bad("the file ends inside an <entry>".to_owned())),
            Event::Eof => return Ok(records),
            _ => {}
        }
    }
}

/// `&amp;` and its like.
fn resolved(reference: &BytesRef<'_>) -> Result<String, String> {
    if let Some(letter) = reference.resolve_char_ref().map_err(|e| format!("not XML: {e}"))? {
        return Ok(letter.to_string());
    }
    let name: &str = reference;
    quick_xml::escape::resolve_predefined_entity(name)
        .map(str::to_owned)
        .ok_or_else(|| format!("unknown entity &{name};"))
}

fn split_triple(text: &str) -> Result<[String; 3], String> {
    let parts: Vec<&str> = text.splitn(3, '|').map(str::trim).collect();
    match parts[..] {
        [subject, relation, object] => Ok([subject, relation, object].map(str::to_owned)),
        _ => Err(format!(
            "\"{text}\" is no triple of the form subject | relation | object"
        )),
    }
}
