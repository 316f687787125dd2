//! Beam search.

use super::ngram::ban;
use super::{Beam, Flavour, Generation, Live, Rule, Settings, generation};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The rule of `flavour` for one prompt.
pub(super) fn rule(s: &Settings, beams: usize, length_penalty: f64, flavour: Flavour) -> Box<dyn Rule> {
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
            finished: Vec::new(),
        }),
    }
}

/// How many candidates a prompt has. transformers looks at more than go on, so that enough of them are not at an end.
pub(super) fn count(s: &Settings, beams: usize, flavour: Flavour) -> usize {
    match flavour {
        Flavour::Paper => beams,
        Flavour::Transformers | Flavour::TransformersEarly => beams * (1 + s.end.len()).max(2),
    }
}

/// The likeliest continuations of each prompt, over all of its beams.
pub(super) fn candidates(scores: Tensor, live: &[Live], s: &Settings, flavour: Flavour) -> Result<Vec<Vec<Beam>>> {
    let (vocab, rows) = (scores.size()[1], live.first().map_or(1, |l| l.beams.len()));
    let gained = match flavour {
        Flavour::Paper => ban(scores, live, s.no_repeat_ngram, false).log_softmax(-1, Kind::Float),
        _ => ban(scores.log_softmax(-1, Kind::Float), live, s.no_repeat_ngram, true),
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

/// See [`Flavour::Transformers`]. Where transformers lowers scores by 1e9 to keep a text out, it is left out here.
#[derive(Debug)]
struct Transformers {
    judge: Judge,
    beams: usize,
    early: bool,
    /// The best finished texts, at most as many as beams, best first.
    finished: Vec<Generation>,
}

impl Transformers {
    fn full(&self) -> bool {
        self.finished.len() == self.beams
    }

    /// Among equals, what was finished earlier comes first.
    fn finish(&mut self, beam: &Beam) {
        let score = self.judge.score(beam.score, beam.tokens.len());
        self.finished.push(generation(beam, score, &self.judge.end));
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(self.beams);
    }
}

impl Rule for Transformers {
    fn advance(&mut self, candidates: Vec<Beam>) -> Vec<Beam> {
        let last_step = candidates.first().is_none_or(|b| b.tokens.len() >= self.judge.steps);
        // Of the candidates at their end, those count that would have gone on.
        for beam in candidates.iter().take(self.beams) {
            if last_step || self.judge.ends(beam) {
                self.finish(beam);
            }
        }
        let mut running = candidates;
        running.retain(|beam| !self.judge.ends(beam));
        running.truncate(self.beams);
        if last_step || self.early && self.full() {
            return Vec::new();
        }
        let best = running
            .first()
            .map(|b| f64::from(self.judge.score(b.score, b.tokens.len())));
        let worst = self.finished.last().map(|f| f.score);
        if self.full() && best <= worst {
            return Vec::new();
        }
        running
    }

    fn outcome(&mut self) -> Generation {
        self.finished.drain(..).next().unwrap_or_default()
    }
}
