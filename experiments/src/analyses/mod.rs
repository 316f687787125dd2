//! What the programs that analyse have in common: the id of a question, its record, and the store's answer if it has one.

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

/// A question, with everything that decides the answer.
#[derive(Debug)]
pub struct Question {
    /// What the numbers are, in words.
    pub label: String,
    /// The model's name.
    pub model: String,
    /// The named setting, if any.
    pub preset: Option<String>,
    /// The resolved settings, with the hashes of what goes in.
    pub config: serde_json::Value,
    /// SHA-256 of the frozen weights, where they go in, and where they came from on the hub.
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
    /// None that is known: the settings are plain values.
    pub fn id(&self) -> Result<String> {
        crate::config::identity::hash(&self.config)
    }

    /// The record in the store, if there is one and it is not to be made anew; else what `find` finds, kept. Tells which.
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

/// The settings as they are kept and hashed.
///
/// # Errors
/// None that is known: settings are plain values.
pub fn resolved(settings: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(settings).context("writing the settings down")
}

/// Where the record is, and whether it was there already.
pub fn whereabouts(analysis: &Analysis, store: &Store, kept: bool) -> String {
    let path = store.dir().join("analyses").join(format!("{}.json", analysis.id));
    let what = if kept { "It was in the store already" } else { "Kept in" };
    format!("{what}{} {}\n", if kept { ":" } else { "" }, path.display())
}
