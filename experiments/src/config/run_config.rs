//! From YAML to validated runs: [`RawExperiment`] is what may be written, [`RunConfig`] what a run may see.
//!
//! The module `layers` has the rule by which defaults, presets, files and flags override each other.

use crate::config::layers::{Layer, Layers, merge};
use crate::config::settings::{DecodeConfig, Dtype, Limit, TrainConfig};
use crate::experiment::Experiment;
use crate::inputs::locator::ModelSource;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};
use std::collections::{BTreeMap, BTreeSet};

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
    /// What label and model name are of, where `model` and `data` do not say it.
    #[serde(default)]
    pub made_for: Option<crate::labels::MadeFor>,
    /// Where the data come from: see [`crate::inputs::locator::DataSource`].
    pub data: Option<String>,
    /// Task name to its own settings.
    pub tasks: Mapping,
    /// Method name to its settings; with those of the grids, once all layers are read.
    pub methods: Mapping,
    /// Grid name to a list of methods with alternatives: see [`crate::config::grids`].
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
    /// What came from where.
    #[serde(skip)]
    layers: Layers,
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

/// What may be said of one task, and of a method on one task.
const OF_TASK: [&str; 2] = ["train", "prompt"];
const OF_METHOD_ON_TASK: [&str; 2] = ["train", "start"];

/// Reads the layers, each YAML text with the name that errors call it by, and lays the flags over them.
///
/// # Errors
/// Text that is not YAML, unknown keys and tasks (with the known ones), values of the wrong type.
pub fn read(experiment: &Experiment, texts: &[(&str, &str)], flags: &[Flag]) -> Result<RawExperiment> {
    let mut merged = Value::Mapping(Mapping::new());
    let mut layers = Vec::new();
    let mut last = "the configuration";
    for (name, text) in texts {
        let mut layer = Layer::yaml(name, text)?;
        layer.name_tasks(experiment).with_context(|| format!("in {name}"))?;
        merge(&mut merged, layer.value.clone());
        // Read after each layer, so that a mistake is attributed to the layer that made it.
        RawExperiment::deserialize(merged.clone()).with_context(|| format!("in {name}"))?;
        layers.push(layer);
        last = name;
    }
    let files = merged.clone();
    let mut over = Vec::new();
    for flag in flags {
        let mut layer = flag.0.clone();
        layer
            .name_tasks(experiment)
            .with_context(|| format!("in {}", layer.name))?;
        if let Some(methods) = layer.value.get("methods").and_then(Value::as_mapping) {
            claims_no_paper_row(methods, &layer.name)?;
        }
        merge(&mut merged, layer.value.clone());
        RawExperiment::deserialize(merged.clone()).with_context(|| format!("in {}", layer.name))?;
        over.push(layer);
    }
    let mut raw = RawExperiment::deserialize(merged).with_context(|| format!("in {last}"))?;
    let (grids, named) = (grids(&raw)?, files.get("methods").and_then(Value::as_mapping));
    for (name, method) in grids.value["methods"].as_mapping().into_iter().flatten() {
        let other = named
            .and_then(|methods| methods.get(name))
            .filter(|there| *there != method);
        ensure!(
            other.is_none(),
            "`{}` is a method of a grid and another one under `methods:`; call that something else",
            name.as_str().unwrap_or_default()
        );
        let mut whole = method.clone();
        merge(
            &mut whole,
            raw.methods.remove(name).unwrap_or(Value::Mapping(Mapping::new())),
        );
        raw.methods.insert(name.clone(), whole);
    }
    layers.push(grids);
    layers.extend(over);
    raw.layers = Layers(layers);
    TrainConfig::deserialize(raw.train.clone()).with_context(|| format!("under `train:` of {last} or --set"))?;
    Ok(raw)
}

