//! The ids of published records are those of today's plans, so that no published run would be computed again.

use experiments::config::identity::{self, Contents};

use experiments::config::run_config::RunConfig;
use experiments::experiment::config::{ExperimentConfig, Flag};
use experiments::experiment::rates::Stage;
use experiments::experiment::registry::{self, EXPERIMENTS};
use results::{RunRecord, Store};
use std::path::{Path, PathBuf};

fn contents(record: &RunRecord) -> Contents<'_> {
    let p = &record.provenance;
    Contents {
        weights: p.weights_sha256.as_deref().unwrap(),
        config: p.config_sha256.as_deref().unwrap(),
        tokenizer: p.tokenizer_sha256.as_deref().unwrap(),
        data: p.data_sha256.as_deref().unwrap(),
    }
}

/// `results` and the stores of its sweeps.
fn stores() -> Vec<PathBuf> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let sweeps = std::fs::read_dir(results.join("sweeps")).unwrap();
    let mut all: Vec<PathBuf> = sweeps.map(|entry| entry.unwrap().path()).collect();
    all.push(results);
    all
}

#[test]
fn the_id_of_a_record_is_that_of_its_settings_and_contents() {
    for store in stores() {
        let records = Store::open(&store).unwrap().records().unwrap();
        assert!(!records.is_empty(), "{}", store.display());
        for record in records {
            let id = identity::of_settings(&record.config, &contents(&record)).unwrap();
            assert_eq!(id, record.id, "{}", store.display());
        }
    }
}

/// A run's settings are read from its record, and written as they were.
#[test]
fn a_run_is_read_back_from_its_record() {
    for store in stores() {
        for record in Store::open(&store).unwrap().records().unwrap() {
            let run = RunConfig::from_record(&record.config).unwrap_or_else(|e| panic!("{}: {e:#}", record.id));
            let task = registry::find(&run.experiment).unwrap().task(&run.task).unwrap();
            let idle = experiments::task::idle_settings(task, &run);
            let written = serde_json::to_value(run.normalized(&idle)).unwrap();
            assert_eq!(written, record.config, "{}", record.id);
        }
    }
}

#[test]
fn published_runs_are_found_for_their_plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let records = Store::open(folder).unwrap().records().unwrap();
    for record in records.iter().flat_map(RunRecord::under_each_name) {
        let experiment = EXPERIMENTS.iter().find(|e| e.name == record.experiment).unwrap();
        let Some(preset) = &record.preset else { continue };
        let mut layers = experiment.layers();
        layers.push(("the preset", experiment.preset(preset).unwrap()));
        let flags = [
            Flag::of("--seeds".into(), "seeds", vec![record.seed].into()),
            Flag::of("--model".into(), "model", "model".into()),
        ];
        let raw = ExperimentConfig::read(experiment, &layers, &flags).unwrap();
        let stage = match Stage::of(&record, raw.rates.clone()) {
            // Only the run in question is looked at; the others have any rate.
            Stage::Chosen(choices) => {
                let choice = choices.values().next().unwrap();
                let all = raw.runs(experiment).unwrap();
                let any = all.into_iter().map(|r| ((r.task, r.method_name), choice.clone()));
                Stage::Chosen(any.collect())
            }
            other => other,
        };
        let runs = stage.runs(&raw, experiment).unwrap();
        let same = runs
            .iter()
            .filter(|r| (&r.task, &r.method_name) == (&record.task, &record.method));
        let ids: Vec<String> = same.map(|r| identity::of(r, &contents(&record)).unwrap()).collect();
        let title = format!("{} {} seed {}", record.task, record.method, record.seed);
        assert!(record.tries_a_rate() || ids.len() == 1, "{title}: {ids:?}");
        assert!(ids.contains(&record.id), "{title}: {ids:?}");
    }
}
