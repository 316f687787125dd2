//! From YAML to validated runs: [`RawExperiment`] is what may be written, [`RunConfig`] what a run may see.
//!
//! Layers, each over the one before: `configs/defaults.yaml`, the preset or the user's file, `--set` and the other flags;
//! then, for one run, the method's own `train` and the task's own `train`.

use crate::source::ModelSource;
use anyhow::{Context, Result, bail, ensure};
use lora_core::train::{FitConfig, Objective};
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
    /// Method name to its settings.
    pub methods: Mapping,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Number type of frozen weights and activations.
    pub dtype: Dtype,
    /// How to train, before methods and tasks have their say.
    pub train: Value,
}

/// Number type of frozen weights and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Everything in fp32.
    Fp32,
    /// Frozen weights and activations in bf16; what is trained, and the optimiser, in fp32.
    Bf16,
}

impl Dtype {
    /// Its name in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Fp32 => "fp32",
            Dtype::Bf16 => "bf16",
        }
    }

    /// libtorch's kind.
    pub fn kind(self) -> tch::Kind {
        match self {
            Dtype::Fp32 => tch::Kind::Float,
            Dtype::Bf16 => tch::Kind::BFloat16,
        }
    }
}

/// How one run trains. The keys of `train:`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training rows.
    pub epochs: u64,
    /// Rows of one forward pass.
    pub batch_size: usize,
    /// Forward passes of one optimiser step.
    pub accumulate: usize,
    /// The highest learning rate.
    pub lr: f64,
    /// Of matrices and embeddings.
    pub weight_decay: f64,
    /// Share of all steps.
    pub warmup_ratio: f64,
    /// Largest joint norm of the gradients.
    pub clip: Option<f64>,
    /// Adam's first beta.
    pub beta1: f64,
    /// Adam's second beta.
    pub beta2: f64,
    /// Adam's epsilon.
    pub eps: f64,
    /// Tokens of a row.
    pub max_len: usize,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// Rows of one forward pass of evaluation.
    pub eval_batch_size: usize,
    /// Whether what lies inside a block is computed again in the backward pass. Not written: on a CPU it changes no number.
    #[serde(skip_serializing)]
    pub recompute: bool,
    /// Steps between checkpoints. Not written: it has no influence on any number, so none on a run's identity.
    #[serde(skip_serializing)]
    pub checkpoint_every: u64,
}

impl TrainConfig {
    fn validate(&self) -> Result<()> {
        let counts = [
            ("epochs", self.epochs, 1_000_000),
            ("batch_size", self.batch_size as u64, 1 << 20),
            ("accumulate", self.accumulate as u64, 1 << 20),
            ("max_len", self.max_len as u64, 1 << 20),
            ("eval_batch_size", self.eval_batch_size as u64, 1 << 20),
        ];
        for (key, value, most) in counts {
            ensure!(
                (1..=most).contains(&value),
                "`train.{key}` is {value}; it must be from 1 to {most}"
            );
        }
        let positive = [("lr", Some(self.lr)), ("eps", Some(self.eps)), ("clip", self.clip)];
        for (key, value) in positive {
            let fine = value.is_none_or(|v| v.is_finite() && v > 0.0);
            ensure!(
                fine,
                "`train.{key}` is {}; it must be a number above 0",
                value.unwrap_or_default()
            );
        }
        let shares = [
            ("beta1", self.beta1),
            ("beta2", self.beta2),
            ("label_smoothing", self.label_smoothing),
        ];
        for (key, value) in shares {
            ensure!(
                (0.0..1.0).contains(&value),
                "`train.{key}` is {value}; it must be from 0 to below 1"
            );
        }
        ensure!(
            (0.0..=1.0).contains(&self.warmup_ratio),
            "`train.warmup_ratio` is {}; it must be from 0 to 1",
            self.warmup_ratio
        );
        let decay = self.weight_decay;
        ensure!(
            decay.is_finite() && decay >= 0.0,
            "`train.weight_decay` is {decay}; it must be 0 or more"
        );
        Ok(())
    }

