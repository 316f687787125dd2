//! The command that reproduces a run, from its record.

use crate::experiment::config::{ExperimentConfig, Flag};
use crate::experiment::rates::Stage;
use crate::experiment::{Experiment, registry};
use crate::inputs::embedded::PREFIX;
use crate::plan::labels::GENERATED;
use crate::task::own::OWN;
use crate::task::own_text::TEXT;
use anyhow::Result;
use results::RunRecord;
use serde_json::{Map, Value};

/// The command: preset, model, data, and every setting that differs from the preset's or the defaults'. Folders, whose paths are not
/// in records, are `DIR`, files `FILE`, and their columns `COLUMN`.
///
/// # Errors
/// A record of an experiment that no longer exists.
pub(super) fn of(record: &RunRecord) -> Result<String> {
    let experiment = registry::find(&record.experiment)?;
    let preset = record.preset.as_deref().filter(|name| experiment.preset(name).is_ok());
    let mut layers = experiment.layers();
    if let Some(name) = preset {
        layers.push(("the preset", experiment.preset(name)?));
    }
    let raw = ExperimentConfig::read(experiment, &layers, &[])?;
    let mut words = vec![experiment.name.to_string()];
    words.extend(preset.map(|name| format!("--preset {name}")));
    words.extend(sources(record, &raw));
    let (task, method, seed) = (&record.task, &record.method, record.seed);
    words.push(format!("--tasks {task} --methods {method} --seeds {seed}"));
    // A rate that was tried or chosen is so again by the same grid.
    let by_grid = !matches!(Stage::of(record, raw.rates.clone()), Stage::Configured);
    words.extend(sets(record, experiment, &layers, by_grid)?);
    if raw.rates.is_some() && !by_grid {
        words.push("--set rates=null".into());
    }
    words.push("--keep".into());
    Ok(words.join(" "))
}

/// `--model` and `--data` where the preset does not name them.
fn sources(record: &RunRecord, raw: &ExperimentConfig) -> Vec<String> {
    let p = &record.provenance;
    let of = |named: &Option<String>, source: &Option<String>, flag: &str, known: Option<&str>| {
        let word = source.as_deref().or(known).unwrap_or("DIR");
        named.is_none().then(|| format!("{flag} {word}"))
    };
    let embedded = record.model.starts_with(PREFIX).then_some(record.model.as_str());
    // Neither generated data nor a folder have a source; the label tells them apart.
    let generated = record.label.contains(GENERATED).then_some("embedded");
    let model = of(&raw.model, &p.weights_source, "--model", embedded);
    let own = own_data(record);
    let data = of(&raw.data, &p.data_source, "--data", own.as_deref().or(generated));
    model.into_iter().chain(data).collect()
}

/// `data:` of a user's own file, whose path and columns are in no record: FILE and COLUMN stand for them.
fn own_data(record: &RunRecord) -> Option<String> {
    if record.experiment == TEXT {
        return Some("'{kind: text, train: FILE, prompt: COLUMN, completion: COLUMN}'".into());
    }
    let kind = if record.classes.is_empty() {
        "regression"
    } else {
        "classification"
    };
    let pair = match &record.rows {
        Some(rows) if rows.paired => ", text_pair: COLUMN",
        _ => "",
    };
    (record.task == OWN).then(|| format!("'{{kind: {kind}, train: FILE, text: COLUMN{pair}, label: COLUMN}}'"))
}

