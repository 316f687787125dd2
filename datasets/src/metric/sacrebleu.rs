//! BLEU (Papineni et al., 2002) as the package sacrebleu computes it (Post, 2018).

use std::fmt;

use rayon::prelude::*;

use super::generated::{Scores, Segment, is_python_space};
use super::mteval;
use super::ngram::{NumberedSegment, Words, matched};
use super::{chrf, ter};

/// How text is cut into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BleuTokenizer {
    /// That of `mteval-v13a`, for western languages.
    V13a,
    /// At white space.
    None,
    /// That of `mteval-v14 --international-tokenization`: Unicode's punctuation and symbols apart.
    Intl,
}

/// What may be chosen; the default is the package's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BleuSettings {
    /// How text is cut into words.
    pub tokenizer: BleuTokenizer,
    /// Whether case is ignored.
    pub lowercase: bool,
    /// Whether orders for which a text is too short are left out of the mean.
    pub effective_order: bool,
}

impl Default for BleuSettings {
    fn default() -> Self {
        Self {
            tokenizer: BleuTokenizer::V13a,
            lowercase: false,
            effective_order: false,
        }
    }
}

/// The package's signature, without the number of references: `case:mixed|eff:no|tok:13a|smooth:exp`.
impl fmt::Display for BleuSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = if self.lowercase { "lc" } else { "mixed" };
        let effective = if self.effective_order { "yes" } else { "no" };
        let tokenizer = match self.tokenizer {
            BleuTokenizer::V13a => "13a",
            BleuTokenizer::None => "none",
            BleuTokenizer::Intl => "intl",
        };
        write!(f, "case:{case}|eff:{effective}|tok:{tokenizer}|smooth:exp")
    }
}

/// Longest n-grams.
const ORDER: usize = 4;

/// BLEU with what it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bleu {
    /// From 0 to 100.
    pub score: f64,
    /// Matched n-grams of each order.
    pub counts: [usize; ORDER],
    /// N-grams of the output of each order.
    pub totals: [usize; ORDER],
    /// In percent, smoothed.
    pub precisions: [f64; ORDER],
    /// Brevity penalty.
    pub bp: f64,
    /// Words of the output.
    pub sys_len: usize,
    /// Words of the references closest in length.
    pub ref_len: usize,
}

/// What is summed over segments.
#[derive(Default, Clone, Copy)]
struct Sums {
    counts: [usize; ORDER],
    totals: [usize; ORDER],
    sys_len: usize,
    ref_len: usize,
}

impl Sums {
    fn of(segment: &Segment, settings: BleuSettings) -> Self {
        let mut words = Words::default();
        let mut numbers = |text: &str| words.number(tokenize(text, settings).iter().map(String::as_str));
        let segment = NumberedSegment {
            hyp: numbers(&segment.hyp),
            refs: segment.refs.iter().map(|r| numbers(r)).collect(),
        };
        Self::counted(&segment)
    }

    fn counted(segment: &NumberedSegment) -> Self {
        let sys_len = segment.hyp.len();
        let lengths = segment.refs.iter().map(Vec::len);
        let mut sums = Self {
            sys_len,
            // Of two that are equally close the shorter.
            ref_len: lengths.min_by_key(|n| (n.abs_diff(sys_len), *n)).unwrap_or(0),
            ..Self::default()
        };
        for n in 1..=ORDER {
            sums.totals[n - 1] = (sys_len + 1).saturating_sub(n);
            sums.counts[n - 1] = matched(segment, n).values().sum::<u32>() as usize;
        }
        sums
    }

    fn add(mut self, other: Self) -> Self {
        for n in 0..ORDER {
            self.counts[n] += other.counts[n];
            self.totals[n] += other.totals[n];
        }
        self.sys_len += other.sys_len;
        self.ref_len += other.ref_len;
        self
    }

