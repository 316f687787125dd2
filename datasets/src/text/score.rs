//! Input and output of the scorers of text data sets.

use std::collections::BTreeMap;

use super::data::Prompt;
use crate::metric::generated::{ScoreError, Scores, Segment};
use crate::metric::scorers::Scorers;

/// Generated texts, one per context, and what they are scored against.
pub(crate) struct Outputs<'a> {
    /// The contexts with their references.
    pub prompts: &'a [Prompt],
    /// The generated texts.
    pub texts: &'a [String],
    /// Texts with their references, the input of most metrics.
    pub segments: Vec<Segment>,
}

impl<'a> Outputs<'a> {
    pub fn new(prompts: &'a [Prompt], texts: &'a [String]) -> Self {
        let segment = |(prompt, text): (&Prompt, &String)| Segment {
            hyp: text.clone(),
            refs: prompt.references.clone(),
        };
        Self {
            prompts,
            texts,
            segments: prompts.iter().zip(texts).map(segment).collect(),
        }
    }
}

/// How the texts of a task are scored.
#[derive(Clone, Copy, Debug)]
pub struct TextScorer(pub(crate) fn(&Outputs<'_>, &Scorers) -> Result<NamedScores, ScoreError>);

impl TextScorer {
    /// Scores of `texts`, one per prompt of `split`, by name in records (`test/BLEU`). All are fractions except NIST and CIDEr.
    /// `None` for scores whose scorer lacks its data.
    ///
    /// # Errors
    /// [`ScoreError::Texts`], [`ScoreError::NoQuery`].
    pub fn score(
        self,
        split: &str,
        prompts: &[Prompt],
        texts: &[String],
        scorers: &Scorers,
    ) -> Result<BTreeMap<String, Option<f64>>, ScoreError> {
        if texts.len() != prompts.len() {
            return Err(ScoreError::Texts {
                texts: texts.len(),
                contexts: prompts.len(),
            });
        }
        let scores = (self.0)(&Outputs::new(prompts, texts), scorers)?.into_iter();
        Ok(scores.map(|(name, value)| (format!("{split}{name}"), value)).collect())
    }
}

/// Scores by their names in records without the split: `/BLEU`, and `_seen/BLEU` for a part of the texts.
pub(crate) type NamedScores = Vec<(String, Option<f64>)>;

/// Names the scores of a part of the texts; `group` is empty for all.
pub(crate) fn named(scores: Scores, group: &str) -> NamedScores {
    let named = scores.into_iter();
    named.map(|(name, value)| (format!("{group}/{name}"), value)).collect()
}

/// The scores that have a name in records, renamed.
pub(crate) fn renamed(scores: Scores, names: &[(&str, &'static str)]) -> Scores {
    let own = scores.into_iter().filter_map(|(name, value)| {
        let (_, new) = names.iter().find(|(old, _)| *old == name)?;
        Some((*new, value))
    });
    own.collect()
}
