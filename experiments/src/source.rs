//! Where models and data come from: a word on the command line or in YAML, and what it stands for.

use crate::embedded::{EMBEDDED, Embedded};
use anyhow::{Context, Result, bail, ensure};
use datasets::{Task, TaskData};
use std::path::{Path, PathBuf};

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// `embedded:NAME`: it comes with the program.
    Embedded(&'static Embedded),
    /// A Hugging Face model folder.
    Folder(PathBuf),
}

/// Where tasks come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    /// `embedded`: generated.
    Embedded,
    /// A folder in the layout of the GLUE distribution.
    Folder(PathBuf),
}

const EMBEDDED_MARK: &str = "embedded";

impl ModelSource {
    /// Reads `embedded:NAME` or a folder's path.
    ///
    /// # Errors
    /// An embedded model that there is not (with the known ones), a folder that is not there.
    pub fn parse(word: &str) -> Result<ModelSource> {
        if let Some(name) = word.strip_prefix("embedded:") {
            let found = EMBEDDED.iter().find(|m| m.name == name);
            let known: Vec<String> = EMBEDDED.iter().map(|m| format!("embedded:{}", m.name)).collect();
            return found
                .map(ModelSource::Embedded)
                .with_context(|| format!("unknown model `{word}`; known: {}", known.join(", ")));
        }
        let folder = Path::new(word);
        ensure!(folder.is_dir(), "--model {word}: no such folder");
        Ok(ModelSource::Folder(folder.into()))
    }

    /// The model's name in tables, if nothing else is said.
    pub fn name(word: &str) -> String {
        let path = Path::new(word);
        path.file_name()
            .map_or(word.into(), |n| n.to_string_lossy().into_owned())
    }

    /// A folder that holds the model.
    ///
    /// # Errors
    /// A cache that cannot be written.
    pub fn folder(&self) -> Result<PathBuf> {
        match self {
            ModelSource::Embedded(model) => model.folder(),
            ModelSource::Folder(dir) => Ok(dir.clone()),
        }
    }
}

impl DataSource {
    /// Reads `embedded` or a folder's path.
    ///
    /// # Errors
    /// A folder that is not there.
    pub fn parse(word: &str) -> Result<DataSource> {
        if word == EMBEDDED_MARK {
            return Ok(DataSource::Embedded);
        }
        let folder = Path::new(word);
        if !folder.is_dir() {
            bail!("--data {word}: no such folder; it should hold the tasks' folders (CoLA/, MRPC/, ...)");
        }
        Ok(DataSource::Folder(folder.into()))
    }

    /// The task's examples.
    ///
    /// # Errors
    /// Data that are missing or malformed, with file and line.
    pub fn load(&self, task: &'static Task) -> Result<TaskData> {
        Ok(match self {
            DataSource::Embedded => datasets::synthetic::load(task)?,
            DataSource::Folder(dir) => datasets::load(task, dir)?,
        })
    }
}
