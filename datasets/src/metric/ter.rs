//! Translation edit rate (Snover et al., 2006) as Tercom and the package sacrebleu compute it: runs of at most ten words
//! may be shifted by at most fifty places, and the distance is looked for in a beam around the diagonal. Case is ignored.

use std::cmp::Reverse;

use rayon::prelude::*;

use super::generated::{Segment, is_python_space};
use super::ngram::Words;

const LONGEST_SHIFT: usize = 10;
const FARTHEST_SHIFT: usize = 50;
const BEAM: usize = 25;
/// Limit of shifts tried for a segment.
const MOST_TRIED: usize = 1000;

/// TER of all segments together, in percent: the fewest edits to any reference, by the references' mean length.
pub fn corpus(segments: &[Segment]) -> f64 {
    let (edits, length) = segments
        .par_iter()
        .map(segment)
        .collect::<Vec<_>>()
        .into_iter()
        .fold((0.0, 0.0), |(e, l), (edits, length)| (e + edits, l + length));
    match (edits > 0.0, length > 0.0) {
        (_, true) => 100.0 * edits / length,
        (true, false) => 100.0,
        (false, false) => 0.0,
    }
}

fn segment(segment: &Segment) -> (f64, f64) {
    let mut known = Words::default();
    let mut numbers = |text: &str| {
        let text = text.to_lowercase();
        known.number(text.split(is_python_space).filter(|w| !w.is_empty()))
    };
    let hyp = numbers(&segment.hyp);
    let refs: Vec<Vec<u32>> = segment.refs.iter().map(|r| numbers(r)).collect();
    let fewest = refs.iter().map(|reference| edits(&hyp, reference)).min().unwrap_or(0);
    let mean = refs.iter().map(Vec::len).sum::<usize>() as f64 / refs.len().max(1) as f64;
    (fewest as f64, mean)
}

/// Shifts and edits that turn `hyp` into `reference`.
fn edits(hyp: &[u32], reference: &[u32]) -> usize {
    if reference.is_empty() {
        return hyp.len();
    }
    let mut distances = Distances::new(reference);
    let (mut words, mut shifts, mut tried) = (hyp.to_vec(), 0, 0);
    loop {
        let shifted = best_shift(&words, &mut distances, &mut tried);
        match shifted {
            Some((gain, shifted)) if gain > 0 && tried < MOST_TRIED => words = shifted,
            _ => break,
        }
        shifts += 1;
    }
    shifts + distances.of(&words)
}

/// One way to align the two: the distance, for each word of the reference the last word of the output before or at it (from
/// 1, 0 for none), and which words are in error.
struct Alignment {
    distance: usize,
    place: Vec<usize>,
    hyp_wrong: Vec<bool>,
    ref_wrong: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Both,
    Output,
    Reference,
    Unreached,
}

const FAR: usize = usize::MAX / 2;

/// The distances between all beginnings of outputs and of one reference, row by row. Rows of words that the output before
/// began with too are kept: outputs are shifted, and so as long as each other.
struct Distances<'a> {
    reference: &'a [u32],
    words: Vec<u32>,
    /// A row a word, and one before them; each cell a distance and its last step.
    rows: Vec<Vec<(usize, Step)>>,
}

impl<'a> Distances<'a> {
    fn new(reference: &'a [u32]) -> Self {
        let first = (0..=reference.len()).map(|j| (j, Step::Reference));
        Self {
            reference,
            words: Vec::new(),
            rows: vec![first.collect()],
        }
    }

    fn of(&mut self, words: &[u32]) -> usize {
        let same = self.words.iter().zip(words).take_while(|(a, b)| a == b).count();
        self.rows.truncate(same + 1);
        self.words = words.to_vec();
        for i in self.rows.len()..=words.len() {
            let row = self.row(i);
            self.rows.push(row);
        }
        self.rows.last().and_then(|row| row.last()).map_or(0, |cell| cell.0)
    }