    /// The settings of the loop.
    pub fn fit(&self, seed: u64, regression: bool, device: tch::Device) -> FitConfig {
        let objective = if regression {
            Objective::Score
        } else {
            Objective::Classes {
                label_smoothing: self.label_smoothing,
            }
        };
        FitConfig {
            epochs: self.epochs,
            batch_size: self.batch_size,
            accumulate: self.accumulate,
            lr: self.lr,
            weight_decay: self.weight_decay,
            warmup_ratio: self.warmup_ratio,
            clip: self.clip,
            betas: (self.beta1, self.beta2),
            eps: self.eps,
            objective,
            seed,
            checkpoint_every: self.checkpoint_every,
            recompute: self.recompute,
            device,
        }
    }
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
    paper_row: Option<String>,
    seeds: Option<Vec<u64>>,
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
        let paper_row = settings.remove("paper_row").and_then(|v| v.as_str().map(String::from));
        let seeds = settings.remove("seeds").map(serde_yaml::from_value).transpose();
        let seeds =
            seeds.with_context(|| format!("`methods.{name}.seeds` must be a list of the experiment's seeds"))?;
        settings.entry("kind".into()).or_insert(name.into());
        Ok(Entry {
            settings,
            train,
            tasks,
            paper_row,
            seeds,
        })
    }

    /// Whether the method runs with this of the experiment's seeds: all of them, if it does not say which.
    fn has_seed(&self, seed: u64) -> bool {
        self.seeds.as_ref().is_none_or(|own| own.contains(&seed))
    }

    fn starts_others(&self, task: &str) -> bool {
        let starts = self.tasks.iter().filter_map(|(_, v)| v.get("start")?.as_str());
        starts
            .filter_map(|name| datasets::find(name).ok())
            .any(|t| t.id == task)
    }

    fn special(&self, name: &str, task: &str) -> Result<Special> {
        for (key, value) in &self.tasks {
            let known = datasets::find(key.as_str().unwrap_or_default());
            if known.with_context(|| format!("`methods.{name}.tasks`"))?.id == task {
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
    Ok(raw)
}

/// Lays `a.b.c=value` over `target`; the value is read as YAML.
fn lay(target: &mut Value, set: &str) -> Result<()> {
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
fn merge(base: &mut Value, over: Value) {
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
    /// Every run of the grid, seeds outermost, so that a table has its first column of numbers as early as can be.
    ///
    /// # Errors
    /// Unknown tasks or methods (with the known ones), settings that cannot be used.
    pub fn runs(&self, experiment: &'static str) -> Result<Vec<RunConfig>> {
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
    pub fn sources(&self, run: &RunConfig) -> Result<Vec<RunConfig>> {
        let Some(start) = &run.start else { return Ok(Vec::new()) };
        let named = |map: &Mapping, name: &str, same: &dyn Fn(&str) -> bool| {
            let found = map.iter().find(|(k, _)| k.as_str().is_some_and(same));
            (Value::from(name), found.map_or(Value::Null, |(_, v)| v.clone()))
        };
        let task = named(&self.tasks, start.task, &|k| {
            datasets::find(k).is_ok_and(|t| t.id == start.task)
        });
        let method = named(&self.methods, &run.method_name, &|k| k == run.method_name);
        let one = |seed: &u64| self.run(run.experiment, (&task.0, &task.1), (&method.0, &method.1), *seed);
        let entry = Entry::read(&run.method_name, &method.1)?;
        self.seeds
            .iter()
            .filter(|seed| entry.has_seed(**seed))
            .map(one)
            .collect()
    }

    /// The row of the paper's tables that `run` belongs to: the one that its method names in `preset`, if the run, its
    /// sources and the runs it starts from are the preset's own and no flag has changed anything but tasks and seeds.
    pub fn paper_row(&self, preset: &RawExperiment, run: &RunConfig) -> Option<String> {
        let (method, task) = (preset.methods.get(&run.method_name)?, preset.tasks.get(run.task)?);
        let same_sources = (&self.model, &self.data) == (&preset.model, &preset.data);
        let same_starts = run.start.is_none() || self.seeds == preset.seeds;
        let own = preset.run(
            run.experiment,
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

    fn run(
        &self,
        experiment: &'static str,
        task: (&Value, &Value),
        method: (&Value, &Value),
        seed: u64,
    ) -> Result<RunConfig> {
        let task_name = task.0.as_str().context("a task's name must be text")?;
        let method_name = method.0.as_str().context("a method's name must be text")?;
        let known = datasets::find(task_name)?;
        let entry = Entry::read(method_name, method.1)?;
        let special = entry.special(method_name, known.id)?;
        let keep = entry.starts_others(known.id);
        let mut rest = mapping(task.1, &format!("tasks.{task_name}"))?;
        let task_train = mapping(
            &rest.remove("train").unwrap_or_default(),
            &format!("tasks.{task_name}.train"),
        )?;
        if let Some((key, _)) = rest.iter().next() {
            bail!(
                "`tasks.{task_name}`: unknown key `{}`; known: train",
                key.as_str().unwrap_or("?")
            );
        }
        let mut train = self.train.clone();
        for layer in [entry.train, task_train, special.train] {
            merge(&mut train, Value::Mapping(layer));
        }
        let train: TrainConfig = serde_yaml::from_value(train)
            .with_context(|| format!("under `train:` of `methods.{method_name}` or `tasks.{task_name}`"))?;
        train.validate()?;
        let method = lora_core::method::resolved(&Value::Mapping(entry.settings))
            .with_context(|| format!("`methods.{method_name}`"))?;
        let model = match (&self.model_name, &self.model) {
            (Some(name), _) => name.clone(),
            (None, Some(word)) => ModelSource::name(word),
            (None, None) => bail!("no model is named; give --model DIR, a Hugging Face model folder"),
        };
        Ok(RunConfig {
            experiment,
            model,
            task: known.id,
            method_name: method_name.into(),
            method,
            seed,
            dtype: self.dtype,
            train,
            start: special.start.map(|task| start(&task, known.id)).transpose()?,
            keep,
        })
    }
}

fn start(task: &str, of: &str) -> Result<Start> {
    let task = datasets::find(task)?.id;
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
