//! What the strategies have in common: rows in progress, and the rule by which they go on.

use super::settings::Generation;
use std::fmt::Debug;

/// A row that is being written, or a candidate for one.
#[derive(Clone, Debug, Default)]
pub(super) struct Beam {
    pub tokens: Vec<i64>,
    /// The sum of the log-probabilities.
    pub score: f32,
    /// Which of the prompt's rows it goes on from.
    pub parent: usize,
}

/// Which candidates go on, and which text is the best in the end.
pub(super) trait Rule: Debug {
    /// The beams that go on, of the candidates for the next token, best first. None: the search is over.
    fn advance(&mut self, candidates: Vec<Beam>) -> Vec<Beam>;

    /// The outcome, once the search is over.
    fn outcome(&mut self) -> Generation;
}

/// A prompt that is being continued.
pub(super) struct Live<'a> {
    pub index: usize,
    pub prompt: &'a [i64],
    /// One before the first token, then as many as the strategy has.
    pub beams: Vec<Beam>,
    pub rule: Box<dyn Rule>,
}

/// `beam`'s text as it stands, judged by `score`.
pub(super) fn generation(beam: &Beam, score: f32, end: &[i64]) -> Generation {
    Generation {
        tokens: beam.tokens.clone(),
        ended: beam.tokens.last().is_some_and(|last| end.contains(last)),
        score: f64::from(score),
    }
}
