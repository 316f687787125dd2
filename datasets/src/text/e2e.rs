//! E2E NLG (Novikova et al., 2017): slots of a restaurant, and descriptions by people.
//!
//! Read from the challenge's own CSV (`mr`, `ref`), from the line form of the paper's code
//! (`name : X | Type : Y||text`), and from the hub. All become that line form: slots are renamed and text is spaced into
//! tokens as in the paper's code's `data/e2e/{valid,test}.txt`, which the CSV files give line for line.
//!
//! Validation and test text were tokenised by different programs ([`Spacing`]). The paper's code has no training text to compare
//! with; it is spaced as validation text. Scores are computed against spaced references, as in the paper's code.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::data::{Pair, Record};
use super::dataset::{CONVERTED, Dataset, HubFiles, SplitFiles};
use super::input::Input;
use super::score::{TextScorer, named};
use crate::DataError;
use crate::metric::e2e as challenge;
use crate::spacing::{Spacing, space};
use crate::synthetic::relation::some_details;
use crate::synthetic::structured::{slot_list, tellings};
use crate::synthetic::world::Fact;
use crate::template::Template;
use crate::text_file::TextFile;

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
    default_template: None,
    placeholders: &[],
    metrics: &["BLEU", "NIST", "METEOR", "ROUGE_L", "CIDEr"],
    li_liang: Some(" "),
    folder: "the folder with trainset.csv, devset.csv and testset_w_refs.csv",
    read,
    generate,
    scorer: TextScorer(|outputs, scorers| Ok(named(challenge::score(&outputs.segments, scorers.meteor.as_ref()), ""))),
};

#[derive(Deserialize)]
struct E2eRow {
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
        let rows = input.entries::<E2eRow>()?.into_iter().enumerate();
        let row = |(row, r): (usize, E2eRow)| {
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

/// The slots of a fact and sentences that tell it: `event : help | who : Anna | whom : Ben | day : Monday`.
fn generate(_: &str, _: &Template, rng: &mut ChaCha8Rng) -> Record {
    let fact = Fact::any(rng);
    let with = some_details(&fact, rng);
    let context = slot_list(&fact, &with, " : ", " | ");
    let told = tellings(&[(fact, with)], rng);
    Record {
        context,
        references: told.iter().map(|text| space(text, Spacing::Valid)).collect(),
        ..Record::default()
    }
}

/// A row in the line form of the paper's code, without the end of the line.
pub fn line(pair: &Pair) -> String {
    format!("{}||{} ", pair.context, pair.completion)
}

#[cfg(test)]
mod tests {
    use super::*;

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
