//! Checkpoints: everything that a run needs to go on as if it had never stopped.

use super::{AdamW, Eval};
use crate::weights::{self, Weights};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where a run is, beside the tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Optimiser steps done.
    pub step: u64,
    /// Sum of the losses of this epoch's steps so far.
    pub epoch_loss: f64,
    /// Evaluations so far.
    pub evals: Vec<Eval>,
    /// Seconds of training before this checkpoint, over all attempts.
    pub train_seconds: f64,
    /// Seconds of evaluation, likewise.
    pub eval_seconds: f64,
    /// Tokens trained on.
    pub tokens: u64,
    /// How often the run was resumed.
    pub resumed: u32,
}

/// The file of one run's checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    /// Written into the file and compared on resume, so that a checkpoint of another run is never taken up.
    run: String,
}

/// Of the layout of the file.
const VERSION: &str = "1";

impl Checkpoint {
    /// The checkpoint at `path` of the run with this id.
    pub fn new(path: &Path, run: &str) -> Checkpoint {
        Checkpoint {
            path: path.to_path_buf(),
            run: run.to_string(),
        }
    }

    /// Writes the trained variables, the optimiser's state and the position, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`]; the previous checkpoint stays.
    pub fn save(&self, optim: &AdamW, progress: &Progress) -> Result<()> {
        let progress = serde_json::to_string(progress).map_err(|e| Error::format(&self.path, e.to_string()))?;
        let metadata = [
            ("version", VERSION.to_string()),
            ("run", self.run.clone()),
            ("progress", progress),
        ];
        weights::save(
            &self.path,
            &optim.state(),
            metadata.map(|(k, v)| (k.to_string(), v)).into(),
        )
    }

    /// Takes the state back, if there is a checkpoint of this run.
    ///
    /// # Errors
    /// [`Error::Format`] for a file that is damaged or of another run, with the advice to delete it.
    pub fn restore(&self, optim: &mut AdamW) -> Result<Option<Progress>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let fault =
            |what: String| Error::format(&self.path, format!("{what}. Delete the file to start the run afresh"));
        let file = Weights::open(&self.path).map_err(|e| fault(e.to_string()))?;
        let metadata = file.metadata().map_err(|e| fault(e.to_string()))?;
        let get = |key: &str| metadata.get(key).map(String::as_str).unwrap_or_default();
        if get("version") != VERSION || get("run") != self.run {
            return Err(fault(format!(
                "is a checkpoint of run `{}`, version `{}`, not of this one",
                get("run"),
                get("version")
            )));
        }
        let progress: Progress =
            serde_json::from_str(get("progress")).map_err(|e| fault(format!("its position cannot be read: {e}")))?;
        let state = file
            .names()
            .map(|n| Ok((n.to_string(), file.tensor(n)?)))
            .collect::<Result<HashMap<_, _>>>()?;
        optim.restore(progress.step, state).map_err(|e| fault(e.to_string()))?;
        Ok(Some(progress))
    }

    /// Deletes the file once the run's record is safe.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::Io {
                path: self.path.clone(),
                reason: e,
            }),
            _ => Ok(()),
        }
    }
}
