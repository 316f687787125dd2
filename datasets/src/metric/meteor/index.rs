//! METEOR's data as one file that is mapped into memory: tables of strings and of lists, looked up by bisection.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::error::MeteorError;

/// Magic bytes with the version of the layout; files of other versions are replaced.
const MAGIC: &[u8; 8] = b"LORAMET\x02";

/// The tables, by their place in the file. Those of ends are followed by what ends there: strings, or lists of numbers.
#[derive(Clone, Copy)]
pub(super) enum IndexTable {
    /// Function words, one a line.
    Function = 0,
    /// Words that keep their period, one a line, as METEOR has them.
    Prefixes = 1,
    /// Words with synonyms.
    SynonymEnds = 2,
    /// The synonym sets of each.
    SetEnds = 4,
    /// Irregular forms.
    IrregularEnds = 6,
    /// The synonym sets of the base forms of each.
    IrregularSetEnds = 8,
    /// Words of paraphrases.
    WordEnds = 10,
    /// Phrases as numbers of their words, sorted.
    PhraseEnds = 12,
    /// Each phrase's paraphrases, as numbers of phrases.
    ParaphraseEnds = 14,
}

const TABLES: usize = 16;

/// The bytes of an index, in memory or mapped.
pub(super) struct Index {
    bytes: Bytes,
    tables: Vec<Range<usize>>,
}

enum Bytes {
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

/// Collects the tables in their order.
#[derive(Default)]
pub(super) struct Builder(Vec<Vec<u8>>);

impl Builder {
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.push(bytes.to_vec());
    }

    pub fn numbers(&mut self, numbers: &[u32]) {
        self.0.push(numbers.iter().flat_map(|n| n.to_le_bytes()).collect());
    }

    /// Sorted strings: a table of their ends, and one of their bytes.
    pub fn strings<'a>(&mut self, strings: impl Iterator<Item = &'a str>) {
        let (mut ends, mut text) = (Vec::new(), Vec::new());
        for string in strings {
            text.extend_from_slice(string.as_bytes());
            ends.push(text.len() as u32);
        }
        self.numbers(&ends);
        self.0.push(text);
    }

    /// Lists of numbers: a table of their ends, and one of their values.
    pub fn lists<'a>(&mut self, lists: impl Iterator<Item = &'a [u32]>) {
        let (mut ends, mut all) = (Vec::new(), Vec::new());
        for list in lists {
            all.extend_from_slice(list);
            ends.push(all.len() as u32);
        }
        self.numbers(&ends);
        self.numbers(&all);
    }

    /// The file: magic, the tables' lengths (u64), the tables, SHA-256 of all before.
    pub fn finish(self) -> Vec<u8> {
        debug_assert_eq!(self.0.len(), TABLES);
        let mut bytes = MAGIC.to_vec();
        self.0
            .iter()
            .for_each(|t| bytes.extend_from_slice(&(t.len() as u64).to_le_bytes()));
        self.0.iter().for_each(|t| bytes.extend_from_slice(t));
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }
}

impl Index {
    /// Maps a file; none if it is not there or not a whole file of this version.
    pub fn open(path: &std::path::Path) -> Option<Self> {
        let file = std::fs::File::open(path).ok()?;
        // SAFETY: the file was put there whole by a rename and is never written to afterwards.
        let map = unsafe { memmap2::Mmap::map(&file) }.ok()?;
        Self::new(Bytes::Mapped(map))
    }

    /// From a finished builder's bytes.
    pub fn owned(bytes: Vec<u8>) -> Result<Self, MeteorError> {
        Self::new(Bytes::Owned(bytes)).ok_or(MeteorError::Table { line: 0 })
    }

