//! chrF and chrF++ (Popović, 2015, 2017) as the package sacrebleu computes them: β = 2, characters up to six in a row,
//! white space not counted, of several references the best for each segment.

use std::collections::HashMap;

use rayon::prelude::*;

use super::generated::{Segment, is_python_space};

const CHARACTERS: usize = 6;
/// Square of β: how much more recall weighs than precision.
const WEIGHT: f64 = 4.0;

/// Of one order: n-grams of the output, of the reference, and of both.
type Tally = [usize; 3];

/// chrF of all segments together, from 0 to 100; with words up to `words` in a row (0 for chrF, 2 for chrF++).
pub fn corpus(segments: &[Segment], words: usize) -> f64 {
    summed(segments, words, f_score)
}

/// chrF++ as its author's own program has it, which WebNLG is scored with, from 0 to 100: the mean of the scores of all
/// orders, where sacrebleu takes the score of the means of those orders that both sides have.
pub fn plus_plus(segments: &[Segment]) -> f64 {
    summed(segments, 2, mean_f_score)
}

fn summed(segments: &[Segment], words: usize, score: fn(&[Tally]) -> f64) -> f64 {
    let none = || vec![[0; 3]; CHARACTERS + words];
    let add = |mut a: Vec<Tally>, b: Vec<Tally>| {
        for (a, b) in a.iter_mut().flatten().zip(b.iter().flatten()) {
            *a += b;
        }
        a
    };
    score(&segments.par_iter().map(|s| best(s, words, score)).reduce(none, add))
}

/// Against the reference with the highest score, the first of equals.
fn best(segment: &Segment, words: usize, score: fn(&[Tally]) -> f64) -> Vec<Tally> {
    let hyp = ngrams(&segment.hyp, words);
    let mut best = (-1.0, vec![[0; 3]; CHARACTERS + words]);
    for reference in &segment.refs {
        let reference = ngrams(reference, words);
        let tallies: Vec<Tally> = hyp.iter().zip(&reference).map(|(h, r)| tally(h, r)).collect();
        let found = score(&tallies);
        if found > best.0 {
            best = (found, tallies);
        }
    }
    best.1
}

type Ngrams = HashMap<String, usize>;

fn tally(hyp: &Ngrams, reference: &Ngrams) -> Tally {
    let both = hyp
        .iter()
        .map(|(n, count)| reference.get(n).map_or(0, |r| *r.min(count)))
        .sum();
    // An order that the reference is too short for is left out on both sides.
    let ours = if reference.is_empty() { 0 } else { hyp.values().sum() };
    [ours, reference.values().sum(), both]
}

/// Of characters of each length, then of words.
fn ngrams(text: &str, words: usize) -> Vec<Ngrams> {
    let letters: Vec<String> = text
        .chars()
        .filter(|c| !is_python_space(*c))
        .map(String::from)
        .collect();
    let tokens = tokens(text);
    let of_letters = (1..=CHARACTERS).map(|n| count(&letters, n, ""));
    let of_words = (1..=words).map(|n| count(&tokens, n, " "));
    of_letters.chain(of_words).collect()
}

fn count(parts: &[String], n: usize, between: &str) -> Ngrams {
    let mut counts = Ngrams::new();
    for window in parts.windows(n) {
        *counts.entry(window.join(between)).or_default() += 1;
    }
    counts
}

/// Words, with one mark of punctuation at the end, or else at the start, apart.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in text.split(is_python_space).filter(|w| !w.is_empty()) {
        let mark = |c: char| c.is_ascii_punctuation();
        let parts = if word.chars().count() == 1 {
            [word, ""]
        } else if word.ends_with(mark) {
            word.split_at(word.len() - 1).into()
        } else if word.starts_with(mark) {
            word.split_at(1).into()
        } else {
            [word, ""]
        };
        found.extend(parts.into_iter().filter(|p| !p.is_empty()).map(str::to_owned));
    }
    found
}

/// The harmonic mean of the means over those orders that both sides have.
fn f_score(tallies: &[Tally]) -> f64 {
    let sides = tallies.iter().filter(|[hyp, reference, _]| *hyp > 0 && *reference > 0);
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for [hyp, reference, both] in sides {
        precision += *both as f64 / *hyp as f64;
        recall += *both as f64 / *reference as f64;
        orders += 1.0;
    }
    if orders == 0.0 {
        return 0.0;
    }
    let (precision, recall): (f64, f64) = (precision / orders, recall / orders);
    if precision + recall == 0.0 {
        return 0.0;
    }
    100.0 * (1.0 + WEIGHT) * precision * recall / (WEIGHT * precision + recall)
}

/// The mean over all orders, of which those that one side lacks are next to nothing.
fn mean_f_score(tallies: &[Tally]) -> f64 {
    const SMALL: f64 = 1e-16;
    let scores = tallies.iter().map(|[hyp, reference, both]| {
        let share = |of: usize| if of > 0 { *both as f64 / of as f64 } else { SMALL };
        let (precision, recall) = (share(*hyp), share(*reference));
        let below = WEIGHT * precision + recall;
        if below > 0.0 {
            (1.0 + WEIGHT) * precision * recall / below
        } else {
            SMALL
        }
    });
    100.0 * scores.sum::<f64>() / tallies.len() as f64
}
