//! Labels of records and tables: those of the preset or file where the runs are what it describes, computed ones elsewhere.
//!
//! The label of a configuration describes the model, the data, the number of rows and the epochs. Whether a run is in the paper's
//! setting is decided run by run, and added.

use crate::config::run_config::RunConfig;
use crate::config::settings::Limit;
use crate::experiment::config::{ExperimentConfig, MadeFor};
use crate::inputs::locator::DataSource;
use crate::plan::assets::Assets;
use crate::plan::planned::Planned;
use std::collections::BTreeSet;
use std::path::Path;

/// The generated tasks in computed labels.
pub const GENERATED: &str = "generated data";

/// The labels of a plan.
#[derive(Clone, Debug)]
pub struct Labels {
    /// The preset, where the runs use its model and data.
    pub preset: Option<String>,
    /// The text after the tables, likewise.
    pub closing: Option<String>,
    label: String,
    /// The label of runs that are rows of the paper.
    paper: Option<String>,
}

/// The limits on rows, and the epochs.
type Amounts = (Limit, u64);

/// Whether the amounts of a run differ from those of its configuration without flags.
type Differs<'a> = &'a dyn Fn(&RunConfig, Option<&Amounts>) -> bool;

impl Labels {
    /// The labels of `runs` of `config`, whose preset or file without flags is `base`.
    pub fn new(
        config: &ExperimentConfig,
        base: Option<&ExperimentConfig>,
        preset: Option<&str>,
        assets: &Assets,
        runs: &[Planned],
    ) -> Labels {
        let same = base.is_some_and(|base| same_model(base, config, assets) && same_data(base, config, runs));
        let amounts = other_amounts(base, runs);
        let written = base.and_then(|base| base.label.as_ref());
        let ranks = base.is_some_and(|base| base.methods.iter().any(|(_, method)| method.get("paper_row").is_some()));
        let apart = "not a row of the paper";
        let label = match (&config.label, written) {
            (Some(own), None) => own.clone(),
            (Some(own), Some(written)) if own != written => own.clone(),
            (Some(own), _) if same && amounts.is_empty() && ranks => format!("{own}, {apart}"),
            (Some(own), _) if same && amounts.is_empty() => own.clone(),
            _ => {
                let model = runs.first().map_or("no model", |run| &run.config.model);
                let (data, amounts) = (data(assets.data()), amounts.iter().map(|a| format!(", {a}")));
                format!("{model} on {data}{}; {apart}", amounts.collect::<String>())
            }
        };
        let closing = base.is_none_or(|base| same || base.closing != config.closing);
        Labels {
            preset: preset.filter(|_| same).map(String::from),
            closing: config.closing.clone().filter(|_| closing),
            label,
            paper: written.map(|label| format!("{label} in the paper's setting")),
        }
    }

    /// The label of a run that is a row of the paper, or of any other.
    pub fn label(&self, paper_row: bool) -> String {
        self.paper.as_ref().filter(|_| paper_row).unwrap_or(&self.label).clone()
    }
}

/// Clears the model's name where it is that of the preset or file, which describes another model.
pub fn clear_borrowed_name(config: &mut ExperimentConfig, base: Option<&ExperimentConfig>, assets: &Assets) {
    let borrowed = |base: &ExperimentConfig| base.model_name == config.model_name && !same_model(base, config, assets);
    if base.is_some_and(borrowed) {
        config.model_name = None;
    }
}

/// The limits and epochs of the runs where they differ from those of the configuration without flags, in words.
fn other_amounts(base: Option<&ExperimentConfig>, runs: &[Planned]) -> Vec<String> {
    let own = |run: &RunConfig| base?.amounts(&run.task, &run.method_name);
    let pairs: Vec<(&Planned, Option<Amounts>)> = runs.iter().map(|run| (run, own(&run.config))).collect();
    let differ = |differs: Differs, describe: &dyn Fn(&Planned) -> String| {
        let any = pairs.iter().any(|(run, own)| differs(&run.config, own.as_ref()));
        let described: BTreeSet<String> = pairs.iter().map(|(run, _)| describe(run)).collect();
        any.then(|| described.into_iter().collect::<Vec<_>>().join(" or "))
    };
    let limit = |own: Option<&Amounts>| own.map(|(limit, _)| *limit).unwrap_or_default();
    let train = differ(
        &|run, own| (run.limit.train, run.limit.sample) != (limit(own).train, limit(own).sample),
        &|run| training_rows(run),
    );
    let dev = differ(&|run, own| run.limit.dev != limit(own).dev, &|run| {
        let rows = run.rows.evaluator.splits().iter().map(|split| split.len()).max();
        some("dev rows", run.config.limit.dev, rows.unwrap_or(0))
    });
    let test = differ(&|run, own| run.limit.test != limit(own).test, &|run| {
        let inputs = run.rows.evaluator.post_training().inputs();
        some("contexts", run.config.limit.test, inputs)
    });
    let epochs = differ(
        &|run, own| own.is_some_and(|(_, epochs)| run.train.fit.epochs != *epochs),
        &|run| match run.config.train.fit.epochs {
            1 => "1 epoch".into(),
            n => format!("{n} epochs"),
        },
    );
    [train, dev, test, epochs].into_iter().flatten().collect()
}

