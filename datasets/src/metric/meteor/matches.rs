//! METEOR's four matchers: equal words, equal stems, common synonym sets, paraphrases.

use std::collections::{HashMap, HashSet};

use rust_stemmers::{Algorithm, Stemmer};

use super::align::Match;
use super::index::{Index, IndexTable, first};

/// A word as the matchers see it.
pub(super) struct Word {
    /// Hash of the word, and of its stem: the tool compares these, so that words with equal hashes are equal.
    hash: i32,
    stem: i32,
    /// Synonym sets of the word and of its base forms, sorted.
    sets: Vec<u32>,
    /// Number in the paraphrase table.
    number: Option<u32>,
    /// Whether it is a function word, which weighs less.
    pub function: bool,
}

/// Makes words.
pub(super) struct Lexicon<'a> {
    index: &'a Index,
    function: &'a HashSet<String>,
    stemmer: Stemmer,
}

impl<'a> Lexicon<'a> {
    pub fn new(index: &'a Index, function: &'a HashSet<String>) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        Self {
            index,
            function,
            stemmer,
        }
    }

    pub fn word(&self, word: &str) -> Word {
        let stem = self.stemmer.stem(word);
        let number = self
            .index
            .strings(IndexTable::WordEnds)
            .find(word)
            .and_then(|n| u32::try_from(n).ok());
        Word {
            hash: java_hash(word),
            stem: java_hash(&stem),
            sets: self.sets(word),
            number,
            function: self.function.contains(word),
        }
    }

    fn sets(&self, word: &str) -> Vec<u32> {
        let regular = |word: &str| self.found(IndexTable::SynonymEnds, IndexTable::SetEnds, word);
        let mut sets = regular(word).unwrap_or_default();
        let base = self.found(IndexTable::IrregularEnds, IndexTable::IrregularSetEnds, word);
        sets.extend(base.or_else(|| regular(&self.base(word))).unwrap_or_default());
        sets.sort_unstable();
        sets.dedup();
        sets
    }

    fn found(&self, strings: IndexTable, lists: IndexTable, word: &str) -> Option<Vec<u32>> {
        let at = self.index.strings(strings).find(word)?;
        Some(self.index.lists(lists).get(at).iter().collect())
    }

    /// The base form by WordNet's rules of detachment, empty if none is known.
    fn base(&self, word: &str) -> String {
        /// Nouns, verbs, adjectives: an ending, and what the base form has in its place.
        const ENDINGS: [(&str, &str); 20] = [
            ("s", ""),
            ("ses", "s"),
            ("xes", "x"),
            ("zes", "z"),
            ("ches", "ch"),
            ("shes", "sh"),
            ("men", "man"),
            ("ies", "y"),
            ("s", ""),
            ("ies", "y"),
            ("es", "e"),
            ("es", ""),
            ("ed", "e"),
            ("ed", ""),
            ("ing", "e"),
            ("ing", ""),
            ("er", ""),
            ("est", ""),
            ("er", "e"),
            ("est", "e"),
        ];
        let (stem, tail) = word.strip_suffix("ful").map_or((word, ""), |stem| (stem, "ful"));
        if tail.is_empty() && (word.ends_with("ss") || word.chars().count() <= 2) {
            return word.to_owned();
        }
        let known = |base: &String| self.index.strings(IndexTable::SynonymEnds).find(base).is_some();
        let bases = ENDINGS
            .iter()
            .filter_map(|(ending, new)| Some(stem.strip_suffix(ending)?.to_owned() + new));
        bases
            .into_iter()
            .find(known)
            .map_or_else(String::new, |base| base + tail)
    }
}

/// `String.hashCode` of Java.
fn java_hash(word: &str) -> i32 {
    word.encode_utf16()
        .fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Phrases of the paraphrase table that stand in a text, by their first words: number and length of each, shorter ones first.
pub(super) type Phrases = Vec<Vec<(u32, usize)>>;

/// Looks the phrases of a text up.
pub(super) fn phrases(text: &[&Word], index: &Index) -> Phrases {
    let table = index.lists(IndexTable::PhraseEnds);
    let from = |start: usize| {
        let mut found = Vec::new();
        let mut range = 0..table.len();
        for (depth, word) in text[start..].iter().enumerate() {
            let Some(number) = word.number else { break };
            // Phrases that begin like the text do; those that end sooner come before the others.
            let at = |phrase: usize| (depth < table.get(phrase).len()).then(|| table.get(phrase).get(depth));
            let low = first(range.clone(), |p| at(p) >= Some(number));
            range = low..first(low..range.end, |p| at(p) > Some(number));
            if range.is_empty() {
                break;
            }
            if table.get(range.start).len() == depth + 1 {
                found.push((range.start as u32, depth + 1));
            }
        }
        found
    };
    (0..text.len()).map(from).collect()
}

/// All matches by the first word in the reference, in the order in which the tool finds them. `modules` is how many of the
/// matchers take part.
pub(super) fn matches(
    (hyp, in_hyp): (&[&Word], &Phrases),
    (reference, in_ref): (&[&Word], &Phrases),
    index: &Index,
    modules: usize,
) -> Vec<Vec<Match>> {
    let equal = hyp.len() == reference.len() && hyp.iter().zip(reference).all(|(a, b)| a.hash == b.hash);
    let mut all = vec![Vec::new(); reference.len()];
    let kinds: [fn(&Word, &Word) -> bool; 3] = [
        |a, b| a.hash == b.hash,
        |a, b| a.stem == b.stem && a.hash != b.hash,
        |a, b| a.hash != b.hash && common(&a.sets, &b.sets),
    ];
    for (module, kind) in kinds.into_iter().enumerate().take(if equal { 1 } else { modules }) {
        for (ref_start, word) in reference.iter().enumerate() {
            let found = hyp.iter().enumerate().filter(|(_, other)| kind(word, other));
            let of = |(hyp_start, _)| Match {
                ref_start,
                ref_len: 1,
                hyp_start,
                hyp_len: 1,
                module,
            };
            all[ref_start].extend(found.map(of));
        }
    }
    if !equal && modules > 3 {
        let mut add = |ref_start: usize, ref_len, hyp_start, hyp_len| {
            all[ref_start].push(Match {
                ref_start,
                ref_len,
                hyp_start,
                hyp_len,
                module: 3,
            });
        };
        paraphrases(in_ref, in_hyp, index, &mut add);
        paraphrases(in_hyp, in_ref, index, |hyp_start, hyp_len, ref_start, ref_len| {
            add(ref_start, ref_len, hyp_start, hyp_len);
        });
    }
    all
}

/// Calls back for every phrase of one text with a paraphrase in the other: start and length of both.
fn paraphrases(one: &Phrases, other: &Phrases, index: &Index, mut found: impl FnMut(usize, usize, usize, usize)) {
    let mut places: HashMap<u32, (usize, Vec<usize>)> = HashMap::new();
    for (start, phrases) in other.iter().enumerate() {
        for &(phrase, len) in phrases {
            places.entry(phrase).or_insert((len, Vec::new())).1.push(start);
        }
    }
    let table = index.lists(IndexTable::ParaphraseEnds);
    for (start, phrases) in one.iter().enumerate() {
        for &(phrase, len) in phrases {
            for paraphrase in table.get(phrase as usize).iter() {
                if let Some((other_len, starts)) = places.get(&paraphrase) {
                    starts.iter().for_each(|&s| found(start, len, s, *other_len));
                }
            }
        }
    }
}

/// Whether sorted lists share a number.
fn common(a: &[u32], b: &[u32]) -> bool {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
        }
    }
    false
}
