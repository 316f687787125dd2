//! Input of the readers: a file as text, or its JSON or parquet entries as serde types.

use std::cell::RefCell;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::DataError;
use crate::parquet_rows;
use crate::template::Template;
use crate::text_file::TextFile;

enum Content {
    Text(TextFile),
    Rows(Vec<Value>),
}

/// The input of a reader: a file, its split and the prompt template.
pub(crate) struct Input<'a> {
    pub path: &'a Path,
    pub split: &'static str,
    pub template: &'a Template,
    content: Content,
    digest: &'a RefCell<Sha256>,
}

fn take_in(digest: &RefCell<Sha256>, bytes: &[u8]) {
    let mut digest = digest.borrow_mut();
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

impl<'a> Input<'a> {
    pub fn read(
        path: &'a Path,
        split: &'static str,
        template: &'a Template,
        digest: &'a RefCell<Sha256>,
    ) -> Result<Self, DataError> {
        let content = if path.extension().is_some_and(|e| e == "parquet") {
            let bytes = std::fs::read(path).map_err(|source| DataError::Read {
                path: path.to_path_buf(),
                source,
            })?;
            take_in(digest, &bytes);
            Content::Rows(parquet_rows::read(path, bytes)?)
        } else {
            Content::Text(TextFile::read(path.to_path_buf(), |bytes| take_in(digest, bytes))?)
        };
        Ok(Self {
            path,
            split,
            template,
            content,
            digest,
        })
    }

    /// The file as text; none of a parquet file.
    pub fn text(&self) -> Option<&TextFile> {
        match &self.content {
            Content::Text(file) => Some(file),
            Content::Rows(_) => None,
        }
    }

    /// Another file of the same folder, if it is there.
    pub fn beside(&self, name: &str) -> Result<Option<TextFile>, DataError> {
        let path = self.path.with_file_name(name);
        if !path.is_file() {
            return Ok(None);
        }
        TextFile::read(path, |bytes| take_in(self.digest, bytes)).map(Some)
    }

    /// The entries of a parquet file, a JSON array, or a file of one JSON object a line.
    pub fn entries<T: DeserializeOwned>(&self) -> Result<Vec<T>, DataError> {
        match &self.content {
            Content::Rows(rows) => (0..).zip(rows).map(|(row, value)| self.row(row, value)).collect(),
            Content::Text(file) if file.text().trim_start().starts_with('[') => self.document(),
            Content::Text(file) => json_lines(file),
        }
    }

    fn row<T: DeserializeOwned>(&self, row: usize, value: &Value) -> Result<T, DataError> {
        T::deserialize(value).map_err(|e| DataError::ParquetRow {
            path: self.path.to_path_buf(),
            row,
            problem: e.to_string(),
        })
    }

    /// The whole file as one JSON value.
    pub fn document<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        let text = self.text().map(TextFile::text).unwrap_or_default();
        serde_json::from_str(text).map_err(|e| {
            let entry = entry_of::<T>(text)
                .map(|entry| format!("{entry}: "))
                .unwrap_or_default();
            self.malformed(e.line(), entry + &without_place(&e))
        })
    }

    /// An error in a line, from 1.
    pub fn malformed(&self, line: usize, problem: String) -> DataError {
        DataError::Malformed {
            path: self.path.to_path_buf(),
            line: line.max(1),
            problem,
        }
    }
}

/// One JSON object a line.
pub(crate) fn json_lines<T: DeserializeOwned>(file: &TextFile) -> Result<Vec<T>, DataError> {
    let parse = |(line, text): (usize, &str)| {
        serde_json::from_str(text).map_err(|e| DataError::Malformed {
            path: file.path.clone(),
            line,
            problem: without_place(&e),
        })
    };
    file.lines()
        .filter(|(_, text)| !text.trim().is_empty())
        .map(parse)
        .collect()
}

/// The path of the entry that cannot be read, such as `[3].summary`: a document may be a single line.
fn entry_of<T: DeserializeOwned>(text: &str) -> Option<String> {
    let read = serde_path_to_error::deserialize::<_, T>(&mut serde_json::Deserializer::from_str(text));
    let path = read.err()?.path().to_string();
    (path != ".").then_some(path)
}

/// serde_json's message without "at line … column …", which counts from where the parsing began.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let plain = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(message, _)| message);
    match error.classify() {
        serde_json::error::Category::Data => plain.to_owned(),
        _ => format!("not JSON: {plain}"),
    }
}
