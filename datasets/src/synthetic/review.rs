//! Reviews: opinions that are stated plainly, by negation, or in the main clause of two.

use super::words::{BAD, DAYS, DEGREES, DISPLEASED, ENDINGS, GOOD, NAMES, NEGATIONS, PLEASED, TOPICS};
use super::world::one;
use rand::Rng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

/// A clause about `topic` that is pleased or not.
fn clause(topic: &str, pleased: bool, rng: &mut ChaCha8Rng) -> String {
    let negated = rng.random_bool(0.25);
    let words = if pleased != negated { &GOOD } else { &BAD };
    let word = one(words, rng).unwrap_or("good");
    if negated {
        let negation = one(&NEGATIONS, rng).unwrap_or("not");
        format!("the {topic} was {negation} {word}")
    } else if rng.random_bool(0.5) {
        let degree = one(&DEGREES, rng).unwrap_or("very");
        format!("the {topic} was {degree} {word}")
    } else {
        format!("the {topic} was {word}")
    }
}

/// A review as a clause. In two-sided ones the clause after "but", or the one that "although" does not open, decides.
pub(super) fn review(pleased: bool, rng: &mut ChaCha8Rng) -> String {
    let topics = sample(rng, TOPICS.len(), 2);
    let (first, second) = (TOPICS[topics.index(0)], TOPICS[topics.index(1)]);
    let judged = match rng.random_range(0..8) {
        0..4 => clause(first, pleased, rng),
        4..6 => format!("{} and {}", clause(first, pleased, rng), clause(second, pleased, rng)),
        6 => format!("{} but {}", clause(first, !pleased, rng), clause(second, pleased, rng)),
        _ => format!(
            "although {}, {}",
            clause(first, !pleased, rng),
            clause(second, pleased, rng)
        ),
    };
    match rng.random_range(0..4) {
        0 => format!("on {} {judged}", one(&DAYS, rng).unwrap_or_default()),
        1 => format!("{} says that {judged}", one(&NAMES, rng).unwrap_or_default()),
        _ => judged,
    }
}

/// The reviewer's conclusion; its first word tells the opinion.
pub(super) fn conclusion(pleased: bool, rng: &mut ChaCha8Rng) -> String {
    let openings = if pleased { &PLEASED } else { &DISPLEASED };
    let (opening, ending) = (one(openings, rng), one(&ENDINGS, rng));
    format!("{}, {}", opening.unwrap_or_default(), ending.unwrap_or_default())
}
