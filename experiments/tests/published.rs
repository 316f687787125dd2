//! Published records answer the questions that today's program asks: their ids are those of today's plans, so that
//! nothing that is published would be computed again.

use experiments::config;
use experiments::experiment::EXPERIMENTS;
use experiments::plan::identity;
use results::Store;
use std::path::Path;

#[test]
fn published_runs_are_found_for_their_plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results");
    let records = Store::open(folder).unwrap().records().unwrap();
    assert!(!records.is_empty());
    for record in records {
        let experiment = EXPERIMENTS.iter().find(|e| e.name == record.experiment).unwrap();
        let Some(preset) = &record.preset else { continue };
        let mut layers = experiment.defaults.to_vec();
        layers.push(("the preset", experiment.preset(preset).unwrap()));
        let mut raw = config::read(&layers, &[]).unwrap();
        raw.model.get_or_insert("model".into());
        raw.seeds = vec![record.seed];
        let runs = raw.runs(experiment).unwrap();
        let same = runs
            .iter()
            .find(|r| (r.task, &r.method_name) == (record.task.as_str(), &record.method));
        let p = &record.provenance;
        let hashes = [&p.weights_sha256, &p.data_sha256].map(|h| h.as_deref().unwrap());
        let id = identity(same.unwrap(), hashes[0], hashes[1]).unwrap();
        assert_eq!(id, record.id, "{} {} seed {}", record.task, record.method, record.seed);
    }
}
