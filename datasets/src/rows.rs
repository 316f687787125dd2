//! Rows of a user's own file, whatever its columns are: CSV, TSV, JSON lines, parquet, or one text a line.

use std::path::Path;

use serde_json::Value;

use crate::text_file::TextFile;
use crate::{DataError, parquet_rows};

/// The column of a file without columns.
pub const TEXT: &str = "text";

/// A file's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnRows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<OwnRow>,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnRow {
    /// Its line in the file, from 1; of parquet its number, from 1.
    pub line: usize,
    /// Its values, one a column; none where there is none.
    pub cells: Vec<Option<String>>,
}

/// The place of a column among the `columns` of the file `path`.
///
/// # Errors
/// [`DataError::Malformed`] with the columns that there are.
pub fn column(path: &Path, columns: &[String], name: &str) -> Result<usize, DataError> {
    let found = columns.iter().position(|column| column == name);
    let all = columns.join(", ");
    found.ok_or_else(|| malformed(path, 1, format!("no column \"{name}\"; the file has: {all}")))
}

/// Reads a file by the ending of its name: `.csv` (quoted as in RFC 4180), `.tsv` (quotes are text), `.jsonl` (objects),
/// `.parquet`; any other has a text on each line, in the column `text`. The first line of CSV and TSV names the columns. `.gz` and
/// `.bz2` behind these are unpacked.
///
/// # Errors
/// Files that cannot be read, with the line of what is wrong.
pub fn read(path: &Path) -> Result<OwnRows, DataError> {
    let ending = ending(path);
    match ending.as_str() {
        "parquet" => return parquet(path),
        "xlsx" | "xls" | "ods" => {
            let problem = "a spreadsheet, which is not read; save it as .csv".to_owned();
            return Err(malformed(path, 1, problem));
        }
        _ => {}
    }
    let file = TextFile::read(path.to_path_buf(), |_| ())?;
    match ending.as_str() {
        "csv" => separated(&file, b',', true),
        "tsv" => separated(&file, b'\t', false),
        "jsonl" | "ndjson" | "json" => objects(&file),
        _ => Ok(texts(&file)),
    }
}

/// Whether [`read`] takes each line of the file for a text.
pub fn has_lines(path: &Path) -> bool {
    !["csv", "tsv", "jsonl", "ndjson", "json", "parquet"].contains(&ending(path).as_str())
}

/// The ending of a file's name in small letters, below that of its compression.
fn ending(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = name.trim_end_matches(".gz").trim_end_matches(".bz2");
    plain.rsplit_once('.').map_or("", |(_, ending)| ending).to_owned()
}

fn malformed(path: &Path, line: usize, problem: String) -> DataError {
    DataError::Malformed {
        path: path.to_path_buf(),
        line,
        problem,
    }
}

fn separated(file: &TextFile, delimiter: u8, quoted: bool) -> Result<OwnRows, DataError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(quoted)
        .flexible(true)
        .from_reader(file.text().as_bytes());
    let broken = |e: csv::Error| {
        let line = e.position().map_or(1, |at| at.line() as usize);
        malformed(&file.path, line, e.to_string())
    };
    let columns: Vec<String> = reader.headers().map_err(broken)?.iter().map(String::from).collect();
    if columns.is_empty() {
        let problem = "an empty file; its first line must name the columns".to_owned();
        return Err(malformed(&file.path, 1, problem));
    }
    let (mut rows, mut record) = (Vec::new(), csv::StringRecord::new());
    while reader.read_record(&mut record).map_err(broken)? {
        let line = record.position().map_or(1, |at| at.line() as usize);
        let start = record.position().map_or(0, |at| at.byte() as usize);
        let last = reader.position().byte() as usize >= file.text().trim_end().len();
        if quoted && last && unclosed(file.text().get(start..).unwrap_or_default()) {
            let problem = "a quote that opens in this row is not closed before the end of the file".to_owned();
            return Err(malformed(&file.path, line, problem));
        }
        if record.len() != columns.len() {
            let (found, wanted) = (record.len(), columns.len());
            return Err(malformed(
                &file.path,
                line,
                format!(
                    "{}, and the first line names {wanted}",
                    support::counted(found, "column")
                ),
            ));
        }
        rows.push(OwnRow {
            line,
            cells: record.iter().map(|cell| Some(cell.to_owned())).collect(),
        });
    }
    Ok(OwnRows { columns, rows })
}

