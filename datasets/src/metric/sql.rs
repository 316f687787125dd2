//! WikiSQL's two accuracies: logical form, and execution on SQLite.
//!
//! As the data set's own evaluation does it, but from text: what cannot be read as a query is wrong.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rayon::prelude::*;
use regex::Regex;
use rusqlite::types::Value;
use rusqlite::{Connection, ToSql, params_from_iter};

use super::generated::{Scores, Segment};
use crate::sql::{Aggregate, Cell, Column, Condition, Query, Question, Table, same_name};

/// How a predicted query compares with the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Same column, same aggregate, same set of conditions.
    pub logical_form: bool,
    /// Same answer; none where there are no rows to ask.
    pub execution: Option<bool>,
}

/// Whether two queries are one: their conditions are a set, columns are compared by name ([`same_name`]), values in lower
/// case.
pub fn same_logical_form(a: &Query, b: &Query) -> bool {
    let same = |x: &Condition, y: &Condition| {
        x.comparison == y.comparison
            && same_name(&x.column, &y.column)
            && x.value.to_lowercase() == y.value.to_lowercase()
    };
    let within = |x: &Query, y: &Query| x.conditions.iter().all(|c| y.conditions.iter().any(|d| same(c, d)));
    a.aggregate == b.aggregate && same_name(&a.column, &b.column) && within(a, b) && within(b, a)
}

/// Judges a predicted text.
pub fn judge(prediction: &str, question: &Question) -> Verdict {
    let Question { query, table } = question;
    let predicted = Query::parse(prediction, &table.columns).ok();
    let has_rows = !table.rows.is_empty();
    let gold = has_rows.then(|| execute(query, table).ok()).flatten();
    Verdict {
        logical_form: predicted.as_ref().is_some_and(|p| same_logical_form(p, query)),
        execution: gold.map(|gold| predicted.is_some_and(|p| execute(&p, table).is_ok_and(|found| found == gold))),
    }
}

/// Accuracies over predictions, each with its question, by the names of the data set's evaluation: `lf_accuracy`, and
/// `ex_accuracy` over the questions whose tables have rows (none without any).
pub fn score<T: AsRef<str> + Sync>(predictions: &[T], questions: &[&Question]) -> Scores {
    let verdicts: Vec<Verdict> = predictions
        .par_iter()
        .zip(questions)
        .map(|(p, question)| judge(p.as_ref(), question))
        .collect();
    let share = |found: &[bool]| {
        let right = found.iter().filter(|right| **right).count();
        (!found.is_empty()).then(|| right as f64 / found.len() as f64)
    };
    let logical: Vec<bool> = verdicts.iter().map(|v| v.logical_form).collect();
    let executed: Vec<bool> = verdicts.iter().filter_map(|v| v.execution).collect();
    vec![("ex_accuracy", share(&executed)), ("lf_accuracy", share(&logical))]
}

/// Logical form of predicted texts against texts that are right, without tables. Each prediction may equal any of its
/// references.
pub fn score_texts(segments: &[Segment]) -> Scores {
    let right = |segment: &Segment| {
        let Ok(predicted) = Query::parse(&segment.hyp, &[]) else {
            return false;
        };
        let mut gold = segment.refs.iter().filter_map(|r| Query::parse(r, &[]).ok());
        gold.any(|gold| same_logical_form(&predicted, &gold))
    };
    let all: Vec<bool> = segments.par_iter().map(right).collect();
    let right = all.iter().filter(|r| **r).count();
    vec![(
        "lf_accuracy",
        (!all.is_empty()).then(|| right as f64 / all.len() as f64),
    )]
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// No value: the aggregate of nothing.
    Nothing,
    /// A number.
    Number(f64),
    /// Text, in lower case.
    Text(String),
}

