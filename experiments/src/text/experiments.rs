//! The experiments of text. To add a preset: a file in `configs/NAME/`, and a line here; to add an experiment: a data set
//! in [`datasets::nlg::DATASETS`], an entry here, and one in [`crate::experiment::EXPERIMENTS`].

use crate::experiment::Experiment;
use crate::presets::DEFAULTS;
use crate::task::Task;
use datasets::nlg::DATASETS;

/// The tasks of an experiment: the one data set of its name.
fn tasks(name: &str) -> Vec<&'static dyn Task> {
    let own = DATASETS.iter().filter(|d| d.id == name);
    own.map(|d| *d as &'static dyn Task).collect()
}

/// What lies below every preset: the defaults, those of texts, and the data set's own.
macro_rules! layers {
    ($name:literal) => {
        &[
            ("the defaults", DEFAULTS),
            ("the defaults of texts", include_str!("../../configs/texts.yaml")),
            (
                concat!("the defaults of ", $name),
                include_str!(concat!("../../configs/", $name, "/defaults.yaml")),
            ),
        ]
    };
}

/// Its presets, by name.
macro_rules! presets {
    ($name:literal) => {
        &[
            ("demo", include_str!(concat!("../../configs/", $name, "/demo.yaml"))),
            (
                "gpt2-medium",
                include_str!(concat!("../../configs/", $name, "/gpt2-medium.yaml")),
            ),
            (
                "gpt2-large",
                include_str!(concat!("../../configs/", $name, "/gpt2-large.yaml")),
            ),
        ]
    };
}

/// Table 3: the E2E NLG Challenge.
pub static E2E: Experiment = Experiment {
    name: "e2e",
    defaults: layers!("e2e"),
    presets: presets!("e2e"),
    tasks: || tasks("e2e"),
    folder: "the folder with trainset.csv, devset.csv and testset_w_refs.csv",
    repositories: &["tuetschek/e2e_nlg"],
};

/// Table 4: WikiSQL.
pub static WIKISQL: Experiment = Experiment {
    name: "wikisql",
    defaults: layers!("wikisql"),
    presets: presets!("wikisql"),
    tasks: || tasks("wikisql"),
    folder: "the folder with train.jsonl and dev.jsonl, and train.tables.jsonl and dev.tables.jsonl beside them",
    repositories: &["Salesforce/wikisql"],
};

/// Table 4: SAMSum.
pub static SAMSUM: Experiment = Experiment {
    name: "samsum",
    defaults: layers!("samsum"),
    presets: presets!("samsum"),
    tasks: || tasks("samsum"),
    folder: "the folder with train.json, val.json and test.json",
    repositories: &["knkarthick/samsum"],
};

/// Table 14: WebNLG.
pub static WEBNLG: Experiment = Experiment {
    name: "webnlg",
    defaults: layers!("webnlg"),
    presets: presets!("webnlg"),
    tasks: || tasks("webnlg"),
    folder: "the folder with train.json, dev.json and test.json of the 2017 challenge",
    repositories: &["webnlg-challenge/web_nlg"],
};

/// Table 13: DART.
pub static DART: Experiment = Experiment {
    name: "dart",
    defaults: layers!("dart"),
    presets: presets!("dart"),
    tasks: || tasks("dart"),
    folder: "the folder with dart-v1.1.1-full-train.json, -dev.json and -test.json",
    repositories: &["Yale-LILY/dart"],
};