/// Refuses `methods` of a file or flag of the user's own, called `name`, that say which rows of the paper they are: a preset's
/// settings are checked against the paper's, others are not.
///
/// # Errors
/// The method, and what to do.
pub fn claims_no_paper_row(methods: &Mapping, name: &str) -> Result<()> {
    let claims = |method: &Value| method.get("paper_row").is_some_and(|row| !row.is_null());
    if let Some((method, _)) = methods.iter().find(|(_, method)| claims(method)) {
        let method = method.as_str().unwrap_or_default();
        bail!("{name}: `methods.{method}.paper_row` is for presets, whose settings are the paper's; leave it out");
    }
    Ok(())
}

/// The methods that the grids stand for, as a layer.
fn grids(raw: &RawExperiment) -> Result<Layer> {
    let methods = crate::config::grids::expand(&raw.grids, &raw.grid)?;
    let mut value = Mapping::new();
    value.insert("methods".into(), Value::Mapping(methods));
    Ok(Layer {
        name: "`grids`".into(),
        flag: false,
        value: Value::Mapping(value),
    })
}

/// A flag of the command line that stands for a setting.
#[derive(Clone, Debug)]
pub struct Flag(Layer);

impl Flag {
    /// `--set a.b.c=value`.
    ///
    /// # Errors
    /// Text of another form.
    pub fn set(set: &str) -> Result<Flag> {
        Layer::set(set).map(Flag)
    }

    /// Another flag, by what it stands for.
    pub fn of(shown: String, path: &str, value: Value) -> Flag {
        Flag(Layer::flag(shown, path, value))
    }
}

impl RawExperiment {
    /// Every run of the grid, seeds outermost, so that a table has its first column of numbers as early as can be.
    ///
    /// # Errors
    /// Unknown tasks or methods (with the known ones), settings that cannot be used, flags without effect.
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
                        "{} with {} and seed {seed} is asked for twice",
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

    /// The names of the methods that the grids make.
    ///
    /// # Errors
    /// As [`crate::config::grids::expand`].
    pub fn methods_of_grids(&self) -> Result<Vec<String>> {
        let methods = crate::config::grids::expand(&self.grids, &self.grid)?;
        Ok(methods.keys().filter_map(Value::as_str).map(String::from).collect())
    }

