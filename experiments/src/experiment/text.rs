//! The experiments of text generation: one for each data set of [`datasets::text::DATASETS`], whose presets are the files in
//! `configs/ID/`, and one for a user's own files.

use crate::config::{DEFAULTS, TEXT_DEFAULTS};
use crate::experiment::Experiment;
use crate::inputs::locator::DataChoices;
use crate::task::generation::scorers::DataArgs;
use crate::task::own_text::{OwnText, TEXT};
use datasets::text::Dataset;
use include_dir::{Dir, include_dir};

static CONFIGS: Dir = include_dir!("$CARGO_MANIFEST_DIR/configs");

/// Presets that are listed first; others follow by name.
const FIRST: [&str; 4] = ["demo", "small", "gpt2-medium", "gpt2-large"];

/// The experiment of a data set; `configs/ID/defaults.yaml` are its own defaults.
pub fn text(dataset: &'static Dataset) -> Experiment {
    let (id, name) = (dataset.id, dataset.name);
    let table = results::table_of_texts(id);
    let prints = match table.strip_prefix("table") {
        Some(number) => format!("Table {number}"),
        None => "a table of its scores".into(),
    };
    let (own, presets): (Vec<_>, Vec<_>) = yaml_files(id).into_iter().partition(|(file, _)| *file == "defaults");
    let own = own
        .into_iter()
        .map(|(_, text)| (format!("the defaults of {id}").into(), text));
    let shared = [
        ("the defaults".into(), DEFAULTS),
        ("the defaults of texts".into(), TEXT_DEFAULTS),
    ];
    Experiment {
        name: id,
        about: format!(
            "Adapts a causal language model to {name} with each method, generates and scores texts, and prints {prints}.\n\n\
             Only runs that OUT/runs lacks are computed; a killed run resumes from its checkpoint or among its texts."
        )
        .into(),
        examples: format!(
            "Examples:
  {id} --list
  {id} --preset gpt2-medium --dry-run
  {id} --preset gpt2-medium --model DIR --data DIR --methods lora,full \\
      --seeds 1
  {id} --preset gpt2-medium --meteor-data pycocoevalcap-1.2-py3-none-any.whl
  {id} --config my.yaml --out my-results --set limit.train=1000 \\
      --set decode.beams=4

The texts of each run are in OUT/texts/ID.jsonl."
        )
        .into(),
        defaults: shared.into_iter().chain(own).collect(),
        presets,
        tasks: vec![dataset],
        own_task: None,
        tables: vec![table, "fair"],
        flags: &[<DataArgs as clap::Args>::augment_args],
        data: DataChoices {
            folder: dataset.folder,
            repositories: vec![dataset.hub.id],
        },
    }
}

/// The experiment of a user's own file of prompts and completions.
pub fn own_text() -> Experiment {
    let shared = [("the defaults", DEFAULTS), ("the defaults of texts", TEXT_DEFAULTS)];
    let own = yaml_files(TEXT)
        .into_iter()
        .map(|(_, text)| ("the defaults of text", text));
    Experiment {
        name: TEXT,
        about: "Adapts a causal language model to prompts and completions of your own with each method, generates texts for dev, and \
            scores them by BLEU and ROUGE-L.\n\n\
            Only runs that OUT/runs lacks are computed; a killed run resumes from its checkpoint or among its texts."
            .into(),
        examples: "Examples:
  text --config own-text.yaml --model openai-community/gpt2 --out runs --keep
  text --config own-text.yaml --model embedded:gpt2 --set decode.beams=4 \\
      --dry-run

own-text.yaml:
  data: {kind: text, train: mails.csv, prompt: question, completion: answer}
  methods: {lora: {}, full: {train: {lr: 0.00005}}}

The texts of each run are in OUT/texts/ID.jsonl."
            .into(),
        defaults: shared.into_iter().chain(own).map(|(name, text)| (name.into(), text)).collect(),
        presets: Vec::new(),
        tasks: vec![&OwnText],
        own_task: Some(TEXT),
        tables: vec![results::table_of_texts(TEXT), "fair"],
        flags: &[],
        data: DataChoices {
            folder: "your own file, `data: {kind: text, train: FILE, prompt: COLUMN, completion: COLUMN}`",
            repositories: Vec::new(),
        },
    }
}

/// The YAML files in `configs/FOLDER`, as (stem, text).
fn yaml_files(folder: &str) -> Vec<(&'static str, &'static str)> {
    let files = CONFIGS.get_dir(folder).into_iter().flat_map(Dir::files);
    let named = files.filter_map(|file| {
        let name = file.path().file_name()?.to_str()?;
        Some((name.strip_suffix(".yaml")?, file.contents_utf8()?))
    });
    let mut found: Vec<_> = named.collect();
    let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    found.sort_by_key(|(name, _)| (place(name), *name));
    found
}
