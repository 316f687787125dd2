//! What the data sets of summaries have in common: a record is a text and its summary, scored by ROUGE.

use super::data::Record;
use super::input::Input;
use super::score::{NamedScores, Outputs, named};
use crate::metric::generated::ScoreError;
use crate::metric::rouge;
use crate::metric::scorers::Scorers;

pub(crate) const METRICS: &[&str] = &["rouge1", "rouge2", "rougeL"];

/// The text in the prompt's only place, with LF line ends; a record to be left out where either is missing.
pub(crate) fn record(input: &Input<'_>, text: Option<&str>, summary: Option<&str>) -> Record {
    let text = text.unwrap_or_default().replace("\r\n", "\n");
    let (text, summary) = (text.trim(), summary.unwrap_or_default().trim());
    if text.is_empty() || summary.is_empty() {
        return Record::default();
    }
    Record {
        context: input.template.fill(&[text]),
        references: vec![summary.to_owned()],
        ..Record::default()
    }
}

/// ROUGE's F without and with stemming: the paper does not say which it prints.
pub(crate) fn score(outputs: &Outputs<'_>, _: &Scorers) -> Result<NamedScores, ScoreError> {
    let f = |stemmed| {
        let scores = rouge::score(&outputs.segments, stemmed).into_iter();
        named(scores.filter(|(name, _)| !name.contains('_')).collect(), "")
    };
    let stemmed = f(true).into_iter().map(|(name, value)| (name + "_stemmed", value));
    Ok(f(false).into_iter().chain(stemmed).collect())
}