/// Runs a query on a table of its own in memory, as the data set's `dbengine` does: texts are compared in lower case, a
/// condition on a column of numbers compares with its value as a number or with the first number in it, and conditions on one
/// column share one parameter, so that all of them compare with the value of the last.
///
/// # Errors
/// What cannot be run: a column that the table does not have, or a value without a number in it for a column of numbers.
pub fn execute(query: &Query, table: &Table) -> Result<Vec<Answer>, String> {
    let place = |name: &str| {
        let found = table.columns.iter().position(|c| same_name(&c.name, name));
        found.ok_or_else(|| format!("the table has no column \"{name}\""))
    };
    let selected = format!("col{}", place(&query.column)?);
    let selected = match query.aggregate {
        Aggregate::None => selected,
        aggregate => format!("{}({selected})", aggregate.name()),
    };
    let mut wheres = Vec::new();
    let mut values = BTreeMap::new();
    for condition in &query.conditions {
        let at = place(&condition.column)?;
        wheres.push(format!("col{at} {} :col{at}", condition.comparison.sign()));
        values.insert(format!(":col{at}"), compared(&table.columns[at], &condition.value)?);
    }
    let filter = if wheres.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", wheres.join(" AND "))
    };
    let run = || -> rusqlite::Result<Vec<Answer>> {
        let database = filled(table)?;
        let mut statement = database.prepare(&format!("SELECT {selected} FROM data{filter}"))?;
        let named: Vec<(&str, &dyn ToSql)> = values.iter().map(|(n, v)| (n.as_str(), v as &dyn ToSql)).collect();
        let rows = statement.query_map(named.as_slice(), |row| row.get::<_, Value>(0))?;
        rows.map(|value| Ok(answer(value?))).collect()
    };
    run().map_err(|e| e.to_string())
}

fn answer(value: Value) -> Answer {
    match value {
        Value::Integer(number) => Answer::Number(number as f64),
        Value::Real(number) => Answer::Number(number),
        Value::Text(text) => Answer::Text(text),
        Value::Null | Value::Blob(_) => Answer::Nothing,
    }
}

