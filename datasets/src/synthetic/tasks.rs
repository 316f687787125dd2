//! Eight tasks about the little world, each of the shape of one of GLUE. Every label follows from what the sentences mean.

use super::relation::{contradiction, near_miss, not_asked, some_details, some_of, tell, unsaid};
use super::review::review;
use super::words::REPORTS;
use super::world::{Fact, FactKind, Slot, one, question, sentence};
use crate::{Example, Label};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// One example of the task `id`, drawn from `rng`; `split` chooses the genre where there are two. None for an id without
/// a generator.
pub(super) fn example(id: &str, split: &str, rng: &mut ChaCha8Rng) -> Option<Example> {
    Some(match id {
        "mnli" => inference(split == "dev_mismatched", rng),
        "sst-2" => sentiment(rng),
        "mrpc" => paraphrase(rng),
        "cola" => acceptability(rng),
        "qnli" => answered(rng),
        "qqp" => same_question(rng),
        "rte" => entailed(rng),
        "sts-b" => similarity(rng),
        _ => return None,
    })
}

fn pair(first: String, second: String, label: Label) -> Example {
    Example {
        first,
        second: Some(second),
        label,
    }
}

/// `yes` as class `class`, its opposite as the other of two.
fn class_if(yes: bool, class: usize) -> Label {
    Label::Class(if yes { class } else { 1 - class })
}

/// Two different voices.
fn two_voices(kind: FactKind, rng: &mut ChaCha8Rng) -> (usize, usize) {
    let first = rng.random_range(0..kind.voices());
    let step = rng.random_range(1..kind.voices());
    (first, (first + step) % kind.voices())
}

/// MNLI's shape. 0: the second sentence follows; 1: it may or may not be so; 2: it contradicts.
fn inference(report: bool, rng: &mut ChaCha8Rng) -> Example {
    let (fact, class) = (Fact::any(rng), rng.random_range(0..3));
    let (given, told, claim) = match class {
        0 => {
            let given = some_details(&fact, rng);
            let told = some_of(&given, rng);
            (given, told, fact)
        }
        1 => unsaid(&fact, rng),
        _ => contradiction(&fact, rng),
    };
    let mut premise = tell(&fact, &given, rng);
    if report {
        premise = format!("{} {premise}", one(&REPORTS, rng).unwrap_or_default());
    }
    pair(
        sentence(&premise),
        sentence(&tell(&claim, &told, rng)),
        Label::Class(class),
    )
}

/// SST-2's shape. 1: the reviewer was pleased.
fn sentiment(rng: &mut ChaCha8Rng) -> Example {
    let pleased = rng.random_bool(0.5);
    Example {
        first: sentence(&review(pleased, rng)),
        second: None,
        label: class_if(pleased, 1),
    }
}

/// MRPC's shape. 1: both sentences say the same. Those that do not may differ in one word, or in who does it to whom.
fn paraphrase(rng: &mut ChaCha8Rng) -> Example {
    let (fact, same) = (Fact::any(rng), rng.random_bool(0.5));
    let with = some_details(&fact, rng);
    let (first, second) = two_voices(fact.kind, rng);
    let other = if same { fact } else { near_miss(&fact, rng) };
    pair(
        sentence(&fact.tell(first, &with, rng)),
        sentence(&other.tell(second, &with, rng)),
        class_if(same, 1),
    )
}

/// CoLA's shape. 1: a speaker of English would accept the sentence.
fn acceptability(rng: &mut ChaCha8Rng) -> Example {
    let (fact, accepted) = (Fact::any(rng), rng.random_bool(0.5));
    let with = some_details(&fact, rng);
    let clause = tell(&fact, &with, rng);
    let clause = if accepted { clause } else { spoil(&clause, rng) };
    Example {
        first: sentence(&clause),
        second: None,
        label: class_if(accepted, 1),
    }
}

/// Breaks the grammar of a clause: a preposition or "was" is lost or doubled, or two neighbours change places.
fn spoil(clause: &str, rng: &mut ChaCha8Rng) -> String {
    const NEEDED: [&str; 13] = [
        "by", "to", "from", "than", "was", "were", "is", "in", "at", "on", "the", "has", "belong",
    ];
    let mut words: Vec<&str> = clause.split(' ').collect();
    let needed: Vec<usize> = (0..words.len()).filter(|i| NEEDED.contains(&words[*i])).collect();
    match (one(&needed, rng), rng.random_range(0..3)) {
        (Some(at), 0) => {
            words.remove(at);
        }
        (Some(at), 1) => words.insert(at, words[at]),
        _ => {
            // The first two stay: "is Anna taller ..." would be a question.
            let at = rng.random_range(1..words.len() - 1);
            words.swap(at, at + 1);
        }
    }
    words.join(" ")
}

