//! METEOR 1.5 for English (Denkowski & Lavie, 2014), task "rank", on normalised text (`-l en -norm`).
//!
//! Its data (synonyms, paraphrases, function words) belongs to METEOR and WordNet and is not part of this project: [`Meteor::open`]
//! takes it from a copy that the user has, once, and keeps an index of it in the user's cache.

mod align;
mod data;
mod error;
mod index;
mod matches;
mod normalize;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

pub use align::Match;
pub use error::MeteorError;

use super::generated::Segment;
use index::{Index, IndexTable};
use matches::{Lexicon, Phrases, Word};
use normalize::Prefixes;

/// The matchers, in order, and what a word matched by them weighs.
const MODULE_WEIGHTS: [f64; 4] = [1.0, 0.6, 0.8, 0.6];
/// Recall against precision.
const ALPHA: f64 = 0.85;
/// Shape and size of the penalty for broken order.
const BETA: f64 = 0.2;
const GAMMA: f64 = 0.6;
/// Content words against function words.
const DELTA: f64 = 0.75;

/// METEOR's counts of one text of a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    /// Words.
    pub words: usize,
    /// Function words among them.
    pub function_words: usize,
    /// Matched content words, by matcher.
    pub content: [usize; 4],
    /// Matched function words, by matcher.
    pub function: [usize; 4],
}

impl Side {
    fn matched(&self) -> usize {
        self.content.iter().chain(&self.function).sum()
    }

    /// Weighted share of matched words.
    fn share(&self) -> f64 {
        let weigh = |matched: &[usize; 4], weight: f64| {
            let pairs = matched.iter().zip(MODULE_WEIGHTS);
            pairs.map(|(&n, w)| n as f64 * w * weight).sum::<f64>()
        };
        let function = self.function_words as f64;
        let length = DELTA * (self.words as f64 - function) + (1.0 - DELTA) * function;
        (weigh(&self.content, DELTA) + weigh(&self.function, 1.0 - DELTA)) / length
    }

    fn add(&mut self, other: &Self) {
        self.words += other.words;
        self.function_words += other.function_words;
        self.content.iter_mut().zip(other.content).for_each(|(a, b)| *a += b);
        self.function.iter_mut().zip(other.function).for_each(|(a, b)| *a += b);
    }
}

/// METEOR's counts of a pair; the corpus score is that of their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// The output.
    pub hyp: Side,
    /// The reference.
    pub reference: Side,
    /// Runs of matches in the same order in both.
    pub chunks: usize,
}

impl Stats {
    /// The counts in the tool's order: lengths and function words of output and reference; for each matcher content words of
    /// output and reference, function words of both; chunks; matched words of both.
    pub fn numbers(&self) -> Vec<usize> {
        let (h, r) = (&self.hyp, &self.reference);
        let mut numbers = vec![h.words, r.words, h.function_words, r.function_words];
        for i in 0..MODULE_WEIGHTS.len() {
            numbers.extend([h.content[i], r.content[i], h.function[i], r.function[i]]);
        }
        numbers.extend([self.chunks, h.matched(), r.matched()]);
        numbers
    }

    /// Whether all words are matched in one chunk.
    fn complete(&self) -> bool {
        let whole = |s: &Side| s.matched() == s.words;
        self.chunks == 1 && whole(&self.hyp) && whole(&self.reference)
    }

    /// The score.
    pub fn score(&self) -> f64 {
        let (precision, recall) = (self.hyp.share(), self.reference.share());
        let mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall);
        let matched = (self.hyp.matched() + self.reference.matched()) as f64 / 2.0;
        // Zero chunks of a sum: every segment was complete.
        let complete = self.chunks <= 1
            && self.hyp.matched() == self.hyp.words
            && self.reference.matched() == self.reference.words;
        let fragmentation = if complete { 0.0 } else { self.chunks as f64 / matched };
        let score = mean * (1.0 - GAMMA * fragmentation.powf(BETA));
        // NaN (nothing matched, or no words) is 0 too.
        score.max(0.0)
    }

    /// The sum of the counts. A complete match counts no chunk.
    pub fn sum<'a>(stats: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for stats in stats {
            sum.hyp.add(&stats.hyp);
            sum.reference.add(&stats.reference);
            sum.chunks += if stats.complete() { 0 } else { stats.chunks };
        }
        sum
    }
}

/// METEOR with its data.
pub struct Meteor {
    index: Index,
    function: HashSet<String>,
    prefixes: Prefixes,
}

/// A text's words, and the phrases that stand in it.
struct MeteorText<'a> {
    words: Vec<&'a Word>,
    phrases: Phrases,
}

impl Meteor {
    /// METEOR with the data from the user's cache, or else from `source`: the pycocoevalcap 1.2 wheel, METEOR's jar, or a folder
    /// that holds either. What was read from there is kept in the cache. `None` where there is neither.
    ///
    /// # Errors
    /// A source that is not there or not METEOR 1.5's.
    pub fn open(source: Option<&Path>) -> Result<Option<Self>, MeteorError> {
        let cached = Self::cached();
        if let Some(source) = source.filter(|s| !s.exists()) {
            return Err(MeteorError::NotFound {
                path: source.to_path_buf(),
            });
        }
        if let Some(index) = cached.as_deref().and_then(Index::open) {
            return Ok(Some(Self::new(index)));
        }
        let Some(source) = source else { return Ok(None) };
        let bytes = data::build(source)?;
        if let Some(path) = cached
            && let Err(e) = support::write_atomic(&path, &bytes)
        {
            tracing::warn!("METEOR's data could not be cached: {e}: {}", e.source);
        }
        Ok(Some(Self::new(Index::owned(bytes)?)))
    }

