//! Generation settings.

use serde::{Deserialize, Serialize};

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// The most probable token.
    Greedy,
    /// A token sampled from the distribution after temperature, top-k and top-p.
    Sample {
        /// Divides the logits: below 1 sharpens the distribution.
        #[serde(default = "one")]
        temperature: f64,
        /// Keeps only this many of the most probable tokens.
        #[serde(default)]
        top_k: Option<usize>,
        /// Keeps only the most probable tokens that together reach this probability (Holtzman et al., 2020); after
        /// `top_k`.
        #[serde(default)]
        top_p: Option<f64>,
        /// Random seed. A sampled token depends only on it and on the indices of prompt and token.
        seed: u64,
    },
    /// Beam search: the text with the best score among those that the beams find.
    Beam {
        /// Beams per prompt.
        beams: usize,
        /// The score of a text of n tokens is its log-probability / n^length_penalty: higher values favour longer
        /// texts.
        #[serde(default = "one")]
        length_penalty: f64,
        /// The variant of beam search.
        flavour: Flavour,
    },
}

fn one() -> f64 {
    1.0
}

/// Variants of beam search. They differ in when a text is finished, in which tokens n-gram bans cover, and in when they
/// stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    /// The paper's GPT-2 code. All beams start from one copy of the prompt. Bans cover the generated text but not the
    /// prompt, and apply before the log-softmax, so the remaining tokens share the whole probability. A beam that
    /// generates an end token is scored with that token included and retired; continuations of the other beams replace
    /// it. The search runs for `max_new_tokens` steps, then scores the unfinished beams too. (Here it stops early once
    /// no step can change the outcome.)
    Paper,
    /// transformers 5.x with `early_stopping=False`. Bans cover prompt and text and apply after the log-softmax. At
    /// most as many finished texts as beams are kept; the search stops once there are that many and the best running
    /// beam, scored at its current length, is no better than the worst of them.
    Transformers,
    /// transformers 5.x with `early_stopping=True`: the search stops once there are as many finished texts as beams.
    TransformersEarly,
    /// transformers 3.x with `early_stopping=False`, which Li and Liang's code uses. The length in a score includes the
    /// prompt but not the end token; the search stops once the most probable candidate, ended or not, scored without
    /// its last token, is no better than the worst finished text.
    #[serde(rename = "transformers_3")]
    Transformers3,
}

/// How texts are generated and when they end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationSettings {
    /// How the next token is chosen.
    pub strategy: Strategy,
    /// Maximal number of tokens generated after a prompt.
    pub max_new_tokens: usize,
    /// Tokens that end a text.
    pub end: Vec<i64>,
    /// Bans repeated n-grams of this length; 0 for no ban. The ban covers prompt and text (but see [`Flavour::Paper`]).
    #[serde(default)]
    pub no_repeat_ngram: usize,
    /// Token sequences that are never generated, as `bad_words_ids` in transformers (which, unlike here, never bans an
    /// end token). They are matched against the same tokens as n-grams.
    #[serde(default)]
    pub bad_words: Vec<Vec<i64>>,
}

impl GenerationSettings {
    /// Rows per prompt.
    pub(super) fn rows(&self) -> usize {
        match self.strategy {
            Strategy::Beam { beams, .. } => beams,
            _ => 1,
        }
    }
}

/// A generated text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generation {
    /// The tokens, including the end token if there is one.
    pub tokens: Vec<i64>,
    /// Whether the text ends with an end token.
    pub ended: bool,
    /// Beam search: the score that ranks texts. Otherwise the text's log-probability.
    pub score: f64,
}
