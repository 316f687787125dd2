//! NLTK's `word_tokenize`, on whose words WebNLG and DART are scored: sentences first, then words as in the Penn Treebank.
//!
//! NLTK finds sentences by a trained model of abbreviations and of the words that begin sentences (Kiss and Strunk, 2006),
//! which is not shipped here. In its place stand short lists: a full stop ends a sentence unless it follows an
//! abbreviation, an initial before a name, or a number before a small letter. On the golden files, which hold raw and
//! tokenised text of both data sets, this gives the same words.

use fancy_regex::Regex;
use std::sync::LazyLock;

/// Words after which a full stop is no end, unless one of [`OPENINGS`] follows.
const ABBREVIATIONS: [&str; 50] = [
    "a.c", "a.m", "a.s", "adm", "aug", "brig", "c", "capt", "cie", "co", "col", "corp", "d.c", "dec", "dr", "e.g",
    "feb", "fla", "ft", "ga", "gen", "gov", "i.e", "inc", "jan", "jr", "lt", "ltd", "maj", "mr", "mrs", "ms", "mt",
    "n.y", "nov", "oct", "p.m", "ph.d", "prof", "rep", "rev", "s.p.a", "sen", "sept", "sgt", "sr", "st", "u.k", "u.s",
    "vs",
];

/// Ordinary words, which after an abbreviation or an initial begin a sentence if they have a capital.
const OPENINGS: [&str; 34] = [
    "a", "after", "all", "also", "an", "and", "as", "at", "before", "both", "but", "during", "for", "from", "he",
    "her", "his", "however", "if", "in", "it", "its", "math", "on", "one", "she", "some", "the", "their", "there",
    "these", "they", "this", "you",
];

/// The words of a text.
pub fn word_tokenize(text: &str) -> Vec<String> {
    sentences(text).into_iter().flat_map(words).collect()
}

/// Signs that close what a sentence opened, and go with it.
const CLOSING: [char; 5] = ['"', '\'', ')', ']', '}'];

/// The sentences of a text, without the white space between them.
fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, sign) in text.match_indices(['.', '?', '!']) {
        let behind = &text[at + 1..];
        // White space, or a sign at which a word may end.
        let boundary = behind.starts_with(|c: char| c.is_whitespace() || ")\";}]*:@'({[".contains(c));
        if at < start || !boundary {
            continue;
        }
        let word = text[start..at].rsplit(char::is_whitespace).next().unwrap_or_default();
        let next = behind.trim_start();
        if sign == "." && !ends_here(word, next) {
            continue;
        }
        let closed = behind.trim_start_matches(CLOSING);
        let closed = if closed.is_empty() || closed.starts_with(char::is_whitespace) {
            closed
        } else {
            behind
        };
        found.push(&text[start..text.len() - closed.len()]);
        start = text.len() - closed.trim_start().len();
    }
    if start < text.len() {
        found.push(&text[start..]);
    }
    found
}

/// Whether a full stop between this word and this text ends a sentence.
fn ends_here(word: &str, next: &str) -> bool {
    let word = word.trim_start_matches(['(', '"', '\'', '[']).to_lowercase();
    let after = next.trim_start_matches(['(', '"', '\'', '[']);
    let after = after.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let small = after.starts_with(char::is_lowercase);
    let opens = !small && OPENINGS.contains(&after.to_lowercase().as_str());
    let initial = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    if ABBREVIATIONS.contains(&word.as_str()) {
        return opens && !initial;
    }
    if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) {
        return !small;
    }
    !initial || !small && (opens || !after.starts_with(char::is_uppercase))
}

/// What is rewritten in a sentence, in this order.
static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules: &[(&str, &str)] = &[
        // Quotes that open.
        (r"[«“‘„]|`+", " $0 "),
        (r#"^""#, "``"),
        (r"``", " `` "),
        (r#"([ (\[{<])(?:"|'')"#, "$1 `` "),
        (r"(?i)(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "' "),
        // The full stop at the end, commas and colons outside numbers, and other signs.
        (r#"([^.])(\.)([\])}>"'»”’ ]*)\s*$"#, "$1 $2 $3 "),
        (r"([:,])(\D)", " $1 $2"),
        (r"([:,])$", " $1 "),
        (r"\.{2,}", " $0 "),
        (r"[;@#$%&]", " $0 "),
        (r"[\u{2012}-\u{2015}]", " $0 "),
        (r#"([^.])(\.)([\])}>"']*)\s*$"#, "$1 $2$3 "),
        (r"[?!]", " $0 "),
        (r"([^'])' ", "$1 ' "),
        (r"\*", " * "),
        (r"[\]\[(){}<>]", " $0 "),
        (r"--", " -- "),
        (r"^|$", " "),
        // Quotes that close, and what hangs on a word.
        (r"[»”’]", " $0 "),
        (r#"''|""#, " '' "),
        (r"\s+", " "),
        (r"([^' ])('[sS]|'[mM]|'[dD]|') ", "$1 $2 "),
        (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "),
        // Words that are two.
        (r"(?i)\b(can)(not)\b", " $1 $2 "),
        (r"(?i)\b(d)('ye)\b", " $1 $2 "),
        (r"(?i)\b(gim|lem)(me)\b", " $1 $2 "),
        (r"(?i)\b(gon)(na)\b", " $1 $2 "),
        (r"(?i)\b(got)(ta)\b", " $1 $2 "),
        (r"(?i)\b(more)('n)\b", " $1 $2 "),
        (r"(?i)\b(wan)(na)(?=\s)", " $1 $2 "),
        (r"(?i) ('t)(is|was)\b", " $1 $2 "),
    ];
    rules
        .iter()
        .filter_map(|(rule, to)| Some((Regex::new(rule).ok()?, *to)))
        .collect()
});

/// The words of a sentence.
fn words(sentence: &str) -> Vec<String> {
    let rewritten = RULES.iter().fold(sentence.to_owned(), |text, (rule, to)| {
        rule.replace_all(&text, *to).into_owned()
    });
    rewritten.split_whitespace().map(str::to_owned).collect()
}
