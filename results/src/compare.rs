//! Paired comparison of methods over common seeds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::record::RunRecord;
use crate::stats::{Estimate, holm};
use crate::store::Selection;
use crate::sweep;
use crate::table::{Cell, RowKind, Table, TableRow, metrics_of};
use crate::verdict::{FEWEST, LEVEL};

/// Scores of `method` minus those of `baseline` on one task, over common seeds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// The preset of both, if any.
    pub preset: Option<String>,
    /// Label of the runs.
    pub label: String,
    /// The model.
    pub model: String,
    /// The task.
    pub task: String,
    /// The metric, in per cent.
    pub metric: String,
    /// The subtracted method.
    pub baseline: String,
    /// The method that it is subtracted from.
    pub method: String,
    /// Common seeds.
    pub seeds: Vec<u64>,
    /// Mean of the baseline over them.
    pub baseline_mean: f64,
    /// Mean of the method over them.
    pub method_mean: f64,
    /// Mean difference.
    pub difference: f64,
    /// Sample standard deviation of the differences; `None` for one seed.
    pub sd: Option<f64>,
    /// Two-sided p value of the paired t test; `None` for too few seeds or equal differences.
    pub p: Option<f64>,
    /// The p value corrected for the number of comparisons (Holm).
    pub p_holm: Option<f64>,
    /// Verdict.
    pub verdict: String,
}

/// Numbers of seeds below this one are called few.
const FEW: usize = 5;

/// Scores by method and seed.
type ByMethod<'a> = BTreeMap<&'a str, BTreeMap<u64, Vec<f64>>>;

/// Compares `methods`, or all other methods if empty, with `baseline`, for each preset, model and task that has both.
///
/// # Errors
/// [`Error::UnknownName`] for a method without runs; [`Error::Ambiguous`] for a method with several settings.
pub fn compare(stored: &Selection, baseline: &str, methods: &[String]) -> Result<Vec<Difference>> {
    let baseline = known(stored, baseline)?;
    let methods = methods
        .iter()
        .map(|name| known(stored, name))
        .collect::<Result<Vec<&str>>>()?;
    let mut groups: BTreeMap<_, (Vec<&RunRecord>, ByMethod)> = BTreeMap::new();
    for run in sweep::finished(stored) {
        if let Some((metric, Some(value))) = sweep::headline(run) {
            let group = groups
                .entry((&run.preset, &run.label, &run.model, sweep::printed_task(run), metric))
                .or_default();
            group.0.push(run);
            group
                .1
                .entry(run.shown_method())
                .or_default()
                .entry(run.seed)
                .or_default()
                .push(value);
        }
    }
    let mut found = Vec::new();
    for ((preset, label, model, task, metric), (runs, scores)) in &groups {
        let Some(base) = scores.get(baseline) else { continue };
        for (&method, own) in scores {
            let wanted = if methods.is_empty() {
                method != baseline
            } else {
                methods.contains(&method)
            };
            if !wanted {
                continue;
            }
            unambiguous(runs, [baseline, method])?;
            let pairs: Vec<(u64, f64, f64)> = own
                .iter()
                .filter_map(|(seed, b)| Some((*seed, sweep::mean(base.get(seed)?).value, sweep::mean(b).value)))
                .collect();
            found.push(Difference {
                preset: (*preset).clone(),
                label: (*label).clone(),
                model: (*model).clone(),
                task: task.clone(),
                metric: metric.clone(),
                baseline: baseline.to_owned(),
                method: method.to_owned(),
                ..difference(&pairs)
            });
        }
    }
    correct(&mut found);
    for one in &mut found {
        one.verdict = verdict(one);
    }
    Ok(found)
}

/// [`RunRecord::shown_method`] of the method called `name` in records or tables.
fn known<'a>(stored: &'a Selection, name: &str) -> Result<&'a str> {
    let found = sweep::finished(stored).find(|run| run.method == name || run.shown_method() == name);
    found.map(RunRecord::shown_method).ok_or_else(|| {
        let all: BTreeSet<&str> = sweep::finished(stored).map(RunRecord::shown_method).collect();
        Error::UnknownName(support::unknown("method", name, all))
    })
}

