//! BLEU and NIST as the E2E NLG Challenge's `measure_scores.py -p` computes them: lower-cased, on mteval's tokenisation.
//!
//! An empty output counts as one (empty) word; an output shorter than n adds a negative number to the n-grams that there
//! could be, as the tool does.

use std::collections::HashMap;

use rayon::prelude::*;

use super::generated::Segment;
use super::mteval;
use super::ngram::{Counts, NumberedSegment, Words, matched};

/// Stands for no match at all, and for no n-gram at all, so that logarithms and quotients exist.
const NO_MATCH: f64 = 1e-15;
const NO_NGRAM: f64 = 1e-9;

const BLEU_ORDER: usize = 4;
const NIST_ORDER: usize = 5;

/// Segments tokenised for BLEU and NIST.
pub struct Tokenized(Vec<NumberedSegment>);

impl Tokenized {
    /// Tokenises, lower-cased.
    pub fn new(segments: &[Segment]) -> Self {
        let split = |text: &str| mteval::tokenize(&text.to_lowercase());
        let texts: Vec<(Vec<String>, Vec<Vec<String>>)> = segments
            .par_iter()
            .map(|s| (split(&s.hyp), s.refs.iter().map(|r| split(r)).collect()))
            .collect();
        let mut words = Words::default();
        let mut number = |t: &[String]| words.number(t.iter().map(String::as_str));
        let numbered = texts.iter().map(|(hyp, refs)| NumberedSegment {
            hyp: number(hyp),
            refs: refs.iter().map(|r| number(r)).collect(),
        });
        Self(numbered.collect())
    }

    /// BLEU-4 of all segments together; see `bleu`.
    pub fn bleu(&self, smoothing: f64) -> f64 {
        bleu(&self.0, smoothing)
    }

    /// BLEU-4 of each segment alone. With a smoothing of 1 this is the tool's sentence BLEU.
    pub fn segment_bleu(&self, smoothing: f64) -> Vec<f64> {
        self.0.par_chunks(1).map(|s| bleu(s, smoothing)).collect()
    }

    /// NIST-5 of all segments together. `None` where there are no n-grams of some order (the tool divides by zero).
    pub fn nist(&self) -> Option<f64> {
        nist(&self.0)
    }

    /// NIST-5 of each segment alone, with information weights from its own references.
    pub fn segment_nist(&self) -> Vec<Option<f64>> {
        self.0.par_chunks(1).map(nist).collect()
    }
}

/// Number of n-grams in an output: for a short one the tool counts below zero.
fn places(sentence: &[u32], n: usize) -> f64 {
    sentence.len() as f64 - (n as f64 - 1.0)
}

/// BLEU (Papineni et al., 2002) up to 4-grams. `smoothing` is added to matches and n-grams of every order. Of two references
/// equally near in length, the brevity penalty takes the shorter.
fn bleu(segments: &[NumberedSegment], smoothing: f64) -> f64 {
    let precision = |n: usize| {
        let (hits, total) = segments
            .par_iter()
            .map(|s| {
                let hits: u32 = matched(s, n).values().sum();
                (f64::from(hits), places(&s.hyp, n))
            })
            .reduce(|| (0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        let (hits, total) = (hits + smoothing, total + smoothing);
        (hits.max(NO_MATCH) / total.max(NO_NGRAM)).ln()
    };
    let precisions: f64 = (1..=BLEU_ORDER).map(precision).sum();
    let length: usize = segments.iter().map(|s| s.hyp.len()).sum();
    let wanted: usize = segments.iter().map(closest_length).sum();
    let brevity = if length <= wanted {
        (1.0 - wanted as f64 / length.max(1) as f64).exp()
    } else {
        1.0
    };
    brevity * (precisions / BLEU_ORDER as f64).exp()
}

fn closest_length(segment: &NumberedSegment) -> usize {
    let lengths = segment.refs.iter().map(Vec::len);
    lengths.min_by_key(|&l| (l.abs_diff(segment.hyp.len()), l)).unwrap_or(0)
}

/// NIST (Doddington, 2002) up to 5-grams: matches are weighted by information, that is, by how much rarer the n-gram is in all
/// references than its first n - 1 words.
fn nist(segments: &[NumberedSegment]) -> Option<f64> {
    let orders: Vec<Counts> = (1..=NIST_ORDER)
        .into_par_iter()
        .map(|n| in_references(segments, n))
        .collect();
    let words: usize = segments.iter().flat_map(|s| &s.refs).map(Vec::len).sum();
    let told = |ngram: &[u32]| {
        let count = |g: &[u32]| match g.len() {
            0 => words as f64,
            n => orders[n - 1].get(g).map_or(0.0, |&c| f64::from(c)),
        };
        (count(&ngram[..ngram.len() - 1]) / count(ngram)).log2()
    };
    let sum: Option<f64> = (1..=NIST_ORDER)
        .map(|n| {
            let hits = |s| matched(s, n).iter().map(|(g, &c)| f64::from(c) * told(g)).sum::<f64>();
            let hits: f64 = segments.par_iter().map(hits).sum();
            let total: f64 = segments.iter().map(|s| places(&s.hyp, n)).sum();
            (total != 0.0).then(|| hits / total)
        })
        .sum();
    let length: usize = segments.iter().map(|s| s.hyp.len()).sum();
    let mean = |s: &NumberedSegment| s.refs.iter().map(Vec::len).sum::<usize>() as f64 / s.refs.len() as f64;
    let wanted: f64 = segments.iter().map(mean).sum();
    Some(sum? * brevity(length as f64 / wanted))
}

/// NIST's penalty: 1/2 for outputs of two thirds of the references' length.
fn brevity(ratio: f64) -> f64 {
    if ratio >= 1.0 {
        return 1.0;
    }
    let beta = -0.5_f64.ln() / 1.5_f64.ln().powi(2);
    (-beta * ratio.ln().powi(2)).exp()
}

fn in_references(segments: &[NumberedSegment], n: usize) -> Counts<'_> {
    let mut counts = HashMap::new();
    for ngram in segments.iter().flat_map(|s| &s.refs).flat_map(|r| r.windows(n)) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}
