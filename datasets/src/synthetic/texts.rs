//! Five data sets about the little world, each of the shape of one of those that GPT-2 is adapted to: slots, triples,
//! questions about tables and chats, with what people would write for them.

use super::chat::{chat, summary};
use super::ledger;
use super::relation::some_details;
use super::words::{ACTS, COMPARISONS, COUNTS, DAYS, THINGS};
use super::world::{Fact, KINDS, Kind, Slot, one, sentence};
use crate::DataError;
use crate::spacing::{Spacing, space};
use crate::template::Template;
use crate::text::webnlg::joined;
use crate::text::{Category, Dataset, Record, TextData, TextSplit, collect};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Contexts to train on in each data set.
pub const TRAIN_CONTEXTS: usize = 1500;

/// Contexts of each of `dev` and `test`, none of which is in training.
pub const EVAL_CONTEXTS: usize = 60;

/// References of a context, where its texts can be told in several ways.
const REFERENCES: usize = 3;

/// What makes one record, of the split of that name.
type Make = fn(&str, &Template, &mut ChaCha8Rng) -> Record;

/// The generated data set of the shape of `dataset`, with its splits `train`, `dev` and `test`.
///
/// # Errors
/// [`DataError::Template`] as of [`crate::text::load`], and [`DataError::NotGenerated`] for a data set without a generator.
pub fn texts(dataset: &'static Dataset, template: Option<&str>) -> Result<TextData, DataError> {
    let prompt = dataset.prompt(template)?;
    let make: Make = match dataset.id {
        "e2e" => slots,
        "wikisql" => ledger::question,
        "samsum" => chatted,
        "webnlg" => |split, _, rng| triples(split, 3, rng),
        "dart" => |_, _, rng| relations(rng),
        id => return Err(DataError::NotGenerated { task: id }),
    };
    let (mut digest, mut known) = (Sha256::new(), BTreeSet::new());
    let mut split = |name: &'static str, contexts: usize| -> TextSplit {
        let mut rng = ChaCha8Rng::from_seed(Sha256::digest(format!("{}/{name}", dataset.id)).into());
        let mut records = Vec::with_capacity(contexts);
        while records.len() < contexts {
            let record = make(name, &prompt, &mut rng);
            // A prompt that shows too little may be the same for many; what is to be written then tells them apart.
            let shown = dataset.template.map(|_| record.references.join("\n"));
            if known.insert((record.context.clone(), shown)) {
                digest.update(format!("{}\n{}\n\n", record.context, record.references.join("\n")));
                records.push(record);
            }
        }
        collect(name, records)
    };
    let splits = [
        ("train", TRAIN_CONTEXTS),
        ("dev", EVAL_CONTEXTS),
        ("test", EVAL_CONTEXTS),
    ];
    let splits = splits.map(|(name, contexts)| split(name, contexts)).to_vec();
    Ok(TextData {
        dataset,
        splits,
        sha256: format!("{:x}", digest.finalize()),
    })
}

/// The facts told in every voice in turn, beginning anywhere, without repetition.
fn tellings(facts: &[(Fact, Vec<Slot>)], rng: &mut ChaCha8Rng) -> Vec<String> {
    let first = rng.random_range(0..REFERENCES);
    let mut told: Vec<String> = Vec::new();
    for turn in first..first + REFERENCES {
        let sentences = facts.iter().map(|(fact, with)| {
            let voice = turn % fact.kind.voices();
            sentence(&fact.tell(voice, with, rng))
        });
        let text = sentences.collect::<Vec<_>>().join(" ");
        if !told.contains(&text) {
            told.push(text);
        }
    }
    told
}

/// E2E's shape: `event : help | who : Anna | whom : Ben | day : Monday`.
fn slots(_: &str, _: &Template, rng: &mut ChaCha8Rng) -> Record {
    let fact = Fact::any(rng);
    let with = some_details(&fact, rng);
    let told = tellings(&[(fact, with.clone())], rng);
    Record {
        context: slot_list(&fact, &with, " : ", " | "),
        references: told.iter().map(|text| space(text, Spacing::Valid)).collect(),
        ..Record::default()
    }
}