    /// A method's name, if what is said of it can be read and it has seeds to run with.
    fn check_method<'a>(&self, name: &'a Value, entry: &Value) -> Result<&'a str> {
        let name = name.as_str().context("a method's name must be text")?;
        let at = format!("methods.{name}");
        let entry = mapping(entry, &at)?;
        for key in ["train", "tasks", "decode", "limit"] {
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

    /// The seeds that a method has of its own, if it does not run with all.
    fn own_seeds(&self, method: &str) -> Result<Option<Vec<u64>>> {
        let Some(said) = self.layers.value("seeds", method).filter(|said| said.own) else {
            return Ok(None);
        };
        let seeds = serde_yaml::from_value(said.value.clone());
        seeds
            .map(Some)
            .with_context(|| format!("`methods.{method}.seeds` must be a list of the experiment's seeds"))
    }

    /// Whether the method runs with this of the experiment's seeds: all of them, if it does not say which.
    fn has_seed(&self, method: &str, seed: u64) -> bool {
        !matches!(self.own_seeds(method), Ok(Some(own)) if !own.contains(&seed))
    }

    /// The runs whose weights `run` can start from: the same method on the task that it names, one a seed.
    ///
    /// # Errors
    /// As [`RawExperiment::runs`].
    pub fn sources(&self, experiment: &'static Experiment, run: &RunConfig) -> Result<Vec<RunConfig>> {
        let Some(start) = &run.start else { return Ok(Vec::new()) };
        let seeds = self.seeds.iter().filter(|seed| self.has_seed(&run.method_name, **seed));
        seeds
            .map(|seed| self.run(experiment, start.task, &run.method_name, *seed))
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
        let method = preset.methods.get(&run.method_name)?;
        preset.tasks.get(run.task)?;
        let mut own = preset.run(experiment, run.task, &run.method_name, run.seed).ok()?;
        let same_sources = (&self.model, &self.data) == (&preset.model, &preset.data);
        let same_starts = run.start.is_none() || self.seeds == preset.seeds;
        let same_starts = same_starts && own.start.as_ref().map(|s| s.task) == run.start.as_ref().map(|s| s.task);
        own.start.clone_from(&run.start);
        let row = method.get("paper_row").and_then(Value::as_str);
        row.filter(|_| same_sources && same_starts && own == *run)
            .map(String::from)
    }

    /// One run, of a task and a method with what the layers say of them.
    ///
    /// # Errors
    /// As [`RawExperiment::runs`].
    pub(crate) fn run(
        &self,
        experiment: &'static Experiment,
        task: &str,
        method: &str,
        seed: u64,
    ) -> Result<RunConfig> {
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
        let settings = lora_core::method::resolved(&self.layers.method(method).value);
        let settings = settings.with_context(|| format!("`methods.{method}`"))?;
        let dtype = self.layers.value("dtype", method).map(|said| said.value.clone());
        let dtype = dtype.map(serde_yaml::from_value).transpose();
        let dtype = dtype.with_context(|| format!("{} must be fp32 or bf16", at("dtype")))?;
        let start = self.layers.of_method_on_task("start", method, task);
        let start = start.and_then(|said| said.value.as_str());
        let run = RunConfig {
            experiment: experiment.name,
            model: self.model_name()?,
            task,
            method_name: method.into(),
            method: settings,
            seed,
            dtype: dtype.unwrap_or(self.dtype),
            train,
            limit,
            decode,
            prompt: self.prompt(task)?,
            start: start.map(|of| start_of(experiment, of, task)).transpose()?,
            keep: self.starts_others(experiment, method, task),
        };
        known.check(&run)?;
        run.normal(experiment)
    }

    /// How much of the data a task and method take, and the epochs.
    pub(crate) fn amounts(&self, task: &str, method: &str) -> Option<(Limit, u64)> {
        let limit = serde_yaml::from_value(self.layers.part("limit", method).value).ok()?;
        let train: TrainConfig = serde_yaml::from_value(self.layers.train(task, method).value).ok()?;
        Some((limit, train.epochs))
    }

    /// The model's name in tables.
    fn model_name(&self) -> Result<String> {
        match (&self.model_name, &self.model) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(word)) => Ok(ModelSource::name(word)),
            (None, None) => bail!("no model is named; give --model DIR, a Hugging Face model folder"),
        }
    }

    fn prompt(&self, task: &str) -> Result<Option<String>> {
        match self.layers.of_task("prompt", task).map(|said| said.value) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(prompt)) => Ok(Some(prompt.clone())),
            Some(_) => bail!("`tasks.{task}.prompt` must be text"),
        }
    }

    /// Whether the method starts from this task on another one.
    fn starts_others(&self, experiment: &Experiment, method: &str, task: &str) -> bool {
        (experiment.tasks)().iter().any(|other| {
            let start = self.layers.of_method_on_task("start", method, other.id());
            let start = start.and_then(|said| experiment.task(said.value.as_str()?).ok());
            start.is_some_and(|start| start.id() == task)
        })
    }

    /// Refuses flags without effect on any of the runs.
    fn check_flags(&self, experiment: &'static Experiment, runs: &[RunConfig]) -> Result<()> {
        let (mut used, mut idle) = (BTreeSet::new(), BTreeMap::new());
        for key in ["label", "closing", "model", "model_name", "data", "seeds", "grid"] {
            used.extend(self.layers.top(&[key]).map(|said| said.layer));
        }
        used.extend(self.layers.that_say("grids", |grid| {
            self.grid.is_empty() || self.grid.iter().any(|g| g == grid)
        }));
        let mut seen = BTreeSet::new();
        for run in runs.iter().filter(|run| seen.insert((run.task, &run.method_name))) {
            let (task, method) = (run.task, run.method_name.as_str());
            used.extend(self.layers.first_to_name("tasks", task));
            used.extend(self.layers.first_to_name("methods", method));
            for key in ["dtype", "seeds"] {
                used.extend(self.layers.value(key, method).map(|said| said.layer));
            }
            used.extend(self.layers.of_task("prompt", task).map(|said| said.layer));
            used.extend(
                self.layers
                    .of_method_on_task("start", method, task)
                    .map(|said| said.layer),
            );
            used.extend(self.layers.method(method).from.values());
            let without = run.without_influence(experiment)?;
            let parts = [
                ("train", self.layers.train(task, method)),
                ("decode", self.layers.part("decode", method)),
                ("limit", self.layers.part("limit", method)),
            ];
            for (part, settled) in parts {
                for (path, layer) in settled.from {
                    match without.iter().find(|(setting, _)| *setting == format!("{part}.{path}")) {
                        Some((_, why)) => drop(idle.insert(layer, why.clone())),
                        None => drop(used.insert(layer)),
                    }
                }
            }
        }
        self.layers.all_flags_used(&used, &idle)
    }
}

