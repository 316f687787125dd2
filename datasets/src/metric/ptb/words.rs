//! Words: with hyphens, apostrophes, slashes, and with periods that belong to them.

use super::chars::{is_any_apostrophe, is_apostrophe, is_digit, is_hyphen, is_letter, is_space, is_word};
use super::names::{NUMBERED, SENTENCE_STARTS, TITLES, TRAILING};
use super::quotes::AFTER_WORDS;
use super::token::{FoundToken, Spelling, get, itself, run, stands};

/// Words that are two tokens, with the length of the first.
const SPLIT: [(&str, usize); 8] = [
    ("cannot", 3),
    ("gonna", 3),
    ("gotta", 3),
    ("wanna", 3),
    ("lemme", 3),
    ("gimme", 3),
    ("'tis", 2),
    ("'twas", 2),
];

/// `gon na`.
pub(super) fn split(t: &[char], at: usize) -> Option<FoundToken> {
    let (word, len) = SPLIT
        .into_iter()
        .find(|(w, _)| stands(t, at, w) && !is_word(get(t, at + w.len())))?;
    let seen = word.len();
    Some(FoundToken {
        len,
        seen,
        text: Spelling::Itself,
    })
}

/// `do`, where `n't` follows. (No word ends in a second n.)
pub(super) fn before_not(t: &[char], at: usize) -> Option<FoundToken> {
    if !is_letter(t[at]) {
        return None;
    }
    let end = run(t, at, is_word);
    let apostrophe = is_any_apostrophe(get(t, end));
    let whole = get(t, end) == '\'' || !is_letter(get(t, end + 2));
    let not = matches!(t[end - 1], 'n' | 'N') && apostrophe && matches!(get(t, end + 1), 't' | 'T') && whole;
    let (len, seen) = (end - 1 - at, end + 2 - at);
    (not && len > 0 && !matches!(t[end - 2], 'n' | 'N')).then_some(FoundToken {
        len,
        seen,
        text: Spelling::Itself,
    })
}

/// The end of a word that begins with a letter; it goes on over single periods, question and exclamation marks before letters, as
/// in `node.js` and, where a space is missing, in `end.The`.
fn word_end(t: &[char], at: usize) -> usize {
    let mut end = run(t, at, is_word);
    while matches!(get(t, end), '.' | '!' | '?') && is_letter(get(t, end + 1)) {
        end = run(t, end + 1, is_word);
    }
    end
}

/// Plain words, and `C++`, `C#`.
pub(super) fn word(t: &[char], at: usize) -> Option<FoundToken> {
    if is_digit(t[at]) {
        return itself(run(t, at, is_word) - at);
    }
    if !is_letter(t[at]) {
        return None;
    }
    if stands(t, at, "c++") {
        return itself(3);
    }
    if stands(t, at, "c#") || stands(t, at, "f#") {
        return itself(2);
    }
    itself(word_end(t, at) - at)
}

/// A part of a joined word: letters and digits, perhaps after a particle as in `O'Neill`.
fn part_end(t: &[char], at: usize) -> usize {
    let particle = matches!(get(t, at), 'd' | 'D' | 'l' | 'L' | 'o' | 'O') && is_any_apostrophe(get(t, at + 1));
    if particle && is_word(get(t, at + 2)) && is_word(get(t, at + 3)) {
        return run(t, at + 2, is_word);
    }
    run(t, at, is_word)
}

/// The end of parts joined by such characters; `at` if there is only one part.
fn joined_end(t: &[char], at: usize, first: usize, join: impl Fn(char) -> bool) -> usize {
    let mut end = first;
    while join(get(t, end)) {
        let initials = initials_end(t, end + 1);
        let next = if is_hyphen(t[end]) && initials > end + 3 {
            initials
        } else {
            part_end(t, end + 1)
        };
        if next == end + 1 {
            break;
        }
        end = next;
    }
    if end == first { at } else { end }
}

