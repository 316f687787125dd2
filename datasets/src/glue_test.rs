//! GLUE's test sets, which have no labels, and the files that the leaderboard (gluebenchmark.com) takes: one TSV a test set with the
//! columns `index` and `prediction`, in one zip archive.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::rows::{self, OwnRows};
use crate::{DataError, Example, GlueTask, Label, Predictions, TaskKind, find};

/// A test set of the leaderboard.
#[derive(Debug)]
pub struct TestSet {
    /// The file of its predictions, without `.tsv`.
    pub name: &'static str,
    /// The task whose model answers it.
    pub task: &'static str,
    /// Its files below the folder of GLUE's data; the first that is there is read.
    files: &'static [&'static str],
    /// Its number of rows.
    pub rows: usize,
    /// Whether classes are written as words and not as numbers.
    words: bool,
}

const fn set(
    name: &'static str,
    task: &'static str,
    files: &'static [&'static str],
    rows: usize,
    words: bool,
) -> TestSet {
    TestSet {
        name,
        task,
        files,
        rows,
        words,
    }
}

/// The test sets of a submission.
pub static TEST_SETS: [TestSet; 11] = [
    set("CoLA", "cola", &["CoLA/test.tsv"], 1063, false),
    set("SST-2", "sst-2", &["SST-2/test.tsv"], 1821, false),
    set("MRPC", "mrpc", &["MRPC/test.tsv"], 1725, false),
    set("STS-B", "sts-b", &["STS-B/test.tsv"], 1379, false),
    set("QQP", "qqp", &["QQP/test.tsv"], 390_965, false),
    set("MNLI-m", "mnli", &["MNLI/test_matched.tsv"], 9796, true),
    set("MNLI-mm", "mnli", &["MNLI/test_mismatched.tsv"], 9847, true),
    set("QNLI", "qnli", &["QNLI/test.tsv"], 5463, true),
    set("RTE", "rte", &["RTE/test.tsv"], 3000, true),
    set("WNLI", "wnli", &["WNLI/test.tsv"], 146, false),
    set(
        "AX",
        "mnli",
        &["AX/test.tsv", "diagnostic/diagnostic.tsv", "AX/diagnostic.tsv"],
        1104,
        true,
    ),
];

/// A row of a test set.
#[derive(Clone, Debug, PartialEq)]
pub struct TestRow {
    /// Its index in the file, which the leaderboard asks for.
    pub index: String,
    /// Its sentences; the label means nothing.
    pub example: Example,
}

impl TestSet {
    /// The task.
    ///
    /// # Errors
    /// None: every test set is of a known task.
    pub fn task(&self) -> Result<&'static GlueTask, DataError> {
        find(self.task)
    }

    /// The set's file below `dir` or `dir/glue_data`, if it is there.
    pub fn file(&self, dir: &Path) -> Option<PathBuf> {
        let below = |dir: PathBuf| {
            self.files
                .iter()
                .map(move |file| dir.join(file))
                .find(|path| path.is_file())
        };
        below(dir.to_path_buf()).or_else(|| below(dir.join("glue_data")))
    }

    /// Reads the set's file.
    ///
    /// # Errors
    /// A file that lacks a column, has an empty value, or as many rows as no published one.
    pub fn read(&self, path: &Path) -> Result<Vec<TestRow>, DataError> {
        let task = self.task()?;
        let OwnRows { columns, rows } = rows::read(path)?;
        let index =
            rows::column(path, &columns, "index").or_else(|e| rows::column(path, &columns, "id").map_err(|_| e))?;
        let (first, second) = match self.name {
            "AX" => ("sentence1", Some("sentence2")),
            _ => task.text_columns(),
        };
        let first = rows::column(path, &columns, first)?;
        let second = second.map(|name| rows::column(path, &columns, name)).transpose()?;
        let text = |row: &rows::OwnRow, at: usize| row.cells[at].clone().unwrap_or_default();
        let rows: Vec<TestRow> = rows
            .iter()
            .map(|row| TestRow {
                index: text(row, index),
                example: Example {
                    first: text(row, first),
                    second: second.map(|at| text(row, at)),
                    label: Label::Class(0),
                },
            })
            .collect();
        if rows.len() != self.rows {
            let problem = format!(
                "{} rows, and the test set of {} has {}",
                rows.len(),
                self.name,
                self.rows
            );
            return Err(DataError::Malformed {
                path: path.to_path_buf(),
                line: rows.len() + 1,
                problem,
            });
        }
        Ok(rows)
    }

    /// The file with `predictions` for `indices`.
    pub fn predictions(&self, indices: &[String], predictions: &Predictions, kind: TaskKind) -> String {
        let lines: Vec<String> = match (predictions, kind) {
            (Predictions::Scores(scores), _) => scores.iter().map(|s| format!("{:.3}", s.clamp(0.0, 5.0))).collect(),
            (Predictions::Classes(classes), TaskKind::Classification { labels }) if self.words => classes
                .iter()
                .map(|class| labels.get(*class).copied().unwrap_or_default().to_owned())
                .collect(),
            (Predictions::Classes(classes), _) => classes.iter().map(usize::to_string).collect(),
        };
        let line = |(index, prediction): (&String, String)| format!("{index}\t{prediction}\n");
        let body: String = indices.iter().zip(lines).map(line).collect();
        format!("index\tprediction\n{body}")
    }

    /// The file of a set that no model has answered: the first class, or the middle score, for every row.
    ///
    /// # Errors
    /// As [`TestSet::task`].
    pub fn filler(&self) -> Result<String, DataError> {
        let kind = self.task()?.kind;
        let indices: Vec<String> = (0..self.rows).map(|i| i.to_string()).collect();
        let same = match kind {
            TaskKind::Classification { .. } => Predictions::Classes(vec![0; self.rows]),
            TaskKind::Regression { min, max } => Predictions::Scores(vec![(min + max) / 2.0; self.rows]),
        };
        Ok(self.predictions(&indices, &same, kind))
    }
}

