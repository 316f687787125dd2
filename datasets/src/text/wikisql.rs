//! WikiSQL (Zhong et al., 2017): questions about tables, and the queries that answer them.
//!
//! Read from the distribution's JSON lines (with `SPLIT.tables.jsonl` beside them the columns have names, and answers can
//! be computed; without it they are `col0`, `col1`, … and the prompt is the question alone), from the hub, and from the
//! text2sql collection (`text2sql-data_wikisql.json.bz2`). The latter names columns in lower case and gives no tables; the
//! columns shown with a question are those that any question of its split asks about. Its 31 queries (of 80,654) whose
//! values have comparisons in them cannot be told apart from others, and are left out.
//!
//! The paper does not state its prompt ("table schema and query"), so the template is a setting.
//! Completions are SQL as [`Query`] prints it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rand_chacha::ChaCha8Rng;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::data::Record;
use super::dataset::{CONVERTED, Dataset, HubFiles, SplitFiles};
use super::input::{Input, json_lines};
use super::score::{NamedScores, Outputs, TextScorer, named, renamed};
use crate::DataError;
use crate::metric::generated::{ScoreError, Scores, read_lines, read_parallel};
use crate::metric::scorers::Scorers;
use crate::metric::sql;
use crate::sql::{Aggregate, Cell, Column, Comparison, Condition, Query, Question, Table};
use crate::synthetic::ledger;
use crate::template::Template;
use crate::text_file::TextFile;

const TEXT2SQL: [&str; 2] = ["text2sql-data_wikisql.json.bz2", "text2sql-data_wikisql.json"];

pub(crate) static DATASET: Dataset = Dataset {
    id: "wikisql",
    name: "WikiSQL",
    splits: &[
        SplitFiles {
            name: "train",
            files: &["train.jsonl", TEXT2SQL[0], TEXT2SQL[1]],
            hub: "train",
        },
        SplitFiles {
            name: "dev",
            files: &["dev.jsonl", TEXT2SQL[0], TEXT2SQL[1]],
            hub: "validation",
        },
        SplitFiles {
            name: "test",
            files: &["test.jsonl", TEXT2SQL[0], TEXT2SQL[1]],
            hub: "test",
        },
    ],
    hub: HubFiles {
        id: "Salesforce/wikisql",
        revision: CONVERTED,
        config: "default",
    },
    default_template: Some("Table: {table}\nColumns: {columns}\nQuestion: {question}"),
    placeholders: &["table", "columns", "question"],
    metrics: &["logical_form", "execution"],
    li_liang: None,
    folder: "the folder with train.jsonl and dev.jsonl, and train.tables.jsonl and dev.tables.jsonl beside them",
    read,
    generate,
    scorer: TextScorer(score),
};

/// A question of the distribution.
#[derive(Deserialize)]
#[serde(expecting = "an object with table_id, question and sql")]
struct WikisqlRow {
    table_id: String,
    question: String,
    sql: RawQuery,
}

/// A query with columns and operators as numbers.
#[derive(Deserialize)]
struct RawQuery {
    sel: usize,
    agg: usize,
    conds: Conditions,
}

/// A list in the distribution, lists side by side on the hub.
#[derive(Deserialize)]
#[serde(untagged)]
enum Conditions {
    Each(Vec<(usize, usize, Value)>),
    Columns {
        column_index: Vec<usize>,
        operator_index: Vec<usize>,
        condition: Vec<Value>,
    },
}

/// A table of the distribution.
#[derive(Deserialize)]
#[serde(expecting = "an object with id, header, types and rows")]
struct RawTable {
    id: String,
    header: Vec<String>,
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    rows: Vec<Vec<Value>>,
    #[serde(default)]
    page_title: Option<String>,
    #[serde(default)]
    section_title: Option<String>,
}

/// A row of the hub's data set, which includes its table.
#[derive(Deserialize)]
struct WikisqlHubRow {
    question: String,
    table: RawTable,
    sql: RawQuery,
}

