//! Input and output of the scorers of text data sets.

use super::data::Prompt;
use crate::metric::generated::{Scores, Segment};

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
