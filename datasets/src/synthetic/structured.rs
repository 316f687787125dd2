//! Facts as slots and triples, and the sentences that tell them.

use super::relation::some_details;
use super::words::{ACTS, COMPARISONS, COUNTS, DAYS, THINGS};
use super::world::{Fact, FactKind, Slot, sentence};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Most references of a context.
const REFERENCES: usize = 3;

/// A fact with the details that are told of it.
pub(crate) type Told = (Fact, Vec<Slot>);

/// The facts told in every voice in turn, beginning anywhere, without repetition.
pub(crate) fn tellings(facts: &[Told], rng: &mut ChaCha8Rng) -> Vec<String> {
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

/// The parts of a fact with their names.
pub(crate) fn slot_list(fact: &Fact, with: &[Slot], is: &str, next: &str) -> String {
    let (who, whom) = (("who", fact.who().to_owned()), ("whom", fact.whom().to_owned()));
    let event = |name: &str| ("event", name.to_owned());
    let number = ("number", COUNTS[fact.get(Slot::Count)].to_owned());
    let thing = ("thing", THINGS[fact.get(Slot::Thing)].to_owned());
    let mut parts = match fact.kind {
        FactKind::Act => vec![event(ACTS[fact.get(Slot::Verb)][0].0), who, whom],
        FactKind::Transfer => vec![event(fact.deal().give), who, whom, number, thing],
        FactKind::Compare => vec![event(COMPARISONS[fact.get(Slot::Verb)].0), who, whom],
        FactKind::Stay => vec![
            event("stay"),
            ("thing", fact.coloured()),
            ("place", fact.place().to_owned()),
        ],
        FactKind::Own => vec![event("own"), who, number, thing],
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

/// Triples of facts, one after the other: of each its core, then the details.
pub(crate) fn triples(facts: &[Told]) -> Vec<[String; 3]> {
    facts.iter().flat_map(|(fact, with)| triples_of(fact, with)).collect()
}

fn triples_of(fact: &Fact, with: &[Slot]) -> Vec<[String; 3]> {
    let (who, whom) = (fact.who().to_owned(), fact.whom().to_owned());
    let triple = |a: &str, b: &str, c: &str| [a, b, c].map(str::to_owned);
    let (subject, mut found) = match fact.kind {
        FactKind::Act => {
            let (_, did) = ACTS[fact.get(Slot::Verb)][0];
            (who.clone(), vec![triple(&who, did, &whom)])
        }
        FactKind::Transfer => {
            let things = fact.things();
            let core = vec![
                triple(&who, fact.deal().gave, &things),
                triple(&things, "recipient", &whom),
            ];
            (things, core)
        }
        FactKind::Compare => {
            let (more, _) = COMPARISONS[fact.get(Slot::Verb)];
            (who.clone(), vec![triple(&who, &format!("{more} than"), &whom)])
        }
        FactKind::Stay => (fact.coloured(), vec![triple(&fact.coloured(), "place", fact.place())]),
        FactKind::Own => (who.clone(), vec![triple(&who, "owns", &fact.things())]),
    };
    if with.contains(&Slot::Place) {
        found.push(triple(&subject, "place", fact.place()));
    }
    if with.contains(&Slot::Day) {
        found.push(triple(&subject, "day", DAYS[fact.get(Slot::Day)]));
    }
    found
}

/// One to `most` facts, each made by `make`, with some of their details.
pub(crate) fn some_facts(most: usize, rng: &mut ChaCha8Rng, make: impl Fn(&mut ChaCha8Rng) -> Fact) -> Vec<Told> {
    let count = rng.random_range(1..=most);
    let fact = |_| {
        let fact = make(rng);
        let with = some_details(&fact, rng);
        (fact, with)
    };
    (0..count).map(fact).collect()
}
