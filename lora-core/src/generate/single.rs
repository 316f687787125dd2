//! Strategies with one row per prompt: greedy and sampling.

use super::candidates::best;
use super::ngram::ban;
use super::search::{Beam, Live, Rule, generation};
use super::settings::{Generation, GenerationSettings};
use crate::nn::takes_logits;
use crate::seed::derive;
use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

/// Continues until an end token or the last step.
#[derive(Debug)]
pub(super) struct Single {
    end: Vec<i64>,
    steps: usize,
    text: Generation,
}

impl Single {
    pub(super) fn new(s: &GenerationSettings) -> Single {
        Single {
            end: s.end.clone(),
            steps: s.max_new_tokens,
            text: Generation::default(),
        }
    }
}

impl Rule for Single {
    fn advance(&mut self, candidates: Vec<Beam>) -> Vec<Beam> {
        if let Some(beam) = candidates.first() {
            self.text = generation(beam, beam.score, &self.end);
        }
        if self.text.ended || self.text.tokens.len() >= self.steps {
            return Vec::new();
        }
        candidates
    }

    fn outcome(&mut self) -> Generation {
        std::mem::take(&mut self.text)
    }
}

/// The most probable token of each row.
pub(super) fn greedy(scores: Tensor, live: &[Live], s: &GenerationSettings) -> Result<Vec<Vec<Beam>>> {
    if takes_logits(&scores) {
        return best(&scores, live, s, false, 1);
    }
    let tokens = ban(scores.shallow_clone(), live, s, true).argmax(-1, false);
    continued(&scores, &tokens, live)
}

/// A token sampled for each row. `filter` maps logits `[rows, vocab]` to probabilities, highest first, and their
/// tokens.
pub(super) fn sample(
    scores: Tensor,
    live: &[Live],
    s: &GenerationSettings,
    filter: impl Fn(&Tensor) -> (Tensor, Tensor),
    seed: u64,
) -> Result<Vec<Vec<Beam>>> {
    let (p, tokens) = filter(&ban(scores.shallow_clone(), live, s, true));
    let draw = |l: &Live| {
        let index = l.beams.first().map_or(0, |b| b.tokens.len());
        let purpose = format!("sample token {index} of prompt");
        ChaCha8Rng::seed_from_u64(derive(seed, &purpose, l.index as u64)).random::<f64>()
    };
    let draws: Vec<f64> = live.iter().map(draw).collect();
    // The first token at which the cumulative probability exceeds the draw.
    let sums = p.cumsum(-1, Kind::Double);
    let last = sums.narrow(-1, sums.size()[1] - 1, 1);
    let draws = Tensor::from_slice(&draws).to_device(p.device()).unsqueeze(-1) * last;
    let at = sums.le_tensor(&draws).sum_dim_intlist(-1, true, Kind::Int64);
    continued(&scores, &tokens.gather(1, &at, false).squeeze_dim(-1), live)
}

/// Probabilities of `scores` `[rows, vocab]` after temperature, top-k and top-p, highest first, and their tokens.
pub(super) fn filtered(
    scores: &Tensor,
    temperature: f64,
    top_k: Option<usize>,
    top_p: Option<f64>,
) -> (Tensor, Tensor) {
    let scores = scores / temperature;
    let (sorted, tokens) = match top_k {
        Some(k) => scores.topk((k as i64).min(scores.size()[1]), -1, true, true),
        None => scores.sort(-1, true),
    };
    let p = sorted.softmax(-1, Kind::Double);
    let Some(top_p) = top_p else { return (p, tokens) };
    let before = p.cumsum(-1, Kind::Double) - &p;
    let p = p.masked_fill(&before.ge(top_p), 0.0);
    let sum = p.sum_dim_intlist(-1, true, Kind::Double);
    (p / sum, tokens)
}

/// The rows of `live`, each extended by its token of `tokens` `[rows]` with the log-probability given by `scores`
/// `[rows, vocab]`.
fn continued(scores: &Tensor, tokens: &Tensor, live: &[Live]) -> Result<Vec<Vec<Beam>>> {
    let gained = scores
        .log_softmax(-1, Kind::Float)
        .gather(1, &tokens.unsqueeze(-1), false);
    let failed = || Error::torch("reading the chosen tokens");
    let tokens: Vec<i64> = Vec::try_from(tokens).map_err(failed())?;
    let gained: Vec<f32> = Vec::try_from(gained.squeeze_dim(-1)).map_err(failed())?;
    let next = |((l, token), gained): ((&Live, i64), f32)| {
        let mut beam = l.beams.first().cloned().unwrap_or_default();
        beam.tokens.push(token);
        beam.score += gained;
        vec![beam]
    };
    Ok(live.iter().zip(tokens).zip(gained).map(next).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;
    use std::path::Path;

    /// The reference is transformers' logits warpers; `tests/parity/make_gpt2_golden.py` writes it.
    #[test]
    fn temperature_top_k_and_top_p_match_transformers() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/golden/gpt2");
        let file = Weights::open(&dir.join("sample.safetensors")).unwrap();
        let text = std::fs::read_to_string(dir.join("sample.json")).unwrap();
        let every: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let scores = file.tensor("scores").unwrap();
        for (i, setting) in every.iter().enumerate() {
            let (temperature, top_k, top_p) = (&setting["temperature"], &setting["top_k"], &setting["top_p"]);
            let top_k = top_k.as_u64().map(|k| k as usize);
            let (p, tokens) = filtered(&scores, temperature.as_f64().unwrap(), top_k, top_p.as_f64());
            let all = Tensor::zeros(scores.size(), (Kind::Double, p.device())).scatter(-1, &tokens, &p);
            let difference = (all - file.tensor(&format!("left/{i}")).unwrap()).abs().max();
            let difference = f64::try_from(difference).unwrap();
            assert!(difference < 1e-6, "{setting}: differs by {difference:e}");
        }
    }
}
