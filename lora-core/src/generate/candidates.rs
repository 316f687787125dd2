//! The best candidates for the next token, without a tensor of log-probabilities.

use super::ngram::cells;
use super::search::{Beam, Live};
use super::settings::GenerationSettings;
use crate::nn::{Banned, best_continuations};
use crate::{Error, Result};
use tch::Tensor;

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
