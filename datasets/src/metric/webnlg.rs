//! Scores of WebNLG and DART: BLEU by `multi-bleu-detok.perl`, and TER, chrF++ and NLTK's BLEU as WebNLG's
//! GenerationEval computes them. METEOR is scored on the same words ([`tokenized`]).
//!
//! All but BLEU and chrF++ are computed on NLTK's words, whose parameters are not part of this project ([`Nltk::open`]).
//!
//! The original tool expects files without a final newline: it would count one more, empty segment and fail on METEOR. Here a
//! final newline ends the last line.

use rayon::prelude::*;

use super::generated::{Scores, Segment};
use super::meteor::Meteor;
use super::ngram::{NumberedSegment, Words, matched};
use super::nltk::Nltk;
use super::{chrf, mteval, pyter, sacrebleu};

/// References per segment in the paper's code; missing ones repeat the first.
pub const REFERENCES: usize = 6;

/// The segments as the paper's code hands them to the scorer (`--tokenize --lower`): lower-cased, every sign but letters,
/// digits and `_` apart, and [`REFERENCES`] references each.
pub fn prepared(segments: &[Segment]) -> Vec<Segment> {
    let prepare = |segment: &Segment| {
        let mut refs: Vec<String> = segment.refs.iter().take(REFERENCES).map(|r| spread(r)).collect();
        if let Some(first) = refs.first().cloned() {
            refs.resize(REFERENCES, first);
        }
        Segment {
            hyp: spread(&segment.hyp),
            refs,
        }
    };
    segments.par_iter().map(prepare).collect()
}

fn spread(text: &str) -> String {
    let mut apart = String::with_capacity(2 * text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || c == '_' {
            apart.push(c);
        } else {
            apart.extend([' ', c, ' ']);
        }
    }
    // Last, because lower-casing may add combining marks (of İ, for example).
    apart.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The segments in NLTK's words with one space between them: what TER and METEOR are computed on.
pub fn tokenized(segments: &[Segment], nltk: &Nltk) -> Vec<Segment> {
    let words = |text: &String| nltk.word_tokenize(text).join(" ");
    let tokenize = |segment: &Segment| Segment {
        hyp: words(&segment.hyp),
        refs: segment.refs.iter().map(words).collect(),
    };
    segments.par_iter().map(tokenize).collect()
}

/// `bleu`, `bleu_nltk`, `meteor`, `chrf++` and `ter` by the genuine tool's names. BLEU is in percent and unrounded (the script
/// prints two decimals), the others from 0 up; those on NLTK's words only where its parameters are at hand, METEOR only where
/// its own data is too.
pub fn score(segments: &[Segment], nltk: Option<&Nltk>, meteor: Option<&Meteor>) -> Scores {
    let tokenized = nltk.map(|n| tokenized(segments, n));
    let words = tokenized.as_deref();
    vec![
        ("bleu", Some(bleu(segments))),
        ("bleu_nltk", words.map(bleu_nltk)),
        ("meteor", words.and_then(|words| Some(meteor?.score(words)))),
        ("chrf++", Some(chrf::plus_plus(segments) / 100.0)),
        ("ter", words.and_then(ter)),
    ]
}

/// `multi-bleu-detok.perl`: unsmoothed, case-sensitive, on the words of `mteval-v13a`, from 0 to 100.
pub fn bleu(segments: &[Segment]) -> f64 {
    let words = |text: &str| {
        let apart = mteval::apart(&text.replace("-\n", ""));
        apart.split_ascii_whitespace().map(str::to_owned).collect()
    };
    sacrebleu::plain_bleu(segments, words)
}

/// Mean over the segments of the lowest rate that a reference gives; 1 for an empty reference. None without segments.
pub fn ter(tokenized: &[Segment]) -> Option<f64> {
    let lowest = |segment: &Segment| {
        let hyp: Vec<&str> = segment.hyp.split_whitespace().collect();
        let rates = segment.refs.iter().map(|reference| {
            let reference: Vec<&str> = reference.split_whitespace().collect();
            pyter::ter(&hyp, &reference).unwrap_or(1.0)
        });
        rates.fold(f64::INFINITY, f64::min)
    };
    let rates: Vec<f64> = tokenized.par_iter().map(lowest).collect();
    (!rates.is_empty()).then(|| rates.iter().sum::<f64>() / rates.len() as f64)
}

/// NLTK's `corpus_bleu` with its smoothing method 3, from 0 to 1.
pub fn bleu_nltk(tokenized: &[Segment]) -> f64 {
    let (mut counts, mut totals) = ([0_usize; 4], [0_usize; 4]);
    let (mut output, mut reference) = (0_usize, 0_usize);
    for segment in tokenized {
        let mut words = Words::default();
        let mut numbers = |text: &str| words.number(text.split_whitespace());
        let segment = NumberedSegment {
            hyp: numbers(&segment.hyp),
            refs: segment.refs.iter().map(|r| numbers(r)).collect(),
        };
        for n in 1..=4 {
            counts[n - 1] += matched(&segment, n).values().sum::<u32>() as usize;
            // An output too short for an n-gram counts as one without a match.
            totals[n - 1] += (segment.hyp.len() + 1).saturating_sub(n).max(1);
        }
        let length = segment.hyp.len();
        let closest = segment
            .refs
            .iter()
            .map(Vec::len)
            .min_by_key(|n| (n.abs_diff(length), *n));
        output += length;
        reference += closest.unwrap_or(0);
    }
    if counts[0] == 0 {
        return 0.0;
    }
    let mut share = 1.0;
    let logs = counts.iter().zip(totals).map(|(count, total)| {
        if *count > 0 {
            return (*count as f64 / total as f64).ln();
        }
        share *= 2.0;
        (1.0 / (share * total as f64)).ln()
    });
    let mean = logs.sum::<f64>() / 4.0;
    let brevity = if output > reference {
        1.0
    } else {
        (1.0 - reference as f64 / output as f64).exp()
    };
    brevity * mean.exp()
}
