//! The tokenisation of NIST's `mteval-v13a` for western languages, which BLEU and NIST are traditionally computed on.

use super::generated::is_python_space;

/// The words of a text: every ASCII punctuation mark apart, except that apostrophes and hyphens stay inside words, and
/// periods and commas inside numbers; a hyphen after a digit is apart. Case is kept.
///
/// An empty text is one empty word, as in the Python ports of the script.
pub fn tokenize(text: &str) -> Vec<String> {
    let apart = apart(text);
    let words: Vec<String> = (apart.split(is_python_space))
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect();
    if words.is_empty() { vec![String::new()] } else { words }
}

/// The text with white space between its words.
pub(crate) fn apart(text: &str) -> String {
    let text = text.replace("<skipped>", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&");
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    let mut apart = String::with_capacity(2 * text.len() + 2);
    apart.push(' ');
    for c in text.chars() {
        if always_apart(c) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    apart.push(' ');
    let point = |c| matches!(c, '.' | ',');
    let digit = |c: char| c.is_ascii_digit();
    let apart = pairs(&apart, |c| !digit(c), point, |a, p| [a, ' ', p, ' ']);
    let apart = pairs(&apart, point, |c| !digit(c), |p, b| [' ', p, ' ', b]);
    pairs(&apart, digit, |c| c == '-', |d, dash| [d, ' ', dash, ' '])
}

/// ASCII punctuation, save `' , - .`.
fn always_apart(c: char) -> bool {
    c.is_ascii_punctuation() && !matches!(c, '\'' | ',' | '-' | '.')
}

/// Rewrites every two neighbouring characters of the given kinds, from the left, each character being part of one pair at most
/// (as a regular expression's matches do not overlap).
fn pairs(
    text: &str,
    first: impl Fn(char) -> bool,
    second: impl Fn(char) -> bool,
    write: impl Fn(char, char) -> [char; 4],
) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut chars = text.chars().peekable();
    while let Some(a) = chars.next() {
        match chars.next_if(|&b| first(a) && second(b)) {
            Some(b) => out.extend(write(a, b)),
            None => out.push(a),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn punctuation_stands_apart() {
        for (text, words) in [
            ("It's £20-25, state-of-the-art.", "It's £20 - 25 , state-of-the-art ."),
            ("1,000.50 a.b 5. .5", "1,000.50 a . b 5 . . 5"),
            ("a...b", "a . . . b"),
            ("&lt;b&gt; x<skipped>y", "< b > xy"),
        ] {
            assert_eq!(tokenize(text).join(" "), words);
        }
        assert_eq!(tokenize(" \n"), [""]);
    }
}
