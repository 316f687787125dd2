//! From YAML to validated runs: [`RawExperiment`] is what may be written, [`RunConfig`] what a run may see.
//!
//! Layers, each over the one before: `configs/defaults.yaml`, the preset or the user's file, `--set` and the other flags;
//! then, for one run, the method's own `train` and the task's own `train`.

use crate::experiment::Experiment;
use crate::settings::{DecodeConfig, Dtype, Limit, TrainConfig};
use crate::source::ModelSource;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

/// An experiment as it is written, all layers merged.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawExperiment {
    /// What the numbers are, in words.
    pub label: Option<String>,
    /// What is said after the tables, in words.
    pub closing: Option<String>,
    /// Where the model comes from: see [`ModelSource`].
    pub model: Option<String>,
    /// The model's name in tables.
    pub model_name: Option<String>,
    /// Where the data come from: see [`crate::source::DataSource`].
    pub data: Option<String>,
    /// Task name to its own settings.
    pub tasks: Mapping,
    /// Method name to its settings; with those of the grids, once all layers are read.
    pub methods: Mapping,
    /// Grid name to a list of methods with alternatives: see [`crate::grids`].
    #[serde(default)]
    pub grids: Mapping,
    /// The grids that are wanted, if not all.
    #[serde(default)]
    pub grid: Vec<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Number type of frozen weights and activations.
    pub dtype: Dtype,
    /// How to train, before methods and tasks have their say.
    pub train: Value,
    /// How much of the data is taken.
    #[serde(default)]
    pub limit: Limit,
    /// How texts are written, for tasks that ask for texts.
    pub decode: Option<DecodeConfig>,
}

/// One run, validated: everything that decides its numbers, but for weights and data (the plan adds their hashes).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunConfig {
    /// The experiment.
    pub experiment: &'static str,
    /// The model's name.
    pub model: String,
    /// The task's id.
    pub task: &'static str,
    /// The method's name in this experiment.
    pub method_name: String,
    /// The method with all its settings.
    pub method: Value,
    /// The seed.
    pub seed: u64,
    /// Number type.
    pub dtype: Dtype,
    /// How to train.
    pub train: TrainConfig,
    /// How much of the data is taken, if not all.
    #[serde(skip_serializing_if = "Limit::is_none")]
    pub limit: Limit,
    /// How texts are written, for tasks that ask for texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode: Option<DecodeConfig>,
    /// How the task is put to the model, where that is a setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The trained weights that it starts from, if not fresh ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Whether other tasks start from what this run trains, so that it must be kept. No influence on any number.
    #[serde(skip)]
    pub keep: bool,
}

/// A start from what other runs have trained: of these the best one's adapter and head (the head's last layer only where it
/// has as many outputs). The paper starts MRPC, RTE and STS-B from its best MNLI run (Appendix D.1).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Start {
    /// The task of those runs.
    pub task: &'static str,
    /// Their ids, filled in by the plan: one a seed.
    pub runs: Vec<String>,
}

/// What a method may say of one task: stronger than anything else.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Special {
    #[serde(default)]
    train: Mapping,
    start: Option<String>,
}

/// The keys of a method's entry that are not the method's own settings.
struct Entry {
    settings: Mapping,
    train: Mapping,
    tasks: Mapping,
    decode: Mapping,
    limit: Mapping,
    paper_row: Option<String>,
    seeds: Option<Vec<u64>>,
    dtype: Option<Dtype>,
}

impl Entry {
    fn read(name: &str, value: &Value) -> Result<Entry> {
        let mut settings = mapping(value, &format!("methods.{name}"))?;
        let mut take = |key: &str| {
            mapping(
                &settings.remove(key).unwrap_or_default(),
                &format!("methods.{name}.{key}"),
            )
        };
        let (train, tasks) = (take("train")?, take("tasks")?);
        let (decode, limit) = (take("decode")?, take("limit")?);
        let paper_row = settings.remove("paper_row").and_then(|v| v.as_str().map(String::from));
        let seeds = settings.remove("seeds").map(serde_yaml::from_value).transpose();
        let seeds =
            seeds.with_context(|| format!("`methods.{name}.seeds` must be a list of the experiment's seeds"))?;
        let dtype = settings.remove("dtype").map(serde_yaml::from_value).transpose();
        let dtype = dtype.with_context(|| format!("`methods.{name}.dtype` must be fp32 or bf16"))?;
        settings.entry("kind".into()).or_insert(name.into());
        Ok(Entry {
            settings,
            train,
            tasks,
            decode,
            limit,
            paper_row,
            seeds,
            dtype,
        })
    }

