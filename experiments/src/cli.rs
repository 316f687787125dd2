//! The flags that every experiment takes.

use crate::config::run_config::{self, Flag, RawExperiment};
use crate::config::settings::Dtype;
use crate::experiment::Experiment;
use crate::experiment::presets;
use crate::inputs::embedded::PREFIX;
use crate::report::console::Show;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_yaml::{Mapping, Value};
use std::path::PathBuf;

// The groups of `--help`.
const WHAT: &str = "What to run";
const WHERE: &str = "Where";
const HOW: &str = "How";
const OUTPUT: &str = "Output";

/// What to run and where.
#[derive(Args, Clone, Debug)]
pub struct ExperimentArgs {
    /// A YAML file that states what differs from the defaults
    #[arg(long, value_name = "FILE", conflicts_with = "preset", help_heading = WHAT)]
    pub config: Option<PathBuf>,
    /// A configuration that comes with the program (--list shows them); demo, unless --config, --data or a model of your
    /// own says otherwise
    #[arg(long, value_name = "NAME", help_heading = WHAT)]
    pub preset: Option<String>,
    /// Hugging Face model folder (config.json, tokenizer, weights), a model of the hub, or one of the program's own, such as
    /// embedded:roberta, embedded:deberta or embedded:gpt2
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]", help_heading = WHERE)]
    pub model: Option<String>,
    /// Folder that holds the data (GLUE's holds CoLA/, MRPC/, ...), their data set on the hub, or embedded for generated tasks
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]", help_heading = WHERE)]
    pub data: Option<String>,
    /// Tasks, such as mrpc,rte
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = WHAT)]
    pub tasks: Vec<String>,
    /// Methods, such as full,lora
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = WHAT)]
    pub methods: Vec<String>,
    /// Grids of methods, such as which,rank, if not all that the configuration has
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = WHAT)]
    pub grid: Vec<String>,
    /// Seeds, such as 1..5 or 1,2,7
    #[arg(long, value_name = "LIST", help_heading = WHAT)]
    pub seeds: Option<String>,
    /// Passes over the training rows
    #[arg(long, value_name = "N", help_heading = HOW)]
    pub epochs: Option<u64>,
    /// Any setting by its path, such as train.lr=0.0003 or methods.lora.r=4; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = HOW)]
    pub sets: Vec<String>,
    /// Where records, checkpoints, logs, tables and TensorBoard's files go
    #[arg(long, value_name = "DIR", default_value = "results", help_heading = WHERE)]
    pub out: PathBuf,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "auto", help_heading = HOW)]
    pub device: String,
    /// Number type of frozen weights and activations
    #[arg(long, value_name = "TYPE", help_heading = HOW)]
    pub dtype: Option<Dtype>,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = HOW)]
    pub threads: usize,
    /// Runs at once, each with its share of the threads; 0 = on a CPU one a thread, as far as memory goes, on a GPU one
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = HOW)]
    pub jobs: usize,
    /// Print the plan (runs, parameters trained, steps, rough memory) and stop
    #[arg(long, help_heading = OUTPUT)]
    pub dry_run: bool,
    /// List presets, tasks and methods, and stop
    #[arg(long, conflicts_with = "json", help_heading = OUTPUT)]
    pub list: bool,
    /// Go on from checkpoints of interrupted runs (the default); --resume=false starts them afresh
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set, help_heading = HOW)]
    pub resume: bool,
    /// Keep what each run trained, of its best epoch, in OUT/weights: for `lora adapter`
    #[arg(long, help_heading = OUTPUT)]
    pub keep: bool,
    /// What is shown.
    #[command(flatten)]
    pub show: Show,
}

impl ExperimentArgs {
    /// The preset's name: the demonstration, if nothing else is said than which of the embedded models to take.
    pub fn preset(&self) -> Option<&str> {
        let embedded = self.model.as_deref().is_none_or(|model| model.starts_with(PREFIX));
        let nothing = self.config.is_none() && embedded && self.data.is_none();
        self.preset.as_deref().or(nothing.then_some("demo"))
    }

    /// The preset alone, without any flag.
    ///
    /// # Errors
    /// Unknown presets.
    pub fn untouched(&self, experiment: &Experiment) -> Result<Option<RawExperiment>> {
        let Some(preset) = self.preset() else { return Ok(None) };
        let mut layers = experiment.defaults.to_vec();
        layers.push(("the preset", experiment.preset(preset)?));
        run_config::read(experiment, &layers, &[]).map(Some)
    }

