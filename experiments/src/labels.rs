//! What the numbers are, in words: those of a preset or a file where what runs is what it describes, and computed ones elsewhere.
//!
//! The label of a configuration speaks of the model, the data, how many rows are taken and for how many epochs; whether a run is in
//! the paper's setting is found out for each run, and added.

use crate::cli::ExperimentArgs;
use crate::config::run_config::{self, RawExperiment, RunConfig};
use crate::config::settings::Limit;
use crate::experiment::Experiment;
use crate::experiment::presets;
use crate::inputs::assets::Inputs;
use crate::inputs::locator::DataSource;
use crate::plan::Planned;
use anyhow::Result;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The weights and data that a configuration describes without naming where they lie: SHA-256, as records have them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeFor {
    /// Of the weights, one for each kind of machine that they were pretrained on.
    weights: Vec<String>,
    /// Of each task's data.
    data: BTreeMap<String, String>,
}

/// What records and tables of a batch of runs are called.
#[derive(Clone, Debug)]
pub struct Words {
    /// The preset, where its model and data are what runs.
    pub preset: Option<String>,
    /// What is said after the tables, likewise.
    pub closing: Option<String>,
    label: String,
    /// The label of runs that are rows of the paper.
    paper: Option<String>,
}

/// What runs are held against: the configuration alone, without any flag.
pub struct Origin {
    raw: Option<RawExperiment>,
}

/// How much of the data is taken, and for how many epochs.
type Amounts = (Limit, u64);

/// Whether a run takes other amounts than its configuration alone.
type Differs<'a> = &'a dyn Fn(&RunConfig, Option<&Amounts>) -> bool;

impl Words {
    /// The label of a run that is a row of the paper, or of any other.
    pub fn label(&self, paper_row: bool) -> String {
        self.paper.as_ref().filter(|_| paper_row).unwrap_or(&self.label).clone()
    }
}

impl Origin {
    /// The preset or the file that `args` name.
    ///
    /// # Errors
    /// Those of [`run_config::read`].
    pub fn of(args: &ExperimentArgs, experiment: &'static Experiment) -> Result<Origin> {
        let raw = match &args.config {
            None => args.untouched(experiment)?,
            Some(path) => {
                let (name, text) = (path.display().to_string(), presets::read(path)?);
                let layers = [experiment.defaults, &[(name.as_str(), text.as_str())]].concat();
                Some(run_config::read(experiment, &layers, &[])?)
            }
        };
        Ok(Origin { raw })
    }

    /// Lets a model that the configuration does not describe be called by its own name.
    pub fn name_model(&self, raw: &mut RawExperiment, inputs: &Inputs) {
        let borrowed = |own: &RawExperiment| own.model_name == raw.model_name && !same_model(own, raw, inputs);
        if self.raw.as_ref().is_some_and(borrowed) {
            raw.model_name = None;
        }
    }

    /// What `runs` are called. `raw` is the configuration with the flags.
    pub fn words(&self, raw: &RawExperiment, inputs: &Inputs, runs: &[Planned], preset: Option<&str>) -> Words {
        let own = self.raw.as_ref();
        let same = own.is_some_and(|own| same_model(own, raw, inputs) && same_data(own, raw, runs));
        let amounts = self.amounts(runs);
        let written = own.and_then(|own| own.label.as_ref());
        let ranks = own.is_some_and(|own| own.methods.iter().any(|(_, method)| method.get("paper_row").is_some()));
        let apart = "not a row of the paper";
        let label = match (&raw.label, written) {
            (Some(said), None) => said.clone(),
            (Some(said), Some(written)) if said != written => said.clone(),
            (Some(said), _) if same && amounts.is_empty() && ranks => format!("{said}, {apart}"),
            (Some(said), _) if same && amounts.is_empty() => said.clone(),
            _ => {
                let model = runs.first().map_or("no model", |run| &run.config.model);
                let (data, amounts) = (data(inputs.data()), amounts.iter().map(|a| format!(", {a}")));
                format!("{model} on {data}{}; {apart}", amounts.collect::<String>())
            }
        };
        let closing = own.is_none_or(|own| same || own.closing != raw.closing);
        Words {
            preset: preset.filter(|_| same).map(String::from),
            closing: raw.closing.clone().filter(|_| closing),
            label,
            paper: written.map(|label| format!("{label} in the paper's setting")),
        }
    }

