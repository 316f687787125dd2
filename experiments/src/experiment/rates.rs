//! Learning rates chosen before the runs that count: `rates:` of a configuration, and the preset `fair`.
//!
//! For each method and task, the same number of rates is tried on a part of the training rows, and judged on the rest, which is held
//! out. The runs that count then train on all training rows with the best rate. Dev has no part in the choice.

use crate::config::rates::Rates;
use crate::config::run_config::RunConfig;
use crate::experiment::Experiment;
use crate::experiment::config::ExperimentConfig;
use anyhow::{Context, Result, ensure};
use lora_core::train::Criterion;
use results::record::{RateChoice, TriedRate};
use results::{RunRecord, Store};
use std::collections::BTreeMap;

/// Which runs of a configuration are meant.
#[derive(Clone, Debug, Default)]
pub enum Stage {
    /// Those that count, with the rates of the configuration.
    #[default]
    Configured,
    /// Those that try rates.
    Tries(Rates),
    /// Those that count, with the chosen rate of each task and method.
    Chosen(BTreeMap<(String, String), RateChoice>),
}

impl Stage {
    /// The stage of a stored run, where `rates` are tried.
    pub fn of(record: &RunRecord, rates: Option<Rates>) -> Stage {
        let key = (record.task.clone(), record.method.clone());
        match (&record.rates, rates) {
            (Some(choice), Some(_)) => Stage::Chosen([(key, choice.clone())].into()),
            (_, Some(rates)) if record.tries_a_rate() => Stage::Tries(rates),
            _ => Stage::Configured,
        }
    }

    /// The runs of `settings` in this stage.
    ///
    /// # Errors
    /// Those of [`ExperimentConfig::runs`]; warm starts, which would depend on the choice.
    pub fn runs(&self, settings: &ExperimentConfig, experiment: &Experiment) -> Result<Vec<RunConfig>> {
        let runs = settings.runs(experiment)?;
        match self {
            Stage::Configured => Ok(runs),
            Stage::Tries(rates) => tries(rates, runs),
            Stage::Chosen(choices) => runs.into_iter().map(|run| chosen(choices, run)).collect(),
        }
    }
}

fn tries(rates: &Rates, runs: Vec<RunConfig>) -> Result<Vec<RunConfig>> {
    rates.validate()?;
    let mut tries: Vec<RunConfig> = Vec::new();
    for run in runs {
        ensure!(
            run.start.is_none(),
            "`rates` chooses rates for fresh starts; {} on {} starts from another task: set its `start` to null",
            run.method_name,
            run.task
        );
        for seed in &rates.seeds {
            for factor in &rates.factors {
                let mut own = run.clone();
                own.seed = *seed;
                own.train.fit.lr = three_digits(run.train.fit.lr * factor);
                own.limit.held_out = Some(rates.held_out);
                if !tries.contains(&own) {
                    tries.push(own);
                }
            }
        }
    }
    Ok(tries)
}

/// A product of decimals as a decimal again: 0.0003 and not 0.00030000000000000003.
fn three_digits(rate: f64) -> f64 {
    format!("{rate:.2e}").parse().unwrap_or(rate)
}

fn chosen(choices: &BTreeMap<(String, String), RateChoice>, mut run: RunConfig) -> Result<RunConfig> {
    let choice = choices.get(&(run.task.clone(), run.method_name.clone()));
    let choice = choice.with_context(|| format!("no rate was chosen for {} on {}", run.method_name, run.task))?;
    run.train.fit.lr = choice.rate;
    run.rates = Some(choice.clone());
    Ok(run)
}

