//! Bans on repeated n-grams and on given words.

use super::search::Live;
use super::settings::GenerationSettings;
use tch::Tensor;

/// The tokens that would complete an n-gram that `history` already contains.
fn banned(history: &[i64], n: usize) -> impl Iterator<Item = i64> {
    let start = (history.len() + 1).saturating_sub(n);
    let last = &history[start..];
    // A history shorter than n has no windows.
    history
        .windows(n)
        .filter(move |window| window.starts_with(last))
        .filter_map(|window| window.last().copied())
}

/// The tokens that would complete one of `words` at the end of `history`.
fn completing<'a>(history: &'a [i64], words: &'a [Vec<i64>]) -> impl Iterator<Item = i64> + 'a {
    words.iter().filter_map(move |word| {
        let (last, before) = word.split_last()?;
        history.ends_with(before).then_some(*last)
    })
}

/// The cells (row * vocab + token) of the banned tokens of each row of `live`. `with_prompt`: bans cover the prompt too.
pub(super) fn cells(vocab: i64, live: &[Live], s: &GenerationSettings, with_prompt: bool) -> Vec<i64> {
    let (n, words) = (s.no_repeat_ngram, &s.bad_words);
    let mut cells = Vec::new();
    if n == 0 && words.is_empty() {
        return cells;
    }
    let rows = live.iter().flat_map(|l| l.beams.iter().map(move |b| (l.prompt, b)));
    for (row, (prompt, beam)) in rows.enumerate() {
        let history = if with_prompt {
            &[prompt, &beam.tokens].concat()
        } else {
            &beam.tokens
        };
        let repeated = (n > 0).then(|| banned(history, n)).into_iter().flatten();
        let tokens = repeated.chain(completing(history, words));
        cells.extend(tokens.map(|token| row as i64 * vocab + token));
    }
    cells
}

/// `scores` `[rows, vocab]` with -inf at the banned tokens of each row of `live`, as [`cells`].
pub(super) fn ban(scores: Tensor, live: &[Live], s: &GenerationSettings, with_prompt: bool) -> Tensor {
    let vocab = scores.size()[1];
    let cells = cells(vocab, live, s, with_prompt);
    if cells.is_empty() {
        return scores;
    }
    let cells = Tensor::from_slice(&cells).to_device(scores.device());
    scores
        .view([-1])
        .index_fill(0, &cells, f64::NEG_INFINITY)
        .view([-1, vocab])
}

#[cfg(test)]
mod tests {
    use super::{banned, completing};

    #[test]
    fn a_bad_word_is_not_completed() {
        let words = [vec![628], vec![198], vec![5, 6, 7], vec![6, 8]];
        let of = |history: &[i64]| completing(history, &words).collect::<Vec<_>>();
        assert_eq!(of(&[]), [628, 198]);
        assert_eq!(of(&[1, 5, 6]), [628, 198, 7, 8]);
        assert_eq!(of(&[6]), [628, 198, 8]);
    }

    #[test]
    fn an_n_gram_is_not_completed_twice() {
        let of = |history: &[i64], n| banned(history, n).collect::<Vec<_>>();
        assert_eq!(of(&[1, 2, 3, 1, 2], 3), [3]);
        assert_eq!(of(&[1, 2, 3, 1, 2, 4, 1, 2], 3), [3, 4]);
        assert_eq!(of(&[7, 7], 2), [7]);
        assert_eq!(of(&[5, 6], 1), [5, 6]);
        assert!(of(&[1, 2], 3).is_empty() && of(&[1], 4).is_empty() && of(&[], 2).is_empty());
    }
}
