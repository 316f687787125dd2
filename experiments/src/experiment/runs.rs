//! From a configuration to validated runs.

use crate::config::overrides::run_mappings;
use crate::config::run_config::{RunConfig, WarmStart};
use crate::config::settings::{DecodeConfig, Limit, TrainConfig};
use crate::experiment::Experiment;
use crate::experiment::config::ExperimentConfig;
use crate::inputs::locator::{ModelSource, NO_MODEL};
use crate::task::idle_settings;
use anyhow::{Context, Result, bail, ensure};
use serde_yaml::{Mapping, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The keys of an entry under `tasks:`, and of one under `methods.M.tasks:`.
const OF_TASK: [&str; 2] = ["train", "prompt"];
const OF_METHOD_ON_TASK: [&str; 2] = ["train", "start"];

impl ExperimentConfig {
    /// Every run of the grid, seeds outermost, so that a table has its first column of numbers as early as can be.
    ///
    /// # Errors
    /// Unknown tasks or methods (with the known ones), settings that cannot be used, flags without effect.
    pub fn runs(&self, experiment: &Experiment) -> Result<Vec<RunConfig>> {
        ensure!(
            !self.tasks.is_empty(),
            "no tasks are named; give --tasks, or `tasks:` in the configuration"
        );
        ensure!(
            !self.methods.is_empty(),
            "no methods are named; give --methods, or `methods:` in the configuration"
        );
        ensure!(!self.seeds.is_empty(), "no seeds are named; give --seeds, such as 1..5");
        for (name, entry) in &self.tasks {
            let name = name.as_str().context("a task's name must be text")?;
            experiment.task(name)?;
            known_keys(entry, &format!("tasks.{name}"), &OF_TASK)?;
        }
        let mut runs: Vec<RunConfig> = Vec::new();
        let methods = self.methods.iter().map(|(name, entry)| self.check_method(name, entry));
        let methods = methods.collect::<Result<Vec<&str>>>()?;
        for seed in &self.seeds {
            for task in self.tasks.keys().filter_map(Value::as_str) {
                for method in methods.iter().filter(|method| self.has_seed(method, *seed)) {
                    let run = self.run(experiment, task, method, *seed)?;
                    ensure!(
                        !runs.contains(&run),
                        "{} with {} and seed {seed} is requested twice",
                        run.task,
                        run.method_name
                    );
                    runs.push(run);
                }
            }
        }
        self.check_flags(experiment, &runs)?;
        Ok(runs)
    }

    /// The name of a method whose entry can be read and which has a seed to run with.
    fn check_method<'a>(&self, name: &'a Value, entry: &Value) -> Result<&'a str> {
        let name = name.as_str().context("a method's name must be text")?;
        let at = format!("methods.{name}");
        let entry = mapping(entry, &at)?;
        for key in run_mappings() {
            mapping(entry.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"))?;
        }
        for (task, own) in entry.get("tasks").and_then(Value::as_mapping).into_iter().flatten() {
            let at = format!("{at}.tasks.{}", task.as_str().unwrap_or("?"));
            known_keys(own, &at, &OF_METHOD_ON_TASK)?;
            let start = own.get("start").unwrap_or(&Value::Null);
            ensure!(
                start.is_null() || start.is_string(),
                "`{at}.start` must be a task's name"
            );
        }
        if let Some(seeds) = self.own_seeds(name)? {
            let known = seeds.iter().any(|seed| self.seeds.contains(seed));
            ensure!(
                known,
                "`{at}.seeds` is {seeds:?}, none of which is among the experiment's seeds {:?}: {name} would not run",
                self.seeds
            );
        }
        Ok(name)
    }

    /// The method's own seeds, if it does not run with all.
    fn own_seeds(&self, method: &str) -> Result<Option<Vec<u64>>> {
        let Some(own) = self.layers.value("seeds", method).filter(|seeds| seeds.own) else {
            return Ok(None);
        };
        let seeds = serde_yaml::from_value(own.value.clone());
        seeds
            .map(Some)
            .with_context(|| format!("`methods.{method}.seeds` must be a list of the experiment's seeds"))
    }

    /// Whether the method runs with this seed of the experiment.
    fn has_seed(&self, method: &str, seed: u64) -> bool {
        !matches!(self.own_seeds(method), Ok(Some(own)) if !own.contains(&seed))
    }

    /// The runs whose weights `run` may start from: the same method on the task of its warm start, one a seed.
    ///
    /// # Errors
    /// As [`ExperimentConfig::runs`].
    pub fn sources(&self, experiment: &Experiment, run: &RunConfig) -> Result<Vec<RunConfig>> {
        let Some(start) = &run.start else { return Ok(Vec::new()) };
        let seeds = self.seeds.iter().filter(|seed| self.has_seed(&run.method_name, **seed));
        seeds
            .map(|seed| self.run(experiment, &start.task, &run.method_name, *seed))
            .collect()
    }

    /// The row of the paper's tables that `run` belongs to: the `paper_row` of its method in `preset`, if model, data, settings
    /// and the runs that it starts from are the preset's, so that the flags have changed tasks and seeds alone.
    pub fn paper_row(&self, experiment: &Experiment, preset: &ExperimentConfig, run: &RunConfig) -> Option<String> {
        let method = preset.methods.get(&run.method_name)?;
        preset.tasks.get(run.task.as_str())?;
        let mut own = preset.run(experiment, &run.task, &run.method_name, run.seed).ok()?;
        let same_sources = (&self.model, &self.data) == (&preset.model, &preset.data);
        let same_starts = run.start.is_none() || self.seeds == preset.seeds;
        let same_starts = same_starts && own.start.as_ref().map(|s| &s.task) == run.start.as_ref().map(|s| &s.task);
        own.start.clone_from(&run.start);
        let row = method.get("paper_row").and_then(Value::as_str);
        row.filter(|_| same_sources && same_starts && own == *run)
            .map(String::from)
    }

    /// The run of one task, method and seed.
    pub(crate) fn run(&self, experiment: &Experiment, task: &str, method: &str, seed: u64) -> Result<RunConfig> {
        let known = experiment.task(task)?;
        let task = known.id();
        let train: TrainConfig = serde_yaml::from_value(self.layers.train(task, method).value)
            .with_context(|| format!("under `train:` of `methods.{method}` or `tasks.{task}`"))?;
        train.validate()?;
        let at = |key: &str| format!("`methods.{method}.{key}`");
        let decode = self.layers.part("decode", method).value;
        let decode = decode.as_mapping().filter(|decode| !decode.is_empty());
        let decode = decode.map(|decode| serde_yaml::from_value::<DecodeConfig>(Value::Mapping(decode.clone())));
        let decode = decode.transpose().with_context(|| at("decode"))?;
        decode
            .iter()
            .try_for_each(DecodeConfig::validate)
            .with_context(|| at("decode"))?;
        let limit: Limit =
            serde_yaml::from_value(self.layers.part("limit", method).value).with_context(|| at("limit"))?;
        limit.validate().with_context(|| at("limit"))?;
        ensure!(
            limit.held_out.is_none(),
            "{}.held_out is for the runs that try rates; set `rates.held_out`",
            at("limit")
        );
        let settings = lora_core::method::resolved(&self.layers.method(method).value);
        let settings = settings.with_context(|| format!("`methods.{method}`"))?;
        let dtype = self.layers.value("dtype", method).map(|found| found.value.clone());
        let dtype = dtype.map(serde_yaml::from_value).transpose();
        let dtype = dtype.with_context(|| format!("{} must be fp32 or bf16", at("dtype")))?;
        let start = self.layers.of_method_on_task("start", method, task);
        let start = start.and_then(|found| found.value.as_str());
        let run = RunConfig {
            experiment: experiment.name.into(),
            model: self.model_name()?,
            task: task.into(),
            method_name: method.into(),
            method: settings,
            seed,
            dtype: dtype.unwrap_or(self.dtype),
            train,
            limit,
            decode,
            prompt: self.prompt(task)?,
            start: start.map(|of| warm_start(experiment, of, task)).transpose()?,
            keep: self.starts_others(experiment, method, task),
            rates: None,
        };
        known.check(&run)?;
        let idle = idle_settings(known, &run);
        Ok(run.normalized(&idle))
    }

    /// The limits on rows and the epochs of a task and method.
    pub(crate) fn amounts(&self, task: &str, method: &str) -> Option<(Limit, u64)> {
        let limit = serde_yaml::from_value(self.layers.part("limit", method).value).ok()?;
        let train: TrainConfig = serde_yaml::from_value(self.layers.train(task, method).value).ok()?;
        Some((limit, train.fit.epochs))
    }

    /// The model's name in tables.
    fn model_name(&self) -> Result<String> {
        match (&self.model_name, &self.model) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(word)) => Ok(ModelSource::name(word)),
            (None, None) => bail!("{NO_MODEL}"),
        }
    }

    fn prompt(&self, task: &str) -> Result<Option<String>> {
        match self.layers.of_task("prompt", task).map(|found| found.value) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(prompt)) => Ok(Some(prompt.clone())),
            Some(_) => bail!("`tasks.{task}.prompt` must be text"),
        }
    }

    /// Whether the method starts from this task on another one.
    fn starts_others(&self, experiment: &Experiment, method: &str, task: &str) -> bool {
        experiment.tasks.iter().any(|other| {
            let start = self.layers.of_method_on_task("start", method, other.id());
            let start = start.and_then(|found| experiment.task(found.value.as_str()?).ok());
            start.is_some_and(|start| start.id() == task)
        })
    }

    /// Refuses flags that have no effect on any of the runs.
    fn check_flags(&self, experiment: &Experiment, runs: &[RunConfig]) -> Result<()> {
        let (mut used, mut idle) = (BTreeSet::new(), BTreeMap::new());
        for key in ["label", "closing", "model", "model_name", "data", "seeds", "grid"] {
            used.extend(self.layers.top(&[key]).map(|found| found.layer));
        }
        for path in [
            &["rates"][..],
            &["rates", "factors"],
            &["rates", "held_out"],
            &["rates", "seeds"],
        ] {
            used.extend(self.layers.top(path).map(|found| found.layer));
        }
        used.extend(self.layers.with_entry("slurm", |_| true));
        used.extend(self.layers.with_entry("grids", |grid| {
            self.grid.is_empty() || self.grid.iter().any(|g| g == grid)
        }));
        let mut seen = BTreeSet::new();
        for run in runs.iter().filter(|run| seen.insert((&run.task, &run.method_name))) {
            let (task, method) = (run.task.as_str(), run.method_name.as_str());
            used.extend(self.layers.first_with_empty("tasks", task));
            used.extend(self.layers.first_with_empty("methods", method));
            for key in ["dtype", "seeds"] {
                used.extend(self.layers.value(key, method).map(|found| found.layer));
            }
            used.extend(self.layers.of_task("prompt", task).map(|found| found.layer));
            used.extend(
                self.layers
                    .of_method_on_task("start", method, task)
                    .map(|found| found.layer),
            );
            used.extend(self.layers.method(method).from.values());
            let without = idle_settings(experiment.task(task)?, run);
            let parts = [
                ("train", self.layers.train(task, method)),
                ("decode", self.layers.part("decode", method)),
                ("limit", self.layers.part("limit", method)),
            ];
            for (part, merged) in parts {
                for (path, layer) in merged.from {
                    match without.iter().find(|setting| setting.path == format!("{part}.{path}")) {
                        Some(setting) => drop(idle.insert(layer, setting.reason.clone())),
                        None => drop(used.insert(layer)),
                    }
                }
            }
        }
        self.layers.all_flags_used(&used, &idle)
    }
}

/// Refuses unknown keys.
fn known_keys(entry: &Value, at: &str, known: &[&str]) -> Result<()> {
    for (key, value) in &mapping(entry, at)? {
        let key = key.as_str().unwrap_or("?");
        ensure!(
            known.contains(&key),
            "`{at}`: unknown key `{key}`; known: {}",
            known.join(", ")
        );
        if key == "train" {
            mapping(value, &format!("{at}.train"))?;
        }
    }
    Ok(())
}

/// A start of the task `of` from the best run of `task`.
fn warm_start(experiment: &Experiment, task: &str, of: &str) -> Result<WarmStart> {
    let task = experiment.task(task)?.id();
    ensure!(task != of, "`{of}` cannot start from `{task}`: that is the task itself");
    Ok(WarmStart {
        task: task.into(),
        runs: Vec::new(),
    })
}

/// `value` as a mapping; null is an empty one.
fn mapping(value: &Value, at: &str) -> Result<Mapping> {
    match value {
        Value::Null => Ok(Mapping::new()),
        Value::Mapping(map) => Ok(map.clone()),
        _ => bail!("`{at}` must be a mapping, such as {{train: {{lr: 0.0001}}}}"),
    }
}