/// `--set` for each setting that differs from the layers; `by_grid`, the learning rate and the rows held out are left alone.
fn sets(
    record: &RunRecord,
    experiment: &'static Experiment,
    layers: &[(&str, &str)],
    by_grid: bool,
) -> Result<Vec<String>> {
    let (task, method) = (record.task.as_str(), record.method.as_str());
    let named = |key: &str, value: &str| Flag::of(String::new(), key, value.into());
    let mut flags = vec![named("model", "model"), named("data", "data")];
    let own = |flags: &[Flag]| -> Result<Value> {
        let raw = ExperimentConfig::read(experiment, layers, flags)?;
        Ok(serde_json::to_value(raw.run(experiment, task, method, record.seed)?)?)
    };
    let (mut out, wanted) = (Vec::new(), &record.config);
    let kind = wanted["method"]["kind"].as_str().unwrap_or(method);
    let at = format!("methods.{method}");
    // A method that the preset lacks is given by its kind.
    if own(&flags).is_err() || own(&flags)?["method"]["kind"] != kind {
        out.push(format!("--set {at}.kind={kind}"));
        flags.push(named(&format!("{at}.kind"), kind));
    }
    let mut own = own(&flags)?;
    if by_grid {
        own["train"]["lr"] = wanted["train"]["lr"].clone();
        if let Some(held_out) = wanted["limit"].get("held_out") {
            own["limit"]["held_out"] = held_out.clone();
        }
    }
    for (part, path) in [
        ("method", at.as_str()),
        ("train", "train"),
        ("limit", "limit"),
        ("decode", "decode"),
    ] {
        differing(path, &wanted[part], &own[part], &mut out);
    }
    if wanted["dtype"] != own["dtype"] {
        out.push(format!("--dtype {}", wanted["dtype"].as_str().unwrap_or("fp32")));
    }
    if wanted.get("prompt") != own.get("prompt") {
        out.push(format!("--set 'tasks.{task}.prompt={}'", wanted["prompt"]));
    }
    Ok(out)
}

fn differing(path: &str, wanted: &Value, own: &Value, out: &mut Vec<String>) {
    let none = Map::new();
    match (wanted, own) {
        (Value::Object(_), _) | (_, Value::Object(_)) => {
            let (wanted, own) = (wanted.as_object().unwrap_or(&none), own.as_object().unwrap_or(&none));
            let gone = own.keys().filter(|key| !wanted.contains_key(*key));
            for key in wanted.keys().chain(gone) {
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                differing(&format!("{path}.{key}"), &of(wanted), &of(own), out);
            }
        }
        _ if wanted == own => {}
        (Value::Array(_), _) => out.push(format!("--set '{path}={wanted}'")),
        (Value::String(text), _) => out.push(format!("--set {path}={text}")),
        _ => out.push(format!("--set {path}={wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app;
    use crate::config::identity::{self, Contents};
    use crate::experiment::flags::ExperimentArgs;
    use clap::FromArgMatches;
    use results::Store;

    /// The command of every published run of which a preset is known, and of others, asks for that very run.
    #[test]
    fn the_command_asks_for_the_run() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
        let records = Store::open(folder).unwrap().records().unwrap();
        let mut with_sets = 0;
        for record in records.iter().filter(|r| r.seed == 1) {
            let command = of(record).unwrap();
            with_sets += usize::from(command.contains("--set"));
            let words = shlex(&command);
            let experiment = registry::find(&words[0]).unwrap();
            let args = app::command(experiment).try_get_matches_from(&words).unwrap();
            let args = ExperimentArgs::from_arg_matches(&args).unwrap();
            let raw = args.config(experiment).unwrap();
            let stage = Stage::of(record, raw.rates.clone());
            let runs = stage
                .runs(&raw, experiment)
                .unwrap_or_else(|e| panic!("{command}: {e:#}"));
            let p = &record.provenance;
            let hash = |hash: &Option<String>| hash.clone().unwrap();
            let (weights, config) = (hash(&p.weights_sha256), hash(&p.config_sha256));
            let (tokenizer, data) = (hash(&p.tokenizer_sha256), hash(&p.data_sha256));
            let contents = Contents {
                weights: &weights,
                config: &config,
                tokenizer: &tokenizer,
                data: &data,
            };
            let ids: Vec<String> = runs.iter().map(|run| identity::of(run, &contents).unwrap()).collect();
            // A grid tries several rates.
            assert!(record.tries_a_rate() || ids.len() == 1, "{command}: {ids:?}");
            assert!(ids.contains(&record.id), "{command}: {ids:?}");
        }
        assert!(with_sets > 0);
    }

    /// Words as a shell takes them, with single quotes alone.
    fn shlex(command: &str) -> Vec<String> {
        let (mut words, mut quoted) = (vec![String::new()], false);
        for c in command.chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words
    }
}