    /// Exponential smoothing: the first order without a match counts half a match, the next a quarter, and so on.
    fn bleu(&self, effective_order: bool) -> Bleu {
        let mut precisions = [0.0; ORDER];
        let (mut share, mut orders) = (1.0, ORDER);
        let some = self.counts.iter().any(|c| *c > 0);
        for n in (0..ORDER).take_while(|n| some && self.totals[*n] > 0) {
            if effective_order {
                orders = n + 1;
            }
            precisions[n] = if self.counts[n] == 0 {
                share *= 2.0;
                100.0 / (share * self.totals[n] as f64)
            } else {
                100.0 * self.counts[n] as f64 / self.totals[n] as f64
            };
        }
        let bp = brevity(self.sys_len, self.ref_len);
        // The package's logarithm of 0 is no infinity, but as good as one.
        let log = |p: f64| if p == 0.0 { -9_999_999_999.0 } else { p.ln() };
        let mean = precisions[..orders].iter().map(|p| log(*p)).sum::<f64>() / orders as f64;
        Bleu {
            score: if some { bp * mean.exp() } else { 0.0 },
            counts: self.counts,
            totals: self.totals,
            precisions,
            bp,
            sys_len: self.sys_len,
            ref_len: self.ref_len,
        }
    }
}

fn brevity(sys_len: usize, ref_len: usize) -> f64 {
    match sys_len {
        _ if sys_len >= ref_len => 1.0,
        0 => 0.0,
        _ => (1.0 - ref_len as f64 / sys_len as f64).exp(),
    }
}

/// BLEU of all segments together.
pub fn corpus_bleu(segments: &[Segment], settings: BleuSettings) -> Bleu {
    let sums = segments.par_iter().map(|s| Sums::of(s, settings));
    sums.reduce(Sums::default, Sums::add).bleu(settings.effective_order)
}

/// BLEU of one segment, with effective order, which the package does for sentences.
pub fn sentence_bleu(segment: &Segment, settings: BleuSettings) -> Bleu {
    Sums::of(segment, settings).bleu(true)
}

/// Unsmoothed BLEU of all segments together, of words cut by `words`; 0 as soon as no n-gram of an order is matched.
pub(crate) fn plain_bleu(segments: &[Segment], words: impl Fn(&str) -> Vec<String> + Sync) -> f64 {
    let of = |segment: &Segment| {
        let mut known = Words::default();
        let mut numbers = |text: &str| known.number(words(text).iter().map(String::as_str));
        Sums::counted(&NumberedSegment {
            hyp: numbers(&segment.hyp),
            refs: segment.refs.iter().map(|r| numbers(r)).collect(),
        })
    };
    let sums = segments.par_iter().map(of).reduce(Sums::default, Sums::add);
    if sums.counts.contains(&0) {
        return 0.0;
    }
    sums.bleu(false).score
}

/// BLEU, chrF2, chrF2++ and TER by the package's names, with its default settings.
pub fn score(segments: &[Segment]) -> Scores {
    vec![
        ("BLEU", Some(corpus_bleu(segments, BleuSettings::default()).score)),
        ("chrF2", Some(chrf::corpus(segments, 0))),
        ("chrF2++", Some(chrf::corpus(segments, 2))),
        ("TER", Some(ter::corpus(segments))),
    ]
}

fn tokenize(text: &str, settings: BleuSettings) -> Vec<String> {
    let lower = if settings.lowercase {
        text.to_lowercase()
    } else {
        text.to_owned()
    };
    let text = lower.trim_end_matches(is_python_space);
    let split = |text: &str| -> Vec<String> {
        let words = text.split(is_python_space).filter(|w| !w.is_empty());
        words.map(str::to_owned).collect()
    };
    match settings.tokenizer {
        BleuTokenizer::V13a => {
            let words = mteval::tokenize(&text.replace("-\n", ""));
            words.into_iter().filter(|w| !w.is_empty()).collect()
        }
        BleuTokenizer::None => split(text),
        BleuTokenizer::Intl => split(&international(text)),
    }
}

/// Punctuation apart unless numbers are on both sides, symbols apart.
fn international(text: &str) -> String {
    use regex::Regex;
    use std::sync::LazyLock;
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let rules = [
            (r"(\P{N})(\p{P})", "$1 $2 "),
            (r"(\p{P})(\P{N})", " $1 $2"),
            (r"(\p{S})", " $1 "),
        ];
        rules
            .into_iter()
            .filter_map(|(rule, to)| Some((Regex::new(rule).ok()?, to)))
            .collect()
    });
    RULES.iter().fold(text.to_owned(), |text, (rule, to)| {
        rule.replace_all(&text, *to).into_owned()
    })
}