/// Whether a quoted field of `row`, the last of a file, has no end. Quotes inside an unquoted field are text.
fn unclosed(row: &str) -> bool {
    let opens = row.starts_with('"') || row.contains(",\"");
    opens && row.matches('"').count() % 2 == 1
}

fn objects(file: &TextFile) -> Result<OwnRows, DataError> {
    let mut all = Vec::new();
    for (line, text) in file.lines().filter(|(_, text)| !text.trim().is_empty()) {
        let value: Value =
            serde_json::from_str(text).map_err(|e| malformed(&file.path, line, format!("not JSON: {e}")))?;
        if !value.is_object() {
            return Err(malformed(&file.path, line, "not a JSON object".into()));
        }
        all.push((line, value));
    }
    Ok(of_objects(all))
}

fn parquet(path: &Path) -> Result<OwnRows, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(of_objects((1..).zip(parquet_rows::read(path, bytes)?).collect()))
}

/// Rows of objects; the columns are the keys of all, in the order in which they appear. Values that are not text are written as
/// JSON.
fn of_objects(all: Vec<(usize, Value)>) -> OwnRows {
    let mut columns: Vec<String> = Vec::new();
    for key in all
        .iter()
        .filter_map(|(_, value)| value.as_object())
        .flat_map(|object| object.keys())
    {
        if !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    let cell = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let row = |(line, value): (usize, Value)| OwnRow {
        line,
        cells: columns.iter().map(|column| value.get(column).and_then(cell)).collect(),
    };
    let rows = all.into_iter().map(row).collect();
    OwnRows { columns, rows }
}

fn texts(file: &TextFile) -> OwnRows {
    let row = |(line, text): (usize, &str)| OwnRow {
        line,
        cells: vec![Some(text.to_owned())],
    };
    OwnRows {
        columns: vec![TEXT.to_owned()],
        rows: file.lines().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str) -> Result<OwnRows, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn cells(rows: &OwnRows) -> Vec<(usize, Vec<&str>)> {
        let mut all = Vec::new();
        for OwnRow { line, cells } in &rows.rows {
            all.push((
                *line,
                cells.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect(),
            ));
        }
        all
    }

    #[test]
    fn each_form_has_rows_with_their_lines() {
        let csv = rows("a.csv", "text,label\n\"two\nlines, \"\"so\"\"\",1\nplain,0\n").unwrap();
        assert_eq!(csv.columns, ["text", "label"]);
        assert_eq!(
            cells(&csv),
            [(2, vec!["two\nlines, \"so\"", "1"]), (4, vec!["plain", "0"])]
        );
        let tsv = rows("a.tsv", "a\tb\n\"x\ty\n").unwrap();
        assert_eq!(cells(&tsv), [(2, vec!["\"x", "y"])]);
        let json = rows("a.jsonl", "{\"a\": \"x\"}\n\n{\"b\": 2.5, \"a\": null}\n").unwrap();
        assert_eq!(json.columns, ["a", "b"]);
        assert_eq!(cells(&json), [(1, vec!["x", ""]), (3, vec!["", "2.5"])]);
        assert_eq!(json.rows[1].cells, [None, Some("2.5".to_owned())]);
        let inches = rows("a.csv", "a,b\n1,5\" wide\n").unwrap();
        assert_eq!(cells(&inches), [(2, vec!["1", "5\" wide"])]);
        assert_eq!(
            cells(&rows("a.txt", "one\ntwo\n").unwrap()),
            [(1, vec!["one"]), (2, vec!["two"])]
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_file_and_line() {
        for (name, text, said) in [
            (
                "a.csv",
                "a,b\n1,2\n3\n",
                "a.csv:3: 1 column, and the first line names 2",
            ),
            ("a.jsonl", "{}\n[1]\n", "a.jsonl:2: not a JSON object"),
            ("a.jsonl", "{}\n{\n", "a.jsonl:2: not JSON"),
            ("a.parquet", "no", "not a sound parquet file"),
            ("a.xlsx", "PK", "a spreadsheet, which is not read; save it as .csv"),
            ("a.csv", "", "an empty file; its first line must name the columns"),
            (
                "a.csv",
                "a,b\n1,2\n3,\"4\n5,6\n",
                "a.csv:3: a quote that opens in this row is not closed",
            ),
        ] {
            let error = rows(name, text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let error = column(Path::new("a.tsv"), &["a".into(), "b".into()], "c").unwrap_err();
        assert!(error.to_string().contains("the file has: a, b"), "{error}");
    }
}