/// QNLI's shape. 0 (entailment): the sentence answers the question.
fn answered(rng: &mut ChaCha8Rng) -> Example {
    let (fact, yes) = (Fact::any(rng), rng.random_bool(0.5));
    let slot = one(fact.kind.askable(), rng).unwrap_or(Slot::Who);
    let asked = fact.ask(slot, rng.random_bool(0.5), rng);
    let detail = fact.kind.details().contains(&slot);
    let mut with = some_details(&fact, rng);
    with.retain(|s| *s != slot);
    // A sentence that is silent about the detail asked for, or one about something else, does not answer.
    let silent = !yes && detail && rng.random_bool(0.3);
    if detail && !silent {
        with.push(slot);
    }
    let told = if yes || silent {
        fact
    } else {
        not_asked(&fact, slot, rng)
    };
    pair(question(&asked), sentence(&tell(&told, &with, rng)), class_if(yes, 0))
}

/// QQP's shape. 1: both questions ask the same.
fn same_question(rng: &mut ChaCha8Rng) -> Example {
    let (fact, same) = (Fact::any(rng), rng.random_bool(0.5));
    let slot = one(fact.kind.askable(), rng).unwrap_or(Slot::Who);
    let first = rng.random_bool(0.5);
    let others: Vec<Slot> = fact.kind.askable().iter().copied().filter(|s| *s != slot).collect();
    let (other, other_slot) = match (same, one(&others, rng)) {
        (true, _) => (fact, slot),
        (false, Some(another)) if rng.random_bool(0.3) => (fact, another),
        (false, _) => (not_asked(&fact, slot, rng), slot),
    };
    pair(
        question(&fact.ask(slot, first, rng)),
        question(&other.ask(other_slot, !first, rng)),
        class_if(same, 1),
    )
}

/// RTE's shape: a text of two facts. 0 (entailment): the sentence follows from it.
fn entailed(rng: &mut ChaCha8Rng) -> Example {
    let (facts, yes) = ([Fact::any(rng), Fact::any(rng)], rng.random_bool(0.5));
    let told: Vec<String> = facts
        .iter()
        .map(|f| sentence(&tell(f, f.kind.details(), rng)))
        .collect();
    let fact = facts[rng.random_range(0..2)];
    let claim = if yes { fact } else { near_miss(&fact, rng) };
    let with = some_details(&claim, rng);
    pair(told.join(" "), sentence(&tell(&claim, &with, rng)), class_if(yes, 0))
}

/// STS-B's shape: five times the share of the parts in which two events agree; 0 for two unlike events.
fn similarity(rng: &mut ChaCha8Rng) -> Example {
    let fact = Fact::any(rng);
    let with = fact.kind.details();
    let mut parts: Vec<Slot> = fact.kind.core().iter().chain(with).copied().collect();
    let total = parts.len();
    let changes = rng.random_range(0..=total);
    let mut other = fact;
    if changes == total {
        while other.kind == fact.kind {
            other = Fact::any(rng);
        }
    } else {
        for _ in 0..changes {
            let slot = parts.swap_remove(rng.random_range(0..parts.len()));
            other = other.alter(slot, rng);
        }
    }
    let score = 5.0 * (total - changes) as f64 / total as f64;
    let details = other.kind.details();
    pair(
        sentence(&tell(&fact, with, rng)),
        sentence(&tell(&other, details, rng)),
        Label::Score((score * 100.0).round() / 100.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn no_example_has_an_unused_name_for_a_person_twice() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..2000 {
            let fact = Fact::any(&mut rng);
            let missed = near_miss(&fact, &mut rng);
            assert!(fact != missed && missed.get(Slot::Who) != missed.get(Slot::Whom));
            assert_eq!(missed.kind, fact.kind);
        }
    }

    #[test]
    fn a_spoilt_clause_differs() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for _ in 0..2000 {
            let fact = Fact::any(&mut rng);
            let clause = tell(&fact, fact.kind.details(), &mut rng);
            assert_ne!(spoil(&clause, &mut rng), clause);
        }
    }

    #[test]
    fn two_voices_are_two() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for kind in super::super::world::KINDS {
            for _ in 0..20 {
                let (a, b) = two_voices(kind, &mut rng);
                assert!(a != b && a < kind.voices() && b < kind.voices());
            }
        }
    }
}
