//! Where models and data come from, as named on the command line or in YAML.

use crate::inputs::download;
use crate::inputs::embedded::{EMBEDDED, Embedded, PREFIX};
use anyhow::{Context, Result, bail};
use datasets::Hub;
use datasets::own::OwnData;
use datasets::text::own::OwnTexts;
use serde_yaml::Value;
use std::path::{Path, PathBuf};

/// What a configuration without a model is told.
pub const NO_MODEL: &str = "no model is named; give --model DIR (a Hugging Face model folder), --model OWNER/NAME (of the hub) or --model embedded:NAME";

/// Where a model comes from.
#[derive(Clone)]
pub enum ModelSource {
    /// `embedded:NAME`: inside the program.
    Embedded(&'static Embedded),
    /// A Hugging Face model folder.
    Folder(PathBuf),
    /// `OWNER/NAME` or `OWNER/NAME@REVISION` on the Hugging Face hub.
    Hub(Repository),
}

/// Where tasks come from.
#[derive(Clone)]
pub enum DataSource {
    /// `embedded`: generated.
    Embedded,
    /// A folder in the data set's own layout.
    Folder(PathBuf),
    /// `OWNER/NAME` or `OWNER/NAME@REVISION` on the Hugging Face hub.
    Hub(Repository),
    /// `{kind: classification, train: ..., ...}` or `{kind: regression, ...}`: files of the user's own.
    Own(Box<OwnData>),
    /// `{kind: text, train: ..., ...}`: files of prompts and completions.
    OwnTexts(Box<OwnTexts>),
}

/// The values that `--data` takes, beside `embedded`.
#[derive(Clone, Debug)]
pub struct DataChoices {
    /// The folder, in words.
    pub folder: &'static str,
    /// The data sets of the hub.
    pub repositories: Vec<&'static str>,
}

/// A repository on the hub, with its client.
#[derive(Clone)]
pub struct Repository {
    hub: Hub,
    id: String,
    revision: Option<String>,
}

impl Repository {
    /// Reads `OWNER/NAME[@REVISION]`; none for anything else.
    fn parse(word: &str, quiet: bool) -> Result<Option<Repository>> {
        let (id, revision) = word.split_once('@').map_or((word, None), |(id, at)| (id, Some(at)));
        let plain = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        match id.split_once('/') {
            Some((owner, name)) if plain(owner) && plain(name) => Ok(Some(Repository {
                hub: Hub::from_env()?.progress(download::bars(quiet)),
                id: id.into(),
                revision: revision.map(String::from),
            })),
            _ => Ok(None),
        }
    }

    /// The client of the hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// `OWNER/NAME`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Branch, tag or commit, if one was named.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }
}

/// A snapshot of the hub as records name it: `OWNER/NAME@COMMIT`.
pub fn at(snapshot: &datasets::Snapshot) -> Option<String> {
    Some(format!("{}@{}", snapshot.id, snapshot.commit))
}

impl ModelSource {
    /// Reads `embedded:NAME`, a folder's path, or `OWNER/NAME[@REVISION]` on the hub. An existing folder has priority.
    ///
    /// # Errors
    /// An unknown embedded model (with the known ones), a missing folder, settings of the hub that cannot be used.
    pub fn parse(word: &str, quiet: bool) -> Result<ModelSource> {
        if let Some(name) = word.strip_prefix(PREFIX) {
            let found = EMBEDDED.iter().find(|m| m.name == name);
            let known: Vec<String> = EMBEDDED.iter().map(|m| format!("{PREFIX}{}", m.name)).collect();
            return found
                .map(ModelSource::Embedded)
                .with_context(|| support::unknown("model", word, known.iter().map(String::as_str)));
        }
        let folder = Path::new(word);
        if folder.is_dir() {
            return Ok(ModelSource::Folder(folder.into()));
        }
        match Repository::parse(word, quiet)? {
            Some(repository) => Ok(ModelSource::Hub(repository)),
            None => bail!("--model {word}: no such folder, and no OWNER/NAME on the hub"),
        }
    }