/// The best rate of each task and method by the records of `tries`, as (settings, id). A rate whose run failed, or whose metric is
/// undefined, is worse than any other; of equal ones the lowest is taken.
///
/// # Errors
/// Records that cannot be read; a task and method without a single defined score.
pub fn choose<'r>(
    tries: impl Iterator<Item = (&'r RunConfig, &'r str)>,
    store: &Store,
) -> Result<BTreeMap<(String, String), RateChoice>> {
    let mut scores: BTreeMap<(String, String), Vec<TriedRate>> = BTreeMap::new();
    let mut criteria = BTreeMap::new();
    for (run, id) in tries {
        let key = (run.task.clone(), run.method_name.clone());
        let record = store.get(id)?;
        let score = record.as_ref().and_then(|record| record.best).map(|best| best.value);
        if let Some(record) = record {
            criteria.insert(key.clone(), (record.metric, run.limit.held_out.unwrap_or_default()));
        }
        let rate = run.train.fit.lr;
        let tried = scores.entry(key).or_default();
        match tried.iter_mut().find(|tried| tried.rate == rate) {
            Some(tried) => {
                tried.runs.push(id.to_owned());
                tried.scores.push(score);
            }
            None => tried.push(TriedRate {
                rate,
                scores: vec![score],
                runs: vec![id.to_owned()],
            }),
        }
    }
    let choice = |(key, mut tried): ((String, String), Vec<TriedRate>)| {
        let (task, method) = &key;
        tried.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let nothing =
            || format!("{method} on {task}: no rate has a defined score on the held-out rows; see the failed runs");
        let (metric, held_out) = criteria.get(&key).cloned().with_context(nothing)?;
        let criterion = Criterion::new(metric.clone());
        let best = tried.iter().filter_map(|tried| Some((tried.rate, tried.mean()?)));
        let best = best.reduce(|best, next| if criterion.improves(next.1, best.1) { next } else { best });
        let (rate, _) = best.with_context(nothing)?;
        let choice = RateChoice {
            rate,
            metric,
            held_out,
            tried,
        };
        Ok::<_, anyhow::Error>((key, choice))
    };
    scores.into_iter().map(choice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::registry;

    fn fair(factors: &str) -> (ExperimentConfig, &'static Experiment) {
        let experiment = registry::find("glue").unwrap();
        let mut layers = experiment.layers();
        let yaml = format!(
            "{{model: m, tasks: {{rte: {{}}, cola: {{}}}}, methods: {{full: {{train: {{lr: 0.0001}}}}, head: {{}}}}, \
             rates: {{factors: {factors}, held_out: 10, seeds: [7]}}, seeds: [1, 2]}}"
        );
        layers.push(("test", &yaml));
        (ExperimentConfig::read(experiment, &layers, &[]).unwrap(), experiment)
    }

    #[test]
    fn each_method_and_task_tries_the_same_number_of_rates() {
        let (config, experiment) = fair("[0.3, 1, 3]");
        let stage = Stage::Tries(config.rates.clone().unwrap());
        let runs = stage.runs(&config, experiment).unwrap();
        assert_eq!(runs.len(), 2 * 2 * 3);
        assert!(runs.iter().all(|run| run.seed == 7 && run.limit.held_out == Some(10)));
        let full = runs.iter().filter(|run| run.task == "rte" && run.method_name == "full");
        let rates: Vec<f64> = full.map(|run| run.train.fit.lr).collect();
        assert_eq!(rates, [0.00003, 0.0001, 0.0003]);
    }

    #[test]
    fn runs_that_count_have_the_chosen_rate_and_all_rows() {
        let (config, experiment) = fair("[1, 2]");
        let choice = |rate| RateChoice {
            rate,
            metric: "held_out/accuracy".into(),
            held_out: 10,
            tried: Vec::new(),
        };
        let mut choices = BTreeMap::new();
        for (task, rate) in [("rte", 0.5), ("cola", 0.25)] {
            for method in ["full", "head"] {
                choices.insert((task.to_string(), method.to_string()), choice(rate));
            }
        }
        let runs = Stage::Chosen(choices.clone()).runs(&config, experiment).unwrap();
        assert_eq!(runs.len(), 2 * 2 * 2);
        for run in &runs {
            let wanted = if run.task == "rte" { 0.5 } else { 0.25 };
            assert_eq!((run.train.fit.lr, run.limit.held_out), (wanted, None));
        }
        choices.remove(&("rte".to_string(), "full".to_string()));
        assert!(Stage::Chosen(choices).runs(&config, experiment).is_err());
    }

    #[test]
    fn a_grid_of_one_rate_is_refused() {
        let (config, experiment) = fair("[1]");
        let error = Stage::Tries(config.rates.clone().unwrap()).runs(&config, experiment);
        assert!(format!("{:#}", error.unwrap_err()).contains("rates.factors"));
    }
}
