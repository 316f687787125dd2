//! E2E NLG (Novikova et al., 2017): slots of a restaurant, and what people said of it.
//!
//! Read from the challenge's own CSV (`mr`, `ref`), from the line form of the paper's code
//! (`name : X | Type : Y||text`), and from the hub. All become that line form: slots are renamed and text is spaced into
//! tokens as in the paper's code's `data/e2e/{valid,test}.txt`, which the CSV files give line for line.
//!
//! Those two files were spaced by two tokenisers: [`Spacing::Valid`] splits `isn 't`, `1 - star` and `£ 20- £ 25`, where
//! [`Spacing::Test`] has `is n't`, `1-star` and `£ 20-£25`. Training text, of which there is no copy to compare with, is
//! spaced as validation text. Scores are taken against spaced references, as the paper's code does.

use serde::Deserialize;

use crate::DataError;
use crate::nlg::{CONVERTED, Dataset, HubFiles, Input, Pair, Record, SplitFiles};
use crate::table::TextFile;

pub(crate) static DATASET: Dataset = Dataset {
    id: "e2e",
    name: "E2E NLG",
    splits: &[
        SplitFiles {
            name: "train",
            files: &["trainset.csv", "train.txt"],
            hub: "train",
        },
        SplitFiles {
            name: "dev",
            files: &["devset.csv", "valid.txt", "lora_valid.txt"],
            hub: "validation",
        },
        SplitFiles {
            name: "test",
            files: &["testset_w_refs.csv", "test.txt", "lora_test.txt"],
            hub: "test",
        },
    ],
    hub: HubFiles {
        id: "tuetschek/e2e_nlg",
        revision: CONVERTED,
        config: "default",
    },
    template: None,
    placeholders: &[],
    read,
};

/// How text was cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// As in `valid.txt`.
    Valid,
    /// As in `test.txt`.
    Test,
}

#[derive(Deserialize)]
struct Row {
    meaning_representation: String,
    human_reference: String,
}

fn read(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    let spacing = if input.split == "test" {
        Spacing::Test
    } else {
        Spacing::Valid
    };
    let Some(file) = input.text() else {
        let rows = input.entries::<Row>()?.into_iter().enumerate();
        let row = |(row, r): (usize, Row)| {
            let context = context(&r.meaning_representation, spacing);
            let context = context.map_err(|problem| DataError::ParquetRow {
                path: input.path.to_path_buf(),
                row,
                problem,
            })?;
            Ok(record(context, &space(&r.human_reference, spacing)))
        };
        return rows.map(row).collect();
    };
    if input.path.extension().is_some_and(|e| e == "csv") {
        read_csv(input, file, spacing)
    } else {
        read_lines(input, file)
    }
}

fn record(context: String, text: &str) -> Record {
    let text = text.trim();
    Record {
        context,
        references: if text.is_empty() {
            Vec::new()
        } else {
            vec![text.to_owned()]
        },
        ..Record::default()
    }
}

fn read_csv(input: &Input<'_>, file: &TextFile, spacing: Spacing) -> Result<Vec<Record>, DataError> {
    let mut reader = csv::Reader::from_reader(file.text().as_bytes());
    let header = reader.headers().map_err(|e| csv_error(input, &e))?.clone();
    let column = |wanted: &'static str| {
        let place = header.iter().position(|h| h.eq_ignore_ascii_case(wanted));
        place.ok_or_else(|| DataError::MissingColumn {
            path: input.path.to_path_buf(),
            wanted,
            found: header.iter().collect::<Vec<_>>().join(", "),
        })
    };
    let (slots, text) = (column("mr")?, column("ref")?);
    let mut records = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| csv_error(input, &e))?;
        let line = row.position().map_or(1, csv::Position::line) as usize;
        let context = context(&row[slots], spacing).map_err(|problem| input.malformed(line, problem))?;
        records.push(record(context, &space(&row[text], spacing)));
    }
    Ok(records)
}

