//! Descriptions of experiments, and how flags and files resolve one of them into validated runs.

pub mod ablations;
pub mod config;
pub mod flags;
pub mod glue;
mod hints;
pub mod rates;
pub mod registry;
pub mod resolved;
pub mod runs;
mod sweep;
pub mod text;

use crate::inputs::locator::DataChoices;
use crate::task::Task;
use anyhow::{Result, bail};
use clap::Command;
use std::borrow::Cow;

/// The description of one experiment: data only, the program is [`crate::app`].
pub struct Experiment {
    /// Its name: that of the binary and the log file, and in records.
    pub name: &'static str,
    /// Its description in `--help`: one line, and more after an empty one.
    pub about: Cow<'static, str>,
    /// The end of `--help`.
    pub examples: Cow<'static, str>,
    /// Default YAML layers, lowest priority first, as (name for error messages, text).
    pub defaults: Vec<(Cow<'static, str>, &'static str)>,
    /// The configurations that come with the program, as (name, YAML text).
    pub presets: Vec<(&'static str, &'static str)>,
    /// Its tasks.
    pub tasks: Vec<&'static dyn Task>,
    /// Its task of a user's own file (`data: {kind: ..., ...}`).
    pub own_task: Option<&'static str>,
    /// Its tables, by their names in [`results::TABLES`].
    pub tables: Vec<&'static str>,
    /// Groups of flags beside those that every experiment takes.
    pub flags: &'static [fn(Command) -> Command],
    /// The values that `--data` takes.
    pub data: DataChoices,
}

impl Experiment {
    /// The task of that name; case, `-` and `_` do not matter (`STS-B`, `sts-b`, `stsb`).
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub fn task(&self, name: &str) -> Result<&'static dyn Task> {
        let plain = |s: &str| s.replace(['-', '_'], "").to_ascii_lowercase();
        match self.tasks.iter().find(|t| plain(t.id()) == plain(name)) {
            Some(task) => Ok(*task),
            None => bail!(support::unknown("task", name, self.tasks.iter().map(|task| task.id()))),
        }
    }

    /// Its default layers, lowest priority first, as (name for error messages, text).
    pub fn layers(&self) -> Vec<(&str, &'static str)> {
        self.defaults
            .iter()
            .map(|(name, text)| (name.as_ref(), *text))
            .collect()
    }

    /// The text of a preset.
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub fn preset(&self, name: &str) -> Result<&'static str> {
        let found = self.presets.iter().find(|(known, _)| *known == name);
        match found {
            Some((_, text)) => Ok(text),
            None => bail!(support::unknown(
                "preset",
                name,
                self.presets.iter().map(|(known, _)| *known)
            )),
        }
    }
}
