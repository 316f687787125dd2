//! Adapters on disk: what a word on the command line names, and what is known of it beside its tensors.

use crate::inputs::locator::{ModelSource, adapter_folder};
use crate::task::run_paths::RunPaths;
use anyhow::{Context, Result, bail, ensure};
use datasets::{GlueTask, TaskKind, Tokenizer};
use lora_core::interop::{AdapterFile, Base, Tensors, open_loralib, open_peft};
use lora_core::method::{self, Lora};
use lora_core::weights::{Weights, save_sealed};
use results::{RunRecord, Store};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;
use std::path::{Path, PathBuf};

/// The forms that an adapter may have on the command line.
pub const FORMS: &str = "RESULTS/ID, a run of glue whose weights were kept (glue --keep); its file RESULTS/weights/ID.safetensors; a folder that `lora adapter import` wrote; a PEFT folder; OWNER/NAME[@REVISION] of one on the hub; or a loralib checkpoint (.bin, .pt)";

const ABOUT: &str = "adapter.json";
const WEIGHTS: &str = "adapter.safetensors";
/// Of the layout of `adapter.json`.
const VERSION: u32 = 1;

/// Where an adapter lies.
#[derive(Debug, PartialEq)]
pub enum AdapterSource {
    /// A run's record and weights in a store: its folder and the run's id.
    Run(PathBuf, String),
    /// A folder that [`Stored::write`] made.
    Folder(PathBuf),
    /// A folder of PEFT's.
    Peft(PathBuf),
    /// A checkpoint of loralib.
    Loralib(PathBuf),
}

impl AdapterSource {
    /// What `path` names.
    ///
    /// # Errors
    /// Something that is not there, or none of [`FORMS`].
    pub fn of(path: &Path) -> Result<AdapterSource> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let parent = path.parent().unwrap_or(Path::new("")).to_path_buf();
        if path.is_dir() {
            if path.join(ABOUT).is_file() {
                return Ok(AdapterSource::Folder(path.into()));
            }
            if path.join("adapter_config.json").is_file() {
                return Ok(AdapterSource::Peft(path.into()));
            }
            bail!("{}: no adapter in this folder; expected {FORMS}", path.display());
        }
        let recorded = |out: &Path| out.join("runs").join(format!("{stem}.json")).is_file();
        let store = ["weights", "runs"]
            .iter()
            .any(|f| parent.ends_with(f))
            .then(|| parent.join(".."));
        match store {
            Some(out) if recorded(&out) => return Ok(AdapterSource::Run(out, stem)),
            _ if recorded(&parent) => return Ok(AdapterSource::Run(parent, stem)),
            _ => {}
        }
        // A path below a folder that is here is one, and not the name of a repository.
        if !path.exists() && !parent.is_dir() {
            let word = path.to_str().unwrap_or_default();
            if let Some(dir) = adapter_folder(word)? {
                return Ok(AdapterSource::Peft(dir));
            }
        }
        ensure!(path.is_file(), "{}: no such adapter; expected {FORMS}", path.display());
        let torch = ["bin", "pt", "pth", "ckpt"]
            .iter()
            .any(|e| path.extension().is_some_and(|x| x == *e));
        ensure!(
            torch,
            "{}: unknown form of an adapter; expected {FORMS}",
            path.display()
        );
        Ok(AdapterSource::Loralib(path.into()))
    }
}

/// The base model that an adapter is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseName {
    /// A folder, `OWNER/NAME`, or `embedded:NAME`; a run that was given a folder knows the model's name in tables alone.
    pub name: String,
    /// Its commit on the hub.
    pub revision: Option<String>,
    /// SHA-256 of its weights.
    pub weights_sha256: Option<String>,
    /// SHA-256 of what is read of its config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<String>,
    /// SHA-256 of its tokenizer's files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer_sha256: Option<String>,
}

impl BaseName {
    /// As `--base` takes it.
    pub fn word(&self) -> String {
        match &self.revision {
            Some(revision) => format!("{}@{revision}", self.name),
            None => self.name.clone(),
        }
    }
}

/// How good it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Such as `dev/accuracy`.
    pub metric: String,
    /// As a fraction.
    pub value: f64,
    /// After so many epochs.
    pub epoch: u32,
}

/// What is known of an adapter beside its tensors: `adapter.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterInfo {
    /// Of the layout.
    pub version: u32,
    /// The base model.
    pub base: BaseName,
    /// The method with its settings.
    pub method: Value,
    /// Names of the outputs, where known.
    pub labels: Vec<String>,
    /// Whether the head was a fresh one in the place of the base's own, which is of another task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh_head: bool,
    /// The task.
    pub task: Option<String>,
    /// Whether the task's rows have two texts, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paired: Option<bool>,
    /// The data.
    pub data: Option<String>,
    /// The best evaluation.
    pub score: Option<Score>,
    /// Where it comes from, in words.
    pub origin: String,
    /// The command that made it.
    pub command: String,
}