    /// Whether the method runs with this of the experiment's seeds: all of them, if it does not say which.
    fn has_seed(&self, seed: u64) -> bool {
        self.seeds.as_ref().is_none_or(|own| own.contains(&seed))
    }

    fn starts_others(&self, experiment: &Experiment, task: &str) -> bool {
        let starts = self.tasks.iter().filter_map(|(_, v)| v.get("start")?.as_str());
        starts
            .filter_map(|name| experiment.task(name).ok())
            .any(|t| t.id() == task)
    }

    fn special(&self, experiment: &Experiment, name: &str, task: &str) -> Result<Special> {
        for (key, value) in &self.tasks {
            let known = experiment.task(key.as_str().unwrap_or_default());
            if known.with_context(|| format!("`methods.{name}.tasks`"))?.id() == task {
                let at = format!("methods.{name}.tasks.{task}");
                let settings = Value::Mapping(mapping(value, &at)?);
                return serde_yaml::from_value(settings).with_context(|| format!("`{at}`"));
            }
        }
        Ok(Special::default())
    }
}

/// Reads the layers, each YAML text with the name that errors call it by, and lays `sets` (`path=value`) over them.
///
/// # Errors
/// Text that is not YAML, unknown keys (with the known ones), values of the wrong type.
pub fn read(layers: &[(&str, &str)], sets: &[String]) -> Result<RawExperiment> {
    let mut merged = Value::Mapping(Mapping::new());
    let mut last = "the configuration";
    for (name, text) in layers {
        let layer: Value = serde_yaml::from_str(text).with_context(|| format!("{name} is not valid YAML"))?;
        ensure!(layer.is_mapping(), "{name}: expected `key: value` lines at the top");
        merge(&mut merged, layer);
        // Read after each layer, so that a mistake is laid at the right door.
        RawExperiment::deserialize(merged.clone()).with_context(|| format!("in {name}"))?;
        last = name;
    }
    for set in sets {
        lay(&mut merged, set)?;
        RawExperiment::deserialize(merged.clone()).with_context(|| format!("in --set {set}"))?;
    }
    let raw = RawExperiment::deserialize(merged).with_context(|| format!("in {last}"))?;
    TrainConfig::deserialize(raw.train.clone()).with_context(|| format!("under `train:` of {last} or --set"))?;
    raw.with_grids()
}

/// Lays `a.b.c=value` over `target`; the value is read as YAML.
pub(crate) fn lay(target: &mut Value, set: &str) -> Result<()> {
    let (path, value) = set
        .split_once('=')
        .with_context(|| format!("--set {set}: expected key=value, such as train.epochs=3"))?;
    let value: Value =
        serde_yaml::from_str(value).with_context(|| format!("--set {set}: the value is not valid YAML"))?;
    let layer = path.trim().rsplit('.').fold(value, |inner, key| {
        let mut map = Mapping::new();
        map.insert(key.into(), inner);
        Value::Mapping(map)
    });
    merge(target, layer);
    Ok(())
}

