//! The result of a rule, and helpers of the rules.

/// How a token is written.
#[derive(Clone, Copy)]
pub(super) enum Spelling {
    /// As in the text, with normalised characters.
    Itself,
    /// As in the text, with a straight apostrophe.
    Straight,
    /// As in the text, with a period that is a token of its own as well.
    WithPeriod,
    /// A replacement.
    Text(&'static str),
    /// No token.
    Nothing,
}

/// A token that a rule found.
pub(super) struct FoundToken {
    /// Its length in characters.
    pub len: usize,
    /// Characters that the rule examined; the rule with most wins, and the first of equals.
    pub seen: usize,
    /// How it is written.
    pub text: Spelling,
}

pub(super) type Rule = fn(&[char], usize) -> Option<FoundToken>;

/// A character without a rule, which is dropped.
pub(super) fn nothing() -> FoundToken {
    FoundToken {
        len: 1,
        seen: 0,
        text: Spelling::Nothing,
    }
}

/// A token as it stands, of that many characters; none for 0.
pub(super) fn itself(len: usize) -> Option<FoundToken> {
    (len > 0).then_some(FoundToken {
        len,
        seen: len,
        text: Spelling::Itself,
    })
}

pub(super) fn written(len: usize, text: &'static str) -> Option<FoundToken> {
    let text = Spelling::Text(text);
    (len > 0).then_some(FoundToken { len, seen: len, text })
}

/// The character there; a newline past the end.
pub(super) fn get(t: &[char], at: usize) -> char {
    t.get(at).copied().unwrap_or('\n')
}

/// The end of the run of such characters.
pub(super) fn run(t: &[char], from: usize, kind: impl Fn(char) -> bool) -> usize {
    t[from.min(t.len())..]
        .iter()
        .position(|&c| !kind(c))
        .map_or(t.len(), |n| from + n)
}

/// Whether the ASCII text stands there, in either case.
pub(super) fn stands(t: &[char], at: usize, text: &str) -> bool {
    text.chars()
        .enumerate()
        .all(|(i, c)| get(t, at + i).eq_ignore_ascii_case(&c))
}
