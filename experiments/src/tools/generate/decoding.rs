//! How `lora generate` decodes: as the run did whose adapter is used, except where flags say otherwise.

use crate::config::settings::{DecodeConfig, Flavour, StrategyKind};
use anyhow::{Result, bail, ensure};
use clap::Args;
use lora_core::generate::Strategy;
use std::fmt::Display;

/// The flags. Where one is not given, the adapter's run decides, or else the default.
#[derive(Args, Debug, Default)]
pub struct DecodingArgs {
    /// Beams; 1 = the likeliest token each time [default: those of the run, or 1]
    #[arg(long, value_name = "N")]
    beams: Option<usize>,
    /// The score of a finished beam is its log-likelihood divided by its length to this power [default: that of the run, or 1]
    #[arg(long, value_name = "NUMBER")]
    length_penalty: Option<f64>,
    /// Draw tokens, with this temperature
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f64>,
    /// Of drawing: only so many of the likeliest tokens
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Of drawing: only the likeliest tokens that together reach this probability
    #[arg(long, value_name = "NUMBER")]
    top_p: Option<f64>,
    /// Of drawing [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The length of n-grams that must not repeat; 0 = no ban [default: that of the run, or 0]
    #[arg(long, value_name = "N")]
    no_repeat_ngram: Option<usize>,
    /// The largest number of tokens of a text [default: that of the run, or 64]
    #[arg(long, value_name = "N")]
    pub max_new: Option<usize>,
}

/// Settings that are known, and where each comes from.
#[derive(Debug)]
pub struct Decoding {
    pub strategy: Strategy,
    pub no_repeat_ngram: usize,
    pub bad_words: Vec<Vec<i64>>,
    pub max_new: usize,
    /// All of it in one line.
    pub said: String,
}

const RUN: &str = "the run's";
const DEFAULT: &str = "default";

/// A flag's value, else the run's, else the default, and which of them it is.
fn pick<T>(flag: Option<T>, name: &'static str, run: Option<T>, default: T) -> (T, &'static str) {
    match (flag, run) {
        (Some(value), _) => (value, name),
        (None, Some(value)) => (value, RUN),
        (None, None) => (default, DEFAULT),
    }
}

fn say(what: impl Display, from: &str) -> String {
    format!("{what} ({from})")
}

