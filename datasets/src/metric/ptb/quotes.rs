//! Quotation marks, and apostrophes that begin a token.

use super::chars::{is_any_apostrophe, is_apostrophe, is_letter, is_space, is_word};
use super::token::{FoundToken, Spelling, get, itself, run, stands, written};

/// What is shortened after words.
pub(super) const AFTER_WORDS: [&str; 6] = ["s", "d", "m", "ll", "re", "ve"];

fn straight(len: usize) -> FoundToken {
    FoundToken {
        len,
        seen: len,
        text: Spelling::Straight,
    }
}

/// `'s`, `n't`, and words that lost their beginning.
pub(super) fn contraction(t: &[char], at: usize) -> Option<FoundToken> {
    const SHORTENED: [&str; 5] = ["em", "n", "til", "till", "cause"];
    // A straight apostrophe may open a quotation as well.
    let whole = |end: usize| t[at] != '\'' || !is_letter(get(t, end));
    let end_of = |word: &str| (stands(t, at + 1, word) && whole(at + 1 + word.len())).then_some(1 + word.len());
    if matches!(t[at], 'n' | 'N') && is_any_apostrophe(get(t, at + 1)) {
        return stands(t, at + 2, "t").then_some(straight(3));
    }
    if !is_apostrophe(t[at]) {
        return None;
    }
    if let Some(len) = AFTER_WORDS.into_iter().find_map(end_of) {
        return Some(straight(len));
    }
    if let Some(len) = SHORTENED.into_iter().find_map(end_of) {
        // The middle of rock 'n' roll.
        let and = len == 2 && is_apostrophe(get(t, at + 2));
        return itself(len + usize::from(and));
    }
    if t[at] != '\'' {
        return None;
    }
    // '90s
    let year = run(t, at + 1, |c| c.is_ascii_digit()) == at + 3;
    match get(t, at + 3) {
        's' | 'S' if year => itself(4),
        next => (year && !is_word(next) && !is_apostrophe(next)).then(|| itself(3))?,
    }
}

/// Opening and closing quotation marks: two backquotes or two apostrophes, single ones for single ones.
pub(super) fn quotation(t: &[char], at: usize) -> Option<FoundToken> {
    let next = get(t, at + 1);
    match t[at] {
        '"' if next.is_ascii_alphanumeric() || next == '$' => written(1, "``"),
        '"' | '”' | '»' | '\u{94}' => written(1, "''"),
        '“' | '«' | '\u{93}' => written(1, "``"),
        '\'' if next == '\'' => written(2, "''"),
        '`' if next == '`' => written(2, "``"),
        '\'' if next.is_ascii_alphabetic() && !ends(get(t, at + 2)) => written(1, "`"),
        '\'' | '’' | '›' | '\u{92}' => written(1, "'"),
        '`' | '‘' | '‹' | '‛' | '\u{91}' => written(1, "`"),
        _ => None,
    }
}

fn ends(c: char) -> bool {
    c == '\n' || is_space(c)
}
