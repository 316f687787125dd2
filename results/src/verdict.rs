//! Tests of claims and their outcomes: shown, contradicted, or not shown and why. The claims are made in [`crate::claims`].

use std::collections::BTreeMap;

use crate::stats::{Estimate, holm};

/// Fewest seeds a side (pairs of adapters, forward passes) for a test.
pub const FEWEST: usize = 3;
/// Two-sided significance level.
pub const LEVEL: f64 = 0.05;

/// Scores of a setting, in per cent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Scores by seed.
    pub seeds: BTreeMap<u64, f64>,
    /// The aggregate that tables print; the mean if `None`.
    pub printed: Option<f64>,
}

impl Scores {
    /// The aggregate over seeds.
    #[must_use]
    pub fn level(&self) -> f64 {
        self.printed.unwrap_or_else(|| middle(self.seeds.values().copied()))
    }
}

/// One-sided p values of a claim and of its contrary, or why there is no test.
pub(crate) type Tested = Result<(f64, f64), String>;

/// A conclusion of the paper, with its test on stored results.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The conclusion.
    pub statement: String,
    /// Subject: a model and task, or a layer; may be empty.
    pub about: String,
    /// The compared numbers; may be empty.
    pub numbers: String,
    pub(crate) tested: Tested,
}

/// Outcome of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The claim holds.
    Shown,
    /// Its contrary holds.
    Contradicted,
    /// Neither is shown; the reason.
    NotShown(String),
}

/// A tested [`Claim`].
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The model that it was tested on; empty where `about` names it.
    pub model: String,
    /// [`Claim::statement`].
    pub statement: String,
    /// [`Claim::about`].
    pub about: String,
    /// [`Claim::numbers`].
    pub numbers: String,
    /// Outcome of the test.
    pub outcome: Outcome,
}

/// Tests claims that are made together, corrected for their number.
#[must_use]
pub fn settle(claims: Vec<Claim>) -> Vec<Verdict> {
    let both = |(favour, against): (f64, f64)| (2.0 * favour.min(against)).min(1.0);
    let known: Vec<f64> = claims.iter().filter_map(|c| c.tested.clone().ok()).map(both).collect();
    let mut corrected = holm(&known).into_iter();
    let mut settled = Vec::new();
    for claim in claims {
        let outcome = match claim.tested {
            Err(why) => Outcome::NotShown(why),
            Ok((favour, against)) => match corrected.next().unwrap_or(1.0) {
                p if p >= LEVEL => Outcome::NotShown(format!("p = {p:.2}")),
                _ if favour < against => Outcome::Shown,
                _ => Outcome::Contradicted,
            },
        };
        settled.push(Verdict {
            model: String::new(),
            statement: claim.statement,
            about: claim.about,
            numbers: claim.numbers,
            outcome,
        });
    }
    settled
}

/// Names the model that verdicts are about.
pub(crate) fn on(model: &str, verdicts: Vec<Verdict>) -> Vec<Verdict> {
    let named = |verdict| Verdict {
        model: model.to_owned(),
        ..verdict
    };
    verdicts.into_iter().map(named).collect()
}

/// A statement, and the subjects with numbers that it was tested on.
type Tests<'a> = (&'a str, Vec<String>);

/// The verdicts as sentences: one per outcome, with each statement once, followed by its subjects.
#[must_use]
pub fn text(verdicts: &[Verdict]) -> String {
    let mut grouped: Vec<(String, Vec<Tests>)> = Vec::new();
    for verdict in verdicts {
        let (head, p) = match &verdict.outcome {
            Outcome::Shown => ("Shown".to_owned(), ""),
            Outcome::Contradicted => ("Contradicted".to_owned(), ""),
            Outcome::NotShown(why) if why.starts_with("p = ") => ("Not shown".to_owned(), why.as_str()),
            Outcome::NotShown(why) => (format!("Not shown, {why}"), ""),
        };
        let joined = |parts: [&str; 2], by: &str| {
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            parts.join(by)
        };
        let words = joined([&joined([&verdict.about, &verdict.numbers], ": "), p], ", ");
        if !grouped.iter().any(|(known, _)| *known == head) {
            grouped.push((head.clone(), Vec::new()));
        }
        let Some((_, all)) = grouped.iter_mut().find(|(known, _)| *known == head) else {
            continue;
        };
        match all.iter_mut().find(|(statement, _)| *statement == verdict.statement) {
            Some((_, of)) => of.push(words),
            None => all.push((&verdict.statement, vec![words])),
        }
    }
    let one = |(statement, of): &Tests| match of.concat().as_str() {
        "" => (*statement).to_owned(),
        _ => format!("{statement} ({})", of.join("; ")),
    };
    let sentence =
        |(head, all): &(String, Vec<_>)| format!("{head}: {}.", all.iter().map(one).collect::<Vec<_>>().join(", "));
    grouped.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

/// The sentences of the tested claims: [`text`] of [`settle`].
#[must_use]
pub fn conclude(claims: Vec<Claim>) -> String {
    text(&settle(claims))
}

pub(crate) fn few(n: usize) -> String {
    format!("n = {n}")
}

/// Tests whether a quantity is above `x`.
pub(crate) fn above(estimate: Result<Estimate, String>, x: f64) -> Tested {
    let same = || "the same for every seed: no test".to_owned();
    estimate?.beside(x).ok_or_else(same)
}

/// Tests whether a quantity is below `x`.
pub(crate) fn below(estimate: Result<Estimate, String>, x: f64) -> Tested {
    above(estimate, x).map(|(favour, against)| (against, favour))
}

/// Tests whether all parts hold; one part that does not is enough for the contrary.
pub(crate) fn all(parts: &[Tested]) -> Tested {
    let parts = parts.iter().cloned().collect::<Result<Vec<_>, _>>()?;
    let favour = parts.iter().map(|part| part.0).fold(0.0, f64::max);
    let against = parts.iter().map(|part| part.1).fold(1.0, f64::min);
    Ok((favour, (against * parts.len() as f64).min(1.0)))
}

/// Tests whether at least one part holds.
pub(crate) fn any(parts: &[Tested]) -> Tested {
    let swapped: Vec<Tested> = parts.iter().cloned().map(|part| part.map(|(a, b)| (b, a))).collect();
    all(&swapped).map(|(favour, against)| (against, favour))
}

/// Mean of at least [`FEWEST`] values.
pub(crate) fn mean(values: &[f64]) -> Result<Estimate, String> {
    let enough = Some(values).filter(|values| values.len() >= FEWEST);
    enough.and_then(Estimate::mean).ok_or_else(|| few(values.len()))
}

/// Difference of the means of two independent groups.
pub(crate) fn groups(a: &[f64], b: &[f64]) -> Result<Estimate, String> {
    Ok(Estimate::sum(&[(1.0, mean(a)?), (-1.0, mean(b)?)]))
}

/// Mean difference `a - b` over common seeds.
pub(crate) fn paired(a: &Scores, b: &Scores) -> Result<Estimate, String> {
    let differences = a.seeds.iter().filter_map(|(seed, a)| Some(a - b.seeds.get(seed)?));
    let differences: Vec<f64> = differences.collect();
    mean(&differences)
}

/// Mean of the values; 0 for none.
pub(crate) fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = values.collect();
    all.iter().sum::<f64>() / all.len().max(1) as f64
}