fn read(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    if input.text().is_none() {
        let rows: Vec<WikisqlHubRow> = input.entries()?;
        let mut tables: HashMap<String, Arc<Table>> = HashMap::new();
        let of = |(row, r): (usize, WikisqlHubRow)| {
            let bad = |problem| DataError::ParquetRow {
                path: input.path.to_path_buf(),
                row,
                problem,
            };
            let table = match tables.get(&r.table.id) {
                Some(table) => table.clone(),
                None => {
                    let table = Arc::new(r.table.check().map_err(bad)?);
                    tables.insert(table.id.clone(), table.clone());
                    table
                }
            };
            record(input, &r.question, &r.sql, table).map_err(bad)
        };
        return rows.into_iter().enumerate().map(of).collect();
    }
    if input.path.file_name().is_some_and(|n| TEXT2SQL.iter().any(|t| n == *t)) {
        return read_text2sql(input);
    }
    read_questions(input)
}

/// The questions of a file of the distribution (`SPLIT.jsonl`, with `SPLIT.tables.jsonl` beside it or not), in its order.
///
/// # Errors
/// As of [`Dataset::load`].
pub fn questions(path: &Path) -> Result<Vec<Question>, DataError> {
    let (template, digest) = (DATASET.template(None)?, RefCell::new(Sha256::new()));
    let records = read_questions(&Input::read(path, "dev", &template, &digest)?)?;
    Ok(records.into_iter().filter_map(|r| r.question).collect())
}

/// Scores of a file of predictions, one a line, against one of queries or of the data set's own questions (`.jsonl`).
///
/// # Errors
/// Files that cannot be read, are empty or not UTF-8, or have other numbers of entries.
pub fn score_files(hyp: &Path, reference: &Path) -> Result<Scores, ScoreError> {
    if reference.extension().is_none_or(|e| e != "jsonl") {
        return Ok(sql::score_texts(&read_parallel(hyp, &[reference.to_path_buf()])?));
    }
    let predictions = read_lines(hyp, "a query a line")?;
    let questions = questions(reference)?;
    if predictions.len() != questions.len() {
        return Err(ScoreError::Count {
            hyp: hyp.to_path_buf(),
            outputs: predictions.len(),
            refs: reference.to_path_buf(),
            instances: questions.len(),
        });
    }
    Ok(sql::score(&predictions, &questions.iter().collect::<Vec<_>>()))
}

fn read_questions(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    let stem = input.path.file_stem().map(|s| s.to_string_lossy().into_owned());
    let tables = format!("{}.tables.jsonl", stem.unwrap_or_default());
    let file = input.beside(&tables)?;
    let tables_of = file.as_ref().map(read_tables).transpose()?;
    if tables_of.is_none() {
        tracing::warn!(
            "{}: no {tables} beside it; columns are numbers, nothing can be executed",
            input.path.display()
        );
    }
    let rows: Vec<WikisqlRow> = input.entries()?;
    let mut known = Vec::new();
    for (line, row) in input.text().into_iter().flat_map(filled_lines).zip(rows) {
        let bad = |problem| input.malformed(line, problem);
        let table = match &tables_of {
            None => Arc::new(Table {
                id: row.table_id.clone(),
                ..Table::default()
            }),
            Some(all) => match all.get(&row.table_id) {
                Some(table) => table.clone(),
                None => return Err(bad(format!("no table \"{}\" in {tables}", row.table_id))),
            },
        };
        known.push(record(input, &row.question, &row.sql, table).map_err(bad)?);
    }
    Ok(known)
}

fn filled_lines(file: &TextFile) -> impl Iterator<Item = usize> + '_ {
    file.lines()
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(line, _)| line)
}

fn read_tables(file: &TextFile) -> Result<HashMap<String, Arc<Table>>, DataError> {
    let raw: Vec<RawTable> = json_lines(file)?;
    let each = filled_lines(file).zip(raw).map(|(line, raw)| {
        let table = raw.check().map_err(|problem| DataError::Malformed {
            path: file.path.clone(),
            line,
            problem,
        })?;
        Ok((table.id.clone(), Arc::new(table)))
    });
    each.collect()
}

