//! Files of the user's own: the wanted columns of their rows, and the rows to evaluate on, split off where no file has them.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::DataError;
use crate::rows::{self, OwnRow, OwnRows};

/// The share of the training rows to evaluate on, by default.
pub(crate) fn tenth() -> f64 {
    0.1
}

/// The files of a task.
pub(crate) struct Files<'a> {
    /// The training rows.
    pub train: &'a Path,
    /// The rows to evaluate on, if a file has them.
    pub dev: Option<&'a Path>,
    /// Otherwise this share of the training rows.
    pub dev_share: f64,
    /// Drawn with this seed.
    pub dev_seed: u64,
}

/// The values of a row in the wanted columns; none for a column that is not wanted.
pub(crate) struct FoundRow<const N: usize> {
    /// Its line, from 1.
    pub line: usize,
    pub cells: [Option<String>; N],
}

impl Files<'_> {
    /// The rows to train and to evaluate on. Rows with equal `group` are not divided between the two; each row without one is a
    /// group of its own.
    ///
    /// # Errors
    /// Files, columns or rows that cannot be used, with file and line; a share that leaves nothing on one side.
    pub fn read<const N: usize>(
        &self,
        columns: [Option<&str>; N],
        group: impl Fn(&FoundRow<N>) -> Option<String>,
    ) -> Result<[Vec<FoundRow<N>>; 2], DataError> {
        let train = read(self.train, columns)?;
        match self.dev {
            Some(path) => {
                let dev = read(path, columns)?;
                let shared = shared(&train, &dev);
                if shared > 0 {
                    tracing::warn!(
                        "{shared} of the {} rows of {} are rows of {} too: a score on them says little of new rows",
                        dev.len(),
                        path.display(),
                        self.train.display()
                    );
                }
                Ok([train, dev])
            }
            None => self.divided(train, group),
        }
    }

    /// The file of the rows to evaluate on.
    pub fn dev_path(&self) -> &Path {
        self.dev.unwrap_or(self.train)
    }

    /// Share and seed of the draw, where there is one.
    pub fn split(&self) -> Option<(u64, u64)> {
        self.dev.is_none().then_some((self.dev_share.to_bits(), self.dev_seed))
    }

    /// SHA-256, in hex, of the files and of `read`, which says what is read of them.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn sha256(&self, read: &str) -> Result<String, DataError> {
        let mut digest = Sha256::new();
        for path in std::iter::once(self.train).chain(self.dev) {
            let bytes = std::fs::read(path).map_err(|source| DataError::Read {
                path: path.to_path_buf(),
                source,
            })?;
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        }
        digest.update(read);
        Ok(format!("{:x}", digest.finalize()))
    }

    /// Takes the groups to evaluate on out of `rows`.
    fn divided<const N: usize>(
        &self,
        rows: Vec<FoundRow<N>>,
        group: impl Fn(&FoundRow<N>) -> Option<String>,
    ) -> Result<[Vec<FoundRow<N>>; 2], DataError> {
        let (mut known, mut all) = (HashMap::new(), 0);
        let mut number = |row: &FoundRow<N>| {
            let mut next = || {
                all += 1;
                all - 1
            };
            match group(row) {
                Some(name) => *known.entry(name).or_insert_with(next),
                None => next(),
            }
        };
        if !(self.dev_share > 0.0 && self.dev_share < 1.0) {
            return Err(DataError::DevShare { share: self.dev_share });
        }
        let groups: Vec<usize> = rows.iter().map(&mut number).collect();
        let count = (all as f64 * self.dev_share).round() as usize;
        if count == 0 || count == all {
            let problem = format!(
                "`dev_share` {} of {} rows{} leaves nothing to train or to evaluate on",
                self.dev_share,
                rows.len(),
                match all == rows.len() {
                    true => String::new(),
                    false => format!(" in {all} groups"),
                }
            );
            return Err(malformed(self.train, 1, problem));
        }
        let mut order: Vec<usize> = (0..all).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(self.dev_seed));
        let mut taken = vec![false; all];
        order.into_iter().take(count).for_each(|group| taken[group] = true);
        let mut parts = [Vec::new(), Vec::new()];
        for (row, group) in rows.into_iter().zip(groups) {
            parts[usize::from(taken[group])].push(row);
        }
        Ok(parts)
    }
}

/// How many rows of `dev` are rows of `train`, with all their cells.
fn shared<const N: usize>(train: &[FoundRow<N>], dev: &[FoundRow<N>]) -> usize {
    let known: HashSet<&[Option<String>; N]> = train.iter().map(|row| &row.cells).collect();
    dev.iter().filter(|row| known.contains(&row.cells)).count()
}

/// The rows of a file, each with a value in every wanted column.
fn read<const N: usize>(path: &Path, columns: [Option<&str>; N]) -> Result<Vec<FoundRow<N>>, DataError> {
    let OwnRows { columns: known, rows } = rows::read(path)?;
    let mut places = [None; N];
    for (place, name) in places.iter_mut().zip(columns) {
        *place = name
            .map(|name| Ok::<_, DataError>((name, rows::column(path, &known, name)?)))
            .transpose()?;
    }
    let found = |row: OwnRow| {
        let mut cells = [const { None }; N];
        for (cell, (name, at)) in cells.iter_mut().zip(places).filter_map(|(c, place)| Some((c, place?))) {
            *cell = row.cells[at].clone().filter(|value| !value.is_empty());
            if cell.is_none() {
                return Err(malformed(path, row.line, format!("no value in column \"{name}\"")));
            }
        }
        Ok(FoundRow { line: row.line, cells })
    };
    let found = rows.into_iter().map(found).collect::<Result<Vec<_>, DataError>>()?;
    if found.is_empty() {
        return Err(DataError::Empty {
            path: path.to_path_buf(),
            skipped: 0,
        });
    }
    Ok(found)
}

pub(crate) fn malformed(path: &Path, line: usize, problem: String) -> DataError {
    DataError::Malformed {
        path: path.to_path_buf(),
        line,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_above_0_and_below_1() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "text\na\nb\nc\nd\n").unwrap();
        let read = |dev_share| {
            let files = Files {
                train: &path,
                dev: None,
                dev_share,
                dev_seed: 0,
            };
            files.read([Some("text")], |_| None)
        };
        for share in [1.5, 1.0, 0.0, -0.1, f64::NAN] {
            let error = read(share).err().unwrap().to_string();
            assert!(
                error.starts_with("`dev_share` is ") && !error.contains("a.csv"),
                "{error}"
            );
        }
        assert!(read(0.01).err().unwrap().to_string().contains("leaves nothing"));
        let [train, dev] = read(0.25).unwrap();
        assert_eq!((train.len(), dev.len()), (3, 1));
    }

    #[test]
    fn rows_on_both_sides_are_counted() {
        let row = |text: &str, label: &str| FoundRow {
            line: 1,
            cells: [Some(text.to_owned()), None, Some(label.to_owned())],
        };
        let train = [row("a", "1"), row("b", "2")];
        // Another label makes another row.
        let dev = [row("b", "2"), row("b", "1"), row("c", "1"), row("b", "2")];
        assert_eq!(shared(&train, &dev), 2);
    }
}
