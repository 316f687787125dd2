//! Generated tables, questions about them, and the queries that answer them.

use super::words::{COLOURS, DAYS, NAMES, PLACES, THINGS};
use super::world::one;
use crate::sql::{Aggregate, Cell, Column, Comparison, Condition, Query, Table};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Kinds of columns; the last two are numeric.
const COLUMNS: [&str; 7] = ["Name", "Thing", "Colour", "Place", "Day", "Number of things", "Price"];
const FIRST_NUMBER: usize = 5;

static TITLES: [&str; 4] = ["Market", "Lost and found", "Gifts", "Fair"];

/// A table of three to five columns and some rows.
pub(crate) fn table(rng: &mut ChaCha8Rng) -> Table {
    let width = rng.random_range(3..=5);
    // At least one column of text, to ask about.
    let mut kinds = vec![rng.random_range(0..FIRST_NUMBER)];
    while kinds.len() < width {
        let kind = rng.random_range(0..COLUMNS.len());
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let rows = rng.random_range(4..=8);
    Table {
        id: format!("{:08x}", rng.random::<u32>()),
        title: one(&TITLES, rng).unwrap_or_default().to_owned(),
        columns: kinds
            .iter()
            .map(|kind| Column {
                name: COLUMNS[*kind].to_owned(),
                number: *kind >= FIRST_NUMBER,
            })
            .collect(),
        rows: (0..rows)
            .map(|_| kinds.iter().map(|kind| cell(*kind, rng)).collect())
            .collect(),
    }
}

fn cell(kind: usize, rng: &mut ChaCha8Rng) -> Cell {
    let words: &[&str] = match kind {
        0 => &NAMES,
        1 => &THINGS,
        2 => &COLOURS,
        3 => &PLACES,
        4 => &DAYS,
        5 => return Cell::Number(f64::from(rng.random_range(1..10))),
        _ => return Cell::Number(f64::from(5 * rng.random_range(1..20))),
    };
    Cell::Text(one(words, rng).unwrap_or_default().to_owned())
}

/// A cell as it is written in a question and in a query.
fn written(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => number.to_string(),
    }
}

/// A question about a table of its own, with one or two conditions on the values of one of its rows.
pub(crate) fn ask(rng: &mut ChaCha8Rng) -> (String, Query, Table) {
    let table = table(rng);
    let mut places: Vec<usize> = (0..table.columns.len()).collect();
    let row = table.rows.choose(rng).map(Vec::as_slice).unwrap_or_default();
    let selected = places.swap_remove(rng.random_range(0..places.len()));
    let column = &table.columns[selected];
    let aggregate = if column.number {
        one(&Aggregate::ALL, rng)
    } else {
        one(
            &[Aggregate::None, Aggregate::None, Aggregate::None, Aggregate::Count],
            rng,
        )
    };
    let conditions = (0..rng.random_range(1..=2)).filter_map(|_| {
        let at = places.pop()?;
        let comparison = if table.columns[at].number {
            one(&Comparison::ALL, rng)?
        } else {
            Comparison::Equal
        };
        Some(Condition {
            column: table.columns[at].name.clone(),
            comparison,
            value: written(row.get(at)?),
        })
    });
    let query = Query {
        column: column.name.clone(),
        aggregate: aggregate.unwrap_or(Aggregate::None),
        conditions: conditions.collect(),
    };
    (wording(&query, rng), query, table)
}

/// The question in words.
fn wording(query: &Query, rng: &mut ChaCha8Rng) -> String {
    let name = query.column.to_lowercase();
    let opening = match query.aggregate {
        Aggregate::None if rng.random_bool(0.5) => format!("Which {name} is there"),
        Aggregate::None => format!("What is the {name}"),
        Aggregate::Max => format!("What is the largest {name}"),
        Aggregate::Min => format!("What is the smallest {name}"),
        Aggregate::Count => format!("How many rows with a {name} are there"),
        Aggregate::Sum => format!("What is the total {name}"),
        Aggregate::Avg => format!("What is the average {name}"),
    };
    let conditions = query.conditions.iter().map(|c| {
        let is = match c.comparison {
            Comparison::Equal => "is",
            Comparison::Greater => "is more than",
            Comparison::Less => "is less than",
        };
        format!("the {} {is} {}", c.column.to_lowercase(), c.value)
    });
    let word = one(&["where", "when", "if"], rng).unwrap_or("where");
    format!("{opening} {word} {}?", conditions.collect::<Vec<_>>().join(" and "))
}

/// A description of a table and of one of its rows.
pub(crate) fn told(rng: &mut ChaCha8Rng) -> String {
    let table = table(rng);
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    let row = table.rows.choose(rng).map(Vec::as_slice).unwrap_or_default();
    let says = table.columns.iter().zip(row);
    let says = says.map(|(c, cell)| format!("the {} is {}", c.name.to_lowercase(), written(cell)));
    let says = says.collect::<Vec<_>>().join(" and ");
    format!("{}, a table of {}. In one row {says}.", table.title, names.join(", "))
}
