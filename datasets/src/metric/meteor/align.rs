//! METEOR's alignment: a beam search over matches, reference position after reference position.
//!
//! Integer weights and the distance that is added to another path are those of the original tool; they decide ties.

use std::cmp::Reverse;

use smallvec::SmallVec;

/// Width of the beam.
const BEAM: usize = 40;

/// Words of the output that match words of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// First matched word of the reference.
    pub ref_start: usize,
    /// Number of words there.
    pub ref_len: usize,
    /// First matched word of the output.
    pub hyp_start: usize,
    /// Number of words there.
    pub hyp_len: usize,
    /// The matcher: 0 exact, 1 stem, 2 synonym, 3 paraphrase.
    pub module: usize,
}

impl Match {
    fn hyp_end(&self) -> usize {
        self.hyp_start + self.hyp_len
    }

    fn ref_end(&self) -> usize {
        self.ref_start + self.ref_len
    }
}

/// A set of word positions.
#[derive(Clone)]
struct Positions(SmallVec<[u64; 2]>);

impl Positions {
    fn new(words: usize) -> Self {
        Self(SmallVec::from_elem(0, words.div_ceil(64)))
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn add(&mut self, range: std::ops::Range<usize>) {
        range.for_each(|at| self.0[at / 64] |= 1 << (at % 64));
    }
}

/// A partial alignment.
#[derive(Clone)]
struct PartialAlignment {
    /// The last of the matches chosen, in the search's list of links.
    last: Option<usize>,
    /// Weighted matched words of both sides, whole numbers: a single word that does not match exactly adds nothing.
    weight: (i32, i32),
    chunks: usize,
    /// End of the last match in the output, where the next one would go on with its chunk.
    open: Option<usize>,
    distance: usize,
    /// The reference position that is next.
    next: usize,
    used: Positions,
}

impl PartialAlignment {
    fn take(&mut self, m: &Match) {
        let add = |sum: i32, len: usize| {
            if m.module == 0 {
                sum + len as i32
            } else {
                sum + len as i32 / 2
            }
        };
        self.weight = (add(self.weight.0, m.hyp_len), add(self.weight.1, m.ref_len));
        if self.open.is_some_and(|end| end != m.hyp_start) {
            self.chunks += 1;
        }
        self.open = Some(m.hyp_end());
        self.next = m.ref_end();
        self.used.add(m.hyp_start..m.hyp_end());
    }

    fn close(&mut self) {
        self.chunks += usize::from(self.open.take().is_some());
    }

    fn order(&self) -> (Reverse<i32>, usize, usize) {
        (Reverse(self.weight.0 + self.weight.1), self.chunks, self.distance)
    }
}

/// The alignment of an output of `hyp_len` words with a reference of `ref_len`, out of all matches by reference position, in
/// the matchers' order.
pub(super) fn align(matches: &[Vec<Match>], hyp_len: usize, ref_len: usize) -> Vec<Match> {
    let (fixed, ref_used, used) = fixed(matches, hyp_len, ref_len);
    // Chosen matches with the one chosen before: paths share their beginnings.
    let mut links: Vec<(Match, Option<usize>)> = Vec::new();
    let mut paths = vec![PartialAlignment {
        last: None,
        weight: (0, 0),
        chunks: 0,
        open: None,
        distance: 0,
        next: 0,
        used,
    }];
    for at in 0..ref_len {
        let mut grown = Vec::with_capacity(paths.len() * 2);
        if paths.len() > 1 {
            paths.sort_by_key(PartialAlignment::order);
        }
        let fallback = paths[0].clone();
        for mut path in paths.into_iter().take(BEAM) {
            if path.next > at {
                grown.push(path);
            } else if ref_used.has(at) {
                // Paths without a fixed match are invalid.
                if let Some(m) = &fixed[at] {
                    links.push((*m, path.last));
                    path.last = Some(links.len() - 1);
                    path.take(m);
                    grown.push(path);
                }
            } else {
                grow(path, &matches[at], &ref_used, &mut links, &mut grown);
            }
        }
        paths = if grown.is_empty() { vec![fallback] } else { grown };
    }
    // Chunks that are still open count only after the last cut.
    paths.sort_by_key(PartialAlignment::order);
    paths.truncate(BEAM);
    paths.iter_mut().for_each(PartialAlignment::close);
    let best = paths.iter().min_by_key(|p| p.order()).and_then(|p| p.last);
    let mut chosen: Vec<Match> = std::iter::successors(best, |&l| links[l].1)
        .map(|l| links[l].0)
        .collect();
    chosen.reverse();
    chosen
}

/// All ways to go on from a reference position: with each match, and without.
fn grow(
    mut path: PartialAlignment,
    matches: &[Match],
    ref_used: &Positions,
    links: &mut Vec<(Match, Option<usize>)>,
    grown: &mut Vec<PartialAlignment>,
) {
    for m in matches {
        let free = (m.hyp_start..m.hyp_end()).all(|i| !path.used.has(i));
        if !free || !(m.ref_start..m.ref_end()).all(|j| !ref_used.has(j)) {
            continue;
        }
        let mut with = path.clone();
        links.push((*m, with.last));
        with.last = Some(links.len() - 1);
        with.take(m);
        grown.push(with);
        path.distance += m.ref_start.abs_diff(m.hyp_start);
    }
    path.close();
    path.next += 1;
    grown.push(path);
}

type Fixed = (Vec<Option<Match>>, Positions, Positions);

/// Matches that are the only one for all of their words, and the words of both sides that they take.
fn fixed(matches: &[Vec<Match>], hyp_len: usize, ref_len: usize) -> Fixed {
    let (mut in_hyp, mut in_ref) = (vec![0; hyp_len], vec![0; ref_len]);
    for m in matches.iter().flatten() {
        in_hyp[m.hyp_start..m.hyp_end()].iter_mut().for_each(|n| *n += 1);
        in_ref[m.ref_start..m.ref_end()].iter_mut().for_each(|n| *n += 1);
    }
    let (mut ref_used, mut hyp_used) = (Positions::new(ref_len), Positions::new(hyp_len));
    let only = |of: &Vec<Match>| {
        let [m] = of[..] else { return None };
        let once = in_hyp[m.hyp_start..m.hyp_end()]
            .iter()
            .chain(&in_ref[m.ref_start..m.ref_end()])
            .all(|&n| n == 1);
        once.then(|| {
            ref_used.add(m.ref_start..m.ref_end());
            hyp_used.add(m.hyp_start..m.hyp_end());
            m
        })
    };
    let fixed = matches.iter().map(only).collect();
    (fixed, ref_used, hyp_used)
}

/// Number of chunks: runs of matches that lie side by side, and in the same order, in both texts.
pub(super) fn chunks(alignment: &[Match]) -> usize {
    let breaks = alignment
        .windows(2)
        .filter(|w| w[0].hyp_end() != w[1].hyp_start || w[0].ref_end() != w[1].ref_start);
    breaks.count() + usize::from(!alignment.is_empty())
}
