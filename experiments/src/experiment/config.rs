//! An experiment's configuration: YAML layers and flags, merged.
//!
//! The module `config::overrides` has the rule of precedence.

use crate::config::grids;
use crate::config::overrides::{Layer, Layers, merge, select};
use crate::config::rates::Rates;
use crate::config::settings::{DecodeConfig, Dtype, Limit, TrainConfig};
use crate::config::slurm::SlurmConfig;
use crate::experiment::Experiment;
use crate::experiment::hints::hint;
use anyhow::{Context, Result, anyhow, bail, ensure};
use results::by_value::BySetting;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};
use std::collections::BTreeMap;

/// The keys of a configuration after all layers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// What the numbers are, in words.
    pub label: Option<String>,
    /// The text after the tables.
    pub closing: Option<String>,
    /// Where the model comes from: see [`crate::inputs::locator::ModelSource`].
    pub model: Option<String>,
    /// The model's name in tables.
    pub model_name: Option<String>,
    /// The weights and data that label and model name describe, where `model` and `data` do not name them.
    #[serde(default)]
    pub made_for: Option<MadeFor>,
    /// Where the data come from: see [`crate::inputs::locator::DataSource`]. A mapping is kept as YAML on one line.
    #[serde(default, deserialize_with = "word_or_mapping")]
    pub data: Option<String>,
    /// The preset below a file (`extends: NAME`).
    #[serde(default)]
    pub extends: Option<String>,
    /// Task name to the task's own settings.
    pub tasks: Mapping,
    /// Method name to its settings, those of the grids included.
    pub methods: Mapping,
    /// Grid name to a list of methods with alternatives: see [`crate::config::grids`].
    #[serde(default)]
    pub grids: Mapping,
    /// The grids to run; all if empty.
    #[serde(default)]
    pub grid: Vec<String>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Number type of frozen weights and activations.
    pub dtype: Dtype,
    /// Training settings before those of methods and tasks.
    pub train: Value,
    /// Limits on the number of rows.
    #[serde(default)]
    pub limit: Limit,
    /// Decoding settings, for tasks that generate text.
    pub decode: Option<DecodeConfig>,
    /// Learning rates to choose from, for each method and task.
    #[serde(default)]
    pub rates: Option<Rates>,
    /// What `--launcher slurm` asks Slurm for.
    #[serde(default)]
    pub slurm: SlurmConfig,
    /// What is swept, in the order of the flags.
    #[serde(skip)]
    pub sweeps: Vec<BySetting>,
    /// The layers, to tell which one set what.
    #[serde(skip)]
    pub(super) layers: Layers,
}

fn word_or_mapping<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(word) => Ok(Some(word)),
        mapping @ Value::Mapping(_) => serde_json::to_string(&mapping)
            .map(Some)
            .map_err(serde::de::Error::custom),
        _ => Err(serde::de::Error::custom(
            "`data` must be a word, or a mapping such as {kind: classification, train: FILE, text: COLUMN, label: COLUMN}",
        )),
    }
}

/// SHA-256 of the weights and data that a configuration describes without naming where they lie.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeFor {
    /// Of the weights, one for each kind of machine that they were pretrained on.
    pub weights: Vec<String>,
    /// Of each task's data.
    pub data: BTreeMap<String, String>,
}

/// A flag of the command line that sets something in the configuration.
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

    /// A flag that sets `path` to `value`; `shown` is its name in errors.
    pub fn of(shown: String, path: &str, value: Value) -> Flag {
        Flag(Layer::flag(shown, path, value))
    }
}

