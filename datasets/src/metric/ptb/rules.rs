//! The list of rules, and the rules for everything but words and quotation marks.

use super::chars::{is_digit, is_letter, is_sign, is_space, is_word, renamed};
use super::token::{FoundToken, Rule, Spelling, get, itself, run, stands, written};
use super::{quotes, words};

/// All rules.
pub(super) const RULES: &[Rule] = &[
    tag,
    entity,
    quotes::contraction,
    quotes::quotation,
    words::split,
    words::before_not,
    words::word,
    words::joined,
    words::slashed,
    words::apostrophe,
    words::abbreviation,
    words::in_sentence,
    words::company,
    number,
    fraction,
    date,
    dollar,
    mention,
    address,
    site,
    web_page,
    smiley,
    dots,
    repeated,
    sign,
];

fn is_break(c: char) -> bool {
    c == '\n' || is_space(c)
}

/// `<a href="x">`, `</a>`, `<br/>`, and comments.
fn tag(t: &[char], at: usize) -> Option<FoundToken> {
    if t[at] != '<' {
        return None;
    }
    let name = at + 1 + usize::from(get(t, at + 1) == '/');
    let name_end = |from| {
        run(t, from, |c| {
            c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.')
        })
    };
    let mut end = match get(t, name) {
        '!' | '?' => run(t, name, |c| !matches!(c, '<' | '>' | '\n')),
        c if c.is_ascii_alphabetic() => name_end(name),
        _ => return None,
    };
    loop {
        end = run(t, end, |c| c == ' ' || c == '\t');
        match get(t, end) {
            '>' => return itself(end + 1 - at),
            '/' if get(t, end + 1) == '>' => return itself(end + 2 - at),
            c if c.is_ascii_alphabetic() => end = name_end(end),
            _ => return None,
        }
        let quote = get(t, end + 1);
        if get(t, end) == '=' && matches!(quote, '"' | '\'') {
            let closing = run(t, end + 2, |c| c != quote && c != '\n');
            if get(t, closing) != quote {
                return None;
            }
            end = closing + 1;
        }
    }
}

/// `&amp;` and the like, and `&eacute;`, which stays.
fn entity(t: &[char], at: usize) -> Option<FoundToken> {
    const WRITTEN: [(&str, &str); 7] = [
        ("&amp;", "&"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "''"),
        ("&apos;", "'"),
        ("&mdash;", "--"),
        ("&ndash;", "--"),
    ];
    if t[at] != '&' {
        return None;
    }
    if stands(t, at, "&quot;") && get(t, at + 6).is_ascii_alphanumeric() {
        return written(6, "``");
    }
    if let Some((entity, text)) = WRITTEN.into_iter().find(|(e, _)| stands(t, at, e)) {
        return written(entity.len(), text);
    }
    if stands(t, at, "&nbsp;") {
        return Some(FoundToken {
            len: 6,
            seen: 6,
            text: Spelling::Nothing,
        });
    }
    let number = get(t, at + 1) == '#';
    let end = if number {
        run(t, at + 2, is_digit)
    } else {
        run(t, at + 1, |c| c.is_ascii_alphabetic())
    };
    let accented = ["acute", "grave", "uml", "circ", "tilde"]
        .iter()
        .any(|a| stands(t, at + 2, a) && end == at + 2 + a.len());
    (get(t, end) == ';' && (accented || (number && end > at + 2))).then(|| itself(end + 1 - at))?
}

/// The end of a number without its sign: `1,000.50`, `10:30`, `.5`.
fn number_end(t: &[char], at: usize) -> usize {
    let mut end = run(t, at, is_digit);
    while matches!(get(t, end), '.' | ',' | ':') && is_digit(get(t, end + 1)) {
        end = run(t, end + 1, is_digit);
    }
    end
}

/// Numbers, with their sign. (In `a-5` the hyphen never comes here as the beginning of a token.)
fn number(t: &[char], at: usize) -> Option<FoundToken> {
    let unsigned = at + usize::from(matches!(t[at], '+' | '-'));
    let end = number_end(t, unsigned);
    (end > unsigned).then(|| itself(end - at))?
}

/// `9/11-12`.
fn date(t: &[char], at: usize) -> Option<FoundToken> {
    let digits = |from: usize, lengths: std::ops::RangeInclusive<usize>| {
        let end = run(t, from, is_digit);
        lengths.contains(&(end - from)).then_some(end)
    };
    let part = |end: usize| matches!(get(t, end), '/' | '-').then_some(end + 1);
    let month = part(digits(at, 1..=2)?)?;
    let year = part(digits(month, 1..=2)?)?;
    itself(digits(year, 2..=4)? - at)
}

/// Dollars of some country, such as `US$`.
fn dollar(t: &[char], at: usize) -> Option<FoundToken> {
    let sign = run(t, at, |c| c.is_ascii_uppercase());
    (sign > at && get(t, sign) == '$').then(|| itself(sign + 1 - at))?
}

/// `1/2`, `5 1/2`, `5-1/2`: up to four digits each.
fn fraction(t: &[char], at: usize) -> Option<FoundToken> {
    let digits = |from: usize| {
        let end = run(t, from, is_digit);
        (1..=4).contains(&(end - from)).then_some(end)
    };
    let whole = digits(at)?;
    let numerator = match get(t, whole) {
        '-' | ' ' | '\u{a0}' => digits(whole + 1)?,
        _ => whole,
    };
    if get(t, numerator) != '/' {
        return None;
    }
    itself(digits(numerator + 1)? - at)
}