/// Whether `base` describes the model of `config`.
fn same_model(base: &ExperimentConfig, config: &ExperimentConfig, assets: &Assets) -> bool {
    match (&base.made_for, &base.model) {
        (Some(of), _) => of.weights.contains(&assets.weights_sha256),
        (None, Some(word)) => config.model.as_ref() == Some(word),
        (None, None) => true,
    }
}

/// Whether `base` describes the data of `config`.
fn same_data(base: &ExperimentConfig, config: &ExperimentConfig, runs: &[Planned]) -> bool {
    let known = |of: &MadeFor, run: &Planned| of.data.get(&run.config.task) == Some(&run.rows.sha256);
    match (&base.made_for, &base.data) {
        (Some(of), _) => runs.iter().all(|run| known(of, run)),
        (None, Some(word)) => config.data.as_ref() == Some(word),
        (None, None) => true,
    }
}

fn data(source: &DataSource) -> String {
    match source {
        DataSource::Embedded => GENERATED.into(),
        DataSource::Own(own) => file(&own.train),
        DataSource::OwnTexts(own) => match own.dev {
            Some(_) => file(&own.train),
            None => format!(
                "{} (dev: {} of its prompts, seed {})",
                file(&own.train),
                own.dev_share,
                own.dev_seed
            ),
        },
        DataSource::Folder(dir) => folder(dir),
        DataSource::Hub(repository) => repository.id().into(),
    }
}

fn file(path: &Path) -> String {
    format!("the file {}", path.file_name().unwrap_or_default().to_string_lossy())
}

/// The last component of a path; the others are of this machine alone.
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
    use crate::app;
    use crate::experiment::flags::ExperimentArgs;
    use crate::experiment::glue::glue;
    use crate::experiment::registry::EXPERIMENTS;
    use crate::plan;
    use clap::FromArgMatches;
    use results::Store;

    #[test]
    fn a_folder_is_called_by_its_last_name() {
        assert_eq!(folder(Path::new("/home/me/glue_data/")), "the folder glue_data");
        assert_eq!(folder(Path::new("..")), "a folder");
        assert_eq!(some("dev rows", None, 9), "all dev rows");
        assert_eq!(some("dev rows", Some(20), 9), "the first 9 dev rows");
    }

    /// The labels of the runs that `glue` plans with these arguments, and the first model's name.
    fn labels(args: &[&str]) -> (Labels, String) {
        let experiment = glue();
        let all = [&["glue", "--tasks", "rte", "--seeds", "1"], args].concat();
        let matches = app::command(&experiment).try_get_matches_from(all).unwrap();
        let args = ExperimentArgs::from_arg_matches(&matches).unwrap();
        let mut config = args.config(&experiment).unwrap();
        let base = args.base(&experiment).unwrap();
        let mut assets = Assets::open(&experiment.data, config.model.as_deref(), config.data.as_deref(), true).unwrap();
        clear_borrowed_name(&mut config, base.as_ref(), &assets);
        let store = Store::open(std::env::temp_dir().join("no such store")).unwrap();
        let runs = plan::runs(
            &experiment,
            (&config, &crate::experiment::rates::Stage::default()),
            &mut assets,
            &store,
        )
        .unwrap();
        let model = runs[0].config.model.clone();
        (
            Labels::new(&config, base.as_ref(), args.preset(), &assets, &runs),
            model,
        )
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
            let (labels, model) = labels(&[args, if own { &embedded } else { &[] }].concat());
            let computed = format!("{label}; not a row of the paper");
            let label = if label.starts_with("embedded:") {
                &computed
            } else {
                label
            };
            assert_eq!(labels.label(false), label, "{args:?}");
            assert_eq!(labels.preset.as_deref(), preset, "{args:?}");
            assert_eq!(labels.closing.is_some(), preset.is_some(), "{args:?}");
            assert!(model.starts_with("embedded:"), "{args:?}: {model}");
        }
    }

    /// A label can only be replaced where it is known what it describes.
    #[test]
    fn every_preset_states_what_its_label_describes() {
        for experiment in EXPERIMENTS.iter() {
            for (name, text) in &experiment.presets {
                let layers = [experiment.layers(), vec![(*name, *text)]].concat();
                let raw = ExperimentConfig::read(experiment, &layers, &[]).unwrap();
                let at = format!("{} {name}", experiment.name);
                if raw.label.is_none() {
                    let any = raw.model.is_none() && raw.data.is_none() && raw.made_for.is_none();
                    assert!(any, "{at}: a label, or any model and data");
                    continue;
                }
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
