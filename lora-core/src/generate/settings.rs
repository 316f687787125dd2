//! How texts are generated.

use serde::{Deserialize, Serialize};

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// The likeliest token.
    Greedy,
    /// A token drawn from what is left of the distribution.
    Sample {
        /// Scores are divided by it first: below 1 sharpens.
        #[serde(default = "one")]
        temperature: f64,
        /// Only so many of the likeliest tokens are left.
        #[serde(default)]
        top_k: Option<usize>,
        /// Only the likeliest tokens are left that together reach this probability (Holtzman et al., 2020); after `top_k`.
        #[serde(default)]
        top_p: Option<f64>,
        /// What is drawn depends on it, the prompt's index and the token's, and on nothing else.
        seed: u64,
    },
    /// The likeliest text among those that a number of beams find.
    Beam {
        /// Beams a prompt.
        beams: usize,
        /// A text of n tokens is judged by its log-probability / n^this: more favours longer texts.
        #[serde(default = "one")]
        length_penalty: f64,
        /// Whose beam search.
        flavour: Flavour,
    },
}

fn one() -> f64 {
    1.0
}

/// The beam searches differ in when a text counts as finished, in what n-gram bans look at, and in when they stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    /// That of the paper's GPT-2 code. All beams start from one copy of the prompt. Bans look at what was written, not at the
    /// prompt, and come before the log-softmax, so that the tokens that are left share the whole probability. A beam that writes
    /// an end token is judged with that token counted, and retired: its place is taken by continuations of the others. All
    /// `max_new_tokens` steps are made, and then the unfinished beams are judged too. (A search whose outcome no further step
    /// can change ends at once.)
    Paper,
    /// transformers' (5.x) with `early_stopping=False`: bans look at the prompt too and come after the log-softmax; there are as
    /// many finished texts as beams; it stops once the best running beam, judged at its present length, is no better than the
    /// worst of them.
    Transformers,
    /// The same with `early_stopping=True`: it stops once there are as many finished texts as beams.
    TransformersEarly,
    /// transformers' of 2020 (3.x), which Li and Liang's code uses, with `early_stopping=False`: a text is judged by its length
    /// with the prompt and without the end token; and it stops once the likeliest candidate, ended or not, judged without its
    /// last token, is no better than the worst finished text.
    #[serde(rename = "transformers_3")]
    Transformers3,
}

/// What is written, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How the next token is chosen.
    pub strategy: Strategy,
    /// The most tokens that are written behind a prompt.
    pub max_new_tokens: usize,
    /// Tokens that end a text.
    pub end: Vec<i64>,
    /// No n-gram of this length is written twice; 0 = no such ban. It looks at prompt and text, but see [`Flavour::Paper`].
    #[serde(default)]
    pub no_repeat_ngram: usize,
    /// Tokens, or several in a row, that are never written: transformers' `bad_words_ids` (an end token is banned too, where
    /// transformers ignores the ban). They are looked for where n-grams are.
    #[serde(default)]
    pub bad_words: Vec<Vec<i64>>,
}

impl Settings {
    /// Rows that each prompt is continued by.
    pub(super) fn rows(&self) -> usize {
        match self.strategy {
            Strategy::Beam { beams, .. } => beams,
            _ => 1,
        }
    }
}

/// What was written behind a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generation {
    /// The tokens, the end token included if one was written.
    pub tokens: Vec<i64>,
    /// Whether an end token was written.
    pub ended: bool,
    /// Beam search: what the text was judged by. Otherwise the log-probability that the model gave it.
    pub score: f64,
}
