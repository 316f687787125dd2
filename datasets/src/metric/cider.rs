//! CIDEr (Vedantam et al., 2015) as COCO's caption evaluation computes it: with clipped counts and a penalty on lengths.

use std::collections::HashMap;

use rayon::prelude::*;

use super::generated::{Segment, is_python_space};
use super::ngram::{Counts, NumberedSegment, Words, counts};

const ORDER: usize = 4;
/// Standard deviation of the length penalty.
const SIGMA: f64 = 6.0;

/// An n-gram's weight in a text, by how often it stands there and how few instances' references have it.
type Weights<'a> = HashMap<&'a [u32], f64>;

/// CIDEr of every segment; the corpus score is their mean. An n-gram's document frequency is the number of segments that have it
/// in a reference, so every score depends on all references.
pub fn scores(segments: &[Segment]) -> Vec<f64> {
    let mut words = Words::default();
    let mut number = |text: &str| words.number(text.split(is_python_space).filter(|w| !w.is_empty()));
    let numbered = segments.iter().map(|s| NumberedSegment {
        hyp: number(&s.hyp),
        refs: s.refs.iter().map(|r| number(r)).collect(),
    });
    let numbered: Vec<NumberedSegment> = numbered.collect();
    let frequencies: Vec<Counts> = (1..=ORDER).into_par_iter().map(|n| documents(&numbered, n)).collect();
    numbered
        .par_iter()
        .map(|s| score(s, &frequencies, numbered.len()))
        .collect()
}

/// In how many segments' references each n-gram stands.
fn documents(segments: &[NumberedSegment], n: usize) -> Counts<'_> {
    let mut documents = Counts::new();
    let mut last: HashMap<&[u32], usize> = HashMap::new();
    for (i, segment) in segments.iter().enumerate() {
        for ngram in segment.refs.iter().flat_map(|r| r.windows(n)) {
            if last.insert(ngram, i) != Some(i) {
                *documents.entry(ngram).or_default() += 1;
            }
        }
    }
    documents
}

fn score(segment: &NumberedSegment, frequencies: &[Counts], segments: usize) -> f64 {
    let weigh = |text| {
        (1..=ORDER)
            .map(|n| weights(text, n, &frequencies[n - 1], segments))
            .collect()
    };
    let hyp: Vec<(Weights, f64)> = weigh(&segment.hyp);
    // The tool takes the number of bigrams for the length.
    let length = |text: &[u32]| text.len().saturating_sub(1) as f64;
    let mut sum = 0.0;
    for reference in &segment.refs {
        let delta = length(&segment.hyp) - length(reference);
        let penalty = (-(delta * delta) / (2.0 * SIGMA * SIGMA)).exp();
        let reference: Vec<(Weights, f64)> = weigh(reference);
        sum += hyp.iter().zip(&reference).map(|(h, r)| similarity(h, r)).sum::<f64>() * penalty;
    }
    10.0 * sum / (ORDER * segment.refs.len()) as f64
}

/// The weights of a text's n-grams, and their length as a vector.
fn weights<'a>(text: &'a [u32], n: usize, frequencies: &Counts, segments: usize) -> (Weights<'a>, f64) {
    let rarity = |ngram: &[u32]| {
        let frequency = frequencies.get(ngram).map_or(1.0, |&f| f64::from(f));
        (segments as f64).ln() - frequency.ln()
    };
    let weights: Weights = counts(text, n)
        .into_iter()
        .map(|(g, c)| (g, f64::from(c) * rarity(g)))
        .collect();
    let norm = weights.values().map(|w| w * w).sum::<f64>().sqrt();
    (weights, norm)
}

/// Cosine of two weight vectors, where the output's weights count no more than the reference's.
fn similarity((hyp, hyp_norm): &(Weights, f64), (reference, norm): &(Weights, f64)) -> f64 {
    let dot: f64 = hyp
        .iter()
        .filter_map(|(g, w)| reference.get(g).map(|r| w.min(*r) * r))
        .sum();
    if *hyp_norm == 0.0 || *norm == 0.0 {
        dot
    } else {
        dot / (hyp_norm * norm)
    }
}
