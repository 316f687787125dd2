//! The paper's numbers, from `paper/*.yaml`.

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

/// A table of the paper with one row per (model, method).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperTable {
    /// Citation.
    pub source: String,
    /// The columns in their order.
    pub order: Vec<PaperTask>,
    /// The rows in their order.
    pub rows: Vec<PaperRow>,
    /// Notes on the table.
    pub notes: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperTask {
    /// The task's name in print.
    pub task: String,
    /// The column's metric: `accuracy`, `matthews`, `pearson`, `BLEU`.
    pub metric: String,
}

/// A row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperRow {
    /// Id, as in [`crate::RunRecord::paper_row`].
    pub id: String,
    /// The model.
    pub model: String,
    /// The method's id in this program.
    pub method: String,
    /// The method's name in the paper.
    pub name: String,
    /// Who computed the row.
    pub origin: Origin,
    /// Training setup.
    #[serde(default)]
    pub setup: Setup,
    /// Trained parameters without the head, in millions, as printed.
    pub params_m: f64,
    /// One score per column, in the printed unit.
    pub scores: Vec<Score>,
    /// The printed average, if any.
    #[serde(default)]
    pub average: Option<f64>,
    /// Notes on the row.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Who computed a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The paper's authors.
    Authors,
    /// Earlier work, quoted by the authors (marked by a star).
    Quoted,
}

/// Training setup of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// The usual setup.
    #[default]
    Plain,
    /// The restricted setup for comparison with Houlsby et al. (marked by a dagger).
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

    /// The number after ±.
    #[must_use]
    pub fn spread(self) -> Option<f64> {
        match self {
            Self::Plain(_) => None,
            Self::Spread(_, spread) => Some(spread),
        }
    }
}

/// Printed numbers of trained parameters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperCounts {
    /// Citation.
    pub source: String,
    /// The rows in their order.
    pub rows: Vec<PaperCount>,
}

/// The printed number of trained parameters of one row.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperCount {
    /// Number of the table.
    pub table: u32,
    /// The row's id.
    pub id: String,
    /// The model.
    pub model: String,
    /// The method's name in the paper.
    pub name: String,
    /// Trained parameters without the head in millions, with the printed digits.
    pub printed_m: String,
    /// The method and its settings in this program.
    pub method: serde_yaml::Value,
    /// Note on the count.
    pub note: Option<String>,
}

impl PaperCount {
    /// Whether `count`, in millions with as many decimals as printed, is the printed number.
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
    /// [`Error::Paper`] if the file is malformed.
    pub fn load() -> Result<Self> {
        read("counts", include_str!("../paper/counts.yaml"))
    }
}

impl PaperTable {
    /// Table 2, from `paper/table2.yaml`.
    ///
    /// # Errors
    /// [`Error::Paper`] if the file is malformed.
    pub fn table2() -> Result<Self> {
        read("table2", include_str!("../paper/table2.yaml"))
    }

    /// A table from the text of `paper/NAME.yaml`.
    ///
    /// # Errors
    /// [`Error::Paper`] if the text is malformed.
    pub fn read(name: &str, text: &str) -> Result<Self> {
        read(name, text)
    }

    /// The row `id`.
    ///
    /// # Errors
    /// [`Error::NoPaperRow`], which lists the existing rows.
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
