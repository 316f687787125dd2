//! Text for pretraining: restatements, agreement and disagreement, questions and answers, reviews, with verdicts of a document's first
//! part on its second. Predicting these, or a "yes", "perhaps", "no" or "alas" that opens the second part, requires the sentences
//! before it. No row of a task is in it, and no task's label; facts, and how they are told, are the tasks' too.

use super::chat::{chat, summary};
use super::ledger;
use super::relation::{contradiction, near_miss, not_asked, some_details, some_of, tell, unsaid};
use super::review::{conclusion, review};
use super::structured::slot_list;
use super::verdict::{Judged, Verdict, judged};
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
    /// What the first part says of the second, where the two can be compared.
    pub verdict: Option<Verdict>,
    /// What it says of each word of the second (words end at blanks); none on those that no fact hangs on. Empty where there is
    /// nothing to compare.
    pub verdicts: Vec<Option<Verdict>>,
}

/// A document for an encoder, drawn from `rng`. Most have two parts, of which the second restates the first, contradicts it, goes
/// beyond it, or answers it.
pub fn document(rng: &mut ChaCha8Rng) -> Document {
    let document = match rng.random_range(0..100) {
        0..6 => restated(rng),
        6..32 => claimed(rng),
        32..42 => drifted(rng),
        42..54 => answered(rng),
        54..58 => left_open(rng),
        58..67 => asked_again(rng),
        67..71 => asked_otherwise(rng),
        71..97 => opinion(rng),
        _ => story(&[Fact::any(rng), Fact::any(rng)], rng).into(),
    };
    // Most replies are left away: the second part alone has to be compared then.
    match rng.random_bool(0.75) {
        true => document.without_reply(),
        false => document,
    }
}

/// A document of a kind that prose has too.
fn told(rng: &mut ChaCha8Rng) -> Document {
    match rng.random_range(0..100) {
        0..15 => restated(rng),
        15..50 => claimed(rng),
        50..65 => answered(rng),
        65..77 => asked_again(rng),
        77..97 => opinion(rng),
        _ => story(&[Fact::any(rng), Fact::any(rng)], rng).into(),
    }
}

impl From<String> for Document {
    fn from(first: String) -> Document {
        Document {
            first,
            second: None,
            verdict: None,
            verdicts: Vec::new(),
        }
    }
}

impl Document {
    /// `first` and `said`, on which the whole verdict is `verdict`.
    fn compared(first: String, verdict: Verdict, (said, verdicts): Judged, end: fn(&str) -> String) -> Document {
        Document {
            first,
            second: Some(end(&said)),
            verdict: Some(verdict),
            verdicts,
        }
    }

    /// As [`Document::compared`], with a second part that the verdict opens: `Yes, ...`.
    fn replied(first: String, verdict: Verdict, (said, verdicts): Judged, end: fn(&str) -> String) -> Document {
        let reply = match verdict {
            Verdict::Agrees => "yes",
            Verdict::Differs => "no",
            Verdict::Open => "perhaps",
        };
        let verdicts = [None].into_iter().chain(verdicts).collect();
        Document::compared(first, verdict, (format!("{reply}, {said}"), verdicts), end)
    }

