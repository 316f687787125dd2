//! The paper's own numbers, as data: they are quoted, never mixed with ours.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// The paper's numbers from the text of `paper/NAME.yaml`.
pub(crate) fn read<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    serde_yaml::from_str(text).map_err(|source| Error::Paper {
        file: format!("paper/{name}.yaml"),
        source,
    })
}

/// One of its tables: a row a (model, method).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperTable {
    /// Where it stands.
    pub source: String,
    /// The columns in their order.
    pub order: Vec<PaperTask>,
    /// The rows in their order.
    pub rows: Vec<PaperRow>,
    /// What one must know to read them.
    pub notes: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperTask {
    /// The task's name in print.
    pub task: String,
    /// The metric that stands for the task (`accuracy`, `matthews`, `pearson`), or that is in this column.
    pub metric: String,
}

/// A row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperRow {
    /// What [`crate::RunRecord::paper_row`] names.
    pub id: String,
    /// The model.
    pub model: String,
    /// The method's id here.
    pub method: String,
    /// The method's name in the paper.
    pub name: String,
    /// Who computed it.
    pub origin: Origin,
    /// How it was trained.
    #[serde(default)]
    pub setup: Setup,
    /// Trained parameters without the head, in millions, as printed.
    pub params_m: f64,
    /// A score a column, in the unit in which it is printed.
    pub scores: Vec<Score>,
    /// The average as printed, where there is one.
    #[serde(default)]
    pub average: Option<f64>,
    /// What is odd about the row.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Who computed a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The paper's authors.
    Authors,
    /// Earlier work, which the authors quote (their star).
    Quoted,
}

/// How a row was trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// The paper's usual setting.
    #[default]
    Plain,
    /// The restricted setting for comparison with Houlsby et al. (their dagger).
    Houlsby,
}

/// A printed score.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Score {
    /// Value and spread.
    Spread(f64, f64),
    /// The value alone.
    Plain(f64),
}

impl Score {
    /// The value.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Self::Plain(value) | Self::Spread(value, _) => value,
        }
    }

    /// What stands behind the ±.
    #[must_use]
    pub fn spread(self) -> Option<f64> {
        match self {
            Self::Plain(_) => None,
            Self::Spread(_, spread) => Some(spread),
        }
    }
}

/// What the paper prints as trained parameters, row by row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperCounts {
    /// Where it stands.
    pub source: String,
    /// The rows in their order.
    pub rows: Vec<PaperCount>,
}

/// One row's trained parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperCount {
    /// The number of the table.
    pub table: u32,
    /// The row's id.
    pub id: String,
    /// The model.
    pub model: String,
    /// The method's name in the paper.
    pub name: String,
    /// Trained parameters without the head, in millions, digit for digit as printed.
    pub printed_m: String,
    /// The method with the settings under which it is counted here.
    pub method: serde_yaml::Value,
    /// What is odd about it.
    pub note: Option<String>,
}

impl PaperCount {
    /// Whether `count` parameters, in millions and rounded as the paper rounds, are what it prints.
    #[must_use]
    pub fn agrees(&self, count: i64) -> bool {
        let decimals = self.printed_m.split_once('.').map_or(0, |(_, d)| d.len());
        format!("{:.decimals$}", count as f64 / 1e6) == self.printed_m
    }
}

impl PaperCounts {
    /// The rows of Tables 2, 3 and 4, from `paper/counts.yaml`.
    ///
    /// # Errors
    /// [`Error::Paper`] if that file was broken when the program was built.
    pub fn load() -> Result<Self> {
        read("counts", include_str!("../paper/counts.yaml"))
    }
}

impl PaperTable {
    /// Table 2, from `paper/table2.yaml`.
    ///
    /// # Errors
    /// [`Error::Paper`] if that file was broken when the program was built.
    pub fn table2() -> Result<Self> {
        read("table2", include_str!("../paper/table2.yaml"))
    }

