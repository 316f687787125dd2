//! Checkpoints: the full state of a run, for exact resume.

use super::{AdamW, Eval, LossScale};
use crate::weights::{self, REMEDY, Weights};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use support::excerpt;

/// The progress of a run: everything in a checkpoint except tensors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Optimiser steps done.
    pub step: u64,
    /// Sum of the step losses of the current epoch so far.
    pub epoch_loss: f64,
    /// Evaluations so far.
    pub evals: Vec<Eval>,
    /// Seconds of training, summed over all attempts.
    pub train_seconds: f64,
    /// Seconds of evaluation, summed over all attempts.
    pub eval_seconds: f64,
    /// Tokens trained on.
    pub tokens: u64,
    /// How many times the run was resumed.
    pub resumed: u32,
    /// The scale of the loss; none unless activations are fp16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
}

/// The checkpoint file of one run.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    /// The run id. It is stored in the file and compared on resume, so that a run never resumes from another run's
    /// checkpoint.
    run: String,
}

/// Version of the file's layout. 2: with a checksum over the whole file.
const VERSION: &str = "2";

impl Checkpoint {
    /// The checkpoint at `path` of the run with the id `run`.
    pub fn new(path: &Path, run: &str) -> Checkpoint {
        Checkpoint {
            path: path.to_path_buf(),
            run: run.to_string(),
        }
    }

    /// Writes the trained variables, the optimiser's state and the progress atomically, with a checksum over all of it.
    ///
    /// # Errors
    /// [`Error::Io`]; the previous checkpoint remains.
    pub fn save(&self, optim: &AdamW, progress: &Progress) -> Result<()> {
        let progress = serde_json::to_string(progress).map_err(|e| Error::format(&self.path, e.to_string()))?;
        let metadata = [
            ("version", VERSION.to_string()),
            ("run", self.run.clone()),
            ("progress", progress),
        ];
        weights::save_sealed(
            &self.path,
            &optim.state(),
            metadata.map(|(k, v)| (k.to_string(), v)).into(),
        )
    }

    /// Restores the optimiser's state and returns the progress; none if there is no checkpoint. The state is left as it is
    /// unless the whole file is sound.
    ///
    /// # Errors
    /// [`Error::Format`] for a file that is damaged, of another run, or of another version of this program.
    pub fn restore(&self, optim: &mut AdamW) -> Result<Option<Progress>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let fault = |what: String| Error::format(&self.path, what);
        let inner = |e: Error| match e {
            Error::Format { what, .. } | Error::Config(what) => fault(what.trim_end_matches(REMEDY).to_string()),
            other => other,
        };
        let file = Weights::open(&self.path).map_err(inner)?;
        let metadata = file.metadata().map_err(inner)?;
        let get = |key: &str| metadata.get(key).map(String::as_str).unwrap_or_default();
        if get("version") != VERSION || get("run") != self.run {
            return Err(fault(format!(
                "is a checkpoint of run `{}`, version `{}`, not of this run in version `{VERSION}`",
                excerpt(get("run"), 60),
                excerpt(get("version"), 60)
            )));
        }
        if !file.is_sealed() {
            return Err(fault("has no checksum".into()));
        }
        let progress: Progress =
            serde_json::from_str(get("progress")).map_err(|e| fault(format!("its progress cannot be read: {e}")))?;
        let state = file
            .names()
            .map(|n| Ok((n.to_string(), file.tensor(n)?)))
            .collect::<Result<HashMap<_, _>>>()
            .map_err(inner)?;
        optim.restore(progress.step, state).map_err(inner)?;
        Ok(Some(progress))
    }

    /// [`Checkpoint::restore`], except that a checkpoint that cannot be used is deleted, so that the run starts anew; `warn` gets
    /// the reason.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read or deleted, and the errors of the device.
    pub fn restore_or_start_anew(&self, optim: &mut AdamW, warn: impl FnOnce(&str)) -> Result<Option<Progress>> {
        match self.restore(optim) {
            Err(error @ Error::Format { .. }) => {
                self.remove()?;
                warn(&format!("{error}. The checkpoint was deleted, and the run starts anew"));
                Ok(None)
            }
            other => other,
        }
    }

    /// Deletes the file, if there is one.
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
