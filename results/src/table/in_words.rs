//! Table 2 in sentences: what a method costs and gives beside full fine-tuning, computed from the table's own cells.

use super::value::{Cell, RowKind, TableRow};

/// The method that others are compared with.
const BASELINE: &str = "full";

/// The methods that the sentences are about, where the table has them.
const METHODS: [&str; 3] = ["lora", "bitfit", "head"];

/// The columns before the scores, and the place of the number of trained parameters among them.
const LEADING: usize = 4;
const TRAINED: usize = 2;

/// Sentences about the rows of one model; none unless full fine-tuning and another method have all tasks. `tasks` names the columns
/// of scores.
pub(super) fn in_words(rows: &[TableRow], tasks: &[&str]) -> Option<String> {
    let [row] = own(rows, BASELINE)[..] else { return None };
    let full = Line::read(row)?;
    let sentences: Vec<String> = METHODS
        .iter()
        .filter_map(|method| match own(rows, method)[..] {
            [row] => Some(Line::read(row)?.beside(&full, method, tasks)),
            _ => None,
        })
        .collect();
    if sentences.is_empty() {
        return None;
    }
    let average = if tasks.len() > 1 { " on average" } else { "" };
    Some(format!(
        "In words: full fine-tuning scores {:.1}{average}. {} (This compares cells of the table and is no test; `results compare` tests.)",
        full.average,
        sentences.join(" ")
    ))
}

/// Our rows of a method.
fn own<'a>(rows: &'a [TableRow], method: &str) -> Vec<&'a TableRow> {
    let is_method =
        |row: &&TableRow| row.kind == RowKind::Ours && row.cells.get(1) == Some(&Cell::Text(method.to_owned()));
    rows.iter().filter(is_method).collect()
}

/// A row's numbers.
struct Line {
    trained: i64,
    scores: Vec<f64>,
    average: f64,
}

impl Line {
    fn read(row: &TableRow) -> Option<Line> {
        let number = |cell: &Cell| match cell {
            Cell::Number(number) => Some(number.value),
            _ => None,
        };
        let Cell::Count(trained) = row.cells.get(TRAINED)? else {
            return None;
        };
        let numbers: Option<Vec<f64>> = row.cells.get(LEADING..)?.iter().map(number).collect();
        let (average, scores) = numbers?.split_last().map(|(last, rest)| (*last, rest.to_vec()))?;
        Some(Line {
            trained: *trained,
            scores,
            average,
        })
    }

    fn beside(&self, full: &Line, method: &str, tasks: &[&str]) -> String {
        let subject = match self.trained {
            0 => "The bare head".to_owned(),
            trained => format!(
                "{method} trains {:.1} % as many parameters and",
                100.0 * trained as f64 / full.trained as f64
            ),
        };
        let differences = self.scores.iter().zip(&full.scores).zip(tasks);
        let largest = differences
            .map(|((ours, theirs), task)| (ours - theirs, task))
            .max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()));
        let largest = largest
            .filter(|_| tasks.len() > 1)
            .map(|(difference, task)| format!(", and on {task}, where they differ most, {}", words(difference)));
        format!(
            "{subject} scores {:.1}, {}{}.",
            self.average,
            words(self.average - full.average),
            largest.unwrap_or_default()
        )
    }
}

/// A difference of scores: `0.8 less`, `as much`.
fn words(difference: f64) -> String {
    match format!("{:.1}", difference.abs()).as_str() {
        "0.0" => "as much".to_owned(),
        size if difference < 0.0 => format!("{size} less"),
        size => format!("{size} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(method: &str, trained: i64, scores: &[f64]) -> TableRow {
        let mut cells = vec![
            Cell::Text("m".into()),
            Cell::Text(method.into()),
            Cell::Count(trained),
            Cell::Count(10),
        ];
        cells.extend(scores.iter().map(|score| Cell::plain(Some(*score), 1)));
        TableRow {
            kind: RowKind::Ours,
            cells,
        }
    }

    #[test]
    fn sentences_say_what_the_cells_say() {
        let rows = [
            row("full", 1000, &[90.0, 80.0, 85.0]),
            row("lora", 18, &[91.0, 77.0, 84.0]),
            row("head", 0, &[50.0, 60.0, 55.0]),
        ];
        let text = in_words(&rows, &["RTE", "MRPC"]).unwrap();
        assert!(text.contains("full fine-tuning scores 85.0 on average"), "{text}");
        let lora = "lora trains 1.8 % as many parameters and scores 84.0, 1.0 less, and on MRPC, where they differ most, 3.0 less.";
        assert!(text.contains(lora), "{text}");
        assert!(text.contains("The bare head scores 55.0, 30.0 less"), "{text}");
    }

    #[test]
    fn a_missing_task_or_no_other_method_says_nothing() {
        let missing = |mut row: TableRow| {
            row.cells[4] = Cell::Missing;
            row
        };
        let full = row("full", 1000, &[90.0, 80.0, 85.0]);
        assert_eq!(in_words(std::slice::from_ref(&full), &["RTE", "MRPC"]), None);
        let lora = missing(row("lora", 18, &[91.0, 77.0, 84.0]));
        assert_eq!(in_words(&[full, lora], &["RTE", "MRPC"]), None);
    }
}
