//! `word_tokenize` of NLTK 3.10.4, the tokenisation of the scores of WebNLG and DART: sentences first, then words as in the Penn Treebank.
//!
//! The sentences come from Punkt (`punkt`) with NLTK's own English parameters (`parameters`), which belong to NLTK and are
//! not part of this project: [`Nltk::open`] takes them from a copy that the user has.

mod parameters;
mod punkt;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use fancy_regex::Regex;

use super::generated::is_python_space;
use parameters::Parameters;
pub use parameters::PunktError;

/// NLTK's tokenizer with its parameters.
pub struct Nltk {
    parameters: Parameters,
}

impl Nltk {
    /// The tokenizer with the parameters from `source`, or else from the user's cache. A source is NLTK's `punkt_tab.zip`, its
    /// folder `punkt_tab` or one above it, the llama-index-core wheel, which holds a copy, or a folder with that wheel. What was
    /// read from there is kept in the cache. `None` where there is neither.
    ///
    /// # Errors
    /// A source or a cache without the parameters, or with others.
    pub fn open(source: Option<&Path>) -> Result<Option<Self>, PunktError> {
        let parameters = Parameters::open(source)?;
        Ok(parameters.map(|parameters| Self { parameters }))
    }

    /// The folder of the parameters in the user's cache; none without a cache folder.
    pub fn cached() -> Option<PathBuf> {
        parameters::cached()
    }

    /// SHA-256 of the parameters: all files in order, each as `NAME SHA256` and a newline. It is constant, because
    /// no other parameters are accepted.
    pub fn data_sha256() -> String {
        parameters::sha256()
    }

    /// The sentences of a text, without the white space between them.
    pub fn sentences<'a>(&self, text: &'a str) -> Vec<&'a str> {
        punkt::sentences(text, &self.parameters)
    }

    /// The words of a sentence.
    pub fn words(&self, sentence: &str) -> Vec<String> {
        words(sentence)
    }

    /// The words of a text.
    pub fn word_tokenize(&self, text: &str) -> Vec<String> {
        self.sentences(text).into_iter().flat_map(|s| self.words(s)).collect()
    }
}

/// A substitution in a sentence.
struct Rewrite {
    /// Substrings of which the pattern needs at least one; empty for patterns that are always tried.
    signs: &'static [&'static str],
    pattern: Regex,
    to: &'static str,
}

/// The rules in their order.
static RULES: LazyLock<Vec<Rewrite>> = LazyLock::new(|| {
    let rules: &[(&'static [&'static str], &str, &'static str)] = &[
        // Opening quotes.
        (&["«", "“", "‘", "„", "`"], r"[«“‘„]|`+", " $0 "),
        (&["\""], r#"^""#, "``"),
        (&["``"], r"``", " `` "),
        (&["\"", "''"], r#"([ (\[{<])(?:"|'')"#, "$1 `` "),
        (&["'"], r"(?i)(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "' "),
        // The full stop at the end, commas and colons outside numbers, and other signs.
        (&["."], r#"([^.])(\.)([\])}>"'»”’ ]*)\s*$"#, "$1 $2 $3 "),
        (&[":", ","], r"([:,])(\D)", " $1 $2"),
        (&[":", ","], r"([:,])$", " $1 "),
        (&[".."], r"\.{2,}", " $0 "),
        (&[";", "@", "#", "$", "%", "&"], r"[;@#$%&]", " $0 "),
        (&["‒", "–", "—", "―"], r"[\u{2012}-\u{2015}]", " $0 "),
        (&["."], r#"([^.])(\.)([\])}>"']*)\s*$"#, "$1 $2$3 "),
        (&["?", "!"], r"[?!]", " $0 "),
        (&["' "], r"([^'])' ", "$1 ' "),
        (&["*"], r"\*", " * "),
        (&["[", "]", "(", ")", "{", "}", "<", ">"], r"[\]\[(){}<>]", " $0 "),
        (&["--"], r"--", " -- "),
        (&[], r"^|$", " "),
        // Closing quotes and clitics.
        (&["»", "”", "’"], r"[»”’]", " $0 "),
        (&["''", "\""], r#"''|""#, " '' "),
        (&[], r"\s+", " "),
        (&["'"], r"([^' ])('[sS]|'[mM]|'[dD]|') ", "$1 $2 "),
        (&["'"], r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "),
    ];
    // Contractions. These are expressions of Python's `re`, the others of its package `regex`.
    let words: &[(&'static [&'static str], &str, &'static str)] = &[
        (&["cannot"], r"(?i)\b(can)(not)\b", " $1 $2 "),
        (&["d'ye"], r"(?i)\b(d)('ye)\b", " $1 $2 "),
        (&["gimme", "lemme"], r"(?i)\b(gim|lem)(me)\b", " $1 $2 "),
        (&["gonna"], r"(?i)\b(gon)(na)\b", " $1 $2 "),
        (&["gotta"], r"(?i)\b(got)(ta)\b", " $1 $2 "),
        (&["more'n"], r"(?i)\b(more)('n)\b", " $1 $2 "),
        (&["wanna"], r"(?i)\b(wan)(na)(?=\s)", " $1 $2 "),
        (&["'tis", "'twas"], r"(?i) ('t)(is|was)\b", " $1 $2 "),
    ];
    let rules = rules
        .iter()
        .map(|&(signs, pattern, to)| (signs, pattern.to_owned(), to));
    let words = words
        .iter()
        .map(|&(signs, pattern, to)| (signs, as_in_python(pattern), to));
    let compiled = |(signs, pattern, to): (_, String, _)| {
        let pattern = Regex::new(&pattern).ok()?;
        Some(Rewrite { signs, pattern, to })
    };
    rules.chain(words).filter_map(compiled).collect()
});

/// White space, word characters and their edges as Python's own expressions have them: marks are no word characters, and four
/// control characters are white space.
fn as_in_python(rule: &str) -> String {
    rule.replace(r"\s", r"[\s\x1c-\x1f]")
        .replace(r"\b", r"(?:(?<=\w)(?!\w)|(?<!\w)(?=\w))")
        .replace(r"\w", r"[\p{L}\p{N}_]")
}

/// The words of a sentence.
fn words(sentence: &str) -> Vec<String> {
    let mut rewritten = sentence.to_owned();
    for rule in RULES.iter() {
        let small = rewritten.to_ascii_lowercase();
        if rule.signs.is_empty() || rule.signs.iter().any(|sign| small.contains(sign)) {
            rewritten = rule.pattern.replace_all(&rewritten, rule.to).into_owned();
        }
    }
    rewritten
        .split(is_python_space)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