impl ExperimentConfig {
    /// Merges YAML layers, lowest priority first, as (name for error messages, text), and the flags over them.
    ///
    /// # Errors
    /// Text that is not YAML, unknown keys and tasks (with the known ones), values of the wrong type.
    pub fn read(experiment: &Experiment, texts: &[(&str, &str)], flags: &[Flag]) -> Result<ExperimentConfig> {
        let id = |name: &str| Ok(experiment.task(name)?.id());
        let mut merged = Value::Mapping(Mapping::new());
        let mut layers = Vec::new();
        let mut last = "the configuration";
        for (name, text) in texts {
            let mut layer = Layer::yaml(name, text)?;
            let lists = layer.take_lists().with_context(|| format!("in {name}"))?;
            layer.name_tasks(&id).with_context(|| format!("in {name}"))?;
            keep_listed(&merged, &mut layer.value, &lists);
            refuse_empty(&merged, &layer.value).with_context(|| format!("in {name}"))?;
            merge(&mut merged, layer.value.clone());
            for (key, names) in lists {
                let known = |name: &String| {
                    if key == "tasks" {
                        Ok(id(name)?.to_owned())
                    } else {
                        Ok(name.clone())
                    }
                };
                let names = names.iter().map(known).collect::<Result<Vec<_>>>()?;
                select(&mut merged, key, &names);
            }
            // Read after each layer, so that a mistake is attributed to the layer that made it.
            settings::<ExperimentConfig>(&merged).with_context(|| format!("in {name}"))?;
            layers.push(layer);
            last = name;
        }
        let files = merged.clone();
        let mut over = Vec::new();
        for flag in flags {
            let mut layer = flag.0.clone();
            layer.name_tasks(&id).with_context(|| format!("in {}", layer.name))?;
            if let Some(methods) = layer.value.get("methods").and_then(Value::as_mapping) {
                refuse_paper_rows(methods, &layer.name)?;
            }
            let below = merged.clone();
            merge(&mut merged, layer.value.clone());
            settings::<ExperimentConfig>(&merged).map_err(|error| match hint(&below, &layer) {
                Some(hint) => anyhow!("in {}: {hint}", layer.name),
                None => error.context(format!("in {}", layer.name)),
            })?;
            over.push(layer);
        }
        let mut config: ExperimentConfig = settings(&merged).with_context(|| format!("in {last}"))?;
        layers.push(config.add_grids(files.get("methods").and_then(Value::as_mapping))?);
        layers.extend(over);
        config.layers = Layers(layers);
        train_settings(&config.train).with_context(|| format!("under `train:` of {last} or --set"))?;
        Ok(config)
    }

    /// Adds the methods of the grids to `methods`, below what flags set of them, and returns them as a layer. `named` are the
    /// methods that files name themselves.
    fn add_grids(&mut self, named: Option<&Mapping>) -> Result<Layer> {
        let methods = grids::expand(&self.grids, &self.grid)?;
        for (name, method) in &methods {
            let other = named
                .and_then(|methods| methods.get(name))
                .filter(|there| *there != method);
            ensure!(
                other.is_none(),
                "`{}` is a method of a grid and another one under `methods:`; rename one of them",
                name.as_str().unwrap_or_default()
            );
            let mut whole = method.clone();
            merge(
                &mut whole,
                self.methods.remove(name).unwrap_or(Value::Mapping(Mapping::new())),
            );
            self.methods.insert(name.clone(), whole);
        }
        let mut value = Mapping::new();
        value.insert("methods".into(), Value::Mapping(methods));
        Ok(Layer {
            name: "`grids`".into(),
            flag: false,
            value: Value::Mapping(value),
        })
    }

    /// The configuration after all layers, as YAML in which a comment names the layer of each value.
    ///
    /// # Errors
    /// Values that YAML cannot hold.
    pub fn commented(&self) -> Result<String> {
        let names = |map: &Mapping| map.keys().filter_map(Value::as_str).map(String::from).collect();
        self.layers
            .commented([("tasks", names(&self.tasks)), ("methods", names(&self.methods))])
    }

