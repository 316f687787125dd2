//! Words as numbers, and counts of their n-grams.

use std::collections::HashMap;

/// Counts of n-grams that lie in sentences.
pub(crate) type Counts<'a> = HashMap<&'a [u32], u32>;

/// Numbers words, equal words alike.
#[derive(Default)]
pub(crate) struct Words(HashMap<String, u32>);

impl Words {
    /// A sentence as numbers.
    pub fn number<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) -> Vec<u32> {
        words.into_iter().map(|w| self.of(w)).collect()
    }

    fn of(&mut self, word: &str) -> u32 {
        // Looked up first: a known word, the usual case, is not copied.
        if let Some(&number) = self.0.get(word) {
            return number;
        }
        let number = self.0.len() as u32;
        self.0.insert(word.to_owned(), number);
        number
    }
}

/// An output and its references as numbered words.
pub(crate) struct NumberedSegment {
    pub hyp: Vec<u32>,
    pub refs: Vec<Vec<u32>>,
}

/// The n-grams of a sentence.
pub(crate) fn counts(sentence: &[u32], n: usize) -> Counts<'_> {
    let mut counts = Counts::new();
    for ngram in sentence.windows(n) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// For every n-gram of the output that references have too: how often it is matched, that is, as often as it stands in the
/// output, and at most as often as in that reference that has it most often.
pub(crate) fn matched(segment: &NumberedSegment, n: usize) -> Counts<'_> {
    let mut matched = Counts::new();
    let hyp = counts(&segment.hyp, n);
    for reference in &segment.refs {
        for (ngram, count) in counts(reference, n) {
            if let Some((&key, &most)) = hyp.get_key_value(ngram) {
                let best = matched.entry(key).or_default();
                *best = (*best).max(count.min(most));
            }
        }
    }
    matched
}