impl DecodingArgs {
    /// Refuses values and pairs of flags that no run's settings could make sense of.
    ///
    /// # Errors
    /// The flags, and what to do.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.beams.is_none() || self.temperature.is_none(),
            "--beams searches for the likeliest text and --temperature draws tokens: give one of the two"
        );
        ensure!(self.beams != Some(0), "--beams 0: at least 1");
        ensure!(self.max_new != Some(0), "--max-new 0: at least 1");
        if let Some(temperature) = self.temperature {
            ensure!(
                temperature.is_finite() && temperature > 0.0,
                "--temperature {temperature}: a number above 0; --beams 1 takes the likeliest token each time"
            );
        }
        Ok(())
    }

    /// The settings beside those of the adapter's run, if it is a run's.
    ///
    /// # Errors
    /// Flags that contradict each other or have no effect.
    pub fn beside(&self, run: Option<&DecodeConfig>) -> Result<Decoding> {
        self.check()?;
        let (strategy, mut said) = match self.kind(run)? {
            StrategyKind::Greedy => {
                let from = pick(self.beams.map(|_| ()), "--beams", run.map(|_| ()), ()).1;
                (Strategy::Greedy, vec![say("the likeliest token each time", from)])
            }
            StrategyKind::Sample => self.drawn(run),
            StrategyKind::Beam => self.searched(run),
        };
        let (no_repeat_ngram, from) = pick(
            self.no_repeat_ngram,
            "--no-repeat-ngram",
            run.map(|d| d.no_repeat_ngram),
            0,
        );
        said.push(match no_repeat_ngram {
            0 => say("n-grams may repeat", from),
            n => say(format!("no {n} tokens in a row twice"), from),
        });
        let bad_words = run.map(|d| d.bad_words.clone()).unwrap_or_default();
        if !bad_words.is_empty() {
            said.push(say(format!("never the tokens {bad_words:?}"), RUN));
        }
        let (max_new, from) = pick(self.max_new, "--max-new", run.map(|d| d.max_new_tokens), 64);
        said.push(say(format!("at most {}", support::counted(max_new, "new token")), from));
        Ok(Decoding {
            strategy,
            no_repeat_ngram,
            bad_words,
            max_new,
            said: format!("Decoding: {}.", said.join(", ")),
        })
    }

    /// The kind of search, which leaves no flag without an effect.
    fn kind(&self, run: Option<&DecodeConfig>) -> Result<StrategyKind> {
        let (kind, from) = match (self.temperature, self.beams, run) {
            (Some(_), ..) => (StrategyKind::Sample, String::new()),
            (None, Some(0 | 1), _) => (
                StrategyKind::Greedy,
                "--beams 1 takes the likeliest token each time".into(),
            ),
            (None, Some(n), _) => (StrategyKind::Beam, format!("--beams {n} searches")),
            (None, None, Some(run)) => (run.strategy, "the run whose adapter this is did not".into()),
            (None, None, None) => (
                StrategyKind::Greedy,
                "without flags the likeliest token is taken each time".into(),
            ),
        };
        let of_drawing = [
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        if let Some((flag, _)) = of_drawing
            .iter()
            .find(|(_, given)| *given && kind != StrategyKind::Sample)
        {
            bail!("{flag} is for drawing tokens, and {from}; give --temperature");
        }
        ensure!(
            self.length_penalty.is_none() || kind == StrategyKind::Beam,
            "--length-penalty chooses between beams{}; give --beams 2 or more",
            match kind {
                StrategyKind::Sample => ", and tokens are drawn".into(),
                _ => format!(", and {from}"),
            }
        );
        Ok(kind)
    }

    fn drawn(&self, run: Option<&DecodeConfig>) -> (Strategy, Vec<String>) {
        let of_run = run
            .filter(|d| d.strategy == StrategyKind::Sample)
            .map(|d| d.temperature);
        let (temperature, from) = pick(self.temperature, "--temperature", of_run, 1.0);
        let (seed, of_seed) = pick(self.seed, "--seed", None, 0);
        let mut said = vec![say(format!("tokens drawn at temperature {temperature}"), from)];
        said.extend(self.top_k.map(|k| say(format!("of the {k} likeliest"), "--top-k")));
        said.extend(self.top_p.map(|p| say(format!("of those that reach {p}"), "--top-p")));
        said.push(say(format!("seed {seed}"), of_seed));
        let strategy = Strategy::Sample {
            temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed,
        };
        (strategy, said)
    }

    fn searched(&self, run: Option<&DecodeConfig>) -> (Strategy, Vec<String>) {
        let run = run.filter(|d| d.strategy == StrategyKind::Beam);
        let (beams, from) = pick(self.beams, "--beams", run.map(|d| d.beams), 1);
        let (flavour, of_flavour) = pick(None, "", run.map(|d| d.flavour), Flavour::Paper);
        let (length_penalty, of_penalty) = pick(
            self.length_penalty,
            "--length-penalty",
            run.map(|d| d.length_penalty),
            1.0,
        );
        let name = match flavour {
            Flavour::Paper => "the paper's code",
            Flavour::Transformers | Flavour::TransformersEarly => "transformers",
            Flavour::Transformers3 => "transformers 3",
        };
        let said = vec![
            say(support::counted(beams, "beam"), from),
            say(format!("as in {name}"), of_flavour),
            say(format!("length penalty {length_penalty}"), of_penalty),
        ];
        let strategy = Strategy::Beam {
            beams,
            length_penalty,
            flavour,
        };
        (strategy, said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(strategy: &str) -> DecodeConfig {
        let text = format!(
            "{{split: dev, strategy: {strategy}, flavour: transformers, beams: 4, length_penalty: 0.9, no_repeat_ngram: 3, \
             bad_words: [[628]], max_new_tokens: 30, temperature: 0.7, batch_size: 16}}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    #[test]
    fn the_run_decides_unless_flags_do() {
        let beam = run("beam");
        let as_run = DecodingArgs::default().beside(Some(&beam)).unwrap();
        let wanted = Strategy::Beam {
            beams: 4,
            length_penalty: 0.9,
            flavour: Flavour::Transformers,
        };
        assert_eq!(as_run.strategy, wanted);
        assert_eq!((as_run.no_repeat_ngram, as_run.max_new), (3, 30));
        assert_eq!(as_run.bad_words, [[628]]);
        assert_eq!(
            as_run.said,
            "Decoding: 4 beams (the run's), as in transformers (the run's), length penalty 0.9 (the run's), no 3 tokens in a row \
             twice (the run's), never the tokens [[628]] (the run's), at most 30 new tokens (the run's)."
        );
        let flags = DecodingArgs {
            beams: Some(2),
            no_repeat_ngram: Some(0),
            ..Default::default()
        };
        let other = flags.beside(Some(&beam)).unwrap();
        assert!(matches!(
            other.strategy,
            Strategy::Beam {
                beams: 2,
                length_penalty: 0.9,
                ..
            }
        ));
        assert!(
            other.said.contains("2 beams (--beams)") && other.said.contains("n-grams may repeat (--no-repeat-ngram)")
        );
        let drawn = DecodingArgs {
            temperature: Some(0.5),
            ..Default::default()
        };
        let drawn = drawn.beside(Some(&beam)).unwrap();
        assert!(matches!(
            drawn.strategy,
            Strategy::Sample {
                temperature: 0.5,
                seed: 0,
                ..
            }
        ));
        let as_run = DecodingArgs::default().beside(Some(&run("sample"))).unwrap();
        assert!(matches!(as_run.strategy, Strategy::Sample { temperature: 0.7, .. }));
        let none = DecodingArgs::default().beside(None).unwrap();
        assert_eq!((none.strategy, none.max_new), (Strategy::Greedy, 64));
    }

    #[test]
    fn flags_that_contradict_each_other_or_do_nothing_are_refused() {
        let (beam, sample) = (run("beam"), run("sample"));
        let flags = |set: fn(&mut DecodingArgs)| {
            let mut args = DecodingArgs::default();
            set(&mut args);
            args
        };
        let refused: [(DecodingArgs, Option<&DecodeConfig>, &str); 8] = [
            (
                flags(|a| (a.beams, a.temperature) = (Some(3), Some(0.5))),
                None,
                "give one of the two",
            ),
            (
                flags(|a| (a.beams, a.top_k) = (Some(3), Some(5))),
                None,
                "--top-k is for drawing tokens, and --beams 3 searches; give --temperature",
            ),
            (
                flags(|a| a.top_k = Some(5)),
                Some(&beam),
                "the run whose adapter this is did not",
            ),
            (flags(|a| a.length_penalty = Some(0.8)), None, "give --beams 2 or more"),
            (
                flags(|a| (a.length_penalty, a.temperature) = (Some(0.8), Some(0.5))),
                None,
                "tokens are drawn",
            ),
            (flags(|a| a.beams = Some(0)), None, "at least 1"),
            (flags(|a| a.temperature = Some(0.0)), None, "above 0"),
            (flags(|a| a.max_new = Some(0)), None, "--max-new 0"),
        ];
        for (args, run, reason) in refused {
            let said = args.beside(run).unwrap_err().to_string();
            assert!(said.contains(reason), "{said}");
        }
        assert!(flags(|a| a.top_k = Some(5)).beside(Some(&sample)).is_ok());
    }
}