    /// The same without the word that opens a compared second part.
    fn without_reply(self) -> Document {
        let Some((_, said)) = self.second.as_deref().and_then(|second| second.split_once(", ")) else {
            return self;
        };
        match self.verdicts.is_empty() {
            true => self,
            false => Document {
                second: Some(said.to_owned()),
                verdicts: self.verdicts[1..].to_vec(),
                ..self
            },
        }
    }
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
            let Document { first, second, .. } = told(rng);
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
fn opinion(rng: &mut ChaCha8Rng) -> Document {
    let pleased = rng.random_bool(0.5);
    let reviews = rng.random_range(1..=3);
    let said: Vec<String> = (0..reviews).map(|_| sentence(&review(pleased, rng))).collect();
    Document {
        second: Some(sentence(&conclusion(pleased, rng))),
        ..said.join(" ").into()
    }
}

/// One or two facts, and one of them again in other words.
fn restated(rng: &mut ChaCha8Rng) -> Document {
    let facts = [Fact::any(rng), Fact::any(rng)];
    let told = &facts[..rng.random_range(1..=2)];
    let again = told[rng.random_range(0..told.len())];
    let with = some_details(&again, rng);
    let first = story(told, rng);
    let said = judged((&again, &again), &[], rng, |fact, rng| tell(fact, &with, rng));
    Document::compared(first, Verdict::Agrees, said, sentence)
}

/// One or two facts, and a claim that follows, contradicts, or is left open.
fn claimed(rng: &mut ChaCha8Rng) -> Document {
    let fact = Fact::any(rng);
    let (verdict, (given, told, claim)) = match rng.random_range(0..3) {
        0 => {
            let given = some_details(&fact, rng);
            let told = some_of(&given, rng);
            (Verdict::Agrees, (given, told, fact))
        }
        1 => (Verdict::Open, unsaid(&fact, rng)),
        _ if rng.random_bool(0.5) => (Verdict::Differs, contradiction(&fact, rng)),
        _ => {
            let with = some_details(&fact, rng);
            (Verdict::Differs, (with.clone(), with, near_miss(&fact, rng)))
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
    let open: Vec<Slot> = told.iter().copied().filter(|slot| !given.contains(slot)).collect();
    let said = judged((&claim, &fact), &open, rng, |fact, rng| tell(fact, &told, rng));
    Document::replied(first, verdict, said, sentence)
}

/// A fact, and one of the same kind that agrees with it in some of the parts.
fn drifted(rng: &mut ChaCha8Rng) -> Document {
    let fact = Fact::any(rng);
    let with = fact.kind.details();
    let mut claim = fact;
    for slot in some_of(&[fact.kind.core(), with].concat(), rng) {
        claim = claim.alter(slot, rng);
    }
    let first = sentence(&tell(&fact, with, rng));
    let said = judged((&claim, &fact), &[], rng, |fact, rng| tell(fact, with, rng));
    let verdict = match claim == fact {
        true => Verdict::Agrees,
        false => Verdict::Differs,
    };
    Document::compared(first, verdict, said, sentence)
}

/// A question, and an answer or another fact.
fn answered(rng: &mut ChaCha8Rng) -> Document {
    let fact = Fact::any(rng);
    let slot = one(fact.kind.askable(), rng).unwrap_or(Slot::Who);
    let asked = question(&fact.ask(slot, rng.random_bool(0.5), rng));
    let mut with = some_details(&fact, rng);
    with.retain(|s| *s != slot);
    // The question does not name other details.
    let open = with.clone();
    if fact.kind.details().contains(&slot) {
        with.push(slot);
    }
    let (verdict, told) = if rng.random_bool(0.5) {
        (Verdict::Agrees, fact)
    } else {
        (Verdict::Differs, not_asked(&fact, slot, rng))
    };
    let said = judged((&told, &fact), &open, rng, |fact, rng| tell(fact, &with, rng));
    Document::replied(asked, verdict, said, sentence)
}

/// A question about a detail, and the fact without it.
fn left_open(rng: &mut ChaCha8Rng) -> Document {
    let fact = loop {
        let fact = Fact::any(rng);
        if !fact.kind.details().is_empty() {
            break fact;
        }
    };
    let slot = one(fact.kind.details(), rng).unwrap_or(Slot::Day);
    let mut with = some_details(&fact, rng);
    with.retain(|s| *s != slot);
    let asked = question(&fact.ask(slot, rng.random_bool(0.5), rng));
    let said = judged((&fact, &fact), &with, rng, |fact, rng| tell(fact, &with, rng));
    Document::compared(asked, Verdict::Open, said, sentence)
}

/// A question about a fact, and a question about another part of it, or the same question again.
fn asked_otherwise(rng: &mut ChaCha8Rng) -> Document {
    let fact = Fact::any(rng);
    let [slot, other] = [(); 2].map(|()| one(fact.kind.askable(), rng).unwrap_or(Slot::Who));
    let verdict = match slot == other {
        true => Verdict::Agrees,
        false => Verdict::Differs,
    };
    let asked = question(&fact.ask(slot, rng.random_bool(0.5), rng));
    let second = rng.random_bool(0.5);
    let said = judged((&fact, &fact), &[slot], rng, |fact, rng| fact.ask(other, second, rng));
    Document::compared(asked, verdict, said, question)
}

/// A question, and the same question in other words or another one.
fn asked_again(rng: &mut ChaCha8Rng) -> Document {
    let fact = Fact::any(rng);
    let slot = one(fact.kind.askable(), rng).unwrap_or(Slot::Who);
    let second = rng.random_bool(0.5);
    let (verdict, other) = if rng.random_bool(0.5) {
        (Verdict::Agrees, fact)
    } else {
        (Verdict::Differs, not_asked(&fact, slot, rng))
    };
    let said = judged((&other, &fact), &[], rng, |fact, rng| fact.ask(slot, !second, rng));
    let asked = question(&fact.ask(slot, second, rng));
    Document::replied(asked, verdict, said, question)
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