    /// How much of the data is taken and for how many epochs, where the configuration does not say so itself.
    fn amounts(&self, runs: &[Planned]) -> Vec<String> {
        let own = |run: &Planned| self.own_amounts(&run.config);
        let pairs: Vec<(&Planned, Option<Amounts>)> = runs.iter().map(|run| (run, own(run))).collect();
        let differ = |differs: Differs, say: &dyn Fn(&Planned) -> String| {
            let any = pairs.iter().any(|(run, own)| differs(&run.config, own.as_ref()));
            let said: BTreeSet<String> = pairs.iter().map(|(run, _)| say(run)).collect();
            any.then(|| said.into_iter().collect::<Vec<_>>().join(" or "))
        };
        let limit = |own: Option<&Amounts>| own.map(|(limit, _)| *limit).unwrap_or_default();
        let train = differ(
            &|run, own| (run.limit.train, run.limit.sample) != (limit(own).train, limit(own).sample),
            &|run| training_rows(run),
        );
        let dev = differ(&|run, own| run.limit.dev != limit(own).dev, &|run| {
            let rows = run.rows.exam.splits().iter().map(|split| split.len()).max();
            some("dev rows", run.config.limit.dev, rows.unwrap_or(0))
        });
        let test = differ(&|run, own| run.limit.test != limit(own).test, &|run| {
            let texts = run.rows.exam.writing().map_or(0, |writing| writing.prompts.len());
            some("contexts", run.config.limit.test, texts)
        });
        let epochs = differ(
            &|run, own| own.is_some_and(|(_, epochs)| run.train.epochs != *epochs),
            &|run| match run.config.train.epochs {
                1 => "1 epoch".into(),
                n => format!("{n} epochs"),
            },
        );
        [train, dev, test, epochs].into_iter().flatten().collect()
    }

    /// How much the configuration alone takes for such a run.
    fn own_amounts(&self, run: &RunConfig) -> Option<Amounts> {
        self.raw.as_ref()?.amounts(run.task, &run.method_name)
    }
}

fn same_model(own: &RawExperiment, raw: &RawExperiment, inputs: &Inputs) -> bool {
    match (&own.made_for, &own.model) {
        (Some(of), _) => of.weights.contains(&inputs.weights_sha256),
        (None, Some(word)) => raw.model.as_ref() == Some(word),
        (None, None) => true,
    }
}

fn same_data(own: &RawExperiment, raw: &RawExperiment, runs: &[Planned]) -> bool {
    let known = |of: &MadeFor, run: &Planned| of.data.get(run.config.task) == Some(&run.rows.sha256);
    match (&own.made_for, &own.data) {
        (Some(of), _) => runs.iter().all(|run| known(of, run)),
        (None, Some(word)) => raw.data.as_ref() == Some(word),
        (None, None) => true,
    }
}

fn data(source: &DataSource) -> String {
    match source {
        DataSource::Embedded => "generated data".into(),
        DataSource::Folder(dir) => folder(dir),
        DataSource::Hub(repository) => repository.id().into(),
    }
}

/// The last name of a path: the others say nothing to somebody else.
fn folder(dir: &Path) -> String {
    let name = dir.file_name().map(|name| name.to_string_lossy());
    name.map_or("a folder".into(), |name| format!("the folder {name}"))
}

fn training_rows(run: &Planned) -> String {
    let limit = run.config.limit;
    match (limit.train, limit.sample) {
        (Some(most), Some(seed)) => {
            let rows = most.min(run.rows.train.len());
            format!("{rows} training rows at random (seed {seed})")
        }
        (most, _) => some("training rows", most, run.rows.train.len()),
    }
}

