//! Text files of data sets: tab-separated, JSON lines and others, compressed or not.
//!
//! The TSV files have no quoting: a quote is a character of the text, a tab always ends a column, a newline always ends a row.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::DataError;

/// A data file held in memory as text, with the path for messages.
pub(crate) struct TextFile {
    pub path: PathBuf,
    text: String,
}

impl TextFile {
    /// Reads the file, unpacked if its name ends in `.gz` or `.bz2`; `see` gets its bytes as they are on disk (for a
    /// digest). A byte order mark at the start is dropped.
    pub fn read(path: PathBuf, see: impl FnOnce(&[u8])) -> Result<Self, DataError> {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(DataError::Read { path, source }),
        };
        see(&bytes);
        let bytes = match unpacked(&path, bytes) {
            Ok(bytes) => bytes,
            Err(source) => return Err(DataError::Read { path, source }),
        };
        match String::from_utf8(bytes) {
            Ok(mut text) => {
                if text.starts_with('\u{feff}') {
                    text.drain(..'\u{feff}'.len_utf8());
                }
                Ok(Self { path, text })
            }
            Err(e) => {
                let offset = e.utf8_error().valid_up_to();
                let line = 1 + e.as_bytes()[..offset].iter().filter(|&&b| b == b'\n').count();
                Err(DataError::Encoding { path, line, offset })
            }
        }
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines with their numbers from 1, without `\n` or `\r\n`. Empty lines at the end of the file are none.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let body = self.text.trim_end_matches(['\n', '\r']);
        let some = !body.is_empty();
        // Not `str::lines`: trimming the end above took the last line's `\r`, and a lone `\r` inside a line is text.
        let lines = body.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l));
        (1..).zip(lines).filter(move |_| some)
    }
}

/// The most that a packed file may unpack to, in bytes: some twenty times the largest data set here.
const LONGEST: u64 = 2 << 30;

fn unpacked(path: &Path, bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => within(flate2::read::MultiGzDecoder::new(bytes.as_slice()), LONGEST),
        Some("bz2") => within(bzip2::read::MultiBzDecoder::new(bytes.as_slice()), LONGEST),
        _ => Ok(bytes),
    }
}

/// All that `packed` unpacks to, at most `longest` bytes.
fn within(packed: impl Read, longest: u64) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    packed.take(longest + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 > longest {
        let what = format!("it unpacks to more than {longest} bytes; unpack it by hand if that is right");
        return Err(std::io::Error::other(what));
    }
    Ok(plain)
}

/// Where the wanted columns lie in a row, found by name.
pub(crate) struct Header<'a> {
    names: Vec<&'a str>,
}

impl<'a> Header<'a> {
    pub fn parse(line: &'a str) -> Self {
        Self {
            names: line.split('\t').collect(),
        }
    }

    /// The columns of a file that has no header line.
    pub fn fixed(names: &'a [&'a str]) -> Self {
        Self { names: names.to_vec() }
    }

    pub fn width(&self) -> usize {
        self.names.len()
    }

    /// The names, for a message. A file with CR line ends is a single line.
    fn found(&self) -> String {
        let names = self.names.join(", ");
        match names.split_once('\r') {
            Some((first, _)) => {
                format!("{first}; then a carriage return alone: save the file with line feeds at its line ends")
            }
            None => names,
        }
    }

    pub fn find(&self, wanted: &'static str, path: &Path) -> Result<usize, DataError> {
        self.names
            .iter()
            .position(|&n| n == wanted)
            .ok_or_else(|| DataError::MissingColumn {
                path: path.to_path_buf(),
                wanted,
                found: self.found(),
            })
    }
}

/// One line of a JSONL file as an object.
pub(crate) fn json_object(path: &Path, line: usize, text: &str) -> Result<Map<String, Value>, DataError> {
    let bad = |problem| DataError::Malformed {
        path: path.to_path_buf(),
        line,
        problem,
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(bad(
            "wanted a JSON object with the keys premise, hypothesis and label".to_owned()
        )),
        Err(e) => Err(bad(format!("not JSON: {e}"))),
    }
}

/// The value under the first of `keys` that the object has, with that key.
pub(crate) fn json_field<'a>(
    object: &'a Map<String, Value>,
    keys: [&'static str; 2],
    path: &Path,
    line: usize,
) -> Result<(&'static str, &'a Value), DataError> {
    keys.into_iter()
        .find_map(|k| object.get(k).map(|v| (k, v)))
        .ok_or_else(|| {
            let found: Vec<&str> = object.keys().map(String::as_str).collect();
            let problem = format!(
                "no key \"{}\" (or \"{}\"); the object has: {}",
                keys[0],
                keys[1],
                found.join(", ")
            );
            DataError::Malformed {
                path: path.to_path_buf(),
                line,
                problem,
            }
        })
}

/// The text under the first of `keys` that the object has.
pub(crate) fn json_text(
    object: &Map<String, Value>,
    keys: [&'static str; 2],
    path: &Path,
    line: usize,
) -> Result<String, DataError> {
    let (key, value) = json_field(object, keys, path, line)?;
    value.as_str().map(str::to_owned).ok_or_else(|| {
        let problem = format!("\"{key}\" is {value}, wanted a string");
        DataError::Malformed {
            path: path.to_path_buf(),
            line,
            problem,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_unpacks_to_far_more_than_its_size_is_refused() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gz.write_all(&vec![b'a'; 1 << 20]).unwrap();
        let packed = gz.finish().unwrap();
        let unpack = |longest| within(flate2::read::MultiGzDecoder::new(packed.as_slice()), longest);
        assert_eq!(unpack(1 << 20).unwrap().len(), 1 << 20);
        let said = unpack((1 << 20) - 1).unwrap_err().to_string();
        assert!(said.contains("more than 1048575 bytes"), "{said}");
    }
}
