//! Types that all strategies share: unfinished rows, and the rule that continues them.

use super::ngram::cells;
use super::settings::{Generation, GenerationSettings};
use crate::nn::{Banned, best_continuations};
use crate::{Error, Result};
use std::fmt::Debug;
use tch::Tensor;

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

/// The best `count` candidates of each prompt, by the loops of `native/`; `scores` may be overwritten. With `paper` bans
/// cover the text and apply before the softmax, otherwise prompt and text and after it.
pub(super) fn best(
    scores: &Tensor,
    live: &[Live],
    s: &GenerationSettings,
    paper: bool,
    count: usize,
) -> Result<Vec<Vec<Beam>>> {
    let (vocab, rows) = (scores.size()[1], live.first().map_or(1, |l| l.beams.len()));
    let sums: Vec<f32> = live.iter().flat_map(|l| l.beams.iter().map(|b| b.score)).collect();
    let cells = cells(vocab, live, s, !paper);
    let banned = Banned {
        cells: &cells,
        before: paper,
    };
    let (best, at) = best_continuations(scores, &sums, rows, &banned, count).ok_or(Error::NonFiniteLogits)?;
    Ok(continued(live, vocab, count, &best, &at))
}

/// The candidates of each prompt from the scores and cells (beam * vocab + token) of `count` each.
pub(super) fn continued(live: &[Live], vocab: i64, count: usize, scores: &[f32], cells: &[i64]) -> Vec<Vec<Beam>> {
    let one = |l: &Live, cell: i64, score: f32| {
        let parent = (cell / vocab) as usize;
        let mut tokens = l.beams[parent].tokens.clone();
        tokens.push(cell % vocab);
        Beam { tokens, score, parent }
    };
    let of_prompt = |(l, (cells, scores)): (&Live, (&[i64], &[f32]))| {
        let each = cells.iter().zip(scores);
        each.map(|(cell, score)| one(l, *cell, *score)).collect()
    };
    let parts = cells.chunks(count).zip(scores.chunks(count));
    live.iter().zip(parts).map(of_prompt).collect()
}