/// An adapter with what was trained, under the names of the model's variables.
#[derive(Debug)]
pub struct Stored {
    /// What is known of it.
    pub about: AdapterInfo,
    /// What was trained.
    pub trained: Tensors,
    /// The settings of the run that trained it, as in its record.
    pub config: Option<serde_json::Value>,
}

impl Stored {
    /// Reads a run or a folder of this project's own.
    ///
    /// # Errors
    /// No such run, a run that failed or whose weights were not kept, damaged files; PEFT's and loralib's files, which need
    /// a base first ([`Stored::foreign`]).
    pub fn open(place: &AdapterSource) -> Result<Stored> {
        match place {
            AdapterSource::Run(out, id) => Stored::run(out, id),
            AdapterSource::Folder(dir) => {
                let path = dir.join(ABOUT);
                let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let about: AdapterInfo =
                    serde_json::from_str(&text).with_context(|| format!("{} is no adapter's", path.display()))?;
                ensure!(
                    about.version == VERSION,
                    "{}: version {}; this program reads {VERSION}",
                    path.display(),
                    about.version
                );
                Ok(Stored {
                    about,
                    trained: tensors(&dir.join(WEIGHTS))?,
                    config: None,
                })
            }
            AdapterSource::Peft(path) | AdapterSource::Loralib(path) => bail!(
                "{}: an adapter of another library; convert it with `lora adapter import`",
                path.display()
            ),
        }
    }

    fn run(out: &Path, id: &str) -> Result<Stored> {
        let record = Store::open(out)?.get(id)?;
        let record = record.with_context(|| format!("{}: there is no finished run {id}", out.display()))?;
        let path = RunPaths::new(out, id).weights();
        ensure!(
            path.is_file(),
            "the weights of run {id} were not kept (no {}): delete {} and run it again with glue --keep",
            path.display(),
            out.join("runs").join(format!("{id}.json")).display()
        );
        Ok(Stored {
            about: about_run(&record)?,
            trained: tensors(&path)?,
            config: Some(record.config),
        })
    }

    /// An adapter of another library, held against its base.
    ///
    /// # Errors
    /// An adapter of another base; one that is not whole.
    pub fn foreign(adapter: &AdapterFile, base: &BaseModel, origin: String, command: String) -> Result<Stored> {
        let (method, trained) = adapter.method(&base.base)?;
        // Everything is read once as it will be used.
        let (_model, built) = base
            .base
            .load_trained(
                method::from_value(&method)?.as_ref(),
                &trained,
                tch::Device::Cpu,
                tch::Kind::Float,
            )
            .with_context(|| adapter.path.display().to_string())?;
        let whole = built.params.trainable();
        let trained = whole.map(|e| (e.param.name.clone(), e.tensor.detach())).collect();
        let about = AdapterInfo {
            version: VERSION,
            base: base.name.clone(),
            method,
            labels: Vec::new(),
            fresh_head: false,
            task: None,
            paired: None,
            data: None,
            score: None,
            origin,
            command,
        };
        Ok(Stored {
            about,
            trained,
            config: None,
        })
    }

    /// Writes the folder that [`Stored::open`] reads.
    ///
    /// # Errors
    /// A disk that is full or not writable.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let tensors: Vec<_> = self
            .trained
            .iter()
            .map(|(n, t)| (n.clone(), t.shallow_clone()))
            .collect();
        save_sealed(&dir.join(WEIGHTS), &tensors, Default::default())?;
        let text = serde_json::to_vec_pretty(&self.about)?;
        support::write_atomic(dir.join(ABOUT), &[&text[..], b"\n"].concat())?;
        Ok(())
    }

    /// The method, which must be LoRA.
    ///
    /// # Errors
    /// Another method, by name.
    pub fn lora(&self) -> Result<Lora> {
        Ok(method::lora(&self.about.method)?)
    }
}

/// An adapter of PEFT's or loralib's, without a base.
///
/// # Errors
/// Damaged, foreign or hostile files.
pub fn open_foreign(place: &AdapterSource, alpha: Option<f64>) -> Result<AdapterFile> {
    match place {
        AdapterSource::Peft(dir) => {
            ensure!(
                alpha.is_none(),
                "--alpha is for loralib's files, which lack it; PEFT's have it"
            );
            Ok(open_peft(dir)?)
        }
        AdapterSource::Loralib(path) => Ok(open_loralib(path, alpha)?),
        AdapterSource::Run(path, _) | AdapterSource::Folder(path) => {
            bail!("{}: an adapter of this project's own already", path.display())
        }
    }
}

fn tensors(path: &Path) -> Result<Tensors> {
    let weights = Weights::open(path)?;
    let all = weights.names().map(|n| Ok((n.to_string(), weights.tensor(n)?)));
    all.collect()
}

