//! Types that all strategies share: unfinished rows, and the rule that continues them.

use super::settings::Generation;
use std::fmt::Debug;

/// An unfinished text, or a candidate for one.
#[derive(Clone, Debug, Default)]
pub(super) struct Beam {
    pub tokens: Vec<i64>,
    /// Sum of the tokens' log-probabilities.
    pub score: f32,
    /// The row of the prompt that this one continues.
    pub parent: usize,
}

/// The search of one prompt: selects the candidates that continue, and the final text.
pub(super) trait Rule: Debug {
    /// The beams that continue, out of the candidates for the next token, best first. Empty when the search is over.
    fn advance(&mut self, candidates: Vec<Beam>) -> Vec<Beam>;

    /// The final text, once the search is over.
    fn outcome(&mut self) -> Generation;
}

/// A prompt whose text is unfinished.
pub(super) struct Live<'a> {
    pub index: usize,
    pub prompt: &'a [i64],
    /// One before the first token, then as many as the strategy uses.
    pub beams: Vec<Beam>,
    pub rule: Box<dyn Rule>,
}

/// The text of `beam` with this score.
pub(super) fn generation(beam: &Beam, score: f32, end: &[i64]) -> Generation {
    Generation {
        tokens: beam.tokens.clone(),
        ended: beam.tokens.last().is_some_and(|last| end.contains(last)),
        score: f64::from(score),
    }
}