    fn new(bytes: Bytes) -> Option<Self> {
        let (whole, digest) = bytes.split_at_checked(bytes.len().checked_sub(Sha256::output_size())?)?;
        if Sha256::digest(whole)[..] != *digest {
            return None;
        }
        let mut at = MAGIC.len() + 8 * TABLES;
        let mut tables = Vec::with_capacity(TABLES);
        let (magic, lengths) = bytes.get(..at)?.split_at(MAGIC.len());
        if magic != MAGIC {
            return None;
        }
        for length in lengths.chunks_exact(8) {
            let length = length.iter().rev().fold(0, |n: usize, &b| n << 8 | usize::from(b));
            tables.push(at..at.checked_add(length)?);
            at = at.checked_add(length)?;
        }
        (whole.len() == at).then_some(Self { bytes, tables })
    }

    pub fn text(&self, table: IndexTable) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes[self.tables[table as usize].clone()])
    }

    /// Strings, from the table of their ends and the one after it.
    pub fn strings(&self, ends: IndexTable) -> Strings<'_> {
        let text = &self.bytes[self.tables[ends as usize + 1].clone()];
        Strings {
            ends: self.numbers(ends as usize),
            text,
        }
    }

    /// Lists, from the table of their ends and the one after it.
    pub fn lists(&self, ends: IndexTable) -> Lists<'_> {
        let values = self.numbers(ends as usize + 1);
        Lists {
            ends: self.numbers(ends as usize),
            values,
        }
    }

    fn numbers(&self, table: usize) -> Numbers<'_> {
        Numbers(&self.bytes[self.tables[table].clone()])
    }
}

/// Little-endian numbers of 32 bits, at any address.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    pub fn len(self) -> usize {
        self.0.len() / 4
    }

    pub fn get(self, at: usize) -> u32 {
        let bytes = &self.0[4 * at..];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn slice(self, range: Range<usize>) -> Self {
        Self(&self.0[4 * range.start..4 * range.end])
    }

    pub fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.0
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// Where the `at`-th of the runs with these ends lies.
    fn run(self, at: usize) -> Range<usize> {
        let start = if at == 0 { 0 } else { self.get(at - 1) };
        start as usize..self.get(at) as usize
    }
}

/// Sorted strings.
#[derive(Clone, Copy)]
pub(super) struct Strings<'a> {
    ends: Numbers<'a>,
    text: &'a [u8],
}

impl Strings<'_> {
    /// The number of that string.
    pub fn find(self, wanted: &str) -> Option<usize> {
        let of = |at: usize| &self.text[self.ends.run(at)];
        let at = first(0..self.ends.len(), |at| of(at) >= wanted.as_bytes());
        (at < self.ends.len() && of(at) == wanted.as_bytes()).then_some(at)
    }
}

/// Lists of numbers.
#[derive(Clone, Copy)]
pub(super) struct Lists<'a> {
    ends: Numbers<'a>,
    values: Numbers<'a>,
}

impl<'a> Lists<'a> {
    pub fn len(self) -> usize {
        self.ends.len()
    }

    pub fn get(self, at: usize) -> Numbers<'a> {
        self.values.slice(self.ends.run(at))
    }
}

/// The first index of a range for which `far`, which is monotone, holds.
pub(super) fn first(range: Range<usize>, far: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if far(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_index_is_none() {
        let mut builder = Builder::default();
        builder.bytes(b"a\nthe\n");
        builder.bytes(b"mr\n");
        for _ in 0..3 {
            builder.strings(["one", "two"].into_iter());
            builder.lists([&[1, 2][..], &[3]].into_iter());
        }
        builder.strings(["one"].into_iter());
        let bytes = builder.finish();
        let path = tempfile::tempdir().unwrap();
        let path = path.path().join("meteor.index");
        let outcomes = testing::mutate::survives("meteor.index", &bytes, |bytes| {
            std::fs::write(&path, bytes).unwrap();
            let index = Index::open(&path).ok_or("meteor.index: not whole")?;
            assert_eq!(index.strings(IndexTable::WordEnds).find("one"), Some(0));
            Ok(())
        });
        assert_eq!(outcomes.taken, 0, "{outcomes:?}");
    }
}