fn about_run(record: &RunRecord) -> Result<AdapterInfo> {
    let config = &record.config;
    let method = serde_yaml::to_value(config.get("method").context("the record has no method")?)?;
    let source = record.provenance.weights_source.as_deref();
    let (name, revision) = match source.and_then(|s| s.split_once('@')) {
        Some((name, commit)) => (name.to_string(), Some(commit.to_string())),
        None => (record.model.clone(), None),
    };
    let labels = datasets::find(&record.task).map_or_else(|_| record.classes.clone(), labels);
    Ok(AdapterInfo {
        version: VERSION,
        base: BaseName {
            name,
            revision,
            weights_sha256: record.provenance.weights_sha256.clone(),
            config_sha256: record.provenance.config_sha256.clone(),
            tokenizer_sha256: record.provenance.tokenizer_sha256.clone(),
        },
        method,
        labels,
        fresh_head: config["train"]["fresh_head"] == true,
        task: Some(record.task.clone()),
        paired: record.rows.as_ref().map(|rows| rows.paired),
        data: Some(data_of(record)),
        score: record.best.map(|best| Score {
            metric: record.metric.clone(),
            value: best.value,
            epoch: best.epoch,
        }),
        origin: format!("run {} of {}", record.id, record.experiment),
        command: super::command::of(record)?,
    })
}

/// The data of a run in words: its source on the hub, or what its label says of it.
fn data_of(record: &RunRecord) -> String {
    let label = record.label.trim_end_matches("; not a row of the paper");
    let label = label.strip_prefix(&format!("{} on ", record.model)).unwrap_or(label);
    let data = record.provenance.data_source.as_deref().unwrap_or(label);
    match &record.rows {
        Some(rows) => format!("{data} ({} rows to train on)", rows.train),
        None => data.to_owned(),
    }
}

/// Names of a task's classes.
pub fn labels(task: &GlueTask) -> Vec<String> {
    match task.kind {
        TaskKind::Classification { labels } => labels.iter().map(|l| (*l).to_string()).collect(),
        TaskKind::Regression { .. } => Vec::new(),
    }
}

/// A base model that was found, and by which name.
#[derive(Debug)]
pub struct BaseModel {
    /// The model's folder.
    pub base: Base,
    /// Its name.
    pub name: BaseName,
}

impl BaseModel {
    /// The model that `word` names.
    ///
    /// # Errors
    /// No such model; weights that cannot be read.
    pub fn open(word: &str) -> Result<BaseModel> {
        let (dir, source) = ModelSource::parse(word, false)?.folder()?;
        let base = Base::open(&dir)?;
        let sha256 = Weights::open(&dir)?.sha256()?;
        let (name, revision) = match source.as_deref().and_then(|s| s.split_once('@')) {
            Some((name, commit)) => (name.to_string(), Some(commit.to_string())),
            None => (word.to_string(), None),
        };
        let name = BaseName {
            name,
            revision,
            weights_sha256: Some(sha256),
            config_sha256: Some(lora_core::model::config_sha256(&dir)?),
            // A folder without a tokenizer can be merged into.
            tokenizer_sha256: Tokenizer::from_dir(&dir).ok().map(|t| t.sha256().to_string()),
        };
        Ok(BaseModel { base, name })
    }

    /// The base of an adapter: the one that `word` names, else the one that the adapter does.
    ///
    /// # Errors
    /// Those of [`BaseModel::open`], with the flag to give; a base with other weights than the adapter was trained beside.
    pub fn of(about: &AdapterInfo, word: Option<&str>) -> Result<BaseModel> {
        let named = about.base.word();
        let found = BaseModel::open(word.unwrap_or(&named));
        let found = match word {
            Some(_) => found?,
            None => found.with_context(|| format!("the adapter is for the base `{named}`; name it with --base"))?,
        };
        let (trained, here) = (&about.base, &found.name);
        for (what, wanted, is) in [
            ("weights", &trained.weights_sha256, &here.weights_sha256),
            ("a config.json", &trained.config_sha256, &here.config_sha256),
            ("a tokenizer", &trained.tokenizer_sha256, &here.tokenizer_sha256),
        ] {
            let (Some(wanted), Some(is)) = (wanted, is) else {
                continue;
            };
            ensure!(
                wanted == is,
                "the adapter was trained on `{named}` with {what} of SHA-256 {}, and {} has another ({}): it is an adapter of another base",
                short(wanted),
                found.base.dir.display(),
                short(is)
            );
        }
        Ok(found)
    }

    /// Refuses a base whose name on the hub is another than the one that a foreign adapter gives. Names of folders say
    /// nothing, so they are not compared.
    ///
    /// # Errors
    /// Both names.
    pub fn check_name(&self, adapter: &AdapterFile) -> Result<()> {
        let last = |name: &str| name.rsplit('/').next().unwrap_or(name).to_lowercase();
        let Some(theirs) = adapter.base.as_deref().filter(|n| !Path::new(n).is_absolute()) else {
            return Ok(());
        };
        let hub = self.name.revision.is_some();
        ensure!(
            !hub || last(theirs) == last(&self.name.name),
            "{}: its base is `{theirs}` and --base is `{}`; name the folder of a copy if they are the same model",
            adapter.path.display(),
            self.name.name
        );
        Ok(())
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
