//! Beam search.

use super::candidates::{best, continued};
use super::ngram::ban;
use super::search::{Beam, Live, Rule, generation};
use super::settings::{Flavour, Generation, GenerationSettings};
use crate::nn::takes_logits;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The search rule of `flavour` for a prompt of `prompt` tokens.
pub(super) fn rule(
    s: &GenerationSettings,
    (beams, length_penalty): (usize, f64),
    flavour: Flavour,
    prompt: usize,
) -> Box<dyn Rule> {
    let scoring = Scoring {
        end: s.end.clone(),
        steps: s.max_new_tokens,
        length_penalty,
    };
    match flavour {
        Flavour::Paper => Box::new(Paper { scoring, best: None }),
        Flavour::Transformers | Flavour::TransformersEarly => Box::new(Transformers {
            scoring,
            beams,
            early: flavour == Flavour::TransformersEarly,
            finished: Finished::default(),
        }),
        Flavour::Transformers3 => Box::new(Transformers3 {
            scoring,
            beams,
            prompt,
            finished: Finished::default(),
        }),
    }
}

/// Candidates per prompt. transformers takes more than there are beams, so that enough of them have not ended.
pub(super) fn count(s: &GenerationSettings, beams: usize, flavour: Flavour) -> usize {
    match flavour {
        Flavour::Paper => beams,
        _ => beams * (1 + s.end.len()).max(2),
    }
}

/// The most probable continuations of each prompt, over all of its beams.
pub(super) fn candidates(
    scores: Tensor,
    live: &[Live],
    s: &GenerationSettings,
    flavour: Flavour,
) -> Result<Vec<Vec<Beam>>> {
    let count = count(s, s.rows(), flavour);
    if takes_logits(&scores) {
        return best(&scores, live, s, flavour == Flavour::Paper, count);
    }
    let (vocab, rows) = (scores.size()[1], live.first().map_or(1, |l| l.beams.len()));
    let gained = match flavour {
        Flavour::Paper => ban(scores, live, s, false).log_softmax(-1, Kind::Float),
        _ => ban(scores.log_softmax(-1, Kind::Float), live, s, true),
    };
    let sums: Vec<f32> = live.iter().flat_map(|l| l.beams.iter().map(|b| b.score)).collect();
    let sums = Tensor::from_slice(&sums).to_device(gained.device()).unsqueeze(-1);
    let totals = (gained + sums).view([live.len() as i64, rows as i64 * vocab]);
    let (best, at) = totals.topk(count as i64, 1, true, true);
    let failed = || Error::torch("reading the beams");
    let best: Vec<f32> = Vec::try_from(best.reshape([-1])).map_err(failed())?;
    let at: Vec<i64> = Vec::try_from(at.reshape([-1])).map_err(failed())?;
    Ok(continued(live, vocab, count, &best, &at))
}

/// When a text ends, and its score.
#[derive(Debug)]
struct Scoring {
    end: Vec<i64>,
    steps: usize,
    length_penalty: f64,
}

impl Scoring {
    fn ends(&self, beam: &Beam) -> bool {
        beam.tokens.last().is_some_and(|last| self.end.contains(last))
    }

    /// The score of a text of `len` tokens whose log-probabilities add up to `sum`.
    fn score(&self, sum: f32, len: usize) -> f32 {
        sum / (len as f64).powf(self.length_penalty) as f32
    }
}

/// See [`Flavour::Paper`].
#[derive(Debug)]
struct Paper {
    scoring: Scoring,
    best: Option<Generation>,
}

impl Paper {
    fn consider(&mut self, beam: &Beam) {
        let score = self.scoring.score(beam.score, beam.tokens.len());
        if self.best.as_ref().is_none_or(|b| b.score < f64::from(score)) {
            self.best = Some(generation(beam, score, &self.scoring.end));
        }
    }

    /// Whether `beam` can still beat the best text. Log-probabilities only decrease, so the score is bounded.
    fn can_win(&self, beam: &Beam) -> bool {
        let longest = self.scoring.score(beam.score, self.scoring.steps);
        let highest = longest.max(self.scoring.score(beam.score, beam.tokens.len() + 1));
        beam.score > f32::NEG_INFINITY && self.best.as_ref().is_none_or(|b| b.score < f64::from(highest))
    }
}

impl Rule for Paper {
    fn advance(&mut self, mut candidates: Vec<Beam>) -> Vec<Beam> {
        for beam in &mut candidates {
            if self.scoring.ends(beam) {
                self.consider(beam);
                beam.score = f32::NEG_INFINITY;
            }
        }
        if candidates.first().is_none_or(|b| b.tokens.len() >= self.scoring.steps) {
            candidates.iter().for_each(|beam| self.consider(beam));
            return Vec::new();
        }
        if candidates.iter().any(|beam| self.can_win(beam)) {
            candidates
        } else {
            Vec::new()
        }
    }

    fn outcome(&mut self) -> Generation {
        self.best.take().unwrap_or_default()
    }
}

/// The best finished texts, at most one per beam, best first.
#[derive(Debug, Default)]
struct Finished(Vec<Generation>);

impl Finished {
    /// Adds a text; of equal scores the earlier text ranks first.
    fn add(&mut self, text: Generation, beams: usize) {
        self.0.push(text);
        self.0.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.0.truncate(beams);
    }

    /// The worst score, once there are as many texts as beams.
    fn worst(&self, beams: usize) -> Option<f64> {
        self.0.last().filter(|_| self.0.len() == beams).map(|f| f.score)
    }

    fn take_best(&mut self) -> Generation {
        self.0.drain(..).next().unwrap_or_default()
    }
}

