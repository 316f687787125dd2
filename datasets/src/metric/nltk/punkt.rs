//! Punkt sentence segmentation (Kiss and Strunk, 2006) as in NLTK 3.10.4.
//!
//! Every `.`, `?` and `!` before white space or a closing sign may end a sentence. `?` and `!` do. A full stop does unless its
//! word is an abbreviation; what stands behind it can overrule that either way: a known collocation, a word that begins
//! sentences, an initial or a number before a word that is not written as at the beginning of one.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::parameters::Parameters;
use crate::metric::generated::is_python_space;

/// Signs that may end a sentence.
const ENDS: [char; 3] = ['.', '?', '!'];
/// Signs with which no sentence begins.
const INNER: [&str; 6] = [";", ":", ",", ".", "!", "?"];
/// The type of all numbers.
const NUMBER: &str = "##number##";

/// Sentences of a text, without the white space between them.
pub(super) fn sentences<'a>(text: &'a str, parameters: &Parameters) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut start = 0;
    for end in candidates(text) {
        if ends_sentence(&end.context, parameters) {
            found.push(start..end.at);
            start = end.next;
        }
    }
    found.push(start..text.trim_end_matches(is_python_space).len().max(start));
    closed(text, found)
}

/// A place where a sentence may end.
struct Candidate {
    /// Behind the sign.
    at: usize,
    /// Where the next sentence would begin.
    next: usize,
    /// The word that the sign stands in and the one after it.
    context: String,
}

/// Places where a sentence may end; of several within one word the last.
fn candidates(text: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    // The word before the last place, without the sign.
    let mut word = 0..0;
    for (at, sign) in text.match_indices(ENDS) {
        let end = at + sign.len();
        let Some((next, until)) = behind(text, end) else {
            continue;
        };
        let space = text[word.end..at].rfind([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        let start = match space {
            Some(space) if space > 0 => word.end + space + 1,
            _ => word.start,
        };
        if start < word.end {
            found.pop();
        }
        word = start..at;
        found.push(Candidate {
            at: end,
            next,
            context: text[start..until].to_owned(),
        });
    }
    found
}

/// Length of the white space that begins a text.
fn space_len(text: &str) -> usize {
    text.find(|c: char| !c.is_whitespace()).unwrap_or(text.len())
}

/// Where the next sentence begins if one ends here, and where the word ends that tells it; none inside a word.
fn behind(text: &str, end: usize) -> Option<(usize, usize)> {
    let rest = &text[end..];
    let first = rest.chars().next()?;
    if parts_words(first) {
        return Some((end, end + first.len_utf8()));
    }
    let next = end + space_len(rest);
    let word = text[next..].find(char::is_whitespace).unwrap_or(text.len() - next);
    (next > end && word > 0).then_some((next, next + word))
}

/// Closing quotation marks and brackets that follow a sentence's end go with it.
fn closed(text: &str, sentences: Vec<Range<usize>>) -> Vec<&str> {
    let mut found = Vec::new();
    let mut taken = 0;
    for (i, sentence) in sentences.iter().enumerate() {
        let start = sentence.start + taken;
        let closing = sentences.get(i + 1).and_then(|next| closing(&text[next.clone()]));
        match (closing, sentences.get(i + 1)) {
            (Some((signs, with_space)), Some(next)) => {
                found.push(&text[start..next.start + signs]);
                taken = with_space;
            }
            _ => {
                taken = 0;
                if start < sentence.end {
                    found.push(&text[start..sentence.end]);
                }
            }
        }
    }
    found
}

/// Length of the closing signs at the beginning of a text, if white space, two hyphens or nothing follows them; without and
/// with that white space.
fn closing(text: &str) -> Option<(usize, usize)> {
    let is_closing = |c: char| matches!(c, '"' | '\'' | ')' | ']' | '}' | '‘' | '’' | '“' | '”' | '«' | '»');
    let signs = text.find(|c| !is_closing(c)).unwrap_or(text.len());
    let rest = &text[signs..];
    let space = space_len(rest);
    let stands_apart = rest.is_empty() || space > 0 || rest.starts_with("--");
    (signs > 0 && stands_apart).then_some((signs, signs + space))
}

/// Signs that are no part of the word before them.
fn parts_words(c: char) -> bool {
    matches!(
        c,
        ')' | '"' | ';' | '}' | ']' | '*' | ':' | '@' | '\'' | '(' | '{' | '[' | '?' | '!'
    ) || matches!(c, '‘' | '’' | '“' | '”' | '«' | '»')
}

/// Signs with which no word begins.
fn begins_no_word(c: char) -> bool {
    matches!(
        c,
        '(' | '"' | '`' | '{' | '[' | ':' | ';' | '&' | '#' | '*' | '@' | ')' | '}' | ']' | '-' | ','
    )
}

/// Length of the dashes or dots that are one token: `--`, `..`, `. . .`; 0 if none begin the text.
fn dashes_or_dots(text: &str) -> usize {
    let run = |sign: char| text.find(|c| c != sign).unwrap_or(text.len());
    let run = run('-').max(run('.'));
    if run > 1 {
        return run;
    }
    // Dots, each with one white space before the next: the last one that at least two come before.
    let mut end = 0;
    let mut at = 0;
    for dots in 1.. {
        if !text[at..].starts_with('.') {
            break;
        }
        if dots > 2 {
            end = at + 1;
        }
        match text[at + 1..].chars().next().filter(|c| c.is_whitespace()) {
            Some(space) => at += 1 + space.len_utf8(),
            None => break,
        }
    }
    end
}

/// Words and signs of a text; a full stop stays with its word.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let len = match dashes_or_dots(&text[at..]) {
            0 if first.is_whitespace() || begins_no_word(first) => first.len_utf8(),
            0 => word_len(&text[at..]),
            signs => signs,
        };
        if !first.is_whitespace() {
            found.push(&text[at..at + len]);
        }
        at += len;
    }
    found
}

