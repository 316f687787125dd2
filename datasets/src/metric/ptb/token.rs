//! What a rule finds: the token that begins at a place of the text, and what rules look at places with.

/// How a token is written.
#[derive(Clone, Copy)]
pub(super) enum Spelling {
    /// Spelling it stands, in its usual spelling.
    Itself,
    /// Spelling it stands, with a straight apostrophe.
    Straight,
    /// Spelling it stands, and a period that is a token of its own as well.
    WithPeriod,
    /// In place of what stands there.
    Text(&'static str),
    /// Left out.
    Nothing,
}

/// A token that a rule found.
pub(super) struct FoundToken {
    /// Characters that it takes.
    pub len: usize,
    /// Characters that the rule looked at; the rule that saw most wins, among equals the first.
    pub seen: usize,
    /// How it is written.
    pub text: Spelling,
}

pub(super) type Rule = fn(&[char], usize) -> Option<FoundToken>;

/// A character that no rule knows: one that vanishes.
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