    /// Path of the index in the user's cache; `None` without a cache folder.
    pub fn cached() -> Option<PathBuf> {
        Some(crate::cache::user_folder()?.join("meteor-1.5.index"))
    }

    /// SHA-256 of the data: each file as `NAME SHA256` and a newline. It is constant, because no other data are
    /// accepted.
    pub fn data_sha256() -> String {
        data::sha256()
    }

    fn new(index: Index) -> Self {
        let lines = index.text(IndexTable::Function);
        let function = lines
            .lines()
            .map(|l| l.trim().to_lowercase())
            .filter(|l| !l.is_empty())
            .collect();
        drop(lines);
        let prefixes = Prefixes::parse(&index.text(IndexTable::Prefixes));
        Self {
            index,
            function,
            prefixes,
        }
    }

    /// A text as METEOR's normaliser leaves it; case is kept.
    pub fn normalize(&self, text: &str) -> String {
        normalize::normalize(text, &self.prefixes)
    }

    /// The score of all segments together.
    pub fn score(&self, segments: &[Segment]) -> f64 {
        Stats::sum(&self.stats(segments)).score()
    }

    /// The counts of every segment, each with that reference that gives the highest score.
    pub fn stats(&self, segments: &[Segment]) -> Vec<Stats> {
        let tokens = |text: &String| -> Vec<String> {
            let text = self.normalize(text).to_lowercase();
            text.split_ascii_whitespace().map(str::to_owned).collect()
        };
        let texts: Vec<(Vec<String>, Vec<Vec<String>>)> = segments
            .par_iter()
            .map(|s| (tokens(&s.hyp), s.refs.iter().map(tokens).collect()))
            .collect();
        let distinct: HashSet<&str> = texts
            .iter()
            .flat_map(|(h, r)| h.iter().chain(r.iter().flatten()))
            .map(String::as_str)
            .collect();
        let lexicon = Lexicon::new(&self.index, &self.function);
        let words: HashMap<&str, Word> = distinct.into_iter().map(|w| (w, lexicon.word(w))).collect();
        let text = |tokens: &Vec<String>| {
            let words: Vec<&Word> = tokens.iter().filter_map(|t| words.get(t.as_str())).collect();
            let phrases = matches::phrases(&words, &self.index);
            MeteorText { words, phrases }
        };
        let best = |(hyp, refs): &(Vec<String>, Vec<Vec<String>>)| {
            let hyp = text(hyp);
            let all = refs.iter().map(|r| self.pair(&hyp, &text(r), MODULE_WEIGHTS.len()).0);
            let higher = |best: Option<(Stats, f64)>, stats: Stats| {
                let score = stats.score();
                if best.is_none_or(|(_, b)| score > b) {
                    Some((stats, score))
                } else {
                    best
                }
            };
            all.fold(None, higher).map(|(stats, _)| stats).unwrap_or_default()
        };
        texts.par_iter().map(best).collect()
    }

    /// The alignment of two texts by the first so many matchers (exact, stem, synonym, paraphrase), and its counts.
    pub fn align(&self, hyp: &str, reference: &str, matchers: usize) -> (Stats, Vec<Match>) {
        let lexicon = Lexicon::new(&self.index, &self.function);
        let words = |text: &str| -> Vec<Word> {
            let text = self.normalize(text).to_lowercase();
            text.split_ascii_whitespace().map(|w| lexicon.word(w)).collect()
        };
        let (hyp, reference) = (words(hyp), words(reference));
        let text =
            |words: &'_ Vec<Word>| -> Phrases { matches::phrases(&words.iter().collect::<Vec<_>>(), &self.index) };
        let (in_hyp, in_ref) = (text(&hyp), text(&reference));
        let hyp = MeteorText {
            words: hyp.iter().collect(),
            phrases: in_hyp,
        };
        let reference = MeteorText {
            words: reference.iter().collect(),
            phrases: in_ref,
        };
        self.pair(&hyp, &reference, matchers)
    }

    fn pair(&self, hyp: &MeteorText, reference: &MeteorText, matchers: usize) -> (Stats, Vec<Match>) {
        let found = matches::matches(
            (&hyp.words, &hyp.phrases),
            (&reference.words, &reference.phrases),
            &self.index,
            matchers,
        );
        let alignment = align::align(&found, hyp.words.len(), reference.words.len());
        let side = |text: &MeteorText, of: fn(&Match) -> (usize, usize)| {
            let function_words = text.words.iter().filter(|w| w.function).count();
            let mut side = Side {
                words: text.words.len(),
                function_words,
                ..Side::default()
            };
            for m in &alignment {
                let (start, len) = of(m);
                for word in &text.words[start..start + len] {
                    let counts = if word.function {
                        &mut side.function
                    } else {
                        &mut side.content
                    };
                    counts[m.module] += 1;
                }
            }
            side
        };
        let stats = Stats {
            hyp: side(hyp, |m| (m.hyp_start, m.hyp_len)),
            reference: side(reference, |m| (m.ref_start, m.ref_len)),
            chunks: align::chunks(&alignment),
        };
        (stats, alignment)
    }
}
