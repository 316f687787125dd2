//! METEOR's own normalising of English text, after Moses' tokeniser: punctuation apart, hyphens open, periods of abbreviations kept.

use std::collections::HashMap;

/// A dot of a run of several. (A private character: what it stands for is put back at the end.)
const DOT: char = '\u{e000}';

/// Words that keep their period, and whether they do so before a number only.
pub(super) struct Prefixes(HashMap<String, bool>);

impl Prefixes {
    /// From the data file: a word a line, `#` before comments.
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (word, comment) = line.split_once('#').unwrap_or((line, ""));
            let word = word.trim();
            (!word.is_empty()).then(|| (word.to_owned(), comment.contains("NUMERIC_ONLY")))
        };
        Self(text.lines().filter_map(line).collect())
    }
}

/// METEOR's letters: Latin with accents, Cyrillic, phonetic extensions.
fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, 'Š' | 'Ž' | 'š' | 'ž' | 'Ÿ' | 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ž' | '\u{400}'..='\u{4ff}'
            | '\u{500}'..='\u{527}' | '\u{a640}'..='\u{a66e}' | '\u{a67e}'..='\u{a697}' | '\u{1d00}'..='\u{1d7f}')
}

fn is_alnum(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

/// White space of a Java regular expression.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Replaces `mid` between such characters, every match beginning after the end of the one before.
fn between(
    text: &[char],
    first: impl Fn(char) -> bool,
    mid: char,
    last: impl Fn(char) -> bool,
    new: &str,
) -> Vec<char> {
    let mut out = Vec::with_capacity(text.len() + 16);
    let mut at = 0;
    while at < text.len() {
        out.push(text[at]);
        if at + 2 < text.len() && text[at + 1] == mid && first(text[at]) && last(text[at + 2]) {
            out.extend(new.chars());
            out.push(text[at + 2]);
            at += 3;
        } else {
            at += 1;
        }
    }
    out
}

/// The text normalised; case is kept.
pub(super) fn normalize(text: &str, prefixes: &Prefixes) -> String {
    let text = punctuation_apart(text);
    let digit = |c: char| c.is_ascii_digit();
    let text = between(&text, |c| !digit(c), ',', |c| !digit(c), " , ");
    let text = between(&text, digit, ',', |c| !digit(c), " , ");
    let text = between(&text, |c| !digit(c), ',', digit, " , ");
    let text = quotes(&text);
    let text = between(&text, |c| is_alnum(c) || c == '.', '-', is_alnum, " ");
    let text = between(&text, |c| !is_alpha(c), '\'', |c| !is_alpha(c), " ' ");
    let text = between(&text, |c| !is_alnum(c), '\'', is_alpha, " ' ");
    let text = between(&text, is_alpha, '\'', |c| !is_alpha(c), " ' ");
    let text = between(&text, is_alpha, '\'', is_alpha, " '");
    let text = between(&text, digit, '\'', |c| c == 's', " '");
    let text = periods(&text, prefixes).replace(DOT, ".");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Spaces around the text, around everything that words are not made of, and around runs of dots.
fn punctuation_apart(text: &str) -> Vec<char> {
    let mut out = vec![' '];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '.' && chars.peek() == Some(&'.') {
            out.extend([' ', DOT]);
            while chars.next_if_eq(&'.').is_some() {
                out.push(DOT);
            }
            out.push(' ');
        } else if is_alnum(c) || is_space(c) || matches!(c, '.' | '\'' | '`' | ',' | '-' | '‘' | '’') {
            out.push(c);
        } else {
            out.extend([' ', c, ' ']);
        }
    }
    out.push(' ');
    out
}

/// One kind of quotation marks, of apostrophes, of dashes.
fn quotes(text: &[char]) -> Vec<char> {
    let text: String = text.iter().collect();
    let text = text.replace(['`', '‘', '’'], "'");
    let text = text.replace("''", " \" ").replace(['“', '”'], " \" ");
    text.replace('–', "-").replace("--", "-").chars().collect()
}

/// Periods at the ends of words: part of an abbreviation, or apart.
fn periods(text: &[char], prefixes: &Prefixes) -> String {
    let words: Vec<&[char]> = text.split(|&c| is_space(c)).filter(|w| !w.is_empty()).collect();
    let mut out = String::with_capacity(text.len());
    for (i, word) in words.iter().enumerate() {
        let next = words.get(i + 1).map(|w| w[0]);
        match word.split_last() {
            Some(('.', before)) if !before.is_empty() => {
                let stem: String = before.iter().collect();
                if before.contains(&'.') && before.iter().any(|&c| is_alpha(c)) {
                    out.push_str(&stem.replace('.', ""));
                } else {
                    out.push_str(&stem);
                    out.push_str(if keeps_period(&stem, next, prefixes) { "." } else { " ." });
                }
            }
            _ => out.extend(word.iter()),
        }
        out.push(' ');
    }
    out
}

fn keeps_period(stem: &str, next: Option<char>, prefixes: &Prefixes) -> bool {
    let before_number = prefixes.0.get(stem);
    next.is_some_and(|n| n.is_ascii_lowercase())
        || before_number == Some(&false)
        || (before_number == Some(&true) && next.is_some_and(|n| n.is_ascii_digit()))
}
