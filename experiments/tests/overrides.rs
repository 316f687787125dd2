//! Precedence of layers, for every setting; a flag without effect is an error.

use experiments::config::run_config::RunConfig;
use experiments::experiment::Experiment;
use experiments::experiment::config::{ExperimentConfig, Flag};
use experiments::experiment::glue::glue;
use experiments::experiment::registry;
use std::sync::LazyLock;

static GLUE: LazyLock<Experiment> = LazyLock::new(glue);
static E2E: LazyLock<&Experiment> = LazyLock::new(|| registry::find("e2e").unwrap());

/// Where a setting of `train` may stand, weakest first.
const TRAIN: [&str; 4] = [
    "train",
    "methods.lora.train",
    "tasks.mrpc.train",
    "methods.lora.tasks.mrpc.train",
];

/// YAML of `path: value`.
fn yaml(path: &str, value: &str) -> String {
    let depth = path.split('.').count();
    let keys = path.split('.').enumerate();
    let lines = keys.map(|(i, key)| {
        format!(
            "{}{key}:{}\n",
            "  ".repeat(i),
            if i + 1 == depth {
                format!(" {value}")
            } else {
                String::new()
            }
        )
    });
    lines.collect()
}

const BASE: &str = "{model: m, data: d, tasks: {mrpc: {}}, methods: {lora: {}}}";

/// The one run of `files` (path and value each) and `flags` over the experiment's defaults.
fn run(experiment: &'static Experiment, files: &[(String, String)], sets: &[String]) -> anyhow::Result<RunConfig> {
    let texts: Vec<String> = files.iter().map(|(path, value)| yaml(path, value)).collect();
    let mut layers = experiment.layers();
    layers.push(("the base", BASE));
    layers.extend(texts.iter().map(|text| ("a file", text.as_str())));
    let flags = sets
        .iter()
        .map(|set| Flag::set(set))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let runs = ExperimentConfig::read(experiment, &layers, &flags)?.runs(experiment)?;
    assert_eq!(runs.len(), 1);
    Ok(runs.into_iter().next().unwrap())
}