/// See [`Flavour::Transformers`]. Texts that transformers excludes by lowering their scores by 1e9 are simply excluded
/// here.
#[derive(Debug)]
struct Transformers {
    scoring: Scoring,
    beams: usize,
    early: bool,
    finished: Finished,
}

impl Rule for Transformers {
    fn advance(&mut self, candidates: Vec<Beam>) -> Vec<Beam> {
        let last_step = candidates.first().is_none_or(|b| b.tokens.len() >= self.scoring.steps);
        // A candidate that has ended is finished only if it is among the best `beams`.
        for beam in candidates.iter().take(self.beams) {
            if last_step || self.scoring.ends(beam) {
                let score = self.scoring.score(beam.score, beam.tokens.len());
                self.finished
                    .add(generation(beam, score, &self.scoring.end), self.beams);
            }
        }
        let mut running = candidates;
        running.retain(|beam| !self.scoring.ends(beam));
        running.truncate(self.beams);
        let worst = self.finished.worst(self.beams);
        if last_step || self.early && worst.is_some() {
            return Vec::new();
        }
        let best = running
            .first()
            .map(|b| f64::from(self.scoring.score(b.score, b.tokens.len())));
        if worst.is_some() && best <= worst {
            return Vec::new();
        }
        running
    }

    fn outcome(&mut self) -> Generation {
        self.finished.take_best()
    }
}

/// See [`Flavour::Transformers3`].
#[derive(Debug)]
struct Transformers3 {
    scoring: Scoring,
    beams: usize,
    /// Tokens of the prompt.
    prompt: usize,
    finished: Finished,
}

impl Transformers3 {
    fn finish(&mut self, beam: &Beam, new_tokens: usize) {
        let score = self.scoring.score(beam.score, self.prompt + new_tokens);
        self.finished
            .add(generation(beam, score, &self.scoring.end), self.beams);
    }
}

impl Rule for Transformers3 {
    fn advance(&mut self, candidates: Vec<Beam>) -> Vec<Beam> {
        let Some(best) = candidates.first() else {
            return Vec::new();
        };
        let (new_tokens, best) = (best.tokens.len(), best.score);
        for beam in candidates
            .iter()
            .take(self.beams)
            .filter(|b| self.scoring.ends(b))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.finish(&beam, new_tokens - 1);
        }
        let best = f64::from(self.scoring.score(best, self.prompt + new_tokens - 1));
        if self.finished.worst(self.beams).is_some_and(|worst| worst >= best) {
            return Vec::new();
        }
        let mut running = candidates;
        running.retain(|beam| !self.scoring.ends(beam));
        running.truncate(self.beams);
        if new_tokens >= self.scoring.steps {
            running.iter().for_each(|beam| self.finish(beam, new_tokens));
            return Vec::new();
        }
        running
    }

    fn outcome(&mut self) -> Generation {
        self.finished.take_best()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 9;

    fn rule_of(steps: usize) -> Transformers3 {
        Transformers3 {
            scoring: Scoring {
                end: vec![END],
                steps,
                length_penalty: 1.0,
            },
            beams: 2,
            prompt: 10,
            finished: Finished::default(),
        }
    }

    fn beam(tokens: &[i64], score: f32) -> Beam {
        Beam {
            tokens: tokens.to_vec(),
            score,
            parent: 0,
        }
    }

    /// Worked out by hand from transformers 3.2: the score of an ended text is its sum divided by the number of tokens
    /// of prompt and text, without the end token; the search is over once there are two such texts and the most
    /// probable candidate, divided by the same length, is no better than the worse of them.
    #[test]
    fn transformers_3_length_includes_the_prompt_but_not_the_end_token() {
        let mut rule = rule_of(5);
        let running = rule.advance(vec![
            beam(&[1, END], -2.2),
            beam(&[1, 2], -2.3),
            beam(&[2, 2], -2.4),
            beam(&[3, END], -2.5),
        ]);
        assert_eq!(
            running.iter().map(|b| b.tokens.clone()).collect::<Vec<_>>(),
            [[1, 2], [2, 2]]
        );
        // -2.2 / (10 + 1); the fourth candidate has ended but is not among the best two.
        assert_eq!(rule.finished.0.len(), 1);
        assert!((rule.finished.0[0].score + 0.2).abs() < 1e-6);
        // -2.88 / 12 = -0.24: two are finished. -2.76 / 12 = -0.23 is better than -0.24: the search continues.
        let running = rule.advance(vec![
            beam(&[1, 2, 3], -2.76),
            beam(&[1, 2, END], -2.88),
            beam(&[2, 2, 2], -2.9),
        ]);
        assert_eq!(running.len(), 2);
        // -3.25 / 13 = -0.25 is no better than -0.24: the search is over.
        assert!(
            rule.advance(vec![beam(&[1, 2, 3, 4], -3.25), beam(&[2, 2, 2, 2], -3.3)])
                .is_empty()
        );
        let best = rule.outcome();
        assert_eq!((best.tokens, best.ended), (vec![1, END], true));
    }

    #[test]
    fn transformers_3_scores_unfinished_beams_at_the_last_step() {
        let mut rule = rule_of(1);
        assert!(
            rule.advance(vec![beam(&[1], -1.1), beam(&[END], -1.5), beam(&[2], -2.2)])
                .is_empty()
        );
        // -1.1 / 11 = -0.1, -1.5 / 10 = -0.15, -2.2 / 11 = -0.2.
        let scores: Vec<f64> = rule.finished.0.iter().map(|f| (f.score * 100.0).round()).collect();
        assert_eq!(scores, [-10.0, -15.0]);
        assert!(!rule.outcome().ended);
    }
}
