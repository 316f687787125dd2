//! The tokens of a document that an encoder has to predict.

use anyhow::{Result, ensure};
use datasets::Tokenizer;
use datasets::synthetic::{Document, Verdict};
use lora_core::batch::{Row, Target, UNSCORED};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// `<s>`, `<pad>`, `</s>`, `<unk>` and `<mask>` have the ids below this.
const TEXT: u32 = 5;
const MASK: i64 = 4;
const END: u32 = 2;

/// The tokens to predict, and their replacements in the input.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Masking {
    /// Share of the tokens to predict.
    mask: f64,
    /// Share of these replaced by `<mask>`.
    masked: f64,
    /// Share of these replaced by a random token.
    random: f64,
    /// Share of the documents of two parts in which the first word of the second part is among these. It sums up the first part, or
    /// is found in it, which is how a model of this size comes to compare the two.
    opening: f64,
    /// Share of the words on which there is a verdict that stay as they are, and in whose place the verdict is predicted: `yes` if
    /// the first part says so, `no` if it says otherwise, `perhaps` if it says nothing of it. This is the detection of replaced
    /// tokens of ELECTRA (Clark et al., 2020), with words of the vocabulary as its classes.
    #[serde(default)]
    judged: f64,
    /// Share of the compared documents in which the verdict on the whole second part is predicted in the place of its full stop.
    #[serde(default)]
    summed: f64,
}

impl Masking {
    /// Refuses shares that are none.
    pub fn check(&self) -> Result<()> {
        let shares = [
            self.mask,
            self.masked,
            self.random,
            self.opening,
            self.masked + self.random,
            self.judged,
            self.summed,
        ];
        ensure!(
            shares.iter().all(|x| (0.0..=1.0).contains(x)),
            "`mask`, `masked`, `random`, `opening`, `judged`, `summed` and `masked` + `random` must be from 0 to 1"
        );
        Ok(())
    }

    /// The row of `document`, whose tokens are `ids`, in which some have to be predicted, at least one; with the configured
    /// probability the first of the second part. Special tokens never are. A word that the first part does not confirm cannot be
    /// predicted, and is shown.
    pub fn row(&self, tokenizer: &Tokenizer, ids: &[u32], document: &Document, rng: &mut ChaCha8Rng) -> Row {
        let vocab = tokenizer.vocab_size() as i64;
        let text: Vec<usize> = (0..ids.len()).filter(|i| ids[*i] >= TEXT).collect();
        let opening = ids.windows(2).position(|w| w == [END, END]).map(|at| at + 2);
        let any = text.get(rng.random_range(0..text.len().max(1))).copied();
        let sure = opening.filter(|_| rng.random_bool(self.opening)).or(any);
        let verdicts = verdicts(tokenizer, ids, opening, document);
        let summed = text.last().copied().filter(|_| rng.random_bool(self.summed));
        let mut shown: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let mut wanted = vec![UNSCORED; ids.len()];
        for at in text {
            let is_known = matches!(verdicts[at], None | Some(Verdict::Agrees));
            if Some(at) == summed && document.verdict.is_some() {
                wanted[at] = document.verdict.map_or(UNSCORED, |verdict| word(tokenizer, verdict));
            } else if is_known && (Some(at) == sure || rng.random_bool(self.mask)) {
                wanted[at] = shown[at];
                let way: f64 = rng.random();
                if way < self.masked {
                    shown[at] = MASK;
                } else if way < self.masked + self.random {
                    shown[at] = rng.random_range(i64::from(TEXT)..vocab);
                }
            } else if let Some(verdict) = verdicts[at].filter(|_| rng.random_bool(self.judged)) {
                wanted[at] = word(tokenizer, verdict);
            }
        }
        Row {
            ids: shown,
            types: Vec::new(),
            prompt: None,
            target: Target::Tokens(wanted),
        }
    }
}

/// The token that says `verdict`; no token to predict in a vocabulary without it.
fn word(tokenizer: &Tokenizer, verdict: Verdict) -> i64 {
    let word = match verdict {
        Verdict::Agrees => "\u{120}yes",
        Verdict::Differs => "\u{120}no",
        Verdict::Open => "\u{120}perhaps",
    };
    tokenizer.token_id(word).map_or(UNSCORED, i64::from)
}

/// The verdicts of `row` as the only tokens to predict: those on words, or those on whole second parts. None if it has none.
pub fn only_verdicts(tokenizer: &Tokenizer, row: &Row, whole: bool) -> Option<Row> {
    let Target::Tokens(wanted) = &row.target else {
        return None;
    };
    let words = [Verdict::Agrees, Verdict::Differs, Verdict::Open].map(|verdict| word(tokenizer, verdict));
    let stop = [".", "?"].map(|stop| tokenizer.token_id(stop).map(i64::from));
    let keep = |(shown, wanted): (&i64, &i64)| {
        let is_verdict = *shown != MASK && shown != wanted && words.contains(wanted);
        match is_verdict && stop.contains(&Some(*shown)) == whole {
            true => *wanted,
            false => UNSCORED,
        }
    };
    let kept: Vec<i64> = row.ids.iter().zip(wanted).map(keep).collect();
    kept.iter().any(|id| *id != UNSCORED).then(|| Row {
        target: Target::Tokens(kept),
        ..row.clone()
    })
}

/// The verdict on each token that opens a word of the second part.
fn verdicts(tokenizer: &Tokenizer, ids: &[u32], opening: Option<usize>, document: &Document) -> Vec<Option<Verdict>> {
    let mut verdicts = vec![None; ids.len()];
    let second = opening.unwrap_or(ids.len())..ids.len();
    let opens_word = second.filter(|at| tokenizer.opens_word(ids[*at]));
    for (at, verdict) in opens_word.zip(&document.verdicts) {
        verdicts[at] = *verdict;
    }
    verdicts
}
