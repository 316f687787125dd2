//! Parquet files of any shape as JSON values, row by row, and how the hub names them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::DataError;

/// The rows of a file. Where its bytes contradict each other the reader may panic, which is caught.
pub(crate) fn read(path: &Path, bytes: Vec<u8>) -> Result<Vec<Value>, DataError> {
    let rows = || -> Result<Vec<Value>, String> {
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).map_err(|e| e.to_string())?;
        let rows = reader.get_row_iter(None).map_err(|e| e.to_string())?;
        rows.map(|row| row.map(|r| r.to_json_value()).map_err(|e| e.to_string()))
            .collect()
    };
    let caught = catch_unwind(AssertUnwindSafe(rows)).unwrap_or_else(|_| Err("the reader gave up".to_owned()));
    caught.map_err(|problem| DataError::Parquet {
        path: path.to_path_buf(),
        problem: format!("not a sound parquet file ({problem}); delete it and get it anew"),
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

/// The files of one split in order, or the path of one that is missing. Two layouts are known: that of converted data
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