/// Length of the word that begins the text, at least one character.
fn word_len(text: &str) -> usize {
    let ends = |rest: &str| match rest.chars().next() {
        None => true,
        Some(c) => c.is_whitespace() || parts_words(c) || dashes_or_dots(rest) > 0,
    };
    let at_end = |at: &usize| {
        let rest = &text[*at..];
        ends(rest) || rest.strip_prefix(',').is_some_and(ends)
    };
    let mut places = text.char_indices().skip(1).map(|(at, _)| at);
    places.find(at_end).unwrap_or(text.len())
}

/// A token of a context, and what is known of it.
struct Token<'a> {
    text: &'a str,
    /// In lower case, numbers by one name.
    kind: String,
    /// A sentence ends here.
    breaks: bool,
    abbreviation: bool,
}

impl<'a> Token<'a> {
    /// What the token itself tells.
    fn new(text: &'a str, parameters: &Parameters) -> Self {
        let lower = text.to_lowercase();
        let stem = lower.strip_suffix('.').filter(|stem| !stem.ends_with('.'));
        let known = |word: &str| parameters.abbreviations.contains(word);
        let abbreviation = stem.is_some_and(|s| known(s) || s.rsplit('-').next().is_some_and(known));
        let sign = text.chars().count() == 1 && text.starts_with(ENDS);
        Self {
            text,
            kind: if is_number(&lower) { NUMBER.to_owned() } else { lower },
            breaks: sign || text.ends_with('.') && !text.ends_with("..") && !abbreviation,
            abbreviation: abbreviation && !sign,
        }
    }

    /// Its kind without the full stop.
    fn stem(&self) -> &str {
        match self.kind.strip_suffix('.') {
            Some(stem) if !stem.is_empty() => stem,
            _ => &self.kind,
        }
    }

    /// Its kind, without a full stop that ends a sentence.
    fn word(&self) -> &str {
        if self.breaks { self.stem() } else { &self.kind }
    }

    fn ellipsis(&self) -> bool {
        self.text.len() > 1 && self.text.bytes().all(|b| b == b'.')
    }

    /// A letter and a full stop.
    fn initial(&self) -> bool {
        static FORM: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\w&&\D]\.$").ok());
        FORM.as_ref().is_some_and(|form| form.is_match(self.text))
    }

    fn capital(&self) -> bool {
        self.text.starts_with(char::is_uppercase)
    }

    fn small(&self) -> bool {
        self.text.starts_with(char::is_lowercase)
    }

    /// What stands behind it decides over its full stop.
    fn decide(&mut self, next: &Self, parameters: &Parameters) {
        if !self.text.ends_with('.') {
            return;
        }
        let kind = self.stem();
        let initial = self.initial();
        let number = kind == NUMBER;
        let collocation = parameters.collocations.get(kind);
        if collocation.is_some_and(|seconds| seconds.contains(next.word())) {
            (self.breaks, self.abbreviation) = (false, true);
            return;
        }
        let begins = begins_sentence(next, parameters);
        if (self.abbreviation || self.ellipsis()) && !initial {
            let starter = next.capital() && parameters.starters.contains(next.word());
            if begins == Some(true) || starter {
                self.breaks = true;
                return;
            }
        }
        // Of a name's part that is never written small, the initial before it is one.
        let name = initial && next.capital() && !parameters.written(next.word()).ever_small();
        if (initial || number) && (begins == Some(false) || begins.is_none() && name) {
            (self.breaks, self.abbreviation) = (false, true);
        }
    }
}

/// Whether a token is written as at the beginning of a sentence; none if that cannot be told.
fn begins_sentence(token: &Token, parameters: &Parameters) -> Option<bool> {
    if INNER.contains(&token.text) {
        return Some(false);
    }
    let written = parameters.written(token.word());
    if token.capital() && written.ever_small() && !written.capital_inside() {
        return Some(true);
    }
    let never_first = written.ever_capital() || !written.small_at_beginning();
    (token.small() && never_first).then_some(false)
}

fn is_number(word: &str) -> bool {
    static FORM: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^-?[.,]?\d[\d,.-]*$").ok());
    FORM.as_ref().is_some_and(|form| form.is_match(word))
}

/// Whether a sentence ends within the context, before its last token.
fn ends_sentence(context: &str, parameters: &Parameters) -> bool {
    let mut tokens: Vec<Token> = tokens(context).into_iter().map(|t| Token::new(t, parameters)).collect();
    for second in 1..tokens.len() {
        let (before, after) = tokens.split_at_mut(second);
        if let (Some(token), Some(next)) = (before.last_mut(), after.first()) {
            token.decide(next, parameters);
            if token.breaks {
                return true;
            }
        }
    }
    false
}