/// `state-of-the-art`, `U.S.-based`, `file_name`.
pub(super) fn joined(t: &[char], at: usize) -> Option<FoundToken> {
    if !is_word(t[at]) {
        return None;
    }
    let dotted = run(t, at, |c| is_word(c) || matches!(c, '.' | ','));
    let hyphened = joined_end(t, at, dotted, is_hyphen);
    let both = joined_end(t, at, part_end(t, at), |c| is_hyphen(c) || c == '_');
    itself(hyphened.max(both) - at)
}

/// `and/or`: two or three parts, without accents.
pub(super) fn slashed(t: &[char], at: usize) -> Option<FoundToken> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    if !plain(t[at]) {
        return None;
    }
    let part = |from: usize| {
        let mut end = run(t, from, plain);
        while is_hyphen(get(t, end)) && get(t, end + 1).is_ascii_alphabetic() {
            end = run(t, end + 1, plain);
        }
        end
    };
    let mut end = part(at);
    let mut parts = 1;
    while parts < 3 && get(t, end) == '/' && plain(get(t, end + 1)) {
        end = part(end + 1);
        parts += 1;
    }
    (parts > 1).then(|| itself(end - at))?
}

/// Apostrophes inside words and at their ends.
pub(super) fn apostrophe(t: &[char], at: usize) -> Option<FoundToken> {
    const WHOLE: [&str; 10] = [
        "o'er", "e'er", "ne'er", "o'clock", "ma'am", "c'mon", "c'est", "nat'l", "cap'n", "g'day",
    ];
    const ENDING: [&str; 6] = ["ol'", "dunkin'", "d'", "l'", "j'", "y'"];
    if !is_letter(t[at]) {
        return None;
    }
    let straight: Vec<char> = t[at..t.len().min(at + 8)]
        .iter()
        .map(|&c| if is_apostrophe(c) { '\'' } else { c })
        .collect();
    let shortened = AFTER_WORDS
        .iter()
        .any(|w| stands(&straight, 2, w) && !is_letter(get(&straight, 2 + w.len())));
    let known = |w: &&&str| stands(&straight, 0, w) && !(shortened && w.len() == 2);
    let fixed = WHOLE.iter().chain(&ENDING).filter(known).map(|w| w.len()).max();
    let mark = run(t, at, is_letter);
    let free = (is_any_apostrophe(get(t, mark)) && is_letter(get(t, mark + 1)))
        .then(|| inside(t, at, mark))
        .flatten();
    itself(fixed.unwrap_or(0).max(free.unwrap_or(0)))
}

