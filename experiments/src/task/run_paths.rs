//! The files of one run below the folder of records.

use std::path::{Path, PathBuf};

/// The folder of what runs in progress need: checkpoints, texts so far, and claims.
pub const CHECKPOINTS: &str = "checkpoints";

/// The files of one run.
#[derive(Clone, Copy, Debug)]
pub struct RunPaths<'a> {
    /// The folder of records.
    pub out: &'a Path,
    /// The run's id.
    pub id: &'a str,
}

impl<'a> RunPaths<'a> {
    /// The files of the run `id` below `out`.
    pub fn new(out: &'a Path, id: &'a str) -> RunPaths<'a> {
        RunPaths { out, id }
    }

    fn file(&self, folder: &str, ending: &str) -> PathBuf {
        self.out.join(folder).join(format!("{}.{ending}", self.id))
    }

    /// The checkpoint of a run in progress.
    pub fn checkpoint(&self) -> PathBuf {
        self.file(CHECKPOINTS, "safetensors")
    }

    /// The texts that a run in progress has generated so far.
    pub fn texts_so_far(&self) -> PathBuf {
        self.file(CHECKPOINTS, "texts.jsonl")
    }

    /// The trained weights of the selected epoch, where they are kept.
    pub fn weights(&self) -> PathBuf {
        self.file("weights", "safetensors")
    }

    /// The texts of a finished run, one JSON object a line.
    pub fn texts(&self) -> PathBuf {
        self.file("texts", "jsonl")
    }
}
