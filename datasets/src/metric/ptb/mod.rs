//! Penn Treebank tokenisation of the Stanford PTBTokenizer 3.4.1 with `-preserveLines -lowerCase`, on which the E2E challenge's
//! METEOR, ROUGE-L and CIDEr are computed.
//!
//! Written from that program's output and the treebank's conventions, not from its source. At each position the rule that
//! examines most characters wins. Symbols of unknown kinds, such as emoji, are dropped.

mod chars;
mod names;
mod quotes;
mod rules;
mod token;
mod words;

use rayon::prelude::*;

use rules::RULES;
use token::Spelling;

/// Tokens that the E2E challenge's scorer throws away. (Brackets stay: it looks for their names in capitals.)
const PUNCTUATION: &[&str] = &["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"];

/// The tokens of every line, lower-cased. Lines are those of one file: whether a period after an abbreviation ends a sentence as
/// well may depend on how the next line begins.
pub fn tokenize<S: AsRef<str> + Sync>(lines: &[S]) -> Vec<Vec<String>> {
    let mut text = Vec::new();
    let mut starts = Vec::with_capacity(lines.len());
    for line in lines {
        starts.push(text.len());
        text.extend(line.as_ref().chars());
        text.push('\n');
    }
    starts.par_iter().map(|&start| line(&text, start)).collect()
}

/// The lines tokenised and without punctuation, tokens parted by one space: as METEOR, ROUGE-L and CIDEr see them.
pub fn words<S: AsRef<str> + Sync>(lines: &[S]) -> Vec<String> {
    let without_punctuation = |tokens: Vec<String>| {
        let kept: Vec<String> = tokens
            .into_iter()
            .filter(|t| !PUNCTUATION.contains(&t.as_str()))
            .collect();
        kept.join(" ")
    };
    tokenize(lines).into_iter().map(without_punctuation).collect()
}

/// The tokens from there to the end of the line.
fn line(text: &[char], start: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut at = start;
    while at < text.len() && text[at] != '\n' {
        if chars::is_space(text[at]) {
            at += 1;
            continue;
        }
        let mut best = token::nothing();
        for rule in RULES {
            if let Some(found) = rule(text, at)
                && found.seen > best.seen
            {
                best = found;
            }
        }
        let end = at + best.len;
        match best.text {
            Spelling::Itself => tokens.push(chars::spelled(&text[at..end])),
            Spelling::Straight => tokens.push(
                chars::spelled(&text[at..end])
                    .replace(['’', '\u{92}'], "'")
                    .replace('‘', "`"),
            ),
            Spelling::WithPeriod => tokens.push(chars::spelled(&text[at..end]) + "."),
            Spelling::Text(text) => tokens.push(text.to_owned()),
            Spelling::Nothing => {}
        }
        at = end;
    }
    tokens
}

#[cfg(test)]
mod tests;