/// `O'Neill`, `N'Sync`, `Hallowe'en`, `qu'il`: the length of a word with an apostrophe at `mark`.
fn inside(t: &[char], at: usize, mark: usize) -> Option<usize> {
    let end = run(t, mark + 1, is_letter);
    let rest = end - mark - 1;
    if AFTER_WORDS.iter().any(|w| w.len() == rest && stands(t, mark + 1, w)) {
        return None;
    }
    let (before, after) = (t[mark - 1], t[mark + 1]);
    let particle = mark == at + 1 && rest > 1;
    let capital = before.is_ascii_uppercase() && !matches!(before, 'I' | 'Y');
    let vowels = mark > at + 1
        && matches!(before.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
        && (after.is_ascii_uppercase() || matches!(after, 'a' | 'e' | 'i' | 'o' | 'u'));
    let que = mark == at + 2 && stands(t, at, "qu");
    if particle && matches!(before, 'd' | 'D' | 'l' | 'L' | 'o' | 'O') {
        return Some(part_end(t, at) - at);
    }
    ((particle && (capital || before == 'n')) || vowels || que).then_some(end - at)
}

/// What follows white space, empty lines too.
fn after_space(t: &[char], at: usize) -> Option<usize> {
    let next = run(t, at, |c| is_space(c) || c == '\n');
    (next > at).then_some(next)
}

/// The word that begins the next sentence, if it is one that mostly does: the characters up to its end.
fn sentence_start(t: &[char], at: usize) -> Option<usize> {
    let next = after_space(t, at)?;
    let end = run(t, next, |c| c.is_ascii_alphabetic());
    let known = SENTENCE_STARTS
        .iter()
        .any(|s| s.len() == end - next && stands(t, next, s));
    (known && t[next].is_ascii_uppercase() && (is_space(get(t, end)) || get(t, end) == '\n')).then_some(end + 1)
}

/// A token whose period, at `end - 1`, belongs to it; if a sentence ends there, the period is a token as well.
fn with_period(at: usize, end: usize, sentence: Option<usize>) -> Option<FoundToken> {
    match sentence {
        Some(seen) => Some(FoundToken {
            len: end - 1 - at,
            seen: seen - at,
            text: Spelling::WithPeriod,
        }),
        None => itself(end - at),
    }
}

/// Words that are written with a period.
pub(super) fn abbreviation(t: &[char], at: usize) -> Option<FoundToken> {
    if !t[at].is_ascii_alphabetic() {
        return None;
    }
    let is = |names: &[&str], end: usize| names.iter().any(|n| n.len() == end - at && matches(t, at, n));
    let end = if stands(t, at, "ph.d.") {
        at + 4
    } else {
        run(t, at, |c| c.is_ascii_alphabetic())
    };
    if get(t, end) != '.' {
        return None;
    }
    if is(TITLES, end) {
        return itself(end + 1 - at);
    }
    if is(TRAILING, end) {
        // At a capital, at an empty line, and at the end of the text.
        let next = after_space(t, end + 1).filter(|&n| {
            let lines = t[end + 1..n].iter().filter(|&&c| c == '\n').count();
            n == t.len() || lines > 1 || t[n].is_uppercase() || t[n] == '<'
        });
        return with_period(at, end + 1, next.map(|n| n + 1));
    }
    if is(NUMBERED, end) {
        let space = usize::from(is_space(get(t, end + 1)));
        let digit = is_digit(get(t, end + 1 + space));
        return digit.then_some(FoundToken {
            len: end + 1 - at,
            seen: end + 2 + space - at,
            text: Spelling::Itself,
        });
    }
    initials(t, at)
}

/// A name in the lists that is written with a capital there must have one; the others are known in either case.
fn matches(t: &[char], at: usize, name: &str) -> bool {
    let capital = name.starts_with(|c: char| c.is_ascii_uppercase());
    stands(t, at, name) && (!capital || t[at].is_ascii_uppercase())
}

/// The end of single letters with a period each; `at` if there are none.
fn initials_end(t: &[char], at: usize) -> usize {
    let mut end = at;
    while get(t, end).is_ascii_alphabetic() && get(t, end + 1) == '.' {
        end += 2;
    }
    end
}

/// `A.`, `U.S.`, `p.m.`
fn initials(t: &[char], at: usize) -> Option<FoundToken> {
    let end = initials_end(t, at);
    match end - at {
        0 => None,
        2 if sentence_start(t, end).is_some() => None,
        2 => itself(2),
        _ => with_period(at, end, sentence_start(t, end)),
    }
}

/// Any word whose period stands before a comma, a colon or a semicolon.
pub(super) fn in_sentence(t: &[char], at: usize) -> Option<FoundToken> {
    if !is_word(t[at]) {
        return None;
    }
    let plain = part_end(t, at);
    let dotted = if is_letter(t[at]) { word_end(t, at) } else { plain };
    let end = dotted.max(joined_end(t, at, plain, |c| is_hyphen(c) || c == '_'));
    let word = t[at..end].iter().any(|&c| is_letter(c));
    let inside = get(t, end) == '.' && matches!(get(t, end + 1), ',' | ';' | ':');
    let len = end + 1 - at;
    (word && inside).then_some(FoundToken {
        len,
        seen: len + 1,
        text: Spelling::Itself,
    })
}

/// `AT&T`, `R&B`.
pub(super) fn company(t: &[char], at: usize) -> Option<FoundToken> {
    let capital = |c: char| c.is_ascii_uppercase();
    let sign = run(t, at, capital);
    let end = run(t, sign + 1, capital);
    (sign > at && get(t, sign) == '&' && end > sign + 1).then(|| itself(end - at))?
}