/// `#topic`, `@name`.
fn mention(t: &[char], at: usize) -> Option<FoundToken> {
    let end = match t[at] {
        '#' => run(t, at + 1, is_letter),
        '@' if is_letter(get(t, at + 1)) => run(t, at + 1, |c| is_word(c) || c == '_'),
        _ => return None,
    };
    (end > at + 1).then(|| itself(end - at))?
}

/// `a.b@c.uk`, in angle brackets too.
fn address(t: &[char], at: usize) -> Option<FoundToken> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let open = usize::from(t[at] == '<');
    let start = at + open;
    if !plain(get(t, start)) {
        return None;
    }
    let sign = run(t, start, |c| plain(c) || matches!(c, '.' | '_' | '+' | '-'));
    if get(t, sign) != '@' || !plain(get(t, sign + 1)) {
        return None;
    }
    let mut end = run(t, sign + 1, |c| plain(c) || matches!(c, '.' | '_' | '-'));
    while !plain(t[end - 1]) {
        end -= 1;
    }
    match open {
        1 => (get(t, end) == '>').then(|| itself(end + 1 - at))?,
        _ => itself(end - at),
    }
}

/// The end of a path: whatever is no space and does not look like the end of the sentence.
fn path_end(t: &[char], from: usize) -> usize {
    let stop =
        |c: char| is_break(c) || matches!(c, '"' | '<' | '>' | '|' | '(' | ')' | '[' | ']' | '{' | '}' | '“' | '”');
    let mut end = run(t, from, |c| !stop(c));
    while end > from && matches!(t[end - 1], '.' | ',' | '!' | '?' | ';' | ':' | '\'' | '`' | '’') {
        end -= 1;
    }
    end
}

/// `http://a.b/c?d=e`.
fn site(t: &[char], at: usize) -> Option<FoundToken> {
    let scheme = ["http://", "https://"].into_iter().find(|s| stands(t, at, s))?;
    let host = at + scheme.len();
    let end = path_end(t, host);
    let dotted = t
        .get(host..end)?
        .windows(2)
        .any(|w| w[0] == '.' && w[1].is_ascii_alphanumeric());
    dotted.then(|| itself(end - at))?
}

/// `foo.com/bar`, `www.foo.org`, without the scheme.
fn web_page(t: &[char], at: usize) -> Option<FoundToken> {
    const ENDS: [&str; 4] = ["com", "net", "org", "edu"];
    if !t[at].is_ascii_alphabetic() {
        return None;
    }
    let host = run(t, at, |c| c.is_ascii_alphanumeric() || c == '.');
    let known = ENDS
        .iter()
        .any(|e| host > at + 4 && t[host - 4] == '.' && stands(t, host - 3, e));
    let end = path_end(t, host);
    (known && get(t, host) == '/' && end >= host + 3).then(|| itself(end - at))?
}

/// `:-)` and its like, where no letter or digit follows.
fn smiley(t: &[char], at: usize) -> Option<FoundToken> {
    const WHOLE: [&str; 2] = ["^_^", "-_-"];
    if let Some(face) = WHOLE.into_iter().find(|f| stands(t, at, f)) {
        return itself(face.len());
    }
    let eyes = at + usize::from(matches!(t[at], '<' | '>'));
    if !matches!(get(t, eyes), ':' | ';' | '=') {
        return None;
    }
    let mouth = eyes + 1 + usize::from(matches!(get(t, eyes + 1), '-' | '\''));
    let shape = get(t, mouth);
    let known = matches!(
        shape,
        '(' | ')' | '[' | ']' | 'D' | 'O' | 'P' | 'p' | 'd' | '|' | '\\' | '@' | '3' | '{'
    );
    (known && !is_word(get(t, mouth + 1))).then(|| itself(mouth + 1 - at))?
}

/// Three to five dots, also with single spaces between.
fn dots(t: &[char], at: usize) -> Option<FoundToken> {
    let tight = (run(t, at, |c| c == '.') - at).min(5);
    let spaced = (0..5)
        .take_while(|i| stands(t, at + 2 * i, ".") && (*i == 0 || get(t, at + 2 * i - 1) == ' '))
        .count();
    let len = if spaced >= 3 { 2 * spaced - 1 } else { tight };
    (len >= 3).then(|| written(len, "..."))?
}

/// Runs of one sign, or of `!` and `?`, that are one token.
fn repeated(t: &[char], at: usize) -> Option<FoundToken> {
    let of = |kind: fn(char) -> bool| run(t, at, kind) - at;
    match t[at] {
        '!' | '?' => itself(of(|c| matches!(c, '!' | '?'))),
        '-' => match of(|c| c == '-') {
            1 => None,
            len @ 2..=4 => written(len, "--"),
            len => itself(len),
        },
        '<' | '>' if get(t, at + 1) == t[at] => itself(2),
        '*' => itself(of(|c| c == '*')),
        '_' => itself(of(|c| c == '_')),
        '#' => itself(of(|c| c == '#')),
        _ => None,
    }
}

fn sign(t: &[char], at: usize) -> Option<FoundToken> {
    match renamed(t[at]) {
        Some(text) => written(1, text),
        None => is_sign(t[at]).then(|| itself(1))?,
    }
}
