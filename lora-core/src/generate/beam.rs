//! Beam search.

use super::ngram::ban;
use super::search::{Beam, Live, Rule, generation};
use super::settings::{Flavour, Generation, Settings};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The rule of `flavour` for one prompt of `prompt` tokens.
pub(super) fn rule(
    s: &Settings,
    (beams, length_penalty): (usize, f64),
    flavour: Flavour,
    prompt: usize,
) -> Box<dyn Rule> {
    let judge = Judge {
        end: s.end.clone(),
        steps: s.max_new_tokens,
        length_penalty,
    };
    match flavour {
        Flavour::Paper => Box::new(Paper { judge, best: None }),
        Flavour::Transformers | Flavour::TransformersEarly => Box::new(Transformers {
            judge,
            beams,
            early: flavour == Flavour::TransformersEarly,
            finished: Finished::default(),
        }),
        Flavour::Transformers3 => Box::new(Transformers3 {
            judge,
            beams,
            prompt,
            finished: Finished::default(),
        }),
    }
}

/// How many candidates a prompt has. transformers looks at more than go on, so that enough of them are not at an end.
pub(super) fn count(s: &Settings, beams: usize, flavour: Flavour) -> usize {
    match flavour {
        Flavour::Paper => beams,
        _ => beams * (1 + s.end.len()).max(2),
    }
}

/// The likeliest continuations of each prompt, over all of its beams.
pub(super) fn candidates(scores: Tensor, live: &[Live], s: &Settings, flavour: Flavour) -> Result<Vec<Vec<Beam>>> {
    let (vocab, rows) = (scores.size()[1], live.first().map_or(1, |l| l.beams.len()));
    let gained = match flavour {
        Flavour::Paper => ban(scores, live, s, false).log_softmax(-1, Kind::Float),
        _ => ban(scores.log_softmax(-1, Kind::Float), live, s, true),
    };
    let sums: Vec<f32> = live.iter().flat_map(|l| l.beams.iter().map(|b| b.score)).collect();
    let sums = Tensor::from_slice(&sums).to_device(gained.device()).unsqueeze(-1);
    let totals = (gained + sums).view([live.len() as i64, rows as i64 * vocab]);
    let count = count(s, s.rows(), flavour);
    let (best, at) = totals.topk(count as i64, 1, true, true);
    let failed = || Error::torch("reading the beams");
    let best: Vec<f32> = Vec::try_from(best.reshape([-1])).map_err(failed())?;
    let at: Vec<i64> = Vec::try_from(at.reshape([-1])).map_err(failed())?;
    let continued = |l: &Live, at: i64, score: f32| {
        let parent = (at / vocab) as usize;
        let mut tokens = l.beams[parent].tokens.clone();
        tokens.push(at % vocab);
        Beam { tokens, score, parent }
    };
    let of_prompt = |(l, (at, best)): (&Live, (&[i64], &[f32]))| {
        at.iter()
            .zip(best)
            .map(|(at, score)| continued(l, *at, *score))
            .collect()
    };
    Ok(live
        .iter()
        .zip(at.chunks(count).zip(best.chunks(count)))
        .map(of_prompt)
        .collect())
}

/// When a text is at its end, and what it is worth.
#[derive(Debug)]
struct Judge {
    end: Vec<i64>,
    steps: usize,
    length_penalty: f64,
}

impl Judge {
    fn ends(&self, beam: &Beam) -> bool {
        beam.tokens.last().is_some_and(|last| self.end.contains(last))
    }

    /// A sum of log-probabilities over `len` tokens.
    fn score(&self, sum: f32, len: usize) -> f32 {
        sum / (len as f64).powf(self.length_penalty) as f32
    }
}

/// See [`Flavour::Paper`].
#[derive(Debug)]
struct Paper {
    judge: Judge,
    best: Option<Generation>,
}

impl Paper {
    fn consider(&mut self, beam: &Beam) {
        let score = self.judge.score(beam.score, beam.tokens.len());
        if self.best.as_ref().is_none_or(|b| b.score < f64::from(score)) {
            self.best = Some(generation(beam, score, &self.judge.end));
        }
    }

    /// Whether `beam` could still become better than the best: log-probabilities only fall.
    fn can_win(&self, beam: &Beam) -> bool {
        let longest = self.judge.score(beam.score, self.judge.steps);
        let highest = longest.max(self.judge.score(beam.score, beam.tokens.len() + 1));
        beam.score > f32::NEG_INFINITY && self.best.as_ref().is_none_or(|b| b.score < f64::from(highest))
    }
}