/// Lays `over` on `base`: mappings key by key, anything else replaced.
pub(crate) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Mapping(base), Value::Mapping(over)) => {
            for (key, value) in over {
                match base.get_mut(&key) {
                    Some(slot) => merge(slot, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
}

impl RawExperiment {
    /// The methods that the grids stand for, beside the others.
    fn with_grids(mut self) -> Result<RawExperiment> {
        for (name, method) in crate::grids::expand(&self.grids, &self.grid)? {
            let other = self.methods.get(&name).filter(|there| **there != method);
            ensure!(
                other.is_none(),
                "`{}` is a method of a grid and another one under `methods:`; call that something else",
                name.as_str().unwrap_or_default()
            );
            self.methods.insert(name, method);
        }
        Ok(self)
    }

    /// Every run of the grid, seeds outermost, so that a table has its first column of numbers as early as can be.
    ///
    /// # Errors
    /// Unknown tasks or methods (with the known ones), settings that cannot be used.
    pub fn runs(&self, experiment: &'static Experiment) -> Result<Vec<RunConfig>> {
        ensure!(
            !self.tasks.is_empty(),
            "no tasks are named; give --tasks, or `tasks:` in the configuration"
        );
        ensure!(
            !self.methods.is_empty(),
            "no methods are named; give --methods, or `methods:` in the configuration"
        );
        ensure!(!self.seeds.is_empty(), "no seeds are named; give --seeds, such as 1..5");
        let mut runs: Vec<RunConfig> = Vec::new();
        for seed in &self.seeds {
            for task in self.tasks.iter() {
                for method in self.methods.iter() {
                    let name = method.0.as_str().unwrap_or_default();
                    if !Entry::read(name, method.1)?.has_seed(*seed) {
                        continue;
                    }
                    let run = self.run(experiment, task, method, *seed)?;
                    ensure!(
                        !runs.contains(&run),
                        "{} with {} and seed {seed} is asked for twice",
                        run.task,
                        run.method_name
                    );
                    runs.push(run);
                }
            }
        }
        Ok(runs)
    }

    /// The runs whose weights `run` can start from: the same method on the task that it names, one a seed.
    ///
    /// # Errors
    /// As [`RawExperiment::runs`].
    pub fn sources(&self, experiment: &'static Experiment, run: &RunConfig) -> Result<Vec<RunConfig>> {
        let Some(start) = &run.start else { return Ok(Vec::new()) };
        let named = |map: &Mapping, name: &str, same: &dyn Fn(&str) -> bool| {
            let found = map.iter().find(|(k, _)| k.as_str().is_some_and(same));
            (Value::from(name), found.map_or(Value::Null, |(_, v)| v.clone()))
        };
        let task = named(&self.tasks, start.task, &|k| {
            experiment.task(k).is_ok_and(|t| t.id() == start.task)
        });
        let method = named(&self.methods, &run.method_name, &|k| k == run.method_name);
        let one = |seed: &u64| self.run(experiment, (&task.0, &task.1), (&method.0, &method.1), *seed);
        let entry = Entry::read(&run.method_name, &method.1)?;
        self.seeds
            .iter()
            .filter(|seed| entry.has_seed(**seed))
            .map(one)
            .collect()
    }

    /// The row of the paper's tables that `run` belongs to: the one that its method names in `preset`, if the run, its
    /// sources and the runs it starts from are the preset's own and no flag has changed anything but tasks and seeds.
    pub fn paper_row(
        &self,
        experiment: &'static Experiment,
        preset: &RawExperiment,
        run: &RunConfig,
    ) -> Option<String> {
        let (method, task) = (preset.methods.get(&run.method_name)?, preset.tasks.get(run.task)?);
        let same_sources = (&self.model, &self.data) == (&preset.model, &preset.data);
        let same_starts = run.start.is_none() || self.seeds == preset.seeds;
        let own = preset.run(
            experiment,
            (&run.task.into(), task),
            (&run.method_name.as_str().into(), method),
            run.seed,
        );
        let mut own = own.ok()?;
        let same_starts = same_starts && own.start.as_ref().map(|s| s.task) == run.start.as_ref().map(|s| s.task);
        own.start.clone_from(&run.start);
        let same = same_sources && same_starts && own == *run;
        Entry::read(&run.method_name, method).ok()?.paper_row.filter(|_| same)
    }

    /// How texts are written, with what a method says of it on top.
    fn decode(&self, own: Mapping) -> Result<Option<DecodeConfig>> {
        if own.is_empty() {
            self.decode.iter().try_for_each(DecodeConfig::validate)?;
            return Ok(self.decode.clone());
        }
        let mut merged = serde_yaml::to_value(&self.decode)?;
        merge(&mut merged, Value::Mapping(own));
        let decode: DecodeConfig = serde_yaml::from_value(merged)?;
        decode.validate()?;
        Ok(Some(decode))
    }

    /// How much of the data is taken, with what a method says of it on top.
    fn limit(&self, own: Mapping) -> Result<Limit> {
        let mut merged = serde_yaml::to_value(self.limit)?;
        merge(&mut merged, Value::Mapping(own));
        let limit: Limit = serde_yaml::from_value(merged)?;
        limit.validate()?;
        Ok(limit)
    }

    fn run(
        &self,
        experiment: &'static Experiment,
        task: (&Value, &Value),
        method: (&Value, &Value),
        seed: u64,
    ) -> Result<RunConfig> {
        let task_name = task.0.as_str().context("a task's name must be text")?;
        let method_name = method.0.as_str().context("a method's name must be text")?;
        let known = experiment.task(task_name)?;
        let entry = Entry::read(method_name, method.1)?;
        let special = entry.special(experiment, method_name, known.id())?;
        let keep = entry.starts_others(experiment, known.id());
        let own = TaskEntry::read(task_name, task.1)?;
        let mut train = self.train.clone();
        for layer in [entry.train, own.train, special.train] {
            merge(&mut train, Value::Mapping(layer));
        }
        let train: TrainConfig = serde_yaml::from_value(train)
            .with_context(|| format!("under `train:` of `methods.{method_name}` or `tasks.{task_name}`"))?;
        train.validate()?;
        let limit = self
            .limit(entry.limit)
            .with_context(|| format!("`methods.{method_name}.limit`"))?;
        let decode = self
            .decode(entry.decode)
            .with_context(|| format!("`methods.{method_name}.decode`"))?;
        let method = lora_core::method::resolved(&Value::Mapping(entry.settings))
            .with_context(|| format!("`methods.{method_name}`"))?;
        let model = match (&self.model_name, &self.model) {
            (Some(name), _) => name.clone(),
            (None, Some(word)) => ModelSource::name(word),
            (None, None) => bail!("no model is named; give --model DIR, a Hugging Face model folder"),
        };
        let run = RunConfig {
            experiment: experiment.name,
            model,
            task: known.id(),
            method_name: method_name.into(),
            method,
            seed,
            dtype: entry.dtype.unwrap_or(self.dtype),
            train,
            limit,
            decode,
            prompt: own.prompt,
            start: special
                .start
                .map(|task| start(experiment, &task, known.id()))
                .transpose()?,
            keep,
        };
        known.check(&run)?;
        Ok(run)
    }
}

/// What is said of one task.
struct TaskEntry {
    train: Mapping,
    prompt: Option<String>,
}

impl TaskEntry {
    fn read(name: &str, value: &Value) -> Result<TaskEntry> {
        let mut rest = mapping(value, &format!("tasks.{name}"))?;
        let train = rest.remove("train").unwrap_or_default();
        let prompt = match rest.remove("prompt").unwrap_or_default() {
            Value::Null => None,
            Value::String(prompt) => Some(prompt),
            _ => bail!("`tasks.{name}.prompt` must be text"),
        };
        if let Some((key, _)) = rest.iter().next() {
            bail!(
                "`tasks.{name}`: unknown key `{}`; known: train, prompt",
                key.as_str().unwrap_or("?")
            );
        }
        let train = mapping(&train, &format!("tasks.{name}.train"))?;
        Ok(TaskEntry { train, prompt })
    }
}

fn start(experiment: &Experiment, task: &str, of: &str) -> Result<Start> {
    let task = experiment.task(task)?.id();
    ensure!(task != of, "`{of}` cannot start from `{task}`: that is the task itself");
    Ok(Start { task, runs: Vec::new() })
}

/// `value` as a mapping; nothing at all is an empty one.
fn mapping(value: &Value, at: &str) -> Result<Mapping> {
    match value {
        Value::Null => Ok(Mapping::new()),
        Value::Mapping(map) => Ok(map.clone()),
        _ => bail!("`{at}` must be a mapping, such as {{train: {{lr: 0.0001}}}}"),
    }
}

/// Reads `1..5` (both ends included), `1,2,7`, or a mixture.
///
/// # Errors
/// Anything else, and more than 10,000 seeds.
pub fn seeds(text: &str) -> Result<Vec<u64>> {
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let wrong = || format!("seeds `{text}`: expected numbers and ranges such as 1..5 or 1,2,7");
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let first: u64 = first.trim().parse().with_context(wrong)?;
        let last: u64 = last.trim().trim_start_matches('=').parse().with_context(wrong)?;
        ensure!(first <= last && last - first < 10_000, wrong());
        seeds.extend(first..=last);
    }
    Ok(seeds)
}