impl RunConfig {
    /// The same run with what has no influence on it in one form, so that the same question has the same id.
    ///
    /// # Errors
    /// As [`RunConfig::without_influence`].
    fn normal(mut self, experiment: &Experiment) -> Result<RunConfig> {
        for (setting, _) in self.without_influence(experiment)? {
            match setting {
                "train.warmup_ratio" => self.train.warmup_ratio = 0.0,
                "train.label_smoothing" => self.train.label_smoothing = 0.0,
                "limit.sample" => self.limit.sample = None,
                "limit.test" => self.limit.test = None,
                _ => self.decode.iter_mut().for_each(|decode| decode.reset(setting)),
            }
        }
        Ok(self)
    }

    /// The settings that have no influence on this run beside its others, with the reason: `train.warmup_ratio` where
    /// `train.warmup_steps` is given.
    ///
    /// # Errors
    /// A task that the experiment does not have.
    pub fn without_influence(&self, experiment: &Experiment) -> Result<Vec<(&'static str, String)>> {
        let mut out = Vec::new();
        if let Some(steps) = self.train.warmup_steps {
            out.push((
                "train.warmup_ratio",
                format!("`train.warmup_steps` is {steps}; set it to null for a share of the steps"),
            ));
        }
        if !experiment.task(self.task)?.smooths_labels() {
            let why = format!("{} has no classes to smooth", self.task);
            out.push(("train.label_smoothing", why));
        }
        if self.limit.train.is_none() {
            out.push(("limit.sample", "`limit.train` does not say how many rows".into()));
        }
        match &self.decode {
            None => out.push(("limit.test", format!("{} writes no texts", self.task))),
            Some(decode) => out.extend(decode.without_influence()),
        }
        Ok(out)
    }
}

/// The `config` of a record of an earlier version in today's form: see [`RunConfig::normal`].
///
/// # Errors
/// A method that there is no longer.
pub(crate) fn normal_form(config: &mut serde_json::Value, task: &str) -> Result<()> {
    let method = config.get("method").cloned().unwrap_or_default();
    let method = lora_core::method::resolved(&serde_yaml::to_value(method)?)?;
    config["method"] = serde_json::to_value(method)?;
    if config["train"]
        .get("warmup_steps")
        .is_some_and(|steps| !steps.is_null())
    {
        config["train"]["warmup_ratio"] = 0.0.into();
    }
    let limit = config.get_mut("limit").and_then(serde_json::Value::as_object_mut);
    if let Some(limit) = limit.filter(|limit| !limit.contains_key("train")) {
        limit.remove("sample");
    }
    let smooths = crate::experiment::EXPERIMENTS.iter().find_map(|e| e.task(task).ok());
    if smooths.is_some_and(|task| !task.smooths_labels()) {
        config["train"]["label_smoothing"] = 0.0.into();
    }
    if let Some(decode) = config.get_mut("decode").filter(|decode| decode.is_object()) {
        let mut normal: DecodeConfig = serde_json::from_value(decode.clone())?;
        for (setting, _) in normal.without_influence() {
            normal.reset(setting);
        }
        *decode = serde_json::to_value(normal)?;
    }
    Ok(())
}

/// Refuses keys that nothing reads.
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

fn start_of(experiment: &Experiment, task: &str, of: &str) -> Result<Start> {
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
