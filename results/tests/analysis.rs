//! Analyses through JSON and the store: whole, small, and clear about what is broken.

mod common;

use std::path::Path;

use results::analysis::{
    Adapter, Comparison, Cost, CostSource, Design, Directions, Efficiency, Findings, GridAxis, Latency, LatencyCell,
    Module, PhiGrid, Projection, SCHEMA, Spectrum, Subspace,
};
use results::{Analysis, Error, Store};
use serde_json::{Value, json};

fn analysis(findings: Findings) -> Analysis {
    Analysis {
        schema: SCHEMA,
        id: "0123456789abcdef".into(),
        label: "made-up numbers".into(),
        model: "tiny".into(),
        preset: None,
        config: json!({"layers": [1, 2], "draws": {"random": 5}}),
        findings,
        provenance: common::run(1, "lora", "mrpc", 1, 0.5).provenance,
        started: "2024-01-01T00:00:00Z".into(),
        seconds: 0.25,
    }
}

fn adapter(rank: u32, alpha: Option<f64>) -> Adapter {
    Adapter {
        role: Some(format!("r{rank}")),
        origin: "run 0123456789abcdef of glue".into(),
        sha256: "a".repeat(64),
        rank,
        directions: None,
        alpha,
        seed: Some(1),
        task: Some("mrpc".into()),
    }
}

fn grid(rows: usize, columns: usize) -> PhiGrid {
    PhiGrid {
        about: Comparison::Ranks,
        layer: Some(1),
        module: Some(Module::Query),
        i: GridAxis {
            of: Directions::Adapter(0),
            len: rows,
        },
        j: GridAxis {
            of: Directions::Random,
            len: columns,
        },
        values: (0..rows * columns).map(|n| (n % 1001) as f32 / 1000.0).collect(),
    }
}

fn subspace() -> Subspace {
    Subspace {
        adapters: vec![adapter(8, Some(16.0)), adapter(64, None)],
        layers: 2,
        width: 128,
        probe: 1,
        grids: vec![grid(2, 3)],
        spectra: vec![Spectrum {
            adapter: 1,
            layer: 2,
            module: Module::Value,
            values: vec![1.2345, 0.01],
        }],
        projections: vec![Projection {
            adapter: 0,
            layer: 1,
            module: Module::Query,
            a: 1.0,
            b: 2.0,
            ba: 0.1 + 0.2,
            delta: Some(0.6),
            weight: None,
            onto_delta: None,
            onto_weight: None,
            onto_random: None,
            amplification: None,
            amplification_unscaled: None,
        }],
        remarks: [("ranks".to_string(), "As in the paper.".to_string())].into(),
    }
}

fn latency() -> Latency {
    let cell = |design, bottleneck, median_ms| LatencyCell {
        design,
        batch: 1,
        length: 128,
        bottleneck,
        added_params: 0,
        median_ms,
        iqr_ms: 0.1,
        mean_ms: median_ms,
        sd_ms: 0.1,
        trials: 5,
    };
    Latency {
        cells: vec![cell(Design::Base, 0, 20.0), cell(Design::AdapterH, 10, 25.0)],
        ..Latency::default()
    }
}

fn efficiency() -> Efficiency {
    Efficiency {
        costs: vec![Cost {
            model: "tiny".into(),
            method: "lora".into(),
            how: CostSource::Computed,
            trained_params: 10,
            total_params: 100,
            memory_mib: Some(1.5),
            checkpoint_bytes: Some(40),
            tokens_per_second: None,
            note: "made up".into(),
        }],
        remark: String::new(),
    }
}

fn all() -> [Findings; 3] {
    [
        Findings::Subspace(subspace()),
        Findings::Latency(latency()),
        Findings::Efficiency(efficiency()),
    ]
}

#[test]
fn every_kind_comes_back_as_it_was() {
    for findings in all() {
        let kind = findings.kind();
        let before = analysis(findings);
        let text = before.to_json().unwrap();
        assert_eq!(Analysis::from_json(&text, Path::new("x")).unwrap(), before);
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["findings"]["kind"], kind);
    }
}

#[test]
fn a_grid_is_a_line_of_thousandths() {
    let text = String::from_utf8(analysis(Findings::Subspace(subspace())).to_json().unwrap()).unwrap();
    let line = text.lines().find(|l| l.contains("thousandths")).unwrap();
    assert!(line.contains("\"thousandths\": [0,1,2,3,4,5]"), "{line}");
    assert!(line.contains("\"of\": {\"adapter\": 0},\"len\": 2"), "{line}");
    assert!(text.contains("\n  \"config\": {\n    \"layers\": [\n"), "{text}");
    assert_eq!((grid(2, 3).at(2, 1), grid(2, 3).at(1, 3)), (0.003, 0.002));
    assert!(grid(2, 3).at(0, 1).is_nan() && grid(2, 3).at(1, 4).is_nan() && grid(2, 3).at(3, 1).is_nan());
}