impl RawTable {
    fn check(self) -> Result<Table, String> {
        let width = self.header.len();
        if width == 0 {
            return Err(format!("table \"{}\" has no header", self.id));
        }
        if let Some(row) = self.rows.iter().position(|r| r.len() != width) {
            let found = self.rows[row].len();
            return Err(format!(
                "table \"{}\": row {row} (from 0) has {found} cells, the header has {width}",
                self.id
            ));
        }
        let number = |at: usize| self.types.get(at).is_some_and(|t| t == "real");
        let columns = self.header.iter().enumerate().map(|(at, name)| Column {
            name: name.clone(),
            number: number(at),
        });
        let cell = |(at, value): (usize, &Value)| match value {
            Value::Number(n) => n.as_f64().map_or_else(|| Cell::Text(n.to_string()), Cell::Number),
            // The hub keeps every cell as text.
            Value::String(text) if number(at) => text.parse().map_or_else(|_| Cell::Text(text.clone()), Cell::Number),
            other => Cell::Text(plain(other)),
        };
        let rows = self.rows.iter().map(|row| row.iter().enumerate().map(cell).collect());
        let titles = [self.page_title.as_deref(), self.section_title.as_deref()];
        let titles: Vec<&str> = titles.into_iter().flatten().filter(|t| !t.is_empty()).collect();
        Ok(Table {
            title: titles.join(", "),
            columns: columns.collect(),
            rows: rows.collect(),
            id: self.id,
        })
    }
}

/// A value as Python's `str` has it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn record(input: &Input<'_>, question: &str, sql: &RawQuery, table: Arc<Table>) -> Result<Record, String> {
    let name = |at: usize| match table.columns.get(at) {
        Some(column) => Ok(column.name.clone()),
        None if table.columns.is_empty() => Ok(format!("col{at}")),
        None => Err(format!(
            "no column {at} in table \"{}\", which has {}",
            table.id,
            table.columns.len()
        )),
    };
    let conditions: Vec<(usize, usize, &Value)> = match &sql.conds {
        Conditions::Each(each) => each.iter().map(|(c, o, v)| (*c, *o, v)).collect(),
        Conditions::Columns {
            column_index,
            operator_index,
            condition,
        } => {
            let columns = column_index.iter().zip(operator_index).zip(condition);
            columns.map(|((c, o), v)| (*c, *o, v)).collect()
        }
    };
    let condition = |(column, comparison, value): &(usize, usize, &Value)| {
        Ok(Condition {
            column: name(*column)?,
            comparison: *Comparison::ALL
                .get(*comparison)
                .ok_or_else(|| format!("no comparison has number {comparison}"))?,
            value: plain(value),
        })
    };
    let query = Query {
        column: name(sql.sel)?,
        aggregate: *Aggregate::ALL
            .get(sql.agg)
            .ok_or_else(|| format!("no aggregate has number {}", sql.agg))?,
        conditions: conditions.iter().map(condition).collect::<Result<_, String>>()?,
    };
    Ok(asked(input.template, question, query, table))
}

/// A record of a question; an empty one, which is skipped, without text.
fn asked(template: &Template, question: &str, query: Query, table: Arc<Table>) -> Record {
    let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    let context = match question.trim() {
        "" => String::new(),
        question => template.fill(&[&table.title, &names.join(" | "), question]),
    };
    Record {
        context,
        references: vec![query.to_string()],
        category: None,
        question: Some(Question { query, table }),
    }
}

/// A question about a generated table.
fn generate(_: &str, template: &Template, rng: &mut ChaCha8Rng) -> Record {
    let (question, query, table) = ledger::ask(rng);
    asked(template, &question, query, Arc::new(table))
}

fn score(outputs: &Outputs<'_>, _: &Scorers) -> Result<NamedScores, ScoreError> {
    let questions: Vec<_> = outputs.prompts.iter().filter_map(|p| p.question.as_ref()).collect();
    if questions.len() != outputs.texts.len() {
        return Err(ScoreError::NoQuery);
    }
    let names = [("lf_accuracy", "logical_form"), ("ex_accuracy", "execution")];
    Ok(named(renamed(sql::score(outputs.texts, &questions), &names), ""))
}