    /// The experiment after defaults, preset or file, and flags.
    ///
    /// # Errors
    /// Those of [`run_config::read`], unknown presets, tasks or methods.
    pub fn experiment(&self, experiment: &Experiment) -> Result<RawExperiment> {
        let mut layers = experiment.defaults.to_vec();
        let (name, text);
        if let Some(path) = &self.config {
            (name, text) = (path.display().to_string(), presets::read(path)?);
            layers.push((&name, &text));
        } else if let Some(preset) = self.preset() {
            let found = experiment.preset(preset)?;
            (name, text) = (format!("the preset `{preset}`"), found.to_string());
            layers.push((&name, &text));
        }
        let mut raw = run_config::read(experiment, &layers, &self.flags()?)?;
        if let Some(path) = &self.config {
            run_config::claims_no_paper_row(&raw.methods, &path.display().to_string())?;
        }
        if !self.tasks.is_empty() {
            raw.tasks = chosen(&self.tasks, &raw.tasks, |name| {
                Ok(experiment.task(name)?.id().to_string())
            })?;
        }
        if !self.methods.is_empty() {
            raw.methods = chosen(&self.methods, &raw.methods, |name| Ok(name.to_string()))?;
            let of_grids = raw.methods_of_grids()?;
            ensure!(
                self.grid.is_empty() || of_grids.iter().any(|name| raw.methods.contains_key(name)),
                "--grid {} has no effect: it makes the methods {}, and --methods names none of them",
                self.grid.join(","),
                of_grids.join(", ")
            );
        }
        Ok(raw)
    }

    /// The flags that stand for settings, in the order in which they override each other.
    fn flags(&self) -> Result<Vec<Flag>> {
        let mut sets: Vec<&String> = Vec::new();
        for set in &self.sets {
            let path = |set: &str| set.split('=').next().map(|path| path.trim().to_string());
            // Of two for one setting the last counts, so that an alias can be overridden.
            sets.retain(|other| path(other) != path(set));
            sets.push(set);
        }
        let mut flags = sets.iter().map(|set| Flag::set(set)).collect::<Result<Vec<_>>>()?;
        let mut add = |shown: String, path: &str, value: Value| flags.push(Flag::of(shown, path, value));
        if !self.grid.is_empty() {
            add(
                format!("--grid {}", self.grid.join(",")),
                "grid",
                self.grid.clone().into(),
            );
        }
        if let Some(epochs) = self.epochs {
            add(format!("--epochs {epochs}"), "train.epochs", epochs.into());
        }
        if let Some(model) = &self.model {
            add(format!("--model {model}"), "model", model.as_str().into());
        }
        if let Some(data) = &self.data {
            add(format!("--data {data}"), "data", data.as_str().into());
        }
        if let Some(dtype) = self.dtype {
            add(format!("--dtype {}", dtype.name()), "dtype", dtype.name().into());
        }
        if let Some(seeds) = &self.seeds {
            add(format!("--seeds {seeds}"), "seeds", run_config::seeds(seeds)?.into());
        }
        Ok(flags)
    }

    /// What `--list` prints.
    pub fn listing(&self, experiment: &Experiment) -> String {
        let mut text = String::from("Presets\n");
        for (name, yaml) in experiment.presets {
            let label = serde_yaml::from_str::<Value>(yaml)
                .ok()
                .and_then(|v| v.get("label")?.as_str().map(String::from));
            text += &format!("  {name:<14} {}\n", label.unwrap_or_default());
        }
        text += "\nTasks\n";
        for task in (experiment.tasks)() {
            text += &format!("  {:<14} {}\n", task.id(), task.about());
        }
        text += "\nMethods\n";
        for method in lora_core::method::all() {
            text += &format!("  {:<14} {}; {}\n", method.kind, method.about, method.defaults);
        }
        text
    }
}

/// The entries of `known` that are named, in the order named; names that it lacks stand alone.
fn chosen(names: &[String], known: &Mapping, canonical: impl Fn(&str) -> Result<String>) -> Result<Mapping> {
    let mut out = Mapping::new();
    for name in names {
        let id = canonical(name.trim())?;
        let found = known
            .iter()
            .find(|(k, _)| k.as_str().and_then(|k| canonical(k).ok()).as_deref() == Some(&id));
        let settings = found.map_or(Value::Null, |(_, v)| v.clone());
        let twice = out.insert(id.as_str().into(), settings);
        if twice.is_some() {
            anyhow::bail!("`{name}` is named twice");
        }
    }
    Ok(out)
}

/// Sets the number of threads of libtorch and of everything else.
///
/// # Errors
/// If the pool of threads exists already.
pub fn set_threads(threads: usize) -> Result<usize> {
    let threads = if threads == 0 {
        std::thread::available_parallelism().map_or(1, usize::from)
    } else {
        threads
    };
    tch::set_num_threads(i32::try_from(threads).context("--threads")?);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .context("starting the threads")?;
    Ok(threads)
}

/// The one place where an error is printed: on one line, with its causes.
pub fn finish(result: Result<std::process::ExitCode>) -> std::process::ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", support::printable(format!("{error:#}")));
        std::process::ExitCode::FAILURE
    })
}
