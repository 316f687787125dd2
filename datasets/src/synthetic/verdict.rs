//! What a first sentence says of a second one, and of each of its words.

use super::world::{Fact, Slot};
use rand_chacha::ChaCha8Rng;

/// What the first part of a document says of the second, or of a word in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It says the same.
    Agrees,
    /// It says something else in this place.
    Differs,
    /// It says nothing about it.
    Open,
}

/// A clause with a verdict on each of its words (words end at blanks); none on those that stand in every telling of such a fact.
pub(super) type Judged = (String, Vec<Option<Verdict>>);

/// `say`s `claim`, with verdicts by `truth`, the fact of the first part, which leaves the slots in `open` unsaid. Both facts are of one
/// kind, so that they are told in the same words but for their values.
pub(super) fn judged(
    (claim, truth): (&Fact, &Fact),
    open: &[Slot],
    rng: &mut ChaCha8Rng,
    say: impl Fn(&Fact, &mut ChaCha8Rng) -> String,
) -> Judged {
    let start = rng.clone();
    let said = say(claim, rng);
    let differing = |other: &Fact| -> Vec<bool> {
        let other = say(other, &mut start.clone());
        said.split(' ').zip(other.split(' ')).map(|(a, b)| a != b).collect()
    };
    let differs = differing(truth);
    let mut verdicts = vec![None; differs.len()];
    for slot in claim.kind.core().iter().chain(claim.kind.details()) {
        let altered = differing(&claim.alter(*slot, &mut start.clone()));
        for (at, _) in altered.iter().enumerate().filter(|(_, is_slot)| **is_slot) {
            verdicts[at] = Some(match (open.contains(slot), differs[at]) {
                (true, _) => Verdict::Open,
                (false, true) => Verdict::Differs,
                (false, false) => Verdict::Agrees,
            });
        }
    }
    (said, verdicts)
}
