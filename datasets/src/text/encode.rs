//! Encoding for causal models as in the paper's GPT-2 code: `context <end> ' ' + completion <end>`, one row
//! a reference, of which the completion and the last `<end>` are scored.

use super::data::Pair;
use crate::tokenize::{END_OF_TEXT, TokenizeError, Tokenizer};

/// The tokens around the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Between context and completion.
    pub separator: u32,
    /// After the completion.
    pub end: u32,
    /// Text before the context.
    pub lead: &'static str,
    /// Text between the separator and the completion.
    pub gap: &'static str,
}

const ENDS: [&str; 2] = [END_OF_TEXT, "</s>"];

impl Frame {
    /// One end of text in both places, as in the paper's code: the first of the model's own `ends`, or where it names none the
    /// tokenizer's (50256 of GPT-2).
    ///
    /// # Errors
    /// [`TokenizeError::NoEnd`], [`TokenizeError::OtherEnd`].
    pub fn of(tokenizer: &Tokenizer, ends: &[u32]) -> Result<Self, TokenizeError> {
        let known = tokenizer.max_id();
        if let Some(&end) = ends.iter().find(|end| **end > known) {
            return Err(TokenizeError::OtherEnd { end, known });
        }
        let own = || ENDS.iter().find_map(|t| tokenizer.token_id(t));
        let end = ends.first().copied().or_else(own);
        let end = end.ok_or_else(|| TokenizeError::NoEnd { known: ENDS.join(", ") })?;
        Ok(Self {
            separator: end,
            end,
            lead: "",
            gap: " ",
        })
    }

    /// That of Li and Liang's code: `lead` ([`Dataset::li_liang`](super::Dataset::li_liang)) before the context, and no blank
    /// before the completion, because their tokenizer strips the text around the separator.
    #[must_use]
    pub fn li_liang(self, lead: &'static str) -> Self {
        Self { lead, gap: "", ..self }
    }

    fn context(&self, context: &str) -> String {
        format!("{}{context}", self.lead)
    }
}

/// Where a row that is too long is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// At its end, as the paper's code does: the completion is lost first.
    End,
    /// At the start of the context, as prompts are cut for decoding; at the end only if the completion alone is too long.
    Start,
}

/// An encoded training row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPair {
    /// Context, separator, completion, end; not padded.
    pub ids: Vec<u32>,
    /// Index of the completion's first token: `ids[scored_from..]` are predicted. Between 1 and `ids.len() - 1`.
    pub scored_from: usize,
}

/// Encoded training rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPairs {
    /// In the order of the pairs.
    pub pairs: Vec<EncodedPair>,
    /// Number of rows that were cut.
    pub cut: usize,
    /// Number of pairs without a token to predict after the cut; they have no row.
    pub left_out: usize,
}

/// Encodes pairs to rows of at most `max_len` tokens, in parallel.
///
/// # Errors
/// [`TokenizeError::MaxLen`] below 3, [`TokenizeError::Encode`].
pub fn pairs(
    tokenizer: &Tokenizer,
    pairs: &[Pair],
    frame: Frame,
    max_len: usize,
    cut: Cut,
) -> Result<EncodedPairs, TokenizeError> {
    check(max_len, 2)?;
    let contexts: Vec<String> = pairs.iter().map(|p| frame.context(&p.context)).collect();
    let completions: Vec<String> = pairs.iter().map(|p| format!("{}{}", frame.gap, p.completion)).collect();
    let (contexts, completions) = (tokenizer.ids(&contexts)?, tokenizer.ids(&completions)?);
    let mut found = EncodedPairs {
        pairs: Vec::with_capacity(pairs.len()),
        cut: 0,
        left_out: 0,
    };
    for (context, completion) in contexts.into_iter().zip(completions) {
        let excess = (context.len() + completion.len() + 2).saturating_sub(max_len);
        let lost = if cut == Cut::Start {
            excess.min(context.len())
        } else {
            0
        };
        let mut ids = context[lost..].to_vec();
        ids.push(frame.separator);
        let scored_from = ids.len();
        ids.extend(completion);
        ids.push(frame.end);
        ids.truncate(max_len);
        found.cut += usize::from(excess > 0);
        if ids.len() > scored_from {
            found.pairs.push(EncodedPair { ids, scored_from });
        } else {
            found.left_out += 1;
        }
    }
    Ok(found)
}

/// Encodes contexts, each followed by the separator, to be continued: at most `max_len` tokens, of which the last ones are
/// kept. (The paper's code leaves 64 of 512 for what is generated: 448.)
///
/// # Errors
/// [`TokenizeError::MaxLen`] below 2, [`TokenizeError::Encode`].
pub fn contexts<T: AsRef<str> + Sync>(
    tokenizer: &Tokenizer,
    contexts: &[T],
    frame: Frame,
    max_len: usize,
) -> Result<Vec<Vec<u32>>, TokenizeError> {
    check(max_len, 1)?;
    let contexts: Vec<String> = contexts.iter().map(|c| frame.context(c.as_ref())).collect();
    let mut all = tokenizer.ids(&contexts)?;
    for ids in &mut all {
        ids.push(frame.separator);
        let excess = ids.len().saturating_sub(max_len);
        ids.drain(..excess);
    }
    Ok(all)
}

fn check(max_len: usize, specials: usize) -> Result<(), TokenizeError> {
    if max_len <= specials {
        return Err(TokenizeError::MaxLen { max_len, specials });
    }
    Ok(())
}

/// The answer in a generated text: all before the end token and the first blank line, trimmed, as in the paper's code.
pub fn answer(text: &str) -> &str {
    let text = text.split(END_OF_TEXT).next().unwrap_or_default();
    text.split("\n\n").next().unwrap_or_default().trim()
}
