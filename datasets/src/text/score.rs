//! What the scorer of a data set gets and gives.

use super::data::Prompt;
use crate::metric::generated::{Scores, Segment};

/// Generated texts, one a context, beside what they are scored against.
pub(crate) struct Outputs<'a> {
    /// The contexts with their references.
    pub prompts: &'a [Prompt],
    /// What was generated.
    pub texts: &'a [String],
    /// Texts and references as most metrics take them.
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

/// Scores by what follows the split in their names in records: `/BLEU`, and of a part of the texts `_seen/BLEU`.
pub(crate) type NamedScores = Vec<(String, Option<f64>)>;

/// Scores of a part of the texts; of all, `group` is empty.
pub(crate) fn named(scores: Scores, group: &str) -> NamedScores {
    let named = scores.into_iter();
    named.map(|(name, value)| (format!("{group}/{name}"), value)).collect()
}

/// Those scores that have a name in records, under it.
pub(crate) fn renamed(scores: Scores, names: &[(&str, &'static str)]) -> Scores {
    let own = scores.into_iter().filter_map(|(name, value)| {
        let (_, new) = names.iter().find(|(old, _)| *old == name)?;
        Some((*new, value))
    });
    own.collect()
}