fn csv_error(input: &Input<'_>, error: &csv::Error) -> DataError {
    let line = error.position().map_or(1, csv::Position::line) as usize;
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} columns, wanted {expected_len} (CSV: texts with commas stand in double quotes)")
        }
        _ => format!("not CSV: {error}"),
    };
    input.malformed(line, problem)
}

fn read_lines(input: &Input<'_>, file: &TextFile) -> Result<Vec<Record>, DataError> {
    let line = |(line, text): (usize, &str)| {
        let (context, text) = text
            .split_once("||")
            .ok_or_else(|| input.malformed(line, "no \"||\" between slots and text".to_owned()))?;
        Ok(record(context.trim().to_owned(), text))
    };
    file.lines().map(line).collect()
}

/// `name[X], eatType[Y]` as `name : X | Type : Y`.
fn context(slots: &str, spacing: Spacing) -> Result<String, String> {
    let wrong = || format!("\"{slots}\" is not of the form name[value], name[value]");
    let mut found = Vec::new();
    let mut rest = slots.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('[').ok_or_else(wrong)?;
        let (value, after) = after.split_once(']').ok_or_else(wrong)?;
        if name.contains(']') {
            return Err(wrong());
        }
        let name = match name.trim() {
            "" => return Err(wrong()),
            "eatType" => "Type",
            "priceRange" => "price",
            "familyFriendly" => "family friendly",
            other => other,
        };
        found.push(format!("{name} : {}", space(value, spacing)));
        rest = match after.trim_start() {
            "" => "",
            after => after.strip_prefix(',').ok_or_else(wrong)?.trim_start(),
        };
    }
    Ok(found.join(" | "))
}

/// A row in the line form of the paper's code, without the end of the line.
pub fn line(pair: &Pair) -> String {
    format!("{}||{} ", pair.context, pair.completion)
}

/// Text cut into tokens with a space between any two.
pub fn space(text: &str, spacing: Spacing) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut tokens = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let next_is_small = words.get(i + 1).is_some_and(|w| w.starts_with(char::is_lowercase));
        let number = word
            .strip_suffix('.')
            .is_some_and(|w| w.bytes().all(|b| b.is_ascii_digit()));
        if spacing == Spacing::Valid && number && next_is_small && word.len() > 1 {
            tokens.push((*word).to_owned());
        } else {
            cut(word, spacing, &mut tokens);
        }
    }
    tokens.join(" ")
}

const OPENING: [char; 11] = ['\'', '"', '(', '[', '{', '£', '$', '€', ',', ';', ':'];
const CLOSING: [char; 10] = ['\'', '"', ')', ']', '}', ',', ';', ':', '!', '?'];

/// A word between two spaces: signs off its two ends, then whatever is to be split inside.
fn cut(word: &str, spacing: Spacing, tokens: &mut Vec<String>) {
    let mut word = word;
    while let Some(rest) = word.strip_prefix(OPENING)
        && !rest.is_empty()
    {
        tokens.push(word[..word.len() - rest.len()].to_owned());
        word = rest;
    }
    let mut ending = Vec::new();
    loop {
        let kept = word.trim_end_matches('.');
        let stops = word.len() - kept.len();
        let before = kept.chars().next_back();
        let closes = before.is_some_and(|c| c.is_lowercase() || c.is_numeric() || ends_word(kept));
        let rest = if stops > 1 || stops == 1 && closes {
            kept
        } else if let Some(rest) = word.strip_suffix(CLOSING) {
            rest
        } else {
            contraction(word, spacing)
        };
        if rest.is_empty() || rest.len() == word.len() {
            break;
        }
        ending.push(word[rest.len()..].to_owned());
        word = rest;
    }
    inside(word, spacing, tokens);
    tokens.extend(ending.into_iter().rev());
}

/// Whether a full stop after this ends a sentence: after signs, and after two capitals or more.
fn ends_word(kept: &str) -> bool {
    let mut last = kept.chars().rev();
    match last.next() {
        Some(c) if c.is_uppercase() => last.next().is_some_and(char::is_uppercase),
        Some(c) => CLOSING.contains(&c) || OPENING.contains(&c) || c == '%',
        None => false,
    }
}

