//! ROUGE (Lin, 2004) as the package rouge-score computes it: lower-cased runs of `a-z0-9`, stemmed or not.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;

use super::generated::{Scores, Segment};
use super::ngram::{Words, counts};
use super::porter;

/// Precision, recall and F1, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// Share of the output that the reference has.
    pub precision: f64,
    /// Share of the reference that the output has.
    pub recall: f64,
    /// Their harmonic mean.
    pub f: f64,
}

impl Score {
    fn of(hits: usize, output: usize, reference: usize) -> Self {
        let precision = hits as f64 / output.max(1) as f64;
        let recall = hits as f64 / reference.max(1) as f64;
        let sum = precision + recall;
        let f = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
        Self { precision, recall, f }
    }
}

/// The four measures of an output.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rouge {
    /// Words.
    pub rouge1: Score,
    /// Pairs of words.
    pub rouge2: Score,
    /// Longest common subsequence.
    pub rouge_l: Score,
    /// Union of the longest common subsequences of each sentence of the reference; sentences are lines.
    pub rouge_lsum: Score,
}

impl Rouge {
    fn parts(&self) -> [Score; 4] {
        [self.rouge1, self.rouge2, self.rouge_l, self.rouge_lsum]
    }

    fn from_parts([rouge1, rouge2, rouge_l, rouge_lsum]: [Score; 4]) -> Self {
        Self {
            rouge1,
            rouge2,
            rouge_l,
            rouge_lsum,
        }
    }
}

/// The words that are compared. With `stemmer`, words of more than three letters are stemmed.
fn tokenize(text: &str, stemmer: bool) -> Vec<String> {
    let text = text.to_lowercase();
    let words = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| !w.is_empty());
    words
        .map(|w| {
            if stemmer && w.len() > 3 {
                porter::stem(w)
            } else {
                w.to_owned()
            }
        })
        .filter(|w| !w.is_empty())
        .collect()
}

/// An output against one reference.
pub fn rouge(output: &str, reference: &str, stemmer: bool) -> Rouge {
    let mut words = Words::default();
    let mut numbers = |text: &str| words.number(tokenize(text, stemmer).iter().map(String::as_str));
    let (hyp, target) = (numbers(output), numbers(reference));
    let mut sentences = |text: &str| -> Vec<Vec<u32>> {
        let lines = text.split('\n').filter(|l| !l.is_empty());
        lines.map(&mut numbers).collect()
    };
    let (hyps, targets) = (sentences(output), sentences(reference));
    Rouge {
        rouge1: overlap(&hyp, &target, 1),
        rouge2: overlap(&hyp, &target, 2),
        rouge_l: Score::of(common(&target, &hyp).len(), hyp.len(), target.len()),
        rouge_lsum: summary(&hyps, &targets),
    }
}

/// The best of several references, measure by measure (the first of equals), as `score_multi` does.
pub fn best(segment: &Segment, stemmer: bool) -> Rouge {
    let mut best: Option<[Score; 4]> = None;
    for reference in &segment.refs {
        let found = rouge(&segment.hyp, reference, stemmer).parts();
        let so_far = best.get_or_insert(found);
        for (best, found) in so_far.iter_mut().zip(found) {
            if found.f > best.f {
                *best = found;
            }
        }
    }
    Rouge::from_parts(best.unwrap_or_default())
}

/// Mean over all segments of the best score, from 0 to 1. F measures have the package's names.
pub fn score(segments: &[Segment], stemmer: bool) -> Scores {
    const NAMES: [[&str; 3]; 4] = [
        ["rouge1", "rouge1_precision", "rouge1_recall"],
        ["rouge2", "rouge2_precision", "rouge2_recall"],
        ["rougeL", "rougeL_precision", "rougeL_recall"],
        ["rougeLsum", "rougeLsum_precision", "rougeLsum_recall"],
    ];
    let all: Vec<[Score; 4]> = segments.par_iter().map(|s| best(s, stemmer).parts()).collect();
    let mean = |value: &dyn Fn(&[Score; 4]) -> f64| {
        let sum: f64 = all.iter().map(value).sum();
        (!all.is_empty()).then(|| sum / all.len() as f64)
    };
    let f = NAMES
        .iter()
        .enumerate()
        .map(|(i, [name, ..])| (*name, mean(&|s| s[i].f)));
    let sides = NAMES.iter().enumerate().flat_map(|(i, [_, precision, recall])| {
        [
            (*precision, mean(&|s| s[i].precision)),
            (*recall, mean(&|s| s[i].recall)),
        ]
    });
    f.chain(sides).collect()
}

fn overlap(hyp: &[u32], target: &[u32], n: usize) -> Score {
    let (hyp, target) = (counts(hyp, n), counts(target, n));
    let total = |counts: &HashMap<&[u32], u32>| counts.values().sum::<u32>() as usize;
    let shared = target
        .iter()
        .map(|(ngram, count)| hyp.get(ngram).map_or(0, |h| *h.min(count)));
    Score::of(shared.sum::<u32>() as usize, total(&hyp), total(&target))
}

/// Positions in `target` of one longest common subsequence.
fn common(target: &[u32], hyp: &[u32]) -> Vec<usize> {
    let width = hyp.len() + 1;
    let mut lengths = vec![0_u32; (target.len() + 1) * width];
    for (i, t) in target.iter().enumerate() {
        for (j, h) in hyp.iter().enumerate() {
            let at = (i + 1) * width + j + 1;
            lengths[at] = if t == h {
                lengths[at - width - 1] + 1
            } else {
                lengths[at - width].max(lengths[at - 1])
            };
        }
    }
    let mut places = Vec::new();
    let (mut i, mut j) = (target.len(), hyp.len());
    while i > 0 && j > 0 {
        let at = i * width + j;
        if target[i - 1] == hyp[j - 1] {
            places.push(i - 1);
            (i, j) = (i - 1, j - 1);
        } else if lengths[at - 1] > lengths[at - width] {
            j -= 1;
        } else {
            i -= 1;
        }
    }
    places
}

/// No word counts more often than it stands on either side.
fn summary(hyps: &[Vec<u32>], targets: &[Vec<u32>]) -> Score {
    let tally = |sentences: &[Vec<u32>]| {
        let mut left: HashMap<u32, usize> = HashMap::new();
        sentences
            .iter()
            .flatten()
            .for_each(|w| *left.entry(*w).or_default() += 1);
        left
    };
    let (mut left_hyp, mut left_target) = (tally(hyps), tally(targets));
    let (output, reference) = (hyps.iter().map(Vec::len).sum(), targets.iter().map(Vec::len).sum());
    let mut hits = 0;
    for target in targets {
        let union: BTreeSet<usize> = hyps.iter().flat_map(|hyp| common(target, hyp)).collect();
        for at in union {
            if let (Some(h), Some(t)) = (left_hyp.get_mut(&target[at]), left_target.get_mut(&target[at]))
                && *h > 0
                && *t > 0
            {
                (*h, *t) = (*h - 1, *t - 1);
                hits += 1;
            }
        }
    }
    Score::of(hits, output, reference)
}
