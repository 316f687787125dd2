//! Parquet files as data frames or JSON rows, and the hub's names for them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Cursor;
use std::path::Path;

use polars::prelude::{Column, DataFrame, DataType, PolarsResult, Series};
use polars_io::SerReader;
use polars_io::parquet::read::ParquetReader;
use polars_parquet::parquet::error::{ParquetError, ParquetResult};
use polars_parquet::parquet::page::CompressedPage;
use polars_parquet::parquet::read::{PageReader, read_metadata};
use polars_utils::mmap::{MemReader, MemSlice};
use serde_json::{Map, Value};

use crate::DataError;

/// All columns of a file, or the wanted ones; or a message on what is wrong with it.
///
/// On corrupt bytes the reader may panic, which is caught. It reserves memory for the values that a page claims to hold, and a
/// claim past all memory would abort the process: [`check_claims`] refuses it first.
pub(crate) fn frame(bytes: Vec<u8>, wanted: Option<&[String]>) -> Result<DataFrame, String> {
    let broken = |problem: &dyn Display| format!("not a sound parquet file ({problem}); delete it and get it anew");
    let read = || -> Result<DataFrame, String> {
        let bytes = MemSlice::from_vec(bytes);
        check_claims(&bytes).map_err(|e| broken(&e))?;
        let mut reader = ParquetReader::new(Cursor::new(bytes));
        let schema = reader.schema().map_err(|e| broken(&e))?;
        let missing = |name: &&String| schema.get(name).is_none();
        if let Some(missing) = wanted.and_then(|all| all.iter().find(missing)) {
            let found: Vec<&str> = schema.iter_names().map(|n| n.as_str()).collect();
            return Err(format!("no column \"{missing}\"; the file has: {}", found.join(", ")));
        }
        let reader = reader.with_columns(wanted.map(<[String]>::to_vec));
        reader.finish().map_err(|e| broken(&e))
    };
    support::guarded(read).unwrap_or_else(|panic| Err(broken(&panic)))
}

/// Refuses a file whose pages claim another number of values than their columns, or whose columns another than their rows.
fn check_claims(bytes: &MemSlice) -> ParquetResult<()> {
    let refuse = |what: &str| Err(ParquetError::OutOfSpec(what.to_owned()));
    let metadata = read_metadata(&mut Cursor::new(bytes))?;
    for group in &metadata.row_groups {
        for column in group.parquet_columns() {
            let (claimed, range) = (column.num_values(), column.byte_range());
            let flat = column.descriptor().descriptor.max_rep_level == 0;
            if claimed < 0 || flat && u64::try_from(claimed) != u64::try_from(group.num_rows()) {
                return refuse("a column has another number of values than the file has rows");
            }
            let (start, end) = (range.start as usize, range.end as usize);
            if start > end || end > bytes.len() {
                return refuse("a column lies beyond the end of the file");
            }
            let chunk = MemReader::new(bytes.slice(start..end));
            let mut counted: i64 = 0;
            for page in PageReader::new(chunk, column, Vec::new(), bytes.len()) {
                if let CompressedPage::Data(page) = page? {
                    let values = i64::try_from(page.num_values()).unwrap_or(i64::MAX);
                    counted = counted.saturating_add(values);
                    if counted > claimed {
                        return refuse("a page has more values than its column");
                    }
                }
            }
        }
    }
    Ok(())
}

/// The rows of a file, an object each.
pub(crate) fn read(path: &Path, bytes: Vec<u8>) -> Result<Vec<Value>, DataError> {
    let rows = frame(bytes, None).and_then(|frame| {
        let columns: Vec<Series> = frame
            .take_columns()
            .into_iter()
            .map(Column::take_materialized_series)
            .collect();
        objects(&columns).map_err(|e| e.to_string())
    });
    rows.map_err(|problem| DataError::Parquet {
        path: path.to_path_buf(),
        problem,
    })
}

/// Columns side by side as objects, row by row.
fn objects(columns: &[Series]) -> PolarsResult<Vec<Value>> {
    let height = columns.first().map_or(0, |column| column.len());
    let mut rows = vec![Map::new(); height];
    for column in columns {
        for (row, value) in rows.iter_mut().zip(values(column)?) {
            row.insert(column.name().to_string(), value);
        }
    }
    Ok(rows.into_iter().map(Value::Object).collect())
}

