//! Shared by the data sets of summaries: records of a text and its summary, and ROUGE.

use super::data::Record;
use super::input::Input;
use super::score::{NamedScores, Outputs, named};
use crate::metric::generated::ScoreError;
use crate::metric::rouge;
use crate::metric::scorers::Scorers;

pub(crate) const METRICS: &[&str] = &["rouge1", "rouge2", "rougeL"];

/// A record with LF line ends; an empty one, which is skipped, if text or summary is missing.
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

/// ROUGE F1 without and with stemming, because the paper does not state which it reports.
pub(crate) fn score(outputs: &Outputs<'_>, _: &Scorers) -> Result<NamedScores, ScoreError> {
    let f = |stemmed| {
        let scores = rouge::score(&outputs.segments, stemmed).into_iter();
        named(scores.filter(|(name, _)| !name.contains('_')).collect(), "")
    };
    let stemmed = f(true).into_iter().map(|(name, value)| (name + "_stemmed", value));
    Ok(f(false).into_iter().chain(stemmed).collect())
}
