//! The texts that a run in progress has generated so far: one JSON object a line, each with a checksum, so that a line that was
//! cut short or damaged is written again instead of scored.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckedLine {
    row: usize,
    text: String,
    /// SHA-256 of the row and the text.
    check: String,
}

impl CheckedLine {
    fn new(row: usize, text: &str) -> CheckedLine {
        CheckedLine {
            row,
            text: text.to_string(),
            check: check(row, text),
        }
    }

    /// The line, if it is whole and of one of the first `rows` contexts.
    fn read(line: &[u8], rows: usize) -> Option<CheckedLine> {
        let line: CheckedLine = serde_json::from_slice(line).ok()?;
        (line.row < rows && line.check == check(line.row, &line.text)).then_some(line)
    }
}

fn check(row: usize, text: &str) -> String {
    format!("{:x}", Sha256::digest(format!("{row} {text}")))
}

/// The file of a run in progress, open to append to.
#[derive(Debug)]
pub(super) struct TextsSoFar {
    path: PathBuf,
    /// None on a rank that keeps no texts.
    file: Option<std::fs::File>,
    /// The text of each context that has one.
    pub texts: HashMap<usize, String>,
}

impl TextsSoFar {
    /// Reads the texts of `rows` contexts from the file, if there is one, and opens it. Lines that are not whole are dropped.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn open(path: &Path, rows: usize) -> Result<TextsSoFar> {
        let bytes = match std::fs::read(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            other => other.with_context(|| format!("reading {}", path.display()))?,
        };
        let (mut texts, mut whole, mut dropped) = (HashMap::new(), Vec::new(), 0);
        // The end of the process may have cut the last line short.
        let lines = bytes
            .split_inclusive(|b| *b == b'\n')
            .filter(|line| line.ends_with(b"\n"));
        for line in lines {
            if let Some(read) = CheckedLine::read(line, rows) {
                texts.insert(read.row, read.text);
                whole.extend_from_slice(line);
            } else {
                dropped += 1;
            }
        }
        if dropped > 0 {
            let path = path.display();
            tracing::warn!(
                "{path}: {dropped} lines are damaged or of an earlier version; their texts are generated again"
            );
        }
        if whole.len() < bytes.len() {
            support::write_atomic(path, &whole)?;
        }
        let make = || {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::OpenOptions::new().create(true).append(true).open(path)
        };
        Ok(TextsSoFar {
            path: path.to_path_buf(),
            file: Some(make().with_context(|| format!("opening {}", path.display()))?),
            texts,
        })
    }

    /// Those of a rank that keeps none itself.
    pub fn elsewhere() -> TextsSoFar {
        TextsSoFar {
            path: PathBuf::new(),
            file: None,
            texts: HashMap::new(),
        }
    }

    /// Whether each of the contexts `rows` has its text.
    pub fn has(&self, rows: &[usize]) -> bool {
        rows.iter().all(|row| self.texts.contains_key(row))
    }

    /// Adds the texts of a batch, in the file first.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn add(&mut self, batch: Vec<(usize, String)>) -> Result<()> {
        let mut lines = String::new();
        for (row, text) in &batch {
            lines += &serde_json::to_string(&CheckedLine::new(*row, text))?;
            lines.push('\n');
        }
        if let Some(file) = &mut self.file {
            let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
            written.with_context(|| format!("writing {}", self.path.display()))?;
        }
        self.texts.extend(batch);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_read_back_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/texts.jsonl");
        let mut so_far = TextsSoFar::open(&path, 4).unwrap();
        so_far.add(vec![(1, "a \"b\"\nc".into()), (0, String::new())]).unwrap();
        so_far.add(vec![(3, "three".into())]).unwrap();
        let read = |rows| TextsSoFar::open(&path, rows).unwrap().texts;
        assert_eq!(read(4), so_far.texts);
        let sound = std::fs::read(&path).unwrap();
        let three = String::from_utf8(sound.clone()).unwrap().replace("three", "tree");
        std::fs::write(&path, three + "{\"row\": 2, \"te").unwrap();
        let kept = read(4);
        assert_eq!(kept.len(), 2);
        assert_eq!(kept[&1], "a \"b\"\nc");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(read(1).len(), 1, "there is no context 1");
    }

    #[test]
    fn damaged_lines_never_change_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("texts.jsonl");
        let mut so_far = TextsSoFar::open(&path, 4).unwrap();
        so_far
            .add((0..4).map(|row| (row, format!("the text {row}"))).collect())
            .unwrap();
        let original = std::fs::read(&path).unwrap();
        let mut lost = 0;
        testing::mutate::survives("texts.jsonl", &original, |bytes| {
            std::fs::write(&path, bytes).unwrap();
            let read = TextsSoFar::open(&path, 4).map_err(|e| format!("{e:#}"))?;
            assert!(read.texts.iter().all(|(row, text)| so_far.texts.get(row) == Some(text)));
            lost += 4 - read.texts.len();
            Ok(())
        });
        assert!(lost > 0);
    }
}
