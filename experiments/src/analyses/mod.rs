//! Analyses: the id of a question, and its record in the store.

pub mod latency;
pub mod subspace;

use crate::inputs::environment;
use anyhow::{Context, Result};
use chrono::SecondsFormat;
use results::analysis::{Findings, SCHEMA};
use results::record::Provenance;
use results::{Analysis, Store};
use serde::Serialize;
use std::time::Instant;
use tch::Device;

/// A question, with all settings that decide the answer.
#[derive(Debug)]
pub struct Question {
    /// What the numbers are, in words.
    pub label: String,
    /// The model's name.
    pub model: String,
    /// The named setting, if any.
    pub preset: Option<String>,
    /// The resolved settings, with the hashes of the inputs.
    pub config: serde_json::Value,
    /// SHA-256 and hub source of the frozen weights, where the question has any.
    pub weights: (Option<String>, Option<String>),
    /// Where it is computed.
    pub device: Device,
    /// The number type of the computation.
    pub dtype: &'static str,
    /// CPU threads.
    pub threads: usize,
}

impl Question {
    /// 16 hex digits: a hash of the settings.
    ///
    /// # Errors
    /// Settings that JSON cannot hold.
    pub fn id(&self) -> Result<String> {
        crate::config::identity::hash(&self.config)
    }

    /// The record in the store, unless `anew`; else a record of what `find` returns, which is kept. The flag tells whether the record
    /// was in the store.
    ///
    /// # Errors
    /// Those of `find`; a store that cannot be read or written.
    pub fn answer(
        &self,
        store: &Store,
        anew: bool,
        find: impl FnOnce() -> Result<Findings>,
    ) -> Result<(Analysis, bool)> {
        let id = self.id()?;
        if let Some(kept) = store.analysis(&id)?.filter(|_| !anew) {
            return Ok((kept, true));
        }
        let (started, since) = (chrono::Local::now(), Instant::now());
        let findings = find()?;
        let (commit, dirty) = environment::commit();
        let (weights_sha256, weights_source) = self.weights.clone();
        let analysis = Analysis {
            schema: SCHEMA,
            id,
            label: self.label.clone(),
            model: self.model.clone(),
            preset: self.preset.clone(),
            config: self.config.clone(),
            findings,
            provenance: Provenance {
                commit,
                dirty,
                weights_sha256,
                weights_source,
                versions: environment::versions(),
                device: lora_core::device::name(self.device),
                dtype: self.dtype.into(),
                threads: self.threads as u32,
                host: environment::host(),
                ..Provenance::default()
            },
            started: started.to_rfc3339_opts(SecondsFormat::Secs, false),
            seconds: since.elapsed().as_secs_f64(),
        };
        store.put_analysis(&analysis).context("keeping the analysis")?;
        Ok((analysis, false))
    }
}

/// The settings as JSON, as records hold them.
///
/// # Errors
/// Settings that JSON cannot hold.
pub fn resolved(settings: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(settings).context("writing the settings down")
}

/// The path of the record, and whether it was in the store already.
pub fn whereabouts(analysis: &Analysis, store: &Store, kept: bool) -> String {
    let path = store.dir().join("analyses").join(format!("{}.json", analysis.id));
    let what = if kept { "It was in the store already" } else { "Kept in" };
    format!("{what}{} {}\n", if kept { ":" } else { "" }, path.display())
}