#[derive(Deserialize)]
struct Family {
    sentences: Vec<Sentence>,
    sql: Vec<String>,
    variables: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    example: String,
}

#[derive(Deserialize)]
struct Sentence {
    original: String,
    #[serde(rename = "question-split")]
    split: String,
    #[serde(rename = "table-id")]
    table: String,
    variables: BTreeMap<String, String>,
}

fn read_text2sql(input: &Input<'_>) -> Result<Vec<Record>, DataError> {
    let families: Vec<Family> = input.document()?;
    let mut found = Vec::new();
    let mut unread = 0;
    let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for family in families {
        let sql = family.sql.first().map(String::as_str).unwrap_or_default();
        let examples = family.variables.into_iter().map(|v| (v.name, v.example));
        let examples: BTreeMap<String, String> = examples.collect();
        let sentences = family.sentences.into_iter().filter(|s| s.split == input.split);
        for sentence in sentences {
            let value = |name: &str| sentence.variables.get(name).or_else(|| examples.get(name)).cloned();
            let Some(query) = of_text2sql(sql, value) else {
                unread += 1;
                continue;
            };
            let names = columns.entry(sentence.table.clone()).or_default();
            names.insert(query.column.clone());
            names.extend(query.conditions.iter().map(|c| c.column.clone()));
            found.push((sentence, query));
        }
    }
    let of = |(id, names): (String, BTreeSet<String>)| {
        let columns = names.into_iter().map(|name| Column { name, number: false });
        let table = Table {
            id: id.clone(),
            columns: columns.collect(),
            ..Table::default()
        };
        (id, Arc::new(table))
    };
    let tables: BTreeMap<String, Arc<Table>> = columns.into_iter().map(of).collect();
    let ask = |(sentence, query): (Sentence, Query)| {
        let table = tables.get(&sentence.table).cloned().unwrap_or_default();
        asked(input.template, &sentence.original, query, table)
    };
    let unread = (0..unread).map(|_| Record::default());
    Ok(found.into_iter().map(ask).chain(unread).collect())
}

/// `SELECT MAX TABLEalias0.WINS_(TOTAL)_FIELD FROM TABLE AS TABLEalias0 WHERE TABLEalias0.RANK_FIELD < var2 AND … ;`
fn of_text2sql(sql: &str, value: impl Fn(&str) -> Option<String>) -> Option<Query> {
    static SELECT: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let select =
            r"^SELECT (?:(MAX|MIN|COUNT|SUM|AVG) )?(.+)_FIELD FROM (?:TABLE AS TABLEalias0|table)(?: WHERE (.+))? ;$";
        Regex::new(select).ok()
    });
    static CONDITION: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"(.+?)_FIELD ([=<>]) "?(var[0-9]+)"?(?: AND |$)"#).ok());
    let parts = SELECT.as_ref()?.captures(sql)?;
    let named = |column: &str| {
        let column = column.strip_prefix("TABLEalias0.").unwrap_or(column);
        column.replace('_', " ").to_lowercase()
    };
    let aggregate = parts.get(1).map_or("", |m| m.as_str());
    let mut conditions = Vec::new();
    let text = parts.get(3).map_or("", |m| m.as_str());
    let mut read = 0;
    for found in CONDITION.as_ref()?.captures_iter(text) {
        let whole = found.get(0)?;
        if whole.start() != read {
            return None;
        }
        read = whole.end();
        conditions.push(Condition {
            column: named(&found[1]),
            comparison: Comparison::ALL.into_iter().find(|c| found[2].starts_with(c.sign()))?,
            value: value(&found[3])?,
        });
    }
    let aggregate = Aggregate::ALL.into_iter().find(|a| a.name() == aggregate)?;
    (read == text.len()).then_some(Query {
        column: named(&parts[2]),
        aggregate,
        conditions,
    })
}