/// The values of a column. Types that no data set uses (dates, bytes) become text.
fn values(column: &Series) -> PolarsResult<Vec<Value>> {
    let plain = |value: Option<Value>| value.unwrap_or(Value::Null);
    Ok(match column.dtype() {
        DataType::String => column.str()?.iter().map(|v| plain(v.map(Value::from))).collect(),
        DataType::Boolean => column.bool()?.iter().map(|v| plain(v.map(Value::from))).collect(),
        kind if kind.is_integer() => {
            let numbers = column.cast(&DataType::Int64)?;
            numbers.i64()?.iter().map(|v| plain(v.map(Value::from))).collect()
        }
        kind if kind.is_float() => {
            let numbers = column.cast(&DataType::Float64)?;
            numbers.f64()?.iter().map(|v| plain(v.map(Value::from))).collect()
        }
        DataType::List(_) => {
            let lists = column.list()?.into_iter();
            let list = |list: Option<Series>| list.map(|l| values(&l)).transpose();
            let each = lists.map(|l| Ok(plain(list(l)?.map(Value::from))));
            each.collect::<PolarsResult<_>>()?
        }
        DataType::Struct(_) => {
            let missing = column.is_null();
            let rows = objects(&column.struct_()?.fields_as_series())?.into_iter();
            let or_null =
                |(value, missing): (Value, Option<bool>)| plain(Some(value).filter(|_| missing != Some(true)));
            rows.zip(missing.iter()).map(or_null).collect()
        }
        DataType::Null => vec![Value::Null; column.len()],
        _ => column.iter().map(|v| Value::from(v.to_string())).collect(),
    })
}

/// The paths, from `dir`, of the parquet files at most two folders down.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    walk(dir, "", 2, &mut found);
    found.sort();
    found
}

fn walk(dir: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = format!("{prefix}{}", name.to_string_lossy());
        if path.is_dir() && depth > 0 {
            walk(&path, &format!("{name}/"), depth - 1, found);
        } else if name.ends_with(".parquet") && path.is_file() {
            found.push(name);
        }
    }
}

/// The files of one split in order, or the path of a missing one. Two layouts are supported: that of converted data
/// sets (`CONFIG/SPLIT/0000.parquet`) and that of data sets kept as parquet (`CONFIG/SPLIT-00000-of-00001.parquet`, with
/// `data` or nothing for `CONFIG` too).
pub(crate) fn shards<'a>(
    config: &str,
    split: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<Vec<String>, String> {
    let converted = format!("{}/{split}/", config);
    let number = |name: &str| -> Option<usize> {
        let digits = name.strip_prefix(&converted)?.strip_suffix(".parquet")?;
        (digits.len() == 4).then(|| digits.parse().ok()).flatten()
    };
    let numbers: BTreeMap<usize, ()> = names.clone().filter_map(number).map(|n| (n, ())).collect();
    let path = |n: usize| format!("{converted}{n:04}.parquet");
    if let Some((&last, ())) = numbers.last_key_value() {
        let whole = (0..=last).find(|n| !numbers.contains_key(n));
        return whole.map_or_else(|| Ok((0..=last).map(path).collect()), |missing| Err(path(missing)));
    }
    for folder in [format!("{}/", config), "data/".to_owned(), String::new()] {
        let found = numbered(&format!("{folder}{split}-"), names.clone());
        if let Ok(files) = found {
            return Ok(files);
        }
    }
    Err(path(0))
}

/// `STEM00000-of-00002.parquet` and the rest in order, or the path of one that is missing.
pub(crate) fn numbered<'a>(stem: &str, names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let path = |number: usize, of: usize| format!("{stem}{number:05}-of-{of:05}.parquet");
    let found: BTreeMap<usize, usize> = names
        .filter_map(|name| {
            let (number, of) = name.strip_prefix(stem)?.strip_suffix(".parquet")?.split_once("-of-")?;
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            (path(number, of) == name).then_some((number, of))
        })
        .collect();
    let of = found.values().copied().max().unwrap_or(1).max(1);
    let shard = |number| match found.get(&number) {
        Some(&n) if n == of => Ok(path(number, of)),
        _ => Err(path(number, of)),
    };
    (0..of).map(shard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Result<Vec<String>, String> {
        shards("default", "train", names.iter().copied())
    }

    #[test]
    fn both_layouts_are_found_and_gaps_are_seen() {
        let converted = [
            "default/train/0001.parquet",
            "default/train/0000.parquet",
            "x/train/0000.parquet",
        ];
        let wanted = ["default/train/0000.parquet", "default/train/0001.parquet"];
        assert_eq!(found(&converted).unwrap(), wanted);
        assert_eq!(found(&converted[..1]).unwrap_err(), wanted[0]);
        let kept = ["data/train-00000-of-00001.parquet"];
        assert_eq!(found(&kept).unwrap(), kept);
        assert_eq!(found(&["data/test-00000-of-00001.parquet"]).unwrap_err(), wanted[0]);
    }
}
