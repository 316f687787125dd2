//! Sentences of an older program do not outlive its rules.

use results::Store;
use results::analysis::{Adapter, Analysis, Findings, Module, Projection, SCHEMA, Subspace};
use results::record::Provenance;
use results::restate::{remarks, restate};
use support::write_atomic;

#[test]
fn one_adapter_of_a_rank_shows_nothing_and_says_so() {
    assert!(remarks(&Subspace::default()).is_empty());
    let mut found = Subspace {
        probe: 3,
        ..Subspace::default()
    };
    for (adapter, (rank, factor)) in [(4, 21.5), (64, 0.12)].into_iter().enumerate() {
        found.adapters.push(Adapter {
            role: None,
            origin: "made up".into(),
            sha256: String::new(),
            rank,
            directions: None,
            alpha: Some(16.0),
            seed: None,
            task: None,
        });
        found.projections.push(Projection {
            adapter,
            layer: 3,
            module: Module::Query,
            a: 1.0,
            b: 1.0,
            ba: 1.0,
            delta: Some(1.0),
            weight: Some(9.0),
            onto_delta: Some(0.37),
            onto_weight: Some(3.0),
            onto_random: Some(0.34),
            amplification: Some(factor),
            amplification_unscaled: Some(factor),
        });
    }
    let said = remarks(&found);
    assert_eq!(said.keys().collect::<Vec<_>>(), ["amplification"]);
    let said = &said["amplification"];
    assert!(said.starts_with("Not shown, n = 1: "), "{said}");
    assert!(
        !said.contains("Shown:") && said.contains("r = 64: 0.12 times"),
        "{said}"
    );
}

#[test]
fn sentences_of_an_older_program_are_written_anew_and_numbers_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write_atomic(dir.path().join("runs/.keep"), b"").unwrap();
    let mut analysis = Analysis {
        schema: SCHEMA,
        id: "0123456789abcdef".into(),
        label: "made up".into(),
        model: "tiny".into(),
        preset: None,
        config: serde_json::json!({}),
        findings: Findings::Subspace(Subspace {
            width: 4,
            remarks: [("seeds".to_owned(), "as the paper found".to_owned())].into(),
            ..Subspace::default()
        }),
        provenance: Provenance::default(),
        started: String::new(),
        seconds: 1.0,
    };
    store.put_analysis(&analysis).unwrap();
    assert_eq!(restate(&store).unwrap(), [analysis.id.clone()]);
    if let Findings::Subspace(found) = &mut analysis.findings {
        found.remarks.clear();
    }
    assert_eq!(store.analyses().unwrap(), [analysis]);
    assert!(restate(&store).unwrap().is_empty(), "nothing more changes");
}