/// The files as a zip archive.
///
/// # Errors
/// None in memory but those of the archive's own limits.
pub fn archive(files: &[(String, String)]) -> std::io::Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::FileOptions::default().last_modified_time(zip::DateTime::default());
    for (name, text) in files {
        zip.start_file(name, options).map_err(std::io::Error::other)?;
        zip.write_all(text.as_bytes())?;
    }
    let written = zip.finish().map_err(std::io::Error::other)?;
    Ok(written.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_words_or_numbers_and_scores_have_three_digits() {
        let by = |name: &str| TEST_SETS.iter().find(|set| set.name == name).unwrap();
        let indices = ["0".to_owned(), "1".to_owned()];
        let classes = Predictions::Classes(vec![2, 0]);
        let mnli = by("MNLI-m");
        let kind = mnli.task().unwrap().kind;
        assert_eq!(
            mnli.predictions(&indices, &classes, kind),
            "index\tprediction\n0\tcontradiction\n1\tentailment\n"
        );
        let cola = by("CoLA").task().unwrap().kind;
        let classes = Predictions::Classes(vec![1, 0]);
        assert_eq!(
            by("CoLA").predictions(&indices, &classes, cola),
            "index\tprediction\n0\t1\n1\t0\n"
        );
        let scores = Predictions::Scores(vec![5.25, 1.23456]);
        let stsb = by("STS-B").task().unwrap().kind;
        assert_eq!(
            by("STS-B").predictions(&indices, &scores, stsb),
            "index\tprediction\n0\t5.000\n1\t1.235\n"
        );
    }

    #[test]
    fn a_filler_has_a_line_for_every_row() {
        for set in TEST_SETS.iter().filter(|set| set.rows < 10_000) {
            assert_eq!(set.filler().unwrap().lines().count(), set.rows + 1, "{}", set.name);
        }
    }

    #[test]
    fn an_archive_reads_back() {
        let files = [("A.tsv".to_owned(), "index\tprediction\n".to_owned())];
        let bytes = archive(&files).unwrap();
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut zip.by_name("A.tsv").unwrap(), &mut text).unwrap();
        assert_eq!((zip.len(), text.as_str()), (1, files[0].1.as_str()));
    }

    #[test]
    fn published_test_sets_have_their_numbers_of_rows() {
        let Some(dir) = std::env::var_os("LORA_DATA").map(PathBuf::from) else {
            eprintln!("skipped: LORA_DATA is not set");
            return;
        };
        let found = TEST_SETS.iter().filter_map(|set| Some((set, set.file(&dir)?)));
        let mut read = 0;
        for (set, path) in found {
            let rows = set.read(&path).unwrap();
            assert_eq!(rows.len(), set.rows);
            assert!(
                rows.iter()
                    .all(|row| !row.example.first.is_empty() && !row.index.is_empty()),
                "{}",
                set.name
            );
            read += 1;
        }
        assert!(read > 0, "{}: no test set of GLUE", dir.display());
    }
}