/// A setting: where it may stand, two values, and the one that a run has.
struct Setting {
    places: Vec<String>,
    values: [&'static str; 2],
    read: fn(&RunConfig) -> String,
}

fn settings() -> Vec<Setting> {
    let train = |key: &str| TRAIN.iter().map(|at| format!("{at}.{key}")).collect();
    let both = |key: &str| vec![key.to_string(), format!("methods.lora.{key}")];
    vec![
        Setting {
            places: train("lr"),
            values: ["0.25", "0.5"],
            read: |r| r.train.fit.lr.to_string(),
        },
        Setting {
            places: train("epochs"),
            values: ["7", "9"],
            read: |r| r.train.fit.epochs.to_string(),
        },
        Setting {
            places: train("batch_size"),
            values: ["5", "6"],
            read: |r| r.train.fit.batch_size.to_string(),
        },
        Setting {
            places: train("max_len"),
            values: ["50", "60"],
            read: |r| r.train.max_len.to_string(),
        },
        Setting {
            places: train("select"),
            values: ["last", "best"],
            read: |r| format!("{:?}", r.train.select).to_lowercase(),
        },
        Setting {
            places: both("dtype"),
            values: ["bf16", "fp32"],
            read: |r| r.dtype.name().into(),
        },
        Setting {
            places: both("limit.train"),
            values: ["5", "6"],
            read: |r| r.limit.train.unwrap_or(0).to_string(),
        },
        Setting {
            places: vec!["methods.lora.r".into()],
            values: ["2", "3"],
            read: |r| r.method["r"].as_i64().unwrap_or(0).to_string(),
        },
    ]
}

/// Each pair of places: the same layer, two files, a file and a flag, two flags.
#[test]
fn the_later_and_the_more_explicit_wins() {
    let mut checked = 0;
    for setting in settings() {
        let [weak, strong] = setting.values.map(String::from);
        for (i, first) in setting.places.iter().enumerate() {
            for (j, second) in setting.places.iter().enumerate() {
                let file = |place: &String, value: &String| (place.clone(), value.clone());
                let flag = |place: &String, value: &String| format!("{place}={value}");
                let says = |files: &[(String, String)], sets: &[String]| {
                    let run = run(&GLUE, files, sets).unwrap_or_else(|e| panic!("{files:?} {sets:?}: {e:#}"));
                    (setting.read)(&run)
                };
                // Whatever the places are, the later of two files, and any flag, is stronger.
                assert_eq!(
                    says(&[file(first, &weak), file(second, &strong)], &[]),
                    strong,
                    "{first} {second}"
                );
                assert_eq!(
                    says(&[file(first, &weak)], &[flag(second, &strong)]),
                    strong,
                    "{first} {second}"
                );
                checked += 2;
                // Of two flags the later one; the other has no effect any more and is refused.
                if i != j {
                    let sets = [flag(first, &weak), flag(second, &strong)];
                    let error = format!("{:#}", run(&GLUE, &[], &sets).unwrap_err());
                    let said = format!("--set {} has no effect: --set {} overrides it", sets[0], sets[1]);
                    assert!(error.contains(&said), "{error}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 200, "{checked}");
}

/// In one file the more explicit place wins, whatever the order of its lines.
#[test]
fn in_one_file_the_more_explicit_place_wins() {
    for (i, weak) in TRAIN.iter().enumerate() {
        for strong in &TRAIN[i + 1..] {
            let line = |place: &str, value: &str| config_line(place, value);
            for text in [
                line(weak, "0.25") + &line(strong, "0.5"),
                line(strong, "0.5") + &line(weak, "0.25"),
            ] {
                let mut layers = GLUE.layers();
                let value: serde_yaml::Value = merged(&text);
                let text = serde_yaml::to_string(&value).unwrap();
                layers.extend([("the base", BASE), ("a file", text.as_str())]);
                let runs = ExperimentConfig::read(&GLUE, &layers, &[])
                    .unwrap()
                    .runs(&GLUE)
                    .unwrap();
                assert_eq!(runs[0].train.fit.lr, 0.5, "{weak} {strong}");
            }
        }
    }
}

fn config_line(place: &str, value: &str) -> String {
    format!("{place}.lr={value}\n")
}

/// `a.b=1` lines as one mapping.
fn merged(lines: &str) -> serde_yaml::Value {
    let mut all = serde_yaml::Value::Mapping(Default::default());
    for line in lines.lines() {
        let (path, value) = line.split_once('=').unwrap();
        let mut at = &mut all;
        for key in path.split('.') {
            at = at
                .as_mapping_mut()
                .unwrap()
                .entry(key.into())
                .or_insert_with(|| serde_yaml::Value::Mapping(Default::default()));
        }
        *at = serde_yaml::from_str(value).unwrap();
    }
    all
}

#[test]
fn a_flag_without_effect_is_refused() {
    let said = |experiment, sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        match run(experiment, &[], &sets) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        }
    };
    let glue = |sets: &[&str]| said(&GLUE, sets);
    assert_eq!(glue(&["train.lr=0.3"]), "");
    assert!(glue(&["methods.bitfit.train.lr=0.3", "methods.bitfit=null"]).contains("has no effect"));
    assert!(
        glue(&["train.warmup_steps=5", "train.warmup_ratio=0.2"])
            .contains("--set train.warmup_ratio=0.2 has no effect: `train.warmup_steps` is 5")
    );
    assert!(
        glue(&["limit.sample=1"])
            .contains("--set limit.sample=1 has no effect: `limit.train` does not say how many rows")
    );
    assert_eq!(glue(&["limit.sample=1", "limit.train=8"]), "");
    assert!(glue(&["limit.test=3"]).contains("generates no texts"));
    assert!(
        glue(&[
            "grids.a=[{kind: lora, r: 2}]",
            "grids.b=[{kind: lora, r: 4}]",
            "grid=[a]"
        ])
        .contains("has no effect")
    );
    assert!(glue(&["methods.lora={}"]).contains("--set methods.lora={} has no effect"));
}

#[test]
fn decoding_settings_that_the_strategy_ignores_are_refused() {
    let run = |sets: &[&str]| {
        let flags: Vec<Flag> = sets.iter().map(|set| Flag::set(set).unwrap()).collect();
        let mut layers = E2E.layers();
        layers.push(("the base", "{model: m, data: d, methods: {lora: {}}}"));
        ExperimentConfig::read(&E2E, &layers, &flags).unwrap().runs(&E2E)
    };
    let error = format!("{:#}", run(&["decode.temperature=0.5"]).unwrap_err());
    assert!(
        error.contains("--set decode.temperature=0.5 has no effect: `decode.strategy` is not sample"),
        "{error}"
    );
    run(&["decode.temperature=0.5", "decode.strategy=sample"]).unwrap();
    let greedy = run(&["decode.strategy=greedy"]).unwrap();
    let also_greedy = run(&["decode.strategy=greedy", "train.warmup_steps=500"]).unwrap();
    assert_eq!(greedy, also_greedy);
    assert_eq!(
        greedy[0].train.fit.warmup_ratio, 0.0,
        "no influence beside warmup_steps"
    );
    let error = format!("{:#}", run(&["decode.strategy=greedy", "decode.beams=4"]).unwrap_err());
    assert!(error.contains("`decode.strategy` is not beam"), "{error}");
}

#[test]
fn tasks_have_one_name_and_seeds_must_be_there() {
    let spelled = run(
        &GLUE,
        &[("methods.lora.tasks.MRPC.train.lr".into(), "0.5".into())],
        &["tasks.M_R_P_C.train.epochs=9".into()],
    )
    .unwrap();
    assert_eq!((spelled.train.fit.lr, spelled.train.fit.epochs), (0.5, 9));
    let error = format!(
        "{:#}",
        run(&GLUE, &[("tasks.mrpcc.train.lr".into(), "0.5".into())], &[]).unwrap_err()
    );
    assert!(
        error.contains("unknown task `mrpcc`; did you mean `mrpc`? known: "),
        "{error}"
    );
    let error = format!(
        "{:#}",
        run(&GLUE, &[("methods.lora.seeds".into(), "[7]".into())], &[]).unwrap_err()
    );
    assert!(
        error.contains("`methods.lora.seeds` is [7], none of which is among the experiment's seeds [1]"),
        "{error}"
    );
}

#[test]
fn a_byte_order_mark_is_no_fault() {
    let text = format!("\u{feff}{BASE}");
    let mut layers = GLUE.layers();
    layers.push(("a file", &text));
    assert_eq!(
        ExperimentConfig::read(&GLUE, &layers, &[])
            .unwrap()
            .runs(&GLUE)
            .unwrap()
            .len(),
        1
    );
}