fn filled(table: &Table) -> rusqlite::Result<Connection> {
    let database = Connection::open_in_memory()?;
    let columns = table.columns.iter().enumerate().map(|(i, column)| {
        let kind = if column.number { "real" } else { "text" };
        format!("col{i} {kind}")
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    database.execute(&format!("CREATE TABLE data ({columns})"), [])?;
    let places = vec!["?"; table.columns.len()].join(", ");
    let mut insert = database.prepare(&format!("INSERT INTO data VALUES ({places})"))?;
    for row in &table.rows {
        let cells = row.iter().map(|cell| match cell {
            Cell::Text(text) => Value::Text(text.to_lowercase()),
            Cell::Number(number) => Value::Real(*number),
        });
        insert.execute(params_from_iter(cells))?;
    }
    drop(insert);
    Ok(database)
}

fn compared(column: &Column, value: &str) -> Result<Value, String> {
    if !column.number {
        return Ok(Value::Text(value.to_lowercase()));
    }
    // As Python's Decimal reads it once the commas are gone: `1e3`, `1_000` and `inf` are numbers.
    let plain = value.replace([',', '_'], "");
    let number = plain.trim().parse().ok().or_else(|| first_number(value));
    number
        .map(Value::Real)
        .ok_or_else(|| format!("\"{value}\" has no number for column \"{}\"", column.name))
}

/// The first number in a text, such as 12.5 in "about 12.5 km". Only one with a decimal point may have a sign.
fn first_number(text: &str) -> Option<f64> {
    static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[-+]?[0-9]*\.[0-9]+|[0-9]+").ok());
    NUMBER.as_ref()?.find(text)?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn question() -> Question {
        let column = |name: &str, number| Column {
            name: name.to_owned(),
            number,
        };
        let row = |name: &str, number| vec![Cell::Text(name.to_owned()), Cell::Number(number)];
        let table = Table {
            columns: vec![column("Name", false), column("Pick #", true)],
            rows: vec![row("Ann", 1.0), row("Bo", 2.0), row("Ann", 3.0)],
            ..Table::default()
        };
        Question {
            query: Query::parse(
                "SELECT MAX(\"Pick #\") FROM table WHERE Name = 'ann' AND \"Pick #\" > 0",
                &[],
            )
            .unwrap(),
            table: Arc::new(table),
        }
    }

    #[test]
    fn the_order_of_conditions_and_case_mean_nothing() {
        for (text, logical_form, execution) in [
            (
                "select max(pick  #) from t where pick # > 0 and NAME = 'ANN'",
                true,
                true,
            ),
            (
                "SELECT MAX(Pick #) FROM t WHERE Name = Ann AND Pick # > 0 AND Name = ann",
                true,
                true,
            ),
            ("SELECT MAX(Pick #) FROM t WHERE Name = Ann", false, true),
            ("SELECT COUNT(Pick #) FROM t WHERE Name = Ann", false, false),
            ("SELECT MAX(Rank) FROM t WHERE Name = Ann", false, false),
            ("SELECT MAX(Pick #) FROM t WHERE Pick # = x", false, false),
            ("the pick is 3", false, false),
            ("", false, false),
            ("SELECT '); DROP TABLE data; -- FROM t WHERE Name = '", false, false),
        ] {
            let wanted = Verdict {
                logical_form,
                execution: Some(execution),
            };
            assert_eq!(judge(text, &question()), wanted, "{text}");
        }
    }

    #[test]
    fn without_rows_nothing_is_executed() {
        let mut question = question();
        question.table = Arc::new(Table::default());
        let verdict = judge(&question.query.to_string(), &question);
        assert_eq!((verdict.logical_form, verdict.execution), (true, None));
        let scores = score(&[question.query.to_string()], &[&question]);
        assert_eq!(scores, [("ex_accuracy", None), ("lf_accuracy", Some(1.0))]);
    }

    #[test]
    fn answers_are_lists_and_numbers_are_found_in_text() {
        let question = question();
        let answers = |text: &str| execute(&Query::parse(text, &question.table.columns).unwrap(), &question.table);
        let text = |t: &str| Answer::Text(t.to_owned());
        assert_eq!(
            answers("SELECT Name FROM t"),
            Ok(vec![text("ann"), text("bo"), text("ann")])
        );
        assert_eq!(
            answers("SELECT Name FROM t WHERE Pick # = 'about 2 or so'"),
            Ok(vec![text("bo")])
        );
        assert_eq!(
            answers("SELECT SUM(Pick #) FROM t WHERE Name = 'x'"),
            Ok(vec![Answer::Nothing])
        );
        assert_eq!(answers("SELECT COUNT(Name) FROM t"), Ok(vec![Answer::Number(3.0)]));
        assert!(answers("SELECT Name FROM t WHERE Pick # = x").is_err());
        assert_eq!((first_number("a -3.5."), first_number("x")), (Some(-3.5), None));
    }

    /// Answers of WikiSQL's own `dbengine.py`, over records, babel 2.19 and SQLite, for the same table.
    #[test]
    fn values_are_read_and_shared_as_by_dbengine() {
        let column = |name: &str, number| Column {
            name: name.to_owned(),
            number,
        };
        let rows = [
            ("ann", 1.0, 1992.0),
            ("bo", 1000.0, 2004.0),
            ("cy", 3.0, 2008.0),
            ("di", -5.0, 2004.5),
        ];
        let row =
            |(name, n, year): (&str, f64, f64)| vec![Cell::Text(name.to_owned()), Cell::Number(n), Cell::Number(year)];
        let table = Table {
            columns: vec![column("Name", false), column("N", true), column("Year", true)],
            rows: rows.map(row).to_vec(),
            ..Table::default()
        };
        let answer = |conditions: &str| {
            let query = Query::parse(&format!("SELECT Name FROM t WHERE {conditions}"), &table.columns).unwrap();
            let found = execute(&query, &table).ok()?;
            let names = found.iter().map(|a| match a {
                Answer::Text(name) => name.as_str(),
                other => panic!("{other:?}"),
            });
            Some(names.collect::<Vec<_>>().join(" "))
        };
        for (conditions, wanted) in [
            ("N = '1e3'", Some("bo")),
            ("N < '1e3'", Some("ann cy di")),
            ("N = '1E+3'", Some("bo")),
            ("N = '1,000'", Some("bo")),
            ("N = '1_000'", Some("bo")),
            ("N = '$1000'", Some("bo")),
            ("N = '.1e4'", Some("bo")),
            ("N = 'about 1e3'", Some("ann")),
            ("N = '1 000'", Some("ann")),
            ("N = '1e'", Some("ann")),
            ("N = 'e3'", Some("cy")),
            ("N < '--5'", Some("ann cy di")),
            ("N > 'nan'", Some("")),
            ("N < 'Infinity'", Some("ann bo cy di")),
            ("N = 'none'", None),
            ("Year > 2003 AND Year > 1990", Some("ann bo cy di")),
            ("Year > 1990 AND Year > 2003", Some("bo cy di")),
            ("Year > 1990 AND Year < 2005", Some("")),
            ("Name = 'Bo' AND Name = 'Ann'", Some("ann")),
            ("Name = 'Bo' AND Year > 2003", Some("bo")),
        ] {
            assert_eq!(answer(conditions).as_deref(), wanted, "{conditions}");
        }
    }
}
