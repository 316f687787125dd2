//! Reading and writing of records as JSON.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The schema, which is read before the rest.
#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

/// A kind of record: the newest schema that this program reads, and the first whose files must have a checksum.
#[derive(Clone, Copy, Debug)]
pub struct Schemas {
    /// The newest.
    pub known: u32,
    /// The first whose files must have a checksum; those of earlier ones may.
    pub sealed: u32,
}

/// Reads a value whose `schema` is known, and whose checksum, if there is one, is that of the rest of the file.
pub fn versioned<T: DeserializeOwned>(text: &[u8], schemas: Schemas, path: &Path) -> Result<T> {
    let corrupt = |source| Error::Corrupt {
        path: path.to_owned(),
        source,
    };
    let damaged = || Error::Damaged { path: path.to_owned() };
    let Versioned { schema } = serde_json::from_slice(text).map_err(corrupt)?;
    if schema > schemas.known {
        return Err(Error::NewerSchema {
            path: path.to_owned(),
            found: schema,
            known: schemas.known,
        });
    }
    let rest = match seal_line(text) {
        Some(line) => {
            let rest = [&text[..line.start], &text[line.end..]].concat();
            if text[line.clone()] != *seal(&rest).as_bytes() {
                return Err(damaged());
            }
            Cow::Owned(rest)
        }
        None if schema >= schemas.sealed => return Err(damaged()),
        None => Cow::Borrowed(text),
    };
    serde_json::from_slice(&rest).map_err(corrupt)
}

/// The JSON of a record, whose first key is `schema`, with its checksum behind that: SHA-256 of the file without this line.
pub fn sealed(text: &[u8]) -> Vec<u8> {
    let schema = text.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(1);
    let (before, after) = text.split_at(schema.map_or(0, |(at, _)| at + 1));
    [before, seal(text).as_bytes(), after].concat()
}

/// The line of the checksum of `text`.
fn seal(text: &[u8]) -> String {
    format!("{SEAL}{:x}\",\n", Sha256::digest(text))
}

/// What the line of the checksum begins with.
const SEAL: &str = "  \"checksum\": \"";

/// Where the line of the checksum is.
fn seal_line(text: &[u8]) -> Option<Range<usize>> {
    let begin = format!("\n{SEAL}");
    let start = text.windows(begin.len()).position(|w| w == begin.as_bytes())? + 1;
    let length = text[start..].iter().position(|b| *b == b'\n')?;
    Some(start..start + length + 1)
}

/// `value` as JSON, indented down to the nesting level `deepest`; deeper values are on one line.
pub fn indented(value: &impl Serialize, deepest: usize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    let lines = Lines {
        deepest,
        level: 0,
        empty: true,
    };
    value.serialize(&mut Serializer::with_formatter(&mut text, lines))?;
    text.push(b'\n');
    Ok(text)
}

/// Formatter of [`indented`].
struct Lines {
    deepest: usize,
    level: usize,
    /// Whether the innermost open array or object is empty so far.
    empty: bool,
}

impl Lines {
    fn open<W: Write + ?Sized>(&mut self, to: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.level += 1;
        self.empty = true;
        to.write_all(bracket)
    }

    fn next<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if !first {
            to.write_all(b",")?;
        }
        self.line(to)
    }

    fn close<W: Write + ?Sized>(&mut self, to: &mut W, bracket: &[u8]) -> io::Result<()> {
        let lines = self.level <= self.deepest && !self.empty;
        self.level -= 1;
        self.empty = false;
        if lines {
            self.line(to)?;
        }
        to.write_all(bracket)
    }

    fn line<W: Write + ?Sized>(&self, to: &mut W) -> io::Result<()> {
        if self.level > self.deepest {
            return Ok(());
        }
        write!(to, "\n{:1$}", "", 2 * self.level)
    }
}

impl Formatter for Lines {
    fn begin_array<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.close(to, b"]")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.next(to, first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, _to: &mut W) -> io::Result<()> {
        self.empty = false;
        Ok(())
    }

    fn begin_object<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.close(to, b"}")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.next(to, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _to: &mut W) -> io::Result<()> {
        self.empty = false;
        Ok(())
    }
}
