//! Text generation with a causal language model: greedy, sampling, and beam search as in the paper's code or in
//! transformers.
//!
//! Prompts of different lengths are batched, and a key-value cache makes each new token cost one token's work. The same
//! prompts, settings and batch size give the same texts. Another batch size can change the last bits of a score, and so
//! the choice between two equal candidates.

mod beam;
mod candidates;
mod ngram;
mod search;
mod settings;
mod single;

pub use settings::{Flavour, Generation, GenerationSettings, Strategy};

use crate::batch::Batch;
use crate::device::guarded;
use crate::model::{Causal, Model};
use crate::profile::{Phase, phase};
use crate::{Error, Result};
use search::{Beam, Live, Rule};
use std::sync::atomic::{AtomicBool, Ordering};
use tch::{Device, Tensor};

/// Rows and new tokens from which packing the weights takes less time than it saves.
const PACK_FROM: (usize, usize) = (4, 6);

/// A finished text, for observers.
#[derive(Debug)]
pub struct Done<'a> {
    /// Index of the prompt.
    pub index: usize,
    /// The generated text.
    pub generation: &'a Generation,
    /// Finished texts so far.
    pub done: usize,
    /// All prompts.
    pub total: usize,
}

/// Generates texts with one model.
pub struct Generator<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// How texts are generated.
    pub settings: &'a GenerationSettings,
    /// Prompts per batch; beam search has one row per beam and prompt.
    pub batch_size: usize,
    /// The model's device.
    pub device: Device,
    /// When true (Ctrl-C), generation stops after the current token.
    pub stop: Option<&'a AtomicBool>,
}