fn some(what: &str, most: Option<usize>, there: usize) -> String {
    most.map_or(format!("all {what}"), |most| {
        format!("the first {} {what}", most.min(there))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::EXPERIMENTS;
    use crate::plan;
    use crate::task::glue::GLUE;
    use clap::FromArgMatches;
    use results::Store;

    #[test]
    fn a_folder_is_called_by_its_last_name() {
        assert_eq!(folder(Path::new("/home/me/glue_data/")), "the folder glue_data");
        assert_eq!(folder(Path::new("..")), "a folder");
        assert_eq!(some("dev rows", None, 9), "all dev rows");
        assert_eq!(some("dev rows", Some(20), 9), "the first 9 dev rows");
    }

    /// The words of a batch of runs as `glue` with these arguments plans it, and the first model's name.
    fn words(args: &[&str]) -> (Words, String) {
        let all = [&["glue", "--tasks", "rte", "--seeds", "1"], args].concat();
        let matches = GLUE.command().try_get_matches_from(all).unwrap();
        let args = ExperimentArgs::from_arg_matches(&matches).unwrap();
        let mut raw = args.experiment(&GLUE).unwrap();
        let origin = Origin::of(&args, &GLUE).unwrap();
        let mut inputs = Inputs::open(&GLUE, raw.model.as_deref(), raw.data.as_deref(), true).unwrap();
        origin.name_model(&mut raw, &inputs);
        let store = Store::open(std::env::temp_dir().join("no such store")).unwrap();
        let runs = plan::plan(&raw, &GLUE, &mut inputs, &store).unwrap();
        let model = runs[0].config.model.clone();
        (origin.words(&raw, &inputs, &runs, args.preset()), model)
    }

    #[test]
    fn a_label_is_of_what_runs() {
        let demo = "the embedded demonstration (a model of 0.9M parameters, generated tasks), not a row of the paper";
        let embedded = ["--model", "embedded:roberta", "--data", "embedded"];
        let cases: [(&[&str], &str, Option<&str>); 9] = [
            (&[], demo, Some("demo")),
            (
                &[
                    "--set",
                    "methods.mine={kind: lora, r: 2, alpha: 4, targets: [query]}",
                    "--set",
                    "train.lr=0.1",
                ],
                demo,
                Some("demo"),
            ),
            (
                &["--epochs", "2", "--set", "limit={train: 32, dev: 9, sample: 5}"],
                "embedded:roberta on generated data, 32 training rows at random (seed 5), the first 9 dev rows, 2 epochs",
                Some("demo"),
            ),
            (
                &["--set", "limit.train=1"],
                "embedded:roberta on generated data, the first 1 training rows",
                Some("demo"),
            ),
            (
                &["--model", "embedded:deberta"],
                "embedded:deberta on generated data",
                None,
            ),
            (&["--preset", "minilm"], "embedded:roberta on generated data", None),
            (
                &["--preset", "roberta-base"],
                "embedded:roberta on generated data",
                None,
            ),
            (
                &["--preset", "roberta-base", "--epochs", "1"],
                "embedded:roberta on generated data, 1 epoch",
                None,
            ),
            (&["--set", "label=mine, all of it"], "mine, all of it", Some("demo")),
        ];
        for (args, label, preset) in cases {
            let own = args.contains(&"--preset");
            let (words, model) = words(&[args, if own { &embedded } else { &[] }].concat());
            let computed = format!("{label}; not a row of the paper");
            let label = if label.starts_with("embedded:") {
                &computed
            } else {
                label
            };
            assert_eq!(words.label(false), label, "{args:?}");
            assert_eq!(words.preset.as_deref(), preset, "{args:?}");
            assert_eq!(words.closing.is_some(), preset.is_some(), "{args:?}");
            assert!(model.starts_with("embedded:"), "{args:?}: {model}");
        }
    }

    /// A label can only be dropped where it is known what it is of.
    #[test]
    fn every_preset_says_what_its_words_are_of() {
        for experiment in EXPERIMENTS {
            for (name, text) in experiment.presets {
                let layers = [experiment.defaults, &[(*name, *text)]].concat();
                let raw = run_config::read(experiment, &layers, &[]).unwrap();
                let at = format!("{} {name}", experiment.name);
                let named = raw.model.is_some() && raw.data.is_some();
                assert!(
                    named != raw.made_for.is_some(),
                    "{at}: model and data, or what it is made for"
                );
                let label = raw.label.unwrap();
                assert!(
                    !label.contains("paper's setting"),
                    "{at}: that is for each run to find out"
                );
                let ranks = raw.methods.iter().any(|(_, method)| method.get("paper_row").is_some());
                assert_eq!(ranks, !label.contains("paper"), "{at}: {label}");
                for hash in raw
                    .made_for
                    .iter()
                    .flat_map(|of| of.weights.iter().chain(of.data.values()))
                {
                    assert!(
                        hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()),
                        "{at}: {hash}"
                    );
                }
            }
        }
    }
}