    /// The names of the methods that the grids make.
    ///
    /// # Errors
    /// As [`grids::expand`].
    pub fn methods_of_grids(&self) -> Result<Vec<String>> {
        let methods = grids::expand(&self.grids, &self.grid)?;
        Ok(methods.keys().filter_map(Value::as_str).map(String::from).collect())
    }
}

/// Reads settings.
///
/// # Errors
/// Unknown keys; a value of another type, by its key.
fn settings<T: DeserializeOwned>(value: &Value) -> Result<T> {
    serde_path_to_error::deserialize(value.clone()).map_err(|error| {
        let path = error.path().to_string();
        let said = in_words(&error.into_inner().to_string());
        // An unknown key is named already.
        let at = match said.starts_with("unknown field") {
            true => path.rsplit_once('.').map_or(".", |(above, _)| above),
            false => &path,
        };
        match at {
            "." | "" => anyhow!("{said}"),
            at => anyhow!("`{at}`: {said}"),
        }
    })
}

/// Reads the settings of `train:`, whose parts are flattened, so that an error of theirs has no path.
fn train_settings(value: &Value) -> Result<()> {
    let said = |value: &Value| settings::<TrainConfig>(value).err().map(|error| error.to_string());
    let Some(error) = said(value) else { return Ok(()) };
    let wrong = value.as_mapping().into_iter().flatten().find(|(key, _)| {
        let mut rest = value.clone();
        rest.as_mapping_mut().and_then(|rest| rest.remove(*key));
        said(&rest).as_ref() != Some(&error)
    });
    match wrong.and_then(|(key, _)| key.as_str()) {
        Some(key) if !error.starts_with("unknown field") => bail!("`{key}`: {error}"),
        _ => bail!("{error}"),
    }
}

/// An error of serde without Rust's names of types.
fn in_words(error: &str) -> String {
    let Some((rest, wanted)) = error.rsplit_once(", expected ") else {
        return error.to_owned();
    };
    let wanted = match wanted {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other => other,
    };
    format!("{rest}, expected {wanted}")
}

/// Takes from a layer the names of its lists that a layer below has settings of: a list chooses, and changes none of them.
fn keep_listed(below: &Value, layer: &mut Value, lists: &[(&str, Vec<String>)]) {
    for (key, _) in lists {
        let (Some(below), Some(names)) = (below.get(key), layer.get_mut(key).and_then(Value::as_mapping_mut)) else {
            continue;
        };
        names.retain(|name, _| below.get(name).is_none());
    }
}

/// Refuses tasks and methods without settings over those of a layer below, which could mean to drop them, or to leave them.
///
/// # Errors
/// The task or method, and what to write.
fn refuse_empty(below: &Value, layer: &Value) -> Result<()> {
    for key in ["tasks", "methods"] {
        let entries = layer.get(key).and_then(Value::as_mapping).into_iter().flatten();
        for (name, _) in entries.filter(|(_, value)| value.is_null()) {
            let set = below
                .get(key)
                .and_then(|below| below.get(name))
                .and_then(Value::as_mapping);
            ensure!(
                set.is_none_or(Mapping::is_empty),
                "`{key}.{name}` is empty, and has settings below: to choose among the {key}, write a list (`{key}: [{name}, ...]`) or give --{key}; to change one, write the settings that change",
                name = name.as_str().unwrap_or_default()
            );
        }
    }
    Ok(())
}

/// Refuses `paper_row` among the `methods` of a file or flag of the user's own, called `name`: only the settings of presets are
/// checked against the paper's.
///
/// # Errors
/// The method, and what to do.
pub fn refuse_paper_rows(methods: &Mapping, name: &str) -> Result<()> {
    let claims = |method: &Value| method.get("paper_row").is_some_and(|row| !row.is_null());
    if let Some((method, _)) = methods.iter().find(|(_, method)| claims(method)) {
        let method = method.as_str().unwrap_or_default();
        bail!("{name}: `methods.{method}.paper_row` is for presets, whose settings are the paper's; leave it out");
    }
    Ok(())
}