/// Refuses a seed that was run twice under one method's name in different settings. Records with equal inputs, as when two
/// experiments share a run, do not count as different.
fn unambiguous(runs: &[&RunRecord], methods: [&str; 2]) -> Result<()> {
    let mut seen: BTreeMap<(&str, u64), &RunRecord> = BTreeMap::new();
    for run in runs.iter().filter(|run| methods.contains(&run.shown_method())) {
        match seen.insert((run.shown_method(), run.seed), run) {
            Some(other) if sweep::inputs(other) != sweep::inputs(run) => {
                return Err(Error::Ambiguous {
                    method: run.method.clone(),
                    task: run.task.clone(),
                    seed: run.seed,
                    ids: format!("{} and {}", other.id, run.id),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn difference(pairs: &[(u64, f64, f64)]) -> Difference {
    let mean = |values: Vec<f64>| {
        if values.is_empty() {
            f64::NAN
        } else {
            sweep::mean(&values).value
        }
    };
    let differences: Vec<f64> = pairs.iter().map(|(_, a, b)| b - a).collect();
    let sd = Some(&differences)
        .filter(|d| d.len() > 1)
        .and_then(|d| sweep::mean(d).spread);
    let beside = Estimate::mean(&differences).and_then(|one| one.beside(0.0));
    let two_sided = beside.map(|(above, below)| (2.0 * above.min(below)).min(1.0));
    let difference = mean(differences);
    Difference {
        seeds: pairs.iter().map(|(seed, ..)| *seed).collect(),
        baseline_mean: mean(pairs.iter().map(|(_, a, _)| *a).collect()),
        method_mean: mean(pairs.iter().map(|(_, _, b)| *b).collect()),
        difference,
        sd,
        p: two_sided,
        ..Difference::default()
    }
}

fn correct(all: &mut [Difference]) {
    let known: Vec<f64> = all.iter().filter_map(|one| one.p).collect();
    let mut corrected = holm(&known).into_iter();
    for one in all.iter_mut().filter(|one| one.p.is_some()) {
        one.p_holm = corrected.next();
    }
}

fn verdict(one: &Difference) -> String {
    let better = if one.difference > 0.0 {
        &one.method
    } else {
        &one.baseline
    };
    match (one.seeds.len(), one.p_holm) {
        (0, _) => "no seed in common".to_owned(),
        (n, _) if n < FEWEST => "too few seeds".to_owned(),
        (_, None) if one.difference == 0.0 => "always equal".to_owned(),
        (_, None) => format!("no test: {better} by the same for every seed"),
        (_, Some(p)) if p < LEVEL => format!("{better} is better"),
        (_, Some(_)) => "not shown".to_owned(),
    }
}

/// Where runs stand: preset, label and model.
type Kind<'a> = (&'a Option<String>, &'a str, &'a str);

fn kind(one: &Difference) -> Kind<'_> {
    (&one.preset, &one.label, &one.model)
}

/// Table of the differences from one baseline. Where runs of several models, presets or labels are among them, a first column says
/// which each row is of.
#[must_use]
pub fn table(all: &[Difference]) -> Table {
    let kinds: BTreeSet<Kind> = all.iter().map(kind).collect();
    let kinds: Vec<Kind> = kinds.into_iter().collect();
    let several = kinds.len() > 1;
    let row = |one: &Difference| {
        let at = kinds.iter().position(|own| *own == kind(one));
        let letter = at.filter(|_| several).map(|at| Cell::Text(lettered(at)));
        TableRow {
            kind: RowKind::Ours,
            cells: letter.into_iter().chain(cells(one)).collect(),
        }
    };
    let baseline = all.first().map_or("baseline", |one| &one.baseline);
    let header = [
        "Task", "Method", "n", baseline, "Method's", "Diff", "SD", "p", "Holm", "Verdict",
    ];
    let header = several.then_some("Runs").into_iter().chain(header);
    let of = |at: usize| {
        if several {
            format!(" {}", lettered(at))
        } else {
            String::new()
        }
    };
    let runs = kinds.iter().enumerate();
    let mut notes: Vec<String> = runs
        .map(|(at, (_, label, model))| format!("Runs{}: {model}; {label}.", of(at)))
        .collect();
    notes.push(format!(
        "Diff: the method's minus {baseline}'s, in per cent; {}. All means are over the n seeds that both have; other tables may \
         show medians.",
        metrics_of(all.iter().map(|one| {
            let metric = one.metric.rsplit('/').next().unwrap_or(&one.metric);
            (metric, one.task.as_str())
        }))
    ));
    notes.push(
        "p: two-sided, Student's paired t over these seeds; Holm: corrected for the number of comparisons.".to_owned(),
    );
    notes.push(in_words(all));
    Table {
        name: "compare".to_owned(),
        title: format!("Differences from {baseline}, seed by seed"),
        header: header.map(String::from).collect(),
        rows: all.iter().map(row).collect(),
        notes,
        show_n: false,
        verdicts: Vec::new(),
    }
}

/// What the verdicts mean.
fn in_words(all: &[Difference]) -> String {
    let few = all.iter().any(|one| (FEWEST..FEW).contains(&one.seeds.len()));
    let few = if few {
        format!(" With fewer than {FEW} seeds only large differences can show.")
    } else {
        String::new()
    };
    format!(
        "Verdict: `is better` where Holm's p is below {LEVEL}, else no difference is shown, which does not show that there is \
         none; with fewer than {FEWEST} seeds nothing is tested.{few}"
    )
}

fn cells(one: &Difference) -> [Cell; 10] {
    let number = |value: Option<f64>, decimals| Cell::plain(value.filter(|value| value.is_finite()), decimals);
    [
        Cell::Text(one.task.clone()),
        Cell::Text(one.method.clone()),
        Cell::Count(one.seeds.len() as i64),
        number(Some(one.baseline_mean), 1),
        number(Some(one.method_mean), 1),
        number(Some(one.difference), 2),
        number(one.sd, 2),
        number(one.p, 3),
        number(one.p_holm, 3),
        Cell::Text(one.verdict.clone()),
    ]
}

/// `a` to `z` for the first 26 kinds of runs, then `a1`, `b1`, ...
fn lettered(at: usize) -> String {
    let letter = char::from(b'a' + (at % 26) as u8);
    match at / 26 {
        0 => letter.to_string(),
        round => format!("{letter}{round}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_scipys() {
        // scipy.stats.ttest_rel([71, 74.5, 70, 73.5, 72], [70, 72, 69.5, 73, 70.5]): t = 3.2071349029490928, p = 0.03267792333680298
        let pairs = [
            (1, 70.0, 71.0),
            (2, 72.0, 74.5),
            (3, 69.5, 70.0),
            (4, 73.0, 73.5),
            (5, 70.5, 72.0),
        ];
        let one = difference(&pairs);
        assert!((one.difference - 1.2).abs() < 1e-12);
        assert!((one.sd.unwrap() - 0.836_660_026_534_075_6).abs() < 1e-12);
        assert!((one.p.unwrap() - 0.032_677_923_336_802_98).abs() < 1e-9, "{:?}", one.p);
    }

    #[test]
    fn few_seeds_are_said() {
        let said = |pairs: &[(u64, f64, f64)]| {
            let mut all = [Difference {
                method: "b".into(),
                baseline: "a".into(),
                ..difference(pairs)
            }];
            correct(&mut all);
            verdict(&all[0])
        };
        assert_eq!(said(&[]), "no seed in common");
        assert_eq!(said(&[(1, 1.0, 2.0)]), "too few seeds");
        assert_eq!(said(&[(1, 1.0, 2.0), (2, 1.0, 2.5)]), "too few seeds");
        assert_eq!(
            said(&[(1, 1.0, 2.0), (2, 1.0, 2.0), (3, 1.5, 2.5)]),
            "no test: b by the same for every seed"
        );
        let three = [(1, 1.0, 2.0), (2, 1.0, 1.5), (3, 1.0, 0.9)];
        assert_eq!(said(&three), "not shown");
        let notes = |pairs: &[(u64, f64, f64)]| table(&[difference(pairs)]).notes.join(" ");
        assert!(notes(&three).contains("fewer than 5 seeds only large"));
        let five = [three, [(4, 1.0, 1.2), (5, 2.0, 1.9), (6, 1.0, 1.1)]].concat();
        assert!(!notes(&five).contains("fewer than 5"));
    }

    #[test]
    fn rows_of_several_kinds_of_runs_say_which_they_are_of() {
        let of = |label: &str| Difference {
            label: label.into(),
            model: "m".into(),
            ..difference(&[(1, 1.0, 2.0)])
        };
        let one = table(&[of("real data"), of("real data")]);
        assert_eq!(one.header[0], "Task");
        assert_eq!(one.notes[0], "Runs: m; real data.");
        let two = table(&[of("real data"), of("generated"), of("real data")]);
        assert_eq!(two.header[..2], ["Runs", "Task"]);
        let first = |row: &TableRow| match &row.cells[0] {
            Cell::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(two.rows.iter().map(first).collect::<Vec<_>>(), ["b", "a", "b"]);
        assert_eq!(two.notes[..2], ["Runs a: m; generated.", "Runs b: m; real data."]);
        assert!(two.rows.iter().all(|row| row.cells.len() == two.header.len()));
        assert_eq!([0, 25, 26, 53].map(lettered), ["a", "z", "a1", "b2"]);
    }
}
