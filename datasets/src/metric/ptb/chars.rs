//! Kinds of characters, and how they are written in tokens.

/// Letters and the marks on them. Soft hyphens stand inside words and are left out of the token.
pub(super) fn is_letter(c: char) -> bool {
    let mark = matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}'
        | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{d7f}' | '\u{e31}'..='\u{e4e}' | '\u{2de0}'..='\u{2dff}');
    c.is_ascii_alphabetic() || c == '\u{ad}' || (!c.is_ascii() && c < '\u{10000}' && (c.is_alphabetic() || mark))
}

/// Decimal digits, the full-width ones too.
pub(super) fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || ('０'..='９').contains(&c)
}

/// Part of a word.
pub(super) fn is_word(c: char) -> bool {
    is_letter(c) || is_digit(c)
}

/// Hyphens, not dashes.
pub(super) fn is_hyphen(c: char) -> bool {
    matches!(c, '-' | '\u{2010}' | '\u{2011}' | '\u{58a}')
}

/// Between tokens of a line.
pub(super) fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\r' | '\x0b' | '\x0c' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{3000}'
    )
}

/// Any of the apostrophes that contractions are written with.
pub(super) fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’' | '\u{92}')
}

/// Apostrophes inside words, where backquotes are taken for them too.
pub(super) fn is_any_apostrophe(c: char) -> bool {
    is_apostrophe(c) || matches!(c, '`' | '‘')
}

/// Signs that are tokens of their own. (Those of no kind known to the tokeniser vanish.)
pub(super) fn is_sign(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '\u{a1}' | '\u{a5}'..='\u{a9}' | '\u{ac}' | '\u{ae}'..='\u{b4}' | '\u{b6}'..='\u{b9}' | '\u{bf}'
            | '\u{d7}' | '\u{f7}' | '\u{37e}' | '\u{387}' | '\u{2016}' | '\u{2017}' | '\u{201a}' | '\u{201e}'..='\u{2023}'
            | '\u{2030}'..='\u{2038}' | '\u{203b}' | '\u{203e}'..='\u{2042}' | '\u{2044}' | '\u{2070}'..='\u{208e}'
            | '\u{20a4}' | '\u{2100}'..='\u{214f}' | '\u{2155}'..='\u{215e}' | '\u{2190}'..='\u{2bff}'
            | '\u{3001}' | '\u{3002}' | '\u{3012}' | '\u{30fb}' | '\u{ff01}'..='\u{ff65}' | '\u{ffe0}' | '\u{ffe1}'
            | '\u{ffe5}' | '\u{ffe6}')
}

/// Signs that the treebank writes otherwise.
pub(super) fn renamed(c: char) -> Option<&'static str> {
    Some(match c {
        '(' => "-lrb-",
        ')' => "-rrb-",
        '[' => "-lsb-",
        ']' => "-rsb-",
        '{' => "-lcb-",
        '}' => "-rcb-",
        '£' => "#",
        '€' | '¤' | '\u{80}' | '\u{20a0}' => "$",
        '¢' => "cents",
        '½' => "1/2",
        '¼' => "1/4",
        '¾' => "3/4",
        '⅓' => "1/3",
        '⅔' => "2/3",
        '–' | '—' | '―' | '\u{96}' | '\u{97}' => "--",
        '…' => "...",
        _ => return None,
    })
}

/// A token as it is written: lower-cased, brackets by their names, no soft hyphens, spaces that do not part.
pub(super) fn spelled(token: &[char]) -> String {
    let mut text = String::with_capacity(token.len() + 8);
    for &c in token {
        match c {
            '\u{ad}' => {}
            ' ' => text.push('\u{a0}'),
            '(' => text.push_str("-lrb-"),
            ')' => text.push_str("-rrb-"),
            _ => text.push(c),
        }
    }
    text.to_lowercase()
}
