//! Reading and writing of records as JSON.

use std::io::{self, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};

use crate::error::{Error, Result};

/// The schema, which is read before the rest.
#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

/// Reads a value whose `schema` is at most `known`.
pub fn versioned<T: DeserializeOwned>(text: &[u8], known: u32, path: &Path) -> Result<T> {
    let corrupt = |source| Error::Corrupt {
        path: path.to_owned(),
        source,
    };
    let Versioned { schema } = serde_json::from_slice(text).map_err(corrupt)?;
    if schema > known {
        return Err(Error::NewerSchema {
            path: path.to_owned(),
            found: schema,
            known,
        });
    }
    serde_json::from_slice(text).map_err(corrupt)
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