    /// Of equally short ways the first of: both a word on, the output, the reference.
    fn row(&self, i: usize) -> Vec<(usize, Step)> {
        let (width, length) = (self.reference.len() + 1, self.words.len());
        let ratio = self.reference.len() as f64 / length.max(1) as f64;
        let beam = if (BEAM as f64) < ratio / 2.0 {
            (ratio / 2.0 + BEAM as f64).ceil() as usize
        } else {
            BEAM
        };
        let diagonal = (i as f64 * ratio).floor() as usize;
        let end = if i == length { width } else { width.min(diagonal + beam) };
        let above = &self.rows[i - 1];
        let mut row = vec![(FAR, Step::Unreached); width];
        for j in diagonal.saturating_sub(beam)..end {
            if j == 0 {
                row[j] = (above[j].0 + 1, Step::Output);
                continue;
            }
            let other = usize::from(self.words[i - 1] != self.reference[j - 1]);
            for (cost, step) in [
                (above[j - 1].0 + other, Step::Both),
                (above[j].0 + 1, Step::Output),
                (row[j - 1].0 + 1, Step::Reference),
            ] {
                if row[j].0 > cost {
                    row[j] = (cost, step);
                }
            }
        }
        row
    }
}

fn align(hyp: &[u32], distances: &mut Distances<'_>) -> Alignment {
    let distance = distances.of(hyp);
    let reference = distances.reference;
    let mut found = Alignment {
        distance,
        place: vec![0; reference.len()],
        hyp_wrong: vec![true; hyp.len()],
        ref_wrong: vec![true; reference.len()],
    };
    let (mut i, mut j) = (hyp.len(), reference.len());
    while i > 0 || j > 0 {
        match distances.rows[i][j].1 {
            Step::Both => {
                (i, j) = (i - 1, j - 1);
                found.place[j] = i + 1;
                let wrong = hyp[i] != reference[j];
                (found.hyp_wrong[i], found.ref_wrong[j]) = (wrong, wrong);
            }
            Step::Output => i -= 1,
            Step::Reference => {
                j -= 1;
                found.place[j] = i;
            }
            Step::Unreached => break,
        }
    }
    found
}

/// The shift that lessens the distance most, and by how much; of equals the longest, then the one from farthest left, then
/// the one to farthest left.
fn best_shift(hyp: &[u32], distances: &mut Distances<'_>, tried: &mut usize) -> Option<(i64, Vec<u32>)> {
    let now = align(hyp, distances);
    let reference = distances.reference;
    let mut best = None;
    for (from, to, length) in equal_runs(hyp, reference) {
        let wrong = |flags: &[bool], at: usize| flags[at..at + length].contains(&true);
        // `place` counts from 1: the run must not be shifted into itself.
        let inside = (from + 1..=from + length).contains(&now.place[to]);
        if !wrong(&now.hyp_wrong, from) || !wrong(&now.ref_wrong, to) || inside {
            continue;
        }
        let mut before = None;
        for offset in 0..=length {
            // In front of the reference's run, then behind each of its words.
            let target = match (to + offset).checked_sub(1) {
                None => 0,
                Some(at) if at < reference.len() => now.place[at],
                Some(_) => break,
            };
            if before == Some(target) {
                continue;
            }
            before = Some(target);
            let words = shift(hyp, from, length, target);
            let gain = now.distance as i64 - distances.of(&words) as i64;
            *tried += 1;
            let found = (gain, length, Reverse(from), Reverse(target), words);
            if best.as_ref().is_none_or(|best| found > *best) {
                best = Some(found);
            }
        }
        if *tried >= MOST_TRIED {
            break;
        }
    }
    best.map(|(gain, _, _, _, words)| (gain, words))
}

/// Runs of equal words, every length of them: where in the output, where in the reference, how long.
fn equal_runs<'a>(hyp: &'a [u32], reference: &'a [u32]) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
    let starts = (0..hyp.len()).flat_map(|from| (0..reference.len()).map(move |to| (from, to)));
    let near = starts.filter(|(from, to)| from.abs_diff(*to) <= FARTHEST_SHIFT);
    near.flat_map(|(from, to)| {
        let equal = hyp[from..].iter().zip(&reference[to..]).take_while(|(h, r)| h == r);
        let longest = equal.take(LONGEST_SHIFT).count();
        (1..=longest).map(move |length| (from, to, length))
    })
}

fn shift(words: &[u32], from: usize, length: usize, to: usize) -> Vec<u32> {
    let run = &words[from..from + length];
    let behind = from + length;
    if to < from {
        [&words[..to], run, &words[to..from], &words[behind..]].concat()
    } else if to > behind {
        [&words[..from], &words[behind..to], run, &words[to..]].concat()
    } else {
        let at = (length + to).min(words.len());
        [
            &words[..from],
            &words[behind..at.max(behind)],
            run,
            &words[at.max(behind)..],
        ]
        .concat()
    }
}