    /// config.json of a model of which the shape alone is needed: `embedded:NAME`, a folder, or a model known by name. The hub is
    /// not asked.
    ///
    /// # Errors
    /// An unknown name, with the known ones; a file that is no configuration.
    pub fn shape(word: &str) -> Result<serde_json::Value> {
        let dir = Path::new(word);
        if word.starts_with(PREFIX) {
            let (dir, _) = ModelSource::parse(word, true)?.folder()?;
            return Ok(lora_core::model::read_config(&dir)?);
        }
        Ok(if dir.is_dir() {
            lora_core::model::read_config(dir)?
        } else {
            lora_core::model::known_config(word)?
        })
    }

    /// The model's default name in tables.
    pub fn name(word: &str) -> String {
        let path = word.split_once('@').map_or(word, |(id, _)| id);
        let last = Path::new(path).file_name();
        last.map_or(word.into(), |n| n.to_string_lossy().into_owned())
    }

    /// The folder of the model, and repository and commit of one from the hub.
    ///
    /// # Errors
    /// A cache that cannot be written; the hub's refusals.
    pub fn folder(&self) -> Result<(PathBuf, Option<String>)> {
        match self {
            ModelSource::Embedded(model) => Ok((model.folder()?, None)),
            ModelSource::Folder(dir) => Ok((dir.clone(), None)),
            ModelSource::Hub(r) => {
                let snapshot = r.hub.model(&r.id, r.revision());
                let snapshot =
                    snapshot.with_context(|| format!("--model {}: no such folder here, so the hub was asked", r.id))?;
                Ok((snapshot.dir.clone(), at(&snapshot)))
            }
        }
    }
}

/// The folder of the PEFT adapter `OWNER/NAME[@REVISION]` on the hub; none for a word of another form.
///
/// # Errors
/// Settings of the hub that cannot be used; the hub's refusals.
pub fn adapter_folder(word: &str) -> Result<Option<PathBuf>> {
    let Some(r) = Repository::parse(word, false)? else {
        return Ok(None);
    };
    let snapshot = r.hub.adapter(&r.id, r.revision());
    let snapshot = snapshot.with_context(|| format!("{}: no such path here, so the hub was asked", r.id))?;
    Ok(Some(snapshot.dir))
}

impl DataSource {
    /// Reads `embedded`, a folder's path, or `OWNER/NAME[@REVISION]` of one of the data sets among `choices`.
    ///
    /// # Errors
    /// A missing folder, another data set of the hub, settings of the hub that cannot be used.
    pub fn parse(word: &str, choices: &DataChoices, quiet: bool) -> Result<DataSource> {
        let folder = Path::new(word);
        if word == "embedded" {
            return Ok(DataSource::Embedded);
        }
        if word.starts_with('{') {
            return own(word).with_context(|| format!("data: {word}"));
        }
        if folder.is_dir() {
            return Ok(DataSource::Folder(folder.into()));
        }
        if choices.repositories.is_empty() {
            bail!("--data {word}: give {}", choices.folder);
        }
        match Repository::parse(word, quiet)? {
            Some(repository) if choices.repositories.contains(&repository.id()) => Ok(DataSource::Hub(repository)),
            _ => bail!(
                "--data {word}: no such folder; give {}, {} for the hub's, or embedded for generated tasks",
                choices.folder,
                choices.repositories.join(" or ")
            ),
        }
    }
}

/// Reads a description of files of the user's own by its `kind`.
fn own(text: &str) -> Result<DataSource> {
    let value: Value = serde_yaml::from_str(text)?;
    let kind = value
        .get("kind")
        .context("`kind` is missing; it must be classification, regression or text")?;
    Ok(match kind.as_str() {
        Some("text") => DataSource::OwnTexts(serde_yaml::from_value(value)?),
        Some("classification" | "regression") => DataSource::Own(serde_yaml::from_value(value)?),
        _ => bail!(
            "`kind` is {}; it must be classification, regression or text",
            serde_yaml::to_string(kind)?.trim()
        ),
    })
}