/// The parts of a fact with their names.
pub(super) fn slot_list(fact: &Fact, with: &[Slot], is: &str, next: &str) -> String {
    let (who, whom) = (("who", fact.who().to_owned()), ("whom", fact.whom().to_owned()));
    let event = |name: &str| ("event", name.to_owned());
    let number = ("number", COUNTS[fact.get(Slot::Count)].to_owned());
    let thing = ("thing", THINGS[fact.get(Slot::Thing)].to_owned());
    let mut parts = match fact.kind {
        Kind::Act => vec![event(ACTS[fact.get(Slot::Verb)][0].0), who, whom],
        Kind::Transfer => vec![event(fact.deal().give), who, whom, number, thing],
        Kind::Compare => vec![event(COMPARISONS[fact.get(Slot::Verb)].0), who, whom],
        Kind::Stay => vec![
            event("stay"),
            ("thing", fact.coloured()),
            ("place", fact.place().to_owned()),
        ],
        Kind::Own => vec![event("own"), who, number, thing],
    };
    if with.contains(&Slot::Place) {
        parts.push(("place", fact.place().to_owned()));
    }
    if with.contains(&Slot::Day) {
        parts.push(("day", DAYS[fact.get(Slot::Day)].to_owned()));
    }
    let parts = parts.into_iter().map(|(name, value)| format!("{name}{is}{value}"));
    parts.collect::<Vec<_>>().join(next)
}

/// A fact as triples: its core, then the details.
fn as_triples(fact: &Fact, with: &[Slot]) -> Vec<[String; 3]> {
    let (who, whom) = (fact.who().to_owned(), fact.whom().to_owned());
    let triple = |a: &str, b: &str, c: &str| [a, b, c].map(str::to_owned);
    let (subject, mut found) = match fact.kind {
        Kind::Act => {
            let (_, did) = ACTS[fact.get(Slot::Verb)][0];
            (who.clone(), vec![triple(&who, did, &whom)])
        }
        Kind::Transfer => {
            let things = fact.things();
            let core = vec![
                triple(&who, fact.deal().gave, &things),
                triple(&things, "recipient", &whom),
            ];
            (things, core)
        }
        Kind::Compare => {
            let (more, _) = COMPARISONS[fact.get(Slot::Verb)];
            (who.clone(), vec![triple(&who, &format!("{more} than"), &whom)])
        }
        Kind::Stay => (fact.coloured(), vec![triple(&fact.coloured(), "place", fact.place())]),
        Kind::Own => (who.clone(), vec![triple(&who, "owns", &fact.things())]),
    };
    if with.contains(&Slot::Place) {
        found.push(triple(&subject, "place", fact.place()));
    }
    if with.contains(&Slot::Day) {
        found.push(triple(&subject, "day", DAYS[fact.get(Slot::Day)]));
    }
    found
}

/// What facts of a kind are about, as WebNLG has categories. Training has none of the last.
fn category(kind: Kind) -> Category {
    let name = match kind {
        Kind::Act => "Deed",
        Kind::Transfer => "Deal",
        Kind::Compare => "Comparison",
        Kind::Own => "Belonging",
        Kind::Stay => "Whereabouts",
    };
    Category {
        name: name.to_owned(),
        seen: kind != Kind::Stay,
    }
}

/// WebNLG's shape: triples of one to `most` facts of one kind, written with underscores.
fn triples(split: &str, most: usize, rng: &mut ChaCha8Rng) -> Record {
    let kinds: Vec<Kind> = KINDS
        .into_iter()
        .filter(|k| split != "train" || category(*k).seen)
        .collect();
    let kind = one(&kinds, rng).unwrap_or(Kind::Act);
    let facts: Vec<(Fact, Vec<Slot>)> = (0..rng.random_range(1..=most))
        .map(|_| {
            let fact = Fact::of(kind, rng);
            (fact, some_details(&fact, rng))
        })
        .collect();
    let all: Vec<[String; 3]> = facts.iter().flat_map(|(fact, with)| as_triples(fact, with)).collect();
    let all: Vec<[String; 3]> = all.into_iter().map(|t| t.map(|part| part.replace(' ', "_"))).collect();
    let borrowed: Vec<[&str; 3]> = all.iter().map(|t| [t[0].as_str(), &t[1], &t[2]]).collect();
    Record {
        context: joined(&borrowed),
        references: tellings(&facts, rng),
        category: Some(category(kind)),
        question: None,
    }
}

/// DART's shape: triples of one or two facts of any kind.
fn relations(rng: &mut ChaCha8Rng) -> Record {
    let facts: Vec<(Fact, Vec<Slot>)> = (0..rng.random_range(1..=2))
        .map(|_| {
            let fact = Fact::any(rng);
            (fact, some_details(&fact, rng))
        })
        .collect();
    let all: Vec<[String; 3]> = facts.iter().flat_map(|(fact, with)| as_triples(fact, with)).collect();
    let borrowed: Vec<[&str; 3]> = all.iter().map(|t| [t[0].as_str(), &t[1], &t[2]]).collect();
    Record {
        context: joined(&borrowed),
        references: tellings(&facts, rng),
        ..Record::default()
    }
}

/// SAMSum's shape: a chat, and what was said in it.
fn chatted(_: &str, prompt: &Template, rng: &mut ChaCha8Rng) -> Record {
    let chat = chat(rng);
    Record {
        context: prompt.fill(&[&chat.lines.join("\n")]),
        references: vec![summary(&chat, rng)],
        ..Record::default()
    }
}
