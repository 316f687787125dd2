//! `lora upgrade`: gives records of earlier versions the ids of this version, from their settings and the hashes of their inputs,
//! and checksums. Nothing is trained and no number is changed.

use crate::config::identity::{self, Contents};
use crate::config::run_config::RunConfig;
use crate::experiment::registry;
use crate::task::idle_settings;
use anyhow::{Context, Result, ensure};
use clap::Args;
use datasets::Tokenizer;
use lora_core::weights::Weights;
use results::record::SCHEMA;
use results::{RunRecord, Store};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `lora upgrade`
#[derive(Args, Debug)]
pub struct UpgradeArgs {
    /// Folder that holds runs/ (and analyses/, texts/, weights/)
    #[arg(default_value = "results")]
    pub store: PathBuf,
    /// Folder of a model that runs started from; may be repeated. SHA256=DIR names the weights' hash where the folder holds
    /// config.json and tokenizer alone
    #[arg(long, value_name = "[SHA256=]DIR")]
    pub model: Vec<String>,
}

/// Hashes of the files of a model beside its weights.
struct ModelFiles {
    config: String,
    tokenizer: String,
}

/// Renames the records, and lists what was done.
///
/// # Errors
/// Models or records that cannot be read; a store that cannot be written; runs whose model was not named.
pub fn upgrade(args: &UpgradeArgs) -> Result<String> {
    let models = args
        .model
        .iter()
        .map(|word| model(word))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let store = Store::open(&args.store)?;
    let (mut runs, mut ids) = (store.records()?, BTreeMap::new());
    // Runs with a warm start hold the ids of other runs, which are renamed first.
    runs.sort_by_key(|run| (run.config.get("start").is_some(), run.timing.started.clone()));
    let (mut lines, mut kept) = (String::new(), BTreeMap::<String, RunRecord>::new());
    for old in &runs {
        let mut run = old.clone();
        rename(&mut run, &models, &ids).with_context(|| format!("run {} ({}, {})", old.id, old.model, old.task))?;
        ids.insert(old.id.clone(), run.id.clone());
        match kept.get_mut(&run.id) {
            None => {
                lines += &format!("{} -> {}\n", old.id, run.id);
                kept.insert(run.id.clone(), run);
            }
            Some(first) => {
                let same = first.evals == run.evals;
                lines += &format!(
                    "{} -> {}, which was computed before: its name is added{}\n",
                    old.id,
                    run.id,
                    if same {
                        ""
                    } else {
                        " (the numbers of the earlier run are kept; these were others)"
                    }
                );
                for run in run.under_each_name() {
                    first.add_name(run.named());
                }
            }
        }
    }
    for run in kept.values() {
        store.put(run)?;
    }
    for (old, new) in ids.iter().filter(|(old, new)| old != new) {
        let folder = store.dir();
        for (kind, ending) in [("texts", "jsonl"), ("weights", "safetensors")] {
            let path = |id: &str| folder.join(kind).join(format!("{id}.{ending}"));
            if path(old).exists() && !path(new).exists() {
                std::fs::rename(path(old), path(new)).with_context(|| format!("renaming {}", path(old).display()))?;
            }
        }
        let path = folder.join("runs").join(format!("{old}.json"));
        std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    lines += &format!("{} runs, {} records\n", runs.len(), kept.len());
    Ok(lines + &analyses(&store)?)
}

/// Gives a record the form and id of this version. One that has them stays as it is.
fn rename(run: &mut RunRecord, models: &BTreeMap<String, ModelFiles>, ids: &BTreeMap<String, String>) -> Result<()> {
    let weights = run
        .provenance
        .weights_sha256
        .clone()
        .context("the record lacks the hash of its weights")?;
    let data = run
        .provenance
        .data_sha256
        .clone()
        .context("the record lacks the hash of its data")?;
    if let (None, Some(files)) = (&run.provenance.config_sha256, models.get(&weights)) {
        run.provenance.config_sha256 = Some(files.config.clone());
        run.provenance.tokenizer_sha256 = Some(files.tokenizer.clone());
    }
    let (config, tokenizer) = (&run.provenance.config_sha256, &run.provenance.tokenizer_sha256);
    let missing = || format!("name the model with the weights {weights}: --model DIR, or --model {weights}=DIR");
    let contents = Contents {
        weights: &weights,
        config: config.as_deref().with_context(missing)?,
        tokenizer: tokenizer.as_deref().with_context(missing)?,
        data: &data,
    };
    let mut config = RunConfig::from_record(&run.config)?;
    let idle = idle_settings(registry::find(&config.experiment)?.task(&config.task)?, &config);
    config = config.normalized(&idle);
    for start in config.start.iter_mut().flat_map(|start| &mut start.runs) {
        if let Some(new) = ids.get(start) {
            start.clone_from(new);
        }
    }
    let tried = run.rates.iter_mut().flat_map(|choice| &mut choice.tried);
    for id in tried.flat_map(|tried| &mut tried.runs) {
        if let Some(new) = ids.get(id) {
            id.clone_from(new);
        }
    }
    let before = run.clone();
    run.id = identity::of(&config, &contents)?;
    let config = serde_json::to_value(&config).context("writing the configuration")?;
    // The same settings in another order stay as they are.
    if run.config != config {
        run.config = config;
    }
    if *run != before {
        run.schema = SCHEMA;
    }
    Ok(())
}

fn analyses(store: &Store) -> Result<String> {
    let all = store.analyses()?;
    let mut renamed = 0;
    for mut analysis in all.clone() {
        let old = std::mem::replace(&mut analysis.id, identity::hash(&analysis.config)?);
        // Also gives one of an earlier version its checksum.
        store.put_analysis(&analysis)?;
        if old != analysis.id {
            let path = store.dir().join("analyses").join(format!("{old}.json"));
            std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            renamed += 1;
        }
    }
    Ok(format!("{} analyses, {renamed} renamed\n", all.len()))
}

fn model(word: &str) -> Result<(String, ModelFiles)> {
    let (weights, dir) = match word.split_once('=') {
        Some((hash, dir)) => (Some(hash.to_string()), Path::new(dir)),
        None => (None, Path::new(word)),
    };
    let weights = match weights {
        Some(hash) => {
            let plain = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            ensure!(plain, "--model {word}: expected 64 hex digits in front of =");
            hash
        }
        None => Weights::open(dir)?.sha256()?,
    };
    let files = ModelFiles {
        config: lora_core::model::config_sha256(dir)?,
        tokenizer: Tokenizer::from_dir(dir)?.sha256().to_string(),
    };
    Ok((weights, files))
}
