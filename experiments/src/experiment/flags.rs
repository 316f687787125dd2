//! The flags that every experiment takes.

use crate::config::read_file;
use crate::config::settings::Dtype;
use crate::experiment::Experiment;
use crate::experiment::config::{ExperimentConfig, Flag, refuse_paper_rows};
use crate::inputs::embedded::PREFIX;
use anyhow::{Context, Result, ensure};
use clap::Args;
use results::listing::{Column, listing, terminal_width};
use serde_yaml::{Mapping, Value};
use std::path::PathBuf;

// The groups of `--help`.
const WHAT: &str = "What to run";
const WHERE: &str = "Where";
const HOW: &str = "How";
const OUTPUT: &str = "Output";

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct ExperimentArgs {
    /// A YAML file with the settings that differ from the defaults
    #[arg(long, value_name = "FILE", conflicts_with = "preset", help_heading = WHAT)]
    pub config: Option<PathBuf>,
    /// A configuration that comes with the program (see --list); the default is demo, unless --config, --data or a --model that is not
    /// embedded is given
    #[arg(long, value_name = "NAME", help_heading = WHAT)]
    pub preset: Option<String>,
    /// Hugging Face model folder (config.json, tokenizer, weights), a model of the hub, or one inside the program: embedded:roberta,
    /// embedded:deberta or embedded:gpt2
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]", help_heading = WHERE)]
    pub model: Option<String>,
    /// Folder of the data (for GLUE that with CoLA/, MRPC/, ...), their data set on the hub, or embedded for generated tasks
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]", help_heading = WHERE)]
    pub data: Option<String>,
    /// Tasks, such as mrpc,rte
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = WHAT)]
    pub tasks: Vec<String>,
    /// Methods, such as full,lora
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = WHAT)]
    pub methods: Vec<String>,
    /// Grids of methods, such as which,rank; by default all of the configuration
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
    /// Run each method that has a setting once for each value, such as r=1,2,4 or train.lr=0.001,0.003, and show the scores by value;
    /// may be repeated
    #[arg(long = "sweep", value_name = "KEY=V1,V2", help_heading = WHAT)]
    pub sweeps: Vec<String>,
    /// Folder for records, checkpoints, logs, tables and TensorBoard's files
    #[arg(long, value_name = "DIR", default_value = results::OWN, help_heading = WHERE)]
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
    /// Runs at once, which share the threads; 0 = on a CPU one for each thread, as memory allows, on a GPU one
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = HOW)]
    pub jobs: usize,
    /// Print the plan (runs, trained parameters, steps, memory, time) and stop
    #[arg(long, help_heading = OUTPUT)]
    pub dry_run: bool,
    /// Print the configuration with the layer that set each value, and stop. `config NAME` in place of flags prints a preset
    #[arg(long, conflicts_with_all = ["dry_run", "list", "json"], help_heading = OUTPUT)]
    pub print_config: bool,
    /// List presets, tasks and methods, and stop
    #[arg(long, conflicts_with = "json", help_heading = OUTPUT)]
    pub list: bool,
    /// Resume interrupted runs from their checkpoints (the default); --resume=false starts them again
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set, help_heading = HOW)]
    pub resume: bool,
    /// Keep the trained weights of the best epoch of each run in OUT/weights, for `lora adapter`
    #[arg(long, help_heading = OUTPUT)]
    pub keep: bool,
    /// Print where the time of this process went, by phases and operations, and write a trace in Chrome's format. Slower
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "list"], help_heading = OUTPUT)]
    pub profile: Option<PathBuf>,
}

impl ExperimentArgs {
    /// The preset's name; `demo` where no configuration, data or model is named, but perhaps an embedded model.
    pub fn preset(&self) -> Option<&str> {
        let embedded = self.model.as_deref().is_none_or(|model| model.starts_with(PREFIX));
        let nothing = self.config.is_none() && embedded && self.data.is_none();
        self.preset.as_deref().or(nothing.then_some("demo"))
    }

    /// The configuration with all flags.
    ///
    /// # Errors
    /// Those of [`ExperimentConfig::read`], unknown presets, tasks or methods.
    pub fn config(&self, experiment: &Experiment) -> Result<ExperimentConfig> {
        let files = self.files(experiment)?;
        let mut config = ExperimentConfig::read(experiment, &layers(experiment, &files), &self.flags()?)?;
        if let Some(path) = &self.config {
            refuse_paper_rows(&config.methods, &path.display().to_string())?;
        }
        if !self.tasks.is_empty() {
            config.tasks = selected(&self.tasks, &config.tasks, |name| {
                Ok(experiment.task(name)?.id().to_string())
            })?;
        }
        let own = config.data.as_deref().is_some_and(|data| data.starts_with('{'));
        if let Some(task) = experiment.own_task.filter(|_| own && config.tasks.is_empty()) {
            config.tasks.insert(task.into(), Value::Null);
        }
        if !self.methods.is_empty() {
            config.methods = selected(&self.methods, &config.methods, |name| Ok(name.to_string()))?;
            let of_grids = config.methods_of_grids()?;
            ensure!(
                self.grid.is_empty() || of_grids.iter().any(|name| config.methods.contains_key(name)),
                "--grid {} has no effect: it makes the methods {}, and --methods names none of them",
                self.grid.join(","),
                of_grids.join(", ")
            );
        }
        self.sweeps.iter().try_for_each(|sweep| config.add_sweep(sweep))?;
        Ok(config)
    }