impl Rule for Paper {
    fn advance(&mut self, mut candidates: Vec<Beam>) -> Vec<Beam> {
        for beam in &mut candidates {
            if self.judge.ends(beam) {
                self.consider(beam);
                beam.score = f32::NEG_INFINITY;
            }
        }
        if candidates.first().is_none_or(|b| b.tokens.len() >= self.judge.steps) {
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

/// The best finished texts, at most as many as beams, best first.
#[derive(Debug, Default)]
struct Finished(Vec<Generation>);

impl Finished {
    /// Among equals, what was finished earlier comes first.
    fn add(&mut self, text: Generation, beams: usize) {
        self.0.push(text);
        self.0.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.0.truncate(beams);
    }

    /// The score of the worst, once there are as many as beams.
    fn worst(&self, beams: usize) -> Option<f64> {
        self.0.last().filter(|_| self.0.len() == beams).map(|f| f.score)
    }

    fn take_best(&mut self) -> Generation {
        self.0.drain(..).next().unwrap_or_default()
    }
}

/// See [`Flavour::Transformers`]. Where transformers lowers scores by 1e9 to keep a text out, it is left out here.
#[derive(Debug)]
struct Transformers {
    judge: Judge,
    beams: usize,
    early: bool,
    finished: Finished,
}

impl Rule for Transformers {
    fn advance(&mut self, candidates: Vec<Beam>) -> Vec<Beam> {
        let last_step = candidates.first().is_none_or(|b| b.tokens.len() >= self.judge.steps);
        // Of the candidates at their end, those count that would have gone on.
        for beam in candidates.iter().take(self.beams) {
            if last_step || self.judge.ends(beam) {
                let score = self.judge.score(beam.score, beam.tokens.len());
                self.finished.add(generation(beam, score, &self.judge.end), self.beams);
            }
        }
        let mut running = candidates;
        running.retain(|beam| !self.judge.ends(beam));
        running.truncate(self.beams);
        let worst = self.finished.worst(self.beams);
        if last_step || self.early && worst.is_some() {
            return Vec::new();
        }
        let best = running
            .first()
            .map(|b| f64::from(self.judge.score(b.score, b.tokens.len())));
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
    judge: Judge,
    beams: usize,
    /// Tokens of the prompt.
    prompt: usize,
    finished: Finished,
}

impl Transformers3 {
    fn finish(&mut self, beam: &Beam, written: usize) {
        let score = self.judge.score(beam.score, self.prompt + written);
        self.finished.add(generation(beam, score, &self.judge.end), self.beams);
    }
}

impl Rule for Transformers3 {
    fn advance(&mut self, candidates: Vec<Beam>) -> Vec<Beam> {
        let Some(best) = candidates.first() else {
            return Vec::new();
        };
        let (written, best) = (best.tokens.len(), best.score);
        for beam in candidates
            .iter()
            .take(self.beams)
            .filter(|b| self.judge.ends(b))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.finish(&beam, written - 1);
        }
        let best = f64::from(self.judge.score(best, self.prompt + written - 1));
        if self.finished.worst(self.beams).is_some_and(|worst| worst >= best) {
            return Vec::new();
        }
        let mut running = candidates;
        running.retain(|beam| !self.judge.ends(beam));
        running.truncate(self.beams);
        if written >= self.judge.steps {
            running.iter().for_each(|beam| self.finish(beam, written));
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
            judge: Judge {
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

    /// By hand from transformers 3.2: a text that ends is worth its sum over the prompt's and its own tokens, the end token not
    /// among them; the search is over when there are two and the likeliest candidate over the same length is no better than
    /// the worse of them.
    #[test]
    fn transformers_3_counts_the_prompt_and_not_the_end() {
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
        // -2.2 over 10 + 1 tokens; the end at place four does not count, since two others are before it.
        assert_eq!(rule.finished.0.len(), 1);
        assert!((rule.finished.0[0].score + 0.2).abs() < 1e-6);
        // -2.88 over 12 is -0.24: two are finished. -2.76 over 12 is -0.23, which is better than -0.24: it goes on.
        let running = rule.advance(vec![
            beam(&[1, 2, 3], -2.76),
            beam(&[1, 2, END], -2.88),
            beam(&[2, 2, 2], -2.9),
        ]);
        assert_eq!(running.len(), 2);
        // -3.25 over 13 is -0.25, no better than -0.24: it is over.
        assert!(
            rule.advance(vec![beam(&[1, 2, 3, 4], -3.25), beam(&[2, 2, 2, 2], -3.3)])
                .is_empty()
        );
        let best = rule.outcome();
        assert_eq!((best.tokens, best.ended), (vec![1, END], true));
    }

    #[test]
    fn transformers_3_judges_what_is_left_at_the_last_step_with_all_its_tokens() {
        let mut rule = rule_of(1);
        assert!(
            rule.advance(vec![beam(&[1], -1.1), beam(&[END], -1.5), beam(&[2], -2.2)])
                .is_empty()
        );
        // -1.1 over 11 is -0.1, -1.5 over 10 is -0.15, -2.2 over 11 is -0.2.
        let scores: Vec<f64> = rule.finished.0.iter().map(|f| (f.score * 100.0).round()).collect();
        assert_eq!(scores, [-10.0, -15.0]);
        assert!(!rule.outcome().ended);
    }
}