    /// A table from the text of `paper/NAME.yaml`.
    ///
    /// # Errors
    /// [`Error::Paper`] if the file was broken when the program was built.
    pub fn read(name: &str, text: &str) -> Result<Self> {
        read(name, text)
    }

    /// The row `id`.
    ///
    /// # Errors
    /// [`Error::NoPaperRow`], which lists the rows there are.
    pub fn row(&self, id: &str) -> Result<&PaperRow> {
        self.rows
            .iter()
            .find(|row| row.id == id)
            .ok_or_else(|| Error::NoPaperRow {
                id: id.to_owned(),
                known: self
                    .rows
                    .iter()
                    .map(|row| row.id.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_score_a_column_and_its_average() {
        let table = PaperTable::table2().unwrap();
        assert_eq!(table.order.len(), 8);
        assert_eq!(table.rows.len(), 14);
        let mut half_up = Vec::new();
        for row in &table.rows {
            assert_eq!(row.scores.len(), table.order.len(), "{}", row.id);
            // Printed tenths are summed as integers, so that 89.05 stays 89.05.
            let tenths: i64 = row.scores.iter().map(|s| (s.value() * 10.0).round() as i64).sum();
            let printed = (row.average.unwrap() * 10.0).round() as i64;
            assert!(
                (tenths - printed * 8).abs() <= 4,
                "{}: {tenths}/80 printed {printed}",
                row.id
            );
            if (tenths + 4).div_euclid(8) != printed {
                half_up.push(row.id.as_str());
                assert!(row.notes.iter().any(|note| note.contains("average")), "{}", row.id);
            }
        }
        assert_eq!(
            half_up,
            ["rob_large_lora"],
            "averages that ordinary rounding would print otherwise"
        );
    }

    #[test]
    fn counts_are_those_of_the_tables() {
        let counts = PaperCounts::load().unwrap().rows;
        assert_eq!(
            [2, 3, 4].map(|n| counts.iter().filter(|c| c.table == n).count()),
            [14, 12, 8]
        );
        let table = PaperTable::table2().unwrap();
        for count in counts.iter().filter(|c| c.table == 2) {
            let row = table.row(&count.id).unwrap();
            assert_eq!((&count.model, &count.name), (&row.model, &row.name));
            assert_eq!(count.printed_m, format!("{:.1}", row.params_m), "{}", count.id);
        }
        assert!(counts[4].agrees(294_912) && !counts[4].agrees(394_912));
    }

    #[test]
    fn ids_are_unique_and_an_unknown_one_lists_them() {
        let table = PaperTable::table2().unwrap();
        let ids: std::collections::BTreeSet<_> = table.rows.iter().map(|row| &row.id).collect();
        assert_eq!(ids.len(), table.rows.len());
        let lora = table.row("rob_base_lora").unwrap();
        assert_eq!((lora.scores[3], lora.average), (Score::Spread(63.4, 1.2), Some(87.2)));
        let error = table.row("rob_base_lroa").unwrap_err().to_string();
        assert!(
            error.contains("rob_base_lroa") && error.contains("deb_xxl_lora"),
            "{error}"
        );
    }

    #[test]
    fn the_tables_of_texts_have_a_score_a_column() {
        let files = [
            ("table3", include_str!("../paper/table3.yaml"), 12),
            ("table4", include_str!("../paper/table4.yaml"), 8),
            ("table13", include_str!("../paper/table13.yaml"), 11),
            ("table14", include_str!("../paper/table14.yaml"), 11),
        ];
        for (name, text, rows) in files {
            let table = PaperTable::read(name, text).unwrap();
            assert_eq!(table.rows.len(), rows, "{name}");
            let ids: std::collections::BTreeSet<_> = table.rows.iter().map(|row| &row.id).collect();
            assert_eq!(ids.len(), rows, "{name}");
            for row in &table.rows {
                assert_eq!(row.scores.len(), table.order.len(), "{name} {}", row.id);
            }
        }
    }
}