/// Everything that Figures 3, 4, 6, 7 and 8 need of a model as wide as GPT-2 medium.
#[test]
fn a_whole_backbone_stays_small() {
    let mut found = subspace();
    found.grids = Vec::new();
    for _layer in 0..5 {
        found
            .grids
            .extend([grid(8, 64), grid(8, 64), grid(64, 64), grid(64, 64)]);
    }
    found.grids.push(grid(64, 64));
    found.grids.extend([4, 8, 64, 64].map(|j| grid(102, j)));
    let size = analysis(Findings::Subspace(found)).to_json().unwrap().len();
    assert!(size < 300_000, "{size}");
}

#[test]
fn slow_downs_are_over_the_model_alone() {
    let found = latency();
    let [base, slow] = &found.cells[..] else { panic!() };
    assert_eq!((found.slowdown(base), found.slowdown(slow)), (Some(0.0), Some(25.0)));
    let lonely = LatencyCell {
        batch: 2,
        ..slow.clone()
    };
    assert_eq!(found.slowdown(&lonely), None);
}

#[test]
fn broken_analyses_are_refused_with_the_reason() {
    let said = |change: fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&analysis(all()[0].clone()).to_json().unwrap()).unwrap();
        // Those of schema 1 need no checksum.
        value.as_object_mut().unwrap().remove("checksum");
        value["schema"] = json!(1);
        change(&mut value);
        let error = Analysis::from_json(value.to_string().as_bytes(), Path::new("some/a.json")).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    };
    assert!(said(|v| v["schema"] = json!(SCHEMA + 1)).contains("newer"));
    assert!(said(|v| v["colour"] = json!("red")).contains("colour"));
    assert!(said(|v| v["findings"]["kind"] = json!("dream")).contains("dream"));
    assert!(said(|v| v["findings"]["colour"] = json!(1)).contains("colour"));
    assert!(said(|v| v["id"] = json!("../x")).contains("hex"));
    assert!(said(|v| v["findings"]["grids"][0]["i"]["len"] = json!(3)).contains("i x j"));
    assert!(said(|v| v["findings"]["grids"][0]["i"]["len"] = json!(u64::MAX)).contains("i x j"));
    assert!(said(|v| v["findings"]["spectra"][0]["adapter"] = json!(2)).contains("not listed"));
    assert!(said(|v| v["findings"]["grids"][0]["about"] = json!("tea")).contains("weight_random"));
    let mut bad = latency();
    bad.cells[0].median_ms = f64::NAN;
    let refused = analysis(Findings::Latency(bad)).to_json();
    assert!(matches!(refused, Err(Error::Invalid { .. })));
}

#[test]
fn damaged_analyses_are_never_taken_for_whole() {
    for findings in all() {
        let text = analysis(findings).to_json().unwrap();
        let outcomes = testing::mutate::survives("a.json", &text, |bytes| {
            let read = Analysis::from_json(bytes, Path::new("a.json"));
            read.map(drop).map_err(|e| e.to_string())
        });
        assert_eq!(outcomes.taken, 0, "{outcomes:?}");
    }
}

#[test]
fn the_store_keeps_analyses_beside_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(store.analyses().unwrap().is_empty());
    assert_eq!(store.analysis("0123456789abcdef").unwrap(), None);
    let one = analysis(all()[1].clone());
    let path = store.put_analysis(&one).unwrap();
    assert_eq!(path, dir.path().join("analyses/0123456789abcdef.json"));
    assert_eq!(store.analysis(&one.id).unwrap().as_ref(), Some(&one));
    assert_eq!(store.analyses().unwrap(), [one]);
    assert!(store.records().unwrap().is_empty());
    std::fs::write(dir.path().join("analyses/ffffffffffffffff.json"), "{").unwrap();
    let listing = store.analyses_listing().unwrap();
    assert_eq!((listing.records.len(), listing.bad.len()), (1, 1));
    std::fs::rename(&path, dir.path().join("analyses/ffffffffffffffff.json")).unwrap();
    assert!(store.analyses().unwrap_err().to_string().contains("holds analysis"));
}