impl Generator<'_> {
    /// Generates a text for each of `prompts` (token ids), in their order; `observe` is called after each.
    ///
    /// # Errors
    /// [`Error::Config`] for settings or prompts that are not valid, [`Error::NonFiniteLogits`],
    /// [`Error::OutOfMemory`], [`Error::GenerationStopped`].
    pub fn generate(&self, prompts: &[Vec<i64>], observe: &mut dyn FnMut(Done)) -> Result<Vec<Generation>> {
        self.run(prompts, &mut |_| {}, observe)
    }

    /// Generates a text for one prompt, the same as [`Generator::generate`]. `observe` gets the tokens so far after each token.
    ///
    /// # Errors
    /// As there; [`Error::Config`] for beam search, whose text is known at its end alone.
    pub fn stream(&self, prompt: &[i64], observe: &mut dyn FnMut(&[i64])) -> Result<Generation> {
        if let Strategy::Beam { .. } = self.settings.strategy {
            let what =
                "beam search has no text before its end; only greedy decoding and sampling give token after token";
            return Err(Error::Config(what.into()));
        }
        let texts = self.run(&[prompt.to_vec()], observe, &mut |_| {})?;
        Ok(texts.into_iter().next().unwrap_or_default())
    }

    /// `token` gets the tokens of each row after each step, where there is one row per prompt.
    fn run(
        &self,
        prompts: &[Vec<i64>],
        token: &mut dyn FnMut(&[i64]),
        observe: &mut dyn FnMut(Done),
    ) -> Result<Vec<Generation>> {
        let what = "generation needs a causal language model, which this model is not";
        let causal = self.model.causal().ok_or_else(|| Error::Config(what.into()))?;
        self.settings.check(self.model)?;
        check_prompts(prompts, self.settings.max_new_tokens, self.model)?;
        let _guard = tch::no_grad_guard();
        let _decoding = phase(Phase::Decoding, self.device);
        let rows = self.batch_size.min(prompts.len()) * self.settings.rows();
        let packs = rows >= PACK_FROM.0 && self.settings.max_new_tokens >= PACK_FROM.1;
        let _packed = packs.then(|| causal.packed());
        let total = prompts.len();
        let (mut texts, mut done) = (vec![Generation::default(); total], 0);
        // Longest first: prompts of a batch have similar lengths, and a lack of memory shows in the first batch.
        let mut order: Vec<usize> = (0..total).collect();
        order.sort_by_key(|i| std::cmp::Reverse(prompts[*i].len()));
        for group in order.chunks(self.batch_size.max(1)) {
            let live = group.iter().map(|i| self.start(*i, &prompts[*i])).collect();
            let mut finish = |index: usize, generation: Generation| {
                texts[index] = generation;
                done += 1;
                let generation = &texts[index];
                observe(Done {
                    index,
                    generation,
                    done,
                    total,
                });
            };
            if !guarded("generating", || {
                self.generate_batch(causal, live, &mut *token, &mut finish)
            })? {
                return Err(Error::GenerationStopped { done, total });
            }
        }
        Ok(texts)
    }

    fn start<'p>(&self, index: usize, prompt: &'p [i64]) -> Live<'p> {
        let s = self.settings;
        let rule: Box<dyn Rule> = match s.strategy {
            Strategy::Beam {
                beams,
                length_penalty,
                flavour,
            } => beam::rule(s, (beams, length_penalty), flavour, prompt.len()),
            _ => Box::new(single::Single::new(s)),
        };
        Live {
            index,
            prompt,
            beams: vec![Beam::default()],
            rule,
        }
    }

    /// Generates the texts of one batch; false if it was stopped.
    fn generate_batch(
        &self,
        causal: &dyn Causal,
        mut live: Vec<Live>,
        token: &mut dyn FnMut(&[i64]),
        finish: &mut dyn FnMut(usize, Generation),
    ) -> Result<bool> {
        let prompts: Vec<&[i64]> = live.iter().map(|l| l.prompt).collect();
        let beams = self.settings.rows();
        let (mut scores, mut cache) = causal.prefill(&Batch::of_prompts(&prompts, self.device)?, beams as i64);
        loop {
            if self.stop.is_some_and(|s| s.load(Ordering::Relaxed)) {
                return Ok(false);
            }
            let candidates = self.settings.candidates(scores, &live)?;
            if candidates.iter().flatten().any(|beam| beam.score.is_nan()) {
                return Err(Error::NonFiniteLogits);
            }
            let before = live.len();
            let mut kept = Vec::new();
            let mut rest = Vec::new();
            for (at, (mut prompt, candidates)) in live.into_iter().zip(candidates).enumerate() {
                if let [only] = &candidates[..] {
                    token(&only.tokens);
                }
                prompt.beams = prompt.rule.advance(candidates);
                if prompt.beams.is_empty() {
                    finish(prompt.index, prompt.rule.outcome());
                } else {
                    kept.push(at as i64);
                    rest.push(prompt);
                }
            }
            live = rest;
            if live.is_empty() {
                return Ok(true);
            }
            if live.len() < before {
                cache.keep(&kept)?;
            }
            let rows = || {
                live.iter()
                    .enumerate()
                    .flat_map(|(i, l)| l.beams.iter().map(move |b| (i, b)))
            };
            let parents: Vec<i64> = rows().map(|(i, b)| (i * beams + b.parent) as i64).collect();
            cache.reorder(&parents)?;
            let ids: Vec<i64> = rows().filter_map(|(_, b)| b.tokens.last().copied()).collect();
            scores = causal.decode(&Tensor::from_slice(&ids).to_device(self.device), &mut cache);
        }
    }
}

impl GenerationSettings {
    /// The candidates for the next token of each prompt, best first, from the logits `[rows, vocab]` of its beams.
    fn candidates(&self, scores: Tensor, live: &[Live]) -> Result<Vec<Vec<Beam>>> {
        match self.strategy {
            Strategy::Beam { flavour, .. } => beam::candidates(scores, live, self, flavour),
            Strategy::Greedy => single::greedy(scores, live, self),
            Strategy::Sample {
                temperature,
                top_k,
                top_p,
                seed,
            } => single::sample(
                scores,
                live,
                self,
                |s| single::filtered(s, temperature, top_k, top_p),
                seed,
            ),
        }
    }

