//! The experiments of text generation. To add a preset: a file in `configs/NAME/` and a line here; to add an experiment: a data
//! set in [`datasets::text::DATASETS`], an entry here, and one in [`crate::experiment::registry::EXPERIMENTS`].

use crate::config::{DEFAULTS, TEXT_DEFAULTS};
use crate::experiment::Experiment;
use crate::inputs::locator::DataChoices;
use crate::task::Task;
use crate::task::generation::scorers::DataArgs;
use datasets::text::DATASETS;

/// The tasks of an experiment: the one data set of its name.
fn tasks(name: &str) -> Vec<&'static dyn Task> {
    let own = DATASETS.iter().filter(|d| d.id == name);
    own.map(|d| *d as &'static dyn Task).collect()
}

/// Its presets, as (name, YAML text).
macro_rules! presets {
    ($name:literal, [$($preset:literal),+]) => {
        &[$(($preset, include_str!(concat!("../../configs/", $name, "/", $preset, ".yaml")))),+]
    };
}

/// An experiment of one data set: its name, the name in prose, its table, its presets, and the choices of `--data`.
macro_rules! experiment {
    ($name:literal, $called:literal, $table:literal in $prints:literal, $presets:tt, $folder:literal, $repository:literal) => {
        Experiment {
            name: $name,
            about: concat!(
                "Adapts a causal language model to ", $called, " with each method, writes and scores texts, and prints ", $prints, ".\n\n",
                "Only runs that OUT/runs lacks are computed; a killed run resumes from its checkpoint or among its texts."
            ),
            examples: concat!(
                "Examples:\n",
                "  ", $name, " --list\n",
                "  ", $name, " --preset gpt2-medium --dry-run\n",
                "  ", $name, " --preset gpt2-medium --model DIR --data DIR --methods lora,full --seeds 1\n",
                "  ", $name, " --preset gpt2-medium --meteor-data pycocoevalcap-1.2-py3-none-any.whl\n",
                "  ", $name, " --config my.yaml --out my-results --set limit.train=1000 --set decode.beams=4\n\n",
                "The texts of each run are in OUT/texts/ID.jsonl."
            ),
            defaults: &[
                ("the defaults", DEFAULTS),
                ("the defaults of texts", TEXT_DEFAULTS),
                (
                    concat!("the defaults of ", $name),
                    include_str!(concat!("../../configs/", $name, "/defaults.yaml")),
                ),
            ],
            presets: presets!($name, $presets),
            tasks: || tasks($name),
            tables: &[$table],
            flags: &[<DataArgs as clap::Args>::augment_args],
            data: DataChoices {
                folder: $folder,
                repositories: &[$repository],
            },
        }
    };
}

/// Table 3: the E2E NLG Challenge.
pub static E2E: Experiment = experiment!(
    "e2e",
    "the E2E NLG Challenge",
    "table3" in "Table 3",
    ["demo", "small", "gpt2-medium", "gpt2-large"],
    "the folder with trainset.csv, devset.csv and testset_w_refs.csv",
    "tuetschek/e2e_nlg"
);

/// Table 4: WikiSQL.
pub static WIKISQL: Experiment = experiment!(
    "wikisql",
    "WikiSQL",
    "table4" in "the WikiSQL column of Table 4",
    ["demo", "small", "gpt2-medium", "gpt2-large"],
    "the folder with train.jsonl and dev.jsonl, and train.tables.jsonl and dev.tables.jsonl beside them",
    "Salesforce/wikisql"
);

/// Table 4: SAMSum.
pub static SAMSUM: Experiment = experiment!(
    "samsum",
    "SAMSum",
    "table4" in "the SAMSum columns of Table 4",
    ["demo", "small", "gpt2-medium", "gpt2-large"],
    "the folder with train.json, val.json and test.json",
    "knkarthick/samsum"
);

/// Table 14: WebNLG.
pub static WEBNLG: Experiment = experiment!(
    "webnlg",
    "WebNLG",
    "table14" in "Table 14",
    ["demo", "gpt2-medium", "gpt2-large"],
    "the folder with train.json, dev.json and test.json of the 2017 challenge",
    "webnlg-challenge/web_nlg"
);

/// Table 13: DART.
pub static DART: Experiment = experiment!(
    "dart",
    "DART",
    "table13" in "Table 13",
    ["demo", "gpt2-medium", "gpt2-large"],
    "the folder with dart-v1.1.1-full-train.json, -dev.json and -test.json",
    "Yale-LILY/dart"
);
