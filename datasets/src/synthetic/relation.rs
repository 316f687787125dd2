//! Pairs of sentences: what follows from a fact, what contradicts it, and what it leaves open.

use super::world::{Fact, Slot, one};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Each detail is mentioned or not.
pub(crate) fn some_details(fact: &Fact, rng: &mut ChaCha8Rng) -> Vec<Slot> {
    some_of(fact.kind.details(), rng)
}

/// Each of `slots` or not.
pub(crate) fn some_of(slots: &[Slot], rng: &mut ChaCha8Rng) -> Vec<Slot> {
    slots.iter().copied().filter(|_| rng.random_bool(0.5)).collect()
}

/// The fact in some voice.
pub(crate) fn tell(fact: &Fact, with: &[Slot], rng: &mut ChaCha8Rng) -> String {
    let voice = rng.random_range(0..fact.kind.voices());
    fact.tell(voice, with, rng)
}

/// Another fact: sometimes an unrelated one, otherwise one that differs in one word of the core or has the two persons swapped.
pub(crate) fn near_miss(fact: &Fact, rng: &mut ChaCha8Rng) -> Fact {
    miss(fact, None, rng)
}

/// A fact of the same kind that has no word of the core in common.
pub(crate) fn unlike(fact: &Fact, rng: &mut ChaCha8Rng) -> Fact {
    let core = fact.kind.core().iter();
    core.fold(*fact, |other, slot| other.alter(*slot, rng))
}

/// A near miss in what a question for `slot` takes for granted.
pub(crate) fn not_asked(fact: &Fact, slot: Slot, rng: &mut ChaCha8Rng) -> Fact {
    miss(fact, Some(slot), rng)
}

fn miss(fact: &Fact, asked: Option<Slot>, rng: &mut ChaCha8Rng) -> Fact {
    let core = fact.kind.core().iter().copied();
    let granted: Vec<Slot> = core.filter(|slot| Some(*slot) != asked).collect();
    match rng.random_range(0..10) {
        0..4 => granted.iter().fold(*fact, |other, slot| other.alter(*slot, rng)),
        4..6 if fact.is_between_two() => fact.swap(),
        _ => fact.alter(one(&granted, rng).unwrap_or(Slot::Verb), rng),
    }
}

/// Details of the premise, details of the hypothesis, and a claim that the premise leaves open.
pub(crate) fn unsaid(fact: &Fact, rng: &mut ChaCha8Rng) -> (Vec<Slot>, Vec<Slot>, Fact) {
    let mut given = some_details(fact, rng);
    match one(fact.kind.details(), rng) {
        Some(silent) if rng.random_bool(0.5) => {
            given.retain(|slot| *slot != silent);
            let mut told = some_of(&given, rng);
            told.push(silent);
            (given, told, *fact)
        }
        _ => {
            let slot = one(fact.kind.independent(), rng).unwrap_or(Slot::Verb);
            let told = some_of(&given, rng);
            (given, told, fact.alter(slot, rng))
        }
    }
}

/// As [`unsaid`], with a claim that contradicts the premise.
pub(crate) fn contradiction(fact: &Fact, rng: &mut ChaCha8Rng) -> (Vec<Slot>, Vec<Slot>, Fact) {
    let mut given = some_details(fact, rng);
    let Some(slot) = one(fact.kind.single_valued(), rng) else {
        return (given, Vec::new(), fact.swap());
    };
    let mut told = some_of(&given, rng);
    if fact.kind.details().contains(&slot) {
        for list in [&mut given, &mut told] {
            list.retain(|s| *s != slot);
            list.push(slot);
        }
    }
    (given, told, fact.alter(slot, rng))
}