    fn check(&self, model: &dyn Model) -> Result<()> {
        let vocab = model.vocab();
        let fault = match &self.strategy {
            Strategy::Sample { temperature, .. } if !temperature.is_finite() || *temperature <= 0.0 => {
                Some(format!("temperature must be a positive number, not {temperature}"))
            }
            Strategy::Sample { top_k: Some(0), .. } => Some("top_k must be at least 1".into()),
            Strategy::Sample { top_p: Some(p), .. } if !(*p > 0.0 && *p <= 1.0) => {
                Some(format!("top_p must be above 0 and at most 1, not {p}"))
            }
            Strategy::Beam { beams: 0, .. } => Some("beams must be at least 1".into()),
            Strategy::Beam { length_penalty, .. } if !length_penalty.is_finite() => {
                Some(format!("length_penalty must be a number, not {length_penalty}"))
            }
            Strategy::Beam { beams, flavour, .. } if beam::count(self, *beams, *flavour) as i64 > vocab => {
                Some(format!("{beams} beams are too many for a vocabulary of {vocab}"))
            }
            _ if self.max_new_tokens == 0 => Some("max_new_tokens must be at least 1".into()),
            _ if self.bad_words.iter().any(Vec::is_empty) => {
                Some("bad_words holds an empty list; each must name at least one token".into())
            }
            _ => {
                let named = self.end.iter().map(|id| ("end", id));
                let mut named = named.chain(self.bad_words.iter().flatten().map(|id| ("bad_words", id)));
                let beyond = named.find(|(_, id)| !(0..vocab).contains(*id));
                beyond.map(|(what, id)| format!("the {what} token {id} is beyond the model's vocabulary of {vocab}"))
            }
        };
        fault.map_or(Ok(()), |fault| Err(Error::Config(fault)))
    }
}

fn check_prompts(prompts: &[Vec<i64>], new: usize, model: &dyn Model) -> Result<()> {
    let (longest, vocab) = (model.max_len() as usize + 1, model.vocab()); // the last generated token is never an input
    for (i, prompt) in prompts.iter().enumerate() {
        let fault = if prompt.is_empty() {
            "is empty: it needs at least one token, such as the separator".to_string()
        } else if prompt.len() + new > longest {
            format!(
                "has {} tokens and {new} more are to be generated, but the model takes {}: shorten the prompt to {} tokens or generate fewer",
                prompt.len(),
                longest - 1,
                longest.saturating_sub(new)
            )
        } else if let Some(id) = prompt.iter().find(|id| !(0..vocab).contains(*id)) {
            format!("has token id {id}, beyond the model's vocabulary of {vocab}: the tokenizer is another model's")
        } else {
            continue;
        };
        return Err(Error::Config(format!("prompt {} of {} {fault}", i + 1, prompts.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_yaml() {
        let read = |text: &str| serde_yaml::from_str::<GenerationSettings>(text).map_err(|e| e.to_string());
        let beam = "{strategy: {kind: beam, beams: 10, length_penalty: 0.8, flavour: paper}, max_new_tokens: 64, end: [50256, 628], no_repeat_ngram: 4}";
        let expected = GenerationSettings {
            strategy: Strategy::Beam {
                beams: 10,
                length_penalty: 0.8,
                flavour: Flavour::Paper,
            },
            max_new_tokens: 64,
            end: vec![50256, 628],
            no_repeat_ngram: 4,
            bad_words: Vec::new(),
        };
        assert_eq!(read(beam), Ok(expected));
        let sample = read("{strategy: {kind: sample, top_p: 0.9, seed: 1}, max_new_tokens: 5, end: []}").unwrap();
        assert!(matches!(
            sample.strategy,
            Strategy::Sample {
                temperature: 1.0,
                top_k: None,
                top_p: Some(0.9),
                seed: 1
            }
        ));
        assert_eq!(
            read("{strategy: {kind: greedy}, max_new_tokens: 5, end: []}").map(|s| s.strategy),
            Ok(Strategy::Greedy)
        );
        let text = read("{strategy: {kind: beam, beams: 2, flavour: papre}, max_new_tokens: 5, end: []}").unwrap_err();
        assert!(
            text.contains("expected one of `paper`, `transformers`, `transformers_early`, `transformers_3`"),
            "{text}"
        );
        let text = read("{strategy: {kind: greedy}, max_new_tokens: 5, end: [], beams: 3}").unwrap_err();
        assert!(text.contains("unknown field `beams`"), "{text}");
    }
}
