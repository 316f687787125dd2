//! Shared by the data sets of triples: their text form, and the scores of the paper's code.

use super::score::{NamedScores, Outputs, named, renamed};
use crate::metric::generated::{ScoreError, Scores, Segment};
use crate::metric::scorers::Scorers;
use crate::metric::webnlg;

pub(crate) const METRICS: &[&str] = &["BLEU", "METEOR", "TER"];

/// The text form of triples in the paper's code: `subject : property : object` joined by ` | `.
pub(crate) fn joined<T: AsRef<str>>(triples: &[[T; 3]]) -> String {
    let each = triples.iter().map(|t| t.each_ref().map(AsRef::as_ref).join(" : "));
    each.collect::<Vec<_>>().join(" | ")
}

/// Scores of all texts, of those whose category is in the training split, and of those whose category is not.
pub(crate) fn score(outputs: &Outputs<'_>, scorers: &Scorers) -> Result<NamedScores, ScoreError> {
    let mut all = named(scores(&outputs.segments, scorers), "");
    for (group, seen) in [("_seen", true), ("_unseen", false)] {
        let of_group = outputs.prompts.iter().zip(&outputs.segments);
        let of_group = of_group.filter(|(p, _)| p.category.as_ref().is_some_and(|c| c.seen == seen));
        let own: Vec<Segment> = of_group.map(|(_, s)| s.clone()).collect();
        if !own.is_empty() {
            all.extend(named(scores(&own, scorers), group));
        }
    }
    Ok(all)
}

/// As the paper's code scores WebNLG and DART, BLEU as a fraction.
fn scores(segments: &[Segment], scorers: &Scorers) -> Scores {
    let prepared = webnlg::prepared(segments);
    let scores = webnlg::score(&prepared, scorers.nltk.as_ref(), scorers.meteor.as_ref());
    let mut scores = renamed(scores, &[("bleu", "BLEU"), ("meteor", "METEOR"), ("ter", "TER")]);
    for (_, value) in scores.iter_mut().filter(|(name, _)| *name == "BLEU") {
        *value = value.map(|v| v / 100.0);
    }
    scores
}