/// The word without `'s`, `'re` and the like at its end.
fn contraction(word: &str, spacing: Spacing) -> &str {
    if spacing == Spacing::Test {
        let not = word.strip_suffix("n't").or_else(|| word.strip_suffix("n’t"));
        match not {
            Some(rest) if !rest.is_empty() => return rest,
            _ if word.eq_ignore_ascii_case("thats") => return &word[..4],
            _ => {}
        }
    }
    for mark in ["'", "’"] {
        if let Some((rest, end)) = word.rsplit_once(mark)
            && (["s", "re", "ve", "ll", "d", "m"].contains(&end.to_lowercase().as_str())
                || spacing == Spacing::Valid && end == "t")
        {
            return rest;
        }
    }
    word
}

/// Splits at hyphens, commas and dots between letters, and the like.
fn inside(word: &str, spacing: Spacing, tokens: &mut Vec<String>) {
    let letters: Vec<char> = word.chars().collect();
    let mut token = String::new();
    let mut flush = |token: &mut String| {
        if !token.is_empty() {
            tokens.push(std::mem::take(token));
        }
    };
    let mut at = 0;
    while at < letters.len() {
        let dots = letters[at..].iter().take_while(|c| **c == '.').count();
        let length = if dots > 1 { dots } else { 1 };
        let before = at.checked_sub(1).map(|b| letters[b]);
        let after = letters.get(at + length).copied();
        let splits = match (before, after) {
            (Some(before), Some(after)) => dots > 1 || between(before, letters[at], after, spacing),
            _ => false,
        };
        if splits {
            flush(&mut token);
        }
        token.extend(&letters[at..at + length]);
        if splits {
            flush(&mut token);
        }
        at += length;
    }
    flush(&mut token);
}

/// Whether a sign between these two is a token of its own.
fn between(before: char, sign: char, after: char, spacing: Spacing) -> bool {
    let letter = char::is_alphabetic;
    match sign {
        '-' | '–' if spacing == Spacing::Valid => before.is_alphanumeric() && after.is_alphanumeric(),
        '-' | '–' => letter(before) && letter(after) || before.is_numeric() && after.is_numeric(),
        ',' | '/' | ':' | '=' => letter(before) && letter(after),
        '.' => before.is_lowercase() && after.is_uppercase(),
        '£' => spacing == Spacing::Valid,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_spacings_differ_where_the_files_do() {
        for (text, valid, test) in [
            (
                "It isn't a 1-star pub.",
                "It isn 't a 1 - star pub .",
                "It is n't a 1-star pub .",
            ),
            ("from £20-£25.", "from £ 20- £ 25 .", "from £ 20-£25 ."),
            ("5. in the", "5. in the", "5 . in the"),
            ("5. It", "5 . It", "5 . It"),
            (
                "'The Mill', kid-friendly..",
                "' The Mill ' , kid - friendly ..",
                "' The Mill ' , kid - friendly ..",
            ),
            ("They're £20-25,", "They 're £ 20 - 25 ,", "They 're £ 20 - 25 ,"),
        ] {
            assert_eq!(space(text, Spacing::Valid), valid);
            assert_eq!(space(text, Spacing::Test), test);
        }
    }

    #[test]
    fn slots_are_renamed_and_bad_ones_refused() {
        let context = |slots| context(slots, Spacing::Valid);
        let wanted = "name : A, B | Type : pub | price : £ 20 - 25 | family friendly : no";
        let wanted = wanted.replace("A, B", "A , B");
        let slots = "name[A, B], eatType[pub], priceRange[£20-25], familyFriendly[no]";
        assert_eq!(context(slots), Ok(wanted));
        for bad in ["name", "name[A", "[A]", "name[A] eatType[B]", "na]me[A]"] {
            assert!(context(bad).is_err(), "{bad}");
        }
        assert_eq!(context(""), Ok(String::new()));
    }
}
