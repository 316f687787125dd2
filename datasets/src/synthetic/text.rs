//! Text to pretrain on: what people write when they go on about the same matter. No label of any task stands in it.

use super::review::{conclusion, review};
use super::words::REPORTS;
use super::world::{Fact, Slot, one, question, sentence};
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
        0..40 => restated(rng),
        40..55 => {
            let fact = Fact::any(rng);
            let slot = one(fact.kind.askable(), rng).unwrap_or(Slot::Who);
            let asked = question(&fact.ask(slot, rng.random_bool(0.5), rng));
            let with: Vec<Slot> = details(&fact, Some(slot), rng);
            (asked, Some(sentence(&tell(&fact, &with, rng))))
        }
        55..65 => {
            let fact = Fact::any(rng);
            let slot = one(fact.kind.askable(), rng).unwrap_or(Slot::Who);
            let asked = question(&fact.ask(slot, false, rng));
            (asked, Some(question(&fact.ask(slot, true, rng))))
        }
        65..75 => (story(&[Fact::any(rng)], rng), Some(story(&[Fact::any(rng)], rng))),
        75..95 => {
            let pleased = rng.random_bool(0.5);
            (sentence(&review(pleased, rng)), Some(conclusion(pleased, rng)))
        }
        _ => (story(&[Fact::any(rng), Fact::any(rng)], rng), None),
    };
    Document { first, second }
}

/// One or two facts, and one of them again in other words.
fn restated(rng: &mut ChaCha8Rng) -> (String, Option<String>) {
    let facts = [Fact::any(rng), Fact::any(rng)];
    let told = &facts[..rng.random_range(1..=2)];
    let again = told[rng.random_range(0..told.len())];
    let with = details(&again, None, rng);
    (story(told, rng), Some(sentence(&tell(&again, &with, rng))))
}

/// The facts with all their details, now and then as a report.
fn story(facts: &[Fact], rng: &mut ChaCha8Rng) -> String {
    let report = rng.random_bool(0.1);
    let mut one_by_one = facts.iter().map(|fact| {
        let clause = tell(fact, fact.kind.details(), rng);
        match one(&REPORTS, rng).filter(|_| report) {
            Some(start) => sentence(&format!("{start} {clause}")),
            None => sentence(&clause),
        }
    });
    let first = one_by_one.next().unwrap_or_default();
    one_by_one.fold(first, |text, next| text + " " + &next)
}

fn tell(fact: &Fact, with: &[Slot], rng: &mut ChaCha8Rng) -> String {
    let voice = rng.random_range(0..fact.kind.voices());
    fact.tell(voice, with, rng)
}

/// Each detail or not, and `wanted` in any case.
fn details(fact: &Fact, wanted: Option<Slot>, rng: &mut ChaCha8Rng) -> Vec<Slot> {
    let all = fact.kind.details().iter().copied();
    all.filter(|s| Some(*s) == wanted || rng.random_bool(0.5)).collect()
}