    /// The configuration of the preset or file alone, without flags; none where neither is named. A file that extends a preset and
    /// has no label of its own is described by the preset, from which its settings differ.
    ///
    /// # Errors
    /// Those of [`ExperimentConfig::read`], unknown presets.
    pub fn base(&self, experiment: &Experiment) -> Result<Option<ExperimentConfig>> {
        let mut files = self.files(experiment)?;
        let labelled = |text: &str| serde_yaml::from_str::<Value>(text).is_ok_and(|top| top.get("label").is_some());
        if files.len() > 1 && files.last().is_some_and(|(_, text)| !labelled(text)) {
            files.truncate(1);
        }
        let read = || ExperimentConfig::read(experiment, &layers(experiment, &files), &[]);
        (!files.is_empty()).then(read).transpose()
    }

    /// The layers above the defaults, as (name for error messages, text): the preset, or the user's file above the preset that it
    /// extends.
    fn files(&self, experiment: &Experiment) -> Result<Vec<(String, String)>> {
        let preset =
            |name: &str| Ok::<_, anyhow::Error>((format!("the preset `{name}`"), experiment.preset(name)?.into()));
        let Some(path) = &self.config else {
            ensure!(
                self.preset() != Some("demo") || !experiment.presets.is_empty(),
                "{} needs {}; docs/use.md has an example for --config",
                experiment.name,
                experiment.data.folder
            );
            return self.preset().map(preset).into_iter().collect();
        };
        let (name, text) = (path.display().to_string(), read_file(path)?);
        let top: Option<Value> = serde_yaml::from_str(&text).ok();
        let extended = top
            .as_ref()
            .and_then(|top| top.get("extends"))
            .filter(|extended| !extended.is_null());
        let extended = extended.map(|value| {
            let extended = value
                .as_str()
                .with_context(|| format!("{name}: `extends` must be the name of a preset"))?;
            preset(extended).with_context(|| format!("{name}: `extends`"))
        });
        let mut files: Vec<_> = extended.into_iter().collect::<Result<_>>()?;
        files.push((name, text));
        Ok(files)
    }

    /// The flags that set something in the configuration, lowest priority first.
    fn flags(&self) -> Result<Vec<Flag>> {
        let mut sets: Vec<&String> = Vec::new();
        for set in &self.sets {
            let path = |set: &str| set.split('=').next().map(|path| path.trim().to_string());
            // The last of two for one setting counts, so that an alias can be overridden.
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
            add(format!("--seeds {seeds}"), "seeds", self::seeds(seeds)?.into());
        }
        Ok(flags)
    }

    /// The output of `--list`.
    pub fn listing(&self, experiment: &Experiment) -> String {
        let label = |yaml: &str| {
            let settings = serde_yaml::from_str::<Value>(yaml).ok()?;
            settings.get("label")?.as_str().map(String::from)
        };
        let row = |name: &str, about: String| vec![format!("  {name}"), about];
        let presets = experiment.presets.iter();
        // Presets for any model have no label: their first line says what they are.
        let first = |yaml: &str| {
            yaml.lines()
                .next()
                .unwrap_or_default()
                .trim_start_matches("# ")
                .to_owned()
        };
        let presets = presets.map(|(name, yaml)| row(name, label(yaml).unwrap_or_else(|| first(yaml))));
        let tasks = experiment.tasks.iter().map(|task| row(task.id(), task.about()));
        let methods = lora_core::method::all();
        let methods = methods
            .iter()
            .map(|method| row(method.kind, format!("{}; {}", method.about, method.defaults)));
        let columns = [Column::text(""), Column::text("")];
        let parts: [(&str, Vec<Vec<String>>); 3] = [
            ("Presets", presets.collect()),
            ("Tasks", tasks.collect()),
            ("Methods", methods.collect()),
        ];
        let part = |(head, rows)| format!("{head}\n{}", listing(&columns, rows, terminal_width()));
        let there = parts.into_iter().filter(|(_, rows)| !rows.is_empty());
        there.map(part).collect::<Vec<_>>().join("\n")
    }
}

/// The layers below the flags.
fn layers<'a>(experiment: &'a Experiment, files: &'a [(String, String)]) -> Vec<(&'a str, &'a str)> {
    let mut layers = experiment.layers();
    layers.extend(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    layers
}

/// The entries of `known` with these names, in the order of the names; a name that it lacks gets an empty entry.
fn selected(names: &[String], known: &Mapping, canonical: impl Fn(&str) -> Result<String>) -> Result<Mapping> {
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

/// Reads `1..5` (both ends included), `1,2,7`, or a mixture, of at most 10,000 seeds a range.
fn seeds(text: &str) -> Result<Vec<u64>> {
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
