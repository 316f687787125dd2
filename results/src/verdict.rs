//! What the test of a conclusion comes to: shown, contradicted, or not shown and why. The rules are in [`crate::claims`].

use std::collections::BTreeMap;

use crate::stats::{Estimate, holm};

/// Seeds a side (pairs of adapters, forward passes) below which nothing is concluded.
pub const FEWEST: usize = 3;
/// Level of every test, both sides together.
pub const LEVEL: f64 = 0.05;

/// Scores in per cent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// By seed.
    pub seeds: BTreeMap<u64, f64>,
    /// The one number that tables print of them; where left out their mean.
    pub printed: Option<f64>,
}

impl Scores {
    /// The one number that stands for them.
    #[must_use]
    pub fn level(&self) -> f64 {
        self.printed.unwrap_or_else(|| middle(self.seeds.values().copied()))
    }
}

/// One-sided p values: small `favour` speaks for a conclusion, small `against` for its contrary; or why there is no test.
pub(crate) type Tested = Result<(f64, f64), String>;

/// A conclusion, and what the numbers say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The conclusion, in words.
    pub says: String,
    /// Of what: a model and task, a layer; may be empty.
    pub about: String,
    /// The numbers it is drawn from; may be empty.
    pub numbers: String,
    pub(crate) tested: Tested,
}

/// What a test comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The conclusion holds here.
    Shown,
    /// Its contrary does.
    Contradicted,
    /// Neither is shown, and why.
    NotShown(String),
}

/// A conclusion that was tested.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// [`Claim::says`].
    pub says: String,
    /// [`Claim::about`].
    pub about: String,
    /// [`Claim::numbers`].
    pub numbers: String,
    /// What the test comes to.
    pub outcome: Outcome,
}

/// Tests conclusions that are drawn together.
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
            says: claim.says,
            about: claim.about,
            numbers: claim.numbers,
            outcome,
        });
    }
    settled
}

/// A conclusion, and all that it is drawn of.
type Said<'a> = (&'a str, Vec<String>);

/// The verdicts as sentences: one an outcome, in which a conclusion stands once with all that it is drawn of.
#[must_use]
pub fn text(verdicts: &[Verdict]) -> String {
    let mut grouped: Vec<(String, Vec<Said>)> = Vec::new();
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
        match all.iter_mut().find(|(says, _)| *says == verdict.says) {
            Some((_, of)) => of.push(words),
            None => all.push((&verdict.says, vec![words])),
        }
    }
    let one = |(says, of): &Said| match of.concat().as_str() {
        "" => (*says).to_owned(),
        _ => format!("{says} ({})", of.join("; ")),
    };
    let sentence =
        |(head, all): &(String, Vec<_>)| format!("{head}: {}.", all.iter().map(one).collect::<Vec<_>>().join(", "));
    grouped.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

/// [`settle`] and [`text`] in one.
#[must_use]
pub fn said(claims: Vec<Claim>) -> String {
    text(&settle(claims))
}

pub(crate) fn few(n: usize) -> String {
    format!("n = {n}")
}

/// That a quantity is above `x`.
pub(crate) fn above(estimate: Result<Estimate, String>, x: f64) -> Tested {
    let same = || "the same for every seed: no test".to_owned();
    estimate?.beside(x).ok_or_else(same)
}

/// That a quantity is below `x`.
pub(crate) fn below(estimate: Result<Estimate, String>, x: f64) -> Tested {
    above(estimate, x).map(|(favour, against)| (against, favour))
}

/// That all of it holds; one part that does not is enough against it.
pub(crate) fn all(parts: &[Tested]) -> Tested {
    let parts = parts.iter().cloned().collect::<Result<Vec<_>, _>>()?;
    let favour = parts.iter().map(|part| part.0).fold(0.0, f64::max);
    let against = parts.iter().map(|part| part.1).fold(1.0, f64::min);
    Ok((favour, (against * parts.len() as f64).min(1.0)))
}

/// That some of it holds: the contrary of all of it not holding.
pub(crate) fn any(parts: &[Tested]) -> Tested {
    let swapped: Vec<Tested> = parts.iter().cloned().map(|part| part.map(|(a, b)| (b, a))).collect();
    all(&swapped).map(|(favour, against)| (against, favour))
}

/// The mean of a few values; none of too few.
pub(crate) fn mean(values: &[f64]) -> Result<Estimate, String> {
    let enough = Some(values).filter(|values| values.len() >= FEWEST);
    enough.and_then(Estimate::mean).ok_or_else(|| few(values.len()))
}

/// Two groups that share nothing.
pub(crate) fn groups(a: &[f64], b: &[f64]) -> Result<Estimate, String> {
    Ok(Estimate::sum(&[(1.0, mean(a)?), (-1.0, mean(b)?)]))
}

/// `a` less `b` over the seeds that both have.
pub(crate) fn paired(a: &Scores, b: &Scores) -> Result<Estimate, String> {
    let differences = a.seeds.iter().filter_map(|(seed, a)| Some(a - b.seeds.get(seed)?));
    let differences: Vec<f64> = differences.collect();
    mean(&differences)
}

pub(crate) fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = values.collect();
    all.iter().sum::<f64>() / all.len().max(1) as f64
}
