//! Text for pretraining: restatements, agreement and disagreement, questions and answers, reviews. Predicting a "yes",
//! "perhaps", "no" or "alas" requires the sentences before it. It contains no label of any task.

use super::chat::{chat, summary};
use super::ledger;
use super::relation::{contradiction, near_miss, not_asked, some_details, some_of, tell, unsaid};
use super::review::{conclusion, review};
use super::structured::slot_list;
use super::words::REPORTS;
use super::world::{Fact, Slot, one, question, sentence};
use crate::spacing::{Spacing, space};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A text of one or two parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The first part.
    pub first: String,
    /// What follows it, if anything.
    pub second: Option<String>,
}

/// A document drawn from `rng`.
pub fn document(rng: &mut ChaCha8Rng) -> Document {
    let (first, second) = match rng.random_range(0..100) {
        0..15 => restated(rng),
        15..50 => claimed(rng),
        50..65 => answered(rng),
        65..77 => asked_again(rng),
        77..97 => opinion(rng),
        _ => (story(&[Fact::any(rng), Fact::any(rng)], rng), None),
    };
    Document { first, second }
}

/// A text drawn from `rng` for a causal model: stories, notes and their retelling, chats, tables, questions, queries. It never
/// contains a context of a generated data set together with its completion.
pub fn prose(rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..100) {
        0..30 => noted(rng),
        30..45 => {
            let chat = chat(rng);
            match rng.random_bool(0.5) {
                true => format!("{}\nIn short, {}", chat.lines.join("\n"), summary(&chat, rng)),
                false => chat.lines.join("\n"),
            }
        }
        45..55 => ledger::told(rng),
        55..60 => ledger::ask(rng).0,
        60..65 => ledger::ask(rng).1.to_string(),
        65..75 => {
            let spacing = Spacing::Valid;
            space(&story(&[Fact::any(rng), Fact::any(rng)], rng), spacing)
        }
        _ => {
            let Document { first, second } = document(rng);
            second.map_or(first.clone(), |second| format!("{first} {second}"))
        }
    }
}

/// Notes of one or two facts, and the story that they tell.
fn noted(rng: &mut ChaCha8Rng) -> String {
    let facts = [Fact::any(rng), Fact::any(rng)];
    let facts = &facts[..rng.random_range(1..=2)];
    let notes = facts.iter().map(|fact| slot_list(fact, fact.kind.details(), " ", ", "));
    let notes = notes.collect::<Vec<_>>().join("; ");
    format!("Notes: {notes}. {}", story(facts, rng))
}

/// Reviews by one person, all positive or all negative, and a conclusion.
fn opinion(rng: &mut ChaCha8Rng) -> (String, Option<String>) {
    let pleased = rng.random_bool(0.5);
    let reviews = rng.random_range(1..=3);
    let said: Vec<String> = (0..reviews).map(|_| sentence(&review(pleased, rng))).collect();
    (said.join(" "), Some(sentence(&conclusion(pleased, rng))))
}

/// One or two facts, and one of them again in other words.
fn restated(rng: &mut ChaCha8Rng) -> (String, Option<String>) {
    let facts = [Fact::any(rng), Fact::any(rng)];
    let told = &facts[..rng.random_range(1..=2)];
    let again = told[rng.random_range(0..told.len())];
    let with = some_details(&again, rng);
    (story(told, rng), Some(sentence(&tell(&again, &with, rng))))
}

/// One or two facts, and a claim that follows, contradicts, or is left open.
fn claimed(rng: &mut ChaCha8Rng) -> (String, Option<String>) {
    let fact = Fact::any(rng);
    let (reply, (given, told, claim)) = match rng.random_range(0..3) {
        0 => {
            let given = some_details(&fact, rng);
            let told = some_of(&given, rng);
            ("yes", (given, told, fact))
        }
        1 => ("perhaps", unsaid(&fact, rng)),
        _ if rng.random_bool(0.5) => ("no", contradiction(&fact, rng)),
        _ => {
            let with = some_details(&fact, rng);
            ("no", (with.clone(), with, near_miss(&fact, rng)))
        }
    };
    let mut first = sentence(&tell(&fact, &given, rng));
    if rng.random_bool(0.3) {
        let other = story(&[Fact::any(rng)], rng);
        first = if rng.random_bool(0.5) {
            format!("{first} {other}")
        } else {
            format!("{other} {first}")
        };
    }
    let second = format!("{reply}, {}", tell(&claim, &told, rng));
    (first, Some(sentence(&second)))
}

/// A question, and an answer or another fact.
fn answered(rng: &mut ChaCha8Rng) -> (String, Option<String>) {
    let fact = Fact::any(rng);
    let slot = one(fact.kind.askable(), rng).unwrap_or(Slot::Who);
    let asked = question(&fact.ask(slot, rng.random_bool(0.5), rng));
    let mut with = some_details(&fact, rng);
    with.retain(|s| *s != slot);
    if fact.kind.details().contains(&slot) {
        with.push(slot);
    }
    let (reply, told) = if rng.random_bool(0.5) {
        ("yes", fact)
    } else {
        ("no", not_asked(&fact, slot, rng))
    };
    (asked, Some(sentence(&format!("{reply}, {}", tell(&told, &with, rng)))))
}

/// A question, and the same question in other words or another one.
fn asked_again(rng: &mut ChaCha8Rng) -> (String, Option<String>) {
    let fact = Fact::any(rng);
    let slot = one(fact.kind.askable(), rng).unwrap_or(Slot::Who);
    let second = rng.random_bool(0.5);
    let (reply, other) = if rng.random_bool(0.5) {
        ("yes", fact)
    } else {
        ("no", not_asked(&fact, slot, rng))
    };
    let again = format!("{reply}, {}", other.ask(slot, !second, rng));
    (question(&fact.ask(slot, second, rng)), Some(question(&again)))
}

/// The facts with all their details, now and then as a report.
fn story(facts: &[Fact], rng: &mut ChaCha8Rng) -> String {
    let report = rng.random_bool(0.1);
    let told = facts.iter().map(|fact| {
        let clause = tell(fact, fact.kind.details(), rng);
        match one(&REPORTS, rng).filter(|_| report) {
            Some(start) => sentence(&format!("{start} {clause}")),
            None => sentence(&clause),
        }
    });
    told.collect::<Vec<_>>().join(" ")
}
