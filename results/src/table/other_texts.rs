//! Generated texts of data sets that are not in the paper: the columns are the metrics of the records.

use std::collections::BTreeSet;

use super::texts::{Column, TextTable};
use super::value::{Table, TableKind};
use super::{table3, table4, table13, table14};
use crate::error::Result;
use crate::record::RunRecord;
use crate::store::Selection;

/// The paper's tables of generated texts.
static PAPER: [&TextTable<'static>; 4] = [&table3::TABLE, &table4::TABLE, &table13::TABLE, &table14::TABLE];

const NAME: &str = "texts";

/// Metrics that are not fractions.
const OWN_SCALE: [&str; 2] = ["NIST", "CIDEr"];

/// One table per experiment, preset and label.
pub(super) struct OtherTexts;

/// Name of the table that shows the generated texts of an experiment: one of the paper's, or `texts`.
pub fn table_of_texts(experiment: &str) -> &'static str {
    let paper = PAPER.iter().find(|table| table.experiments.contains(&experiment));
    paper.map_or(NAME, |table| table.name)
}

impl TableKind for OtherTexts {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Generated texts of data sets that are not in the paper"
    }

    fn tables(&self, stored: &Selection) -> Result<Vec<Table>> {
        let runs = || stored.runs.iter().chain(&stored.failed).filter(|run| is_other(run));
        let experiments: BTreeSet<&str> = runs().map(|run| run.experiment.as_str()).collect();
        let tables = experiments.into_iter().map(|experiment| {
            let own = runs().filter(|run| run.experiment == experiment);
            let metrics: BTreeSet<&str> = own.flat_map(metrics).collect();
            let columns: Vec<Column<'_>> = metrics.iter().map(|metric| column(experiment, metric)).collect();
            let table = TextTable {
                name: &format!("{NAME}-{experiment}"),
                about: self.about(),
                title: experiment,
                experiments: &[experiment],
                columns: &columns,
                paper: None,
                quoted_anyway: None,
            };
            table.build(stored)
        });
        Ok(tables.collect::<Result<Vec<_>>>()?.concat())
    }

    fn paper_only(&self) -> Result<Option<Table>> {
        Ok(None)
    }
}

/// Whether the run generated texts of the one data set of its experiment, and the paper has no table of them.
fn is_other(run: &RunRecord) -> bool {
    let generates = run.config.get("decode").is_some_and(|decode| !decode.is_null());
    generates && run.experiment == run.task && table_of_texts(&run.experiment) == NAME
}

/// The metrics of all texts of the decoded split, without variants (`rouge1_stemmed` of `rouge1`).
fn metrics(run: &RunRecord) -> Vec<&str> {
    let split = run.config.pointer("/decode/split").and_then(|split| split.as_str());
    let keys = run.best_eval().into_iter().flat_map(|eval| eval.metrics.keys());
    let named = keys.filter_map(|key| key.split_once('/'));
    let own = named.filter(|(part, metric)| Some(*part) == split && *metric != "loss");
    let all: Vec<&str> = own.map(|(_, metric)| metric).collect();
    let is_variant = |metric: &str, of: &str| metric.strip_prefix(of).is_some_and(|rest| rest.starts_with('_'));
    let plain = |metric: &&str| !all.iter().any(|of| is_variant(metric, of));
    all.iter().copied().filter(plain).collect()
}

/// How a metric of texts is printed: its factor and its decimals. `metric` may have a split before it and a variant behind it
/// (`test/BLEU_unseen`).
fn scale(metric: &str) -> (f64, usize) {
    let name = metric.rsplit('/').next().unwrap_or_default();
    if name.split('_').next().is_some_and(|name| OWN_SCALE.contains(&name)) {
        (1.0, 2)
    } else {
        (100.0, 1)
    }
}

/// The value of a metric of texts as tables print it: a fraction in per cent, NIST and CIDEr as they are.
#[must_use]
pub fn text_metric(metric: &str, value: f64) -> String {
    let (scale, decimals) = scale(metric);
    format!("{:.decimals$}", value * scale)
}

fn column<'a>(task: &'a str, metric: &'a str) -> Column<'a> {
    let (scale, decimals) = scale(metric);
    Column {
        name: metric,
        task,
        group: "",
        metric,
        scale,
        decimals,
    }
}
