//! Every configuration of the program can be read, and every file is registered.

use experiments::experiment::config::ExperimentConfig;
use experiments::experiment::registry::EXPERIMENTS;
use std::path::{Path, PathBuf};

/// The texts of the YAML files below `dir`.
fn configurations(dir: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let of = |path: PathBuf| {
        if path.is_dir() {
            configurations(&path)
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            vec![(path, text)]
        }
    };
    entries.flat_map(of).collect()
}

#[test]
fn every_configuration_reads_and_is_registered() {
    let mut registered = Vec::new();
    for experiment in EXPERIMENTS.iter() {
        registered.extend(experiment.defaults.iter().map(|(_, text)| *text));
        for (name, text) in &experiment.presets {
            registered.push(text);
            let mut layers = experiment.layers();
            layers.push((name, text));
            let mut raw = ExperimentConfig::read(experiment, &layers, &[]).unwrap_or_else(|e| panic!("{name}: {e:#}"));
            raw.model.get_or_insert("model".into());
            let runs = raw.runs(experiment).unwrap_or_else(|e| panic!("{name}: {e:#}"));
            assert!(!runs.is_empty(), "{} {name}", experiment.name);
        }
    }
    let files = configurations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("configs"));
    assert!(files.len() >= 6);
    for (path, text) in files {
        assert!(
            registered.contains(&text.as_str()),
            "{} is not registered",
            path.display()
        );
    }
}
