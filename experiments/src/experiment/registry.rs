//! All experiments.

use crate::experiment::Experiment;
use crate::experiment::ablations::ablations;
use crate::experiment::glue::glue;
use crate::experiment::text::{own_text, text};
use anyhow::{Context, Result};
use datasets::text::DATASETS;
use std::sync::LazyLock;

/// All experiments: GLUE, one for each data set of texts and one for a user's own, and ablations, whose tasks are those of others.
pub static EXPERIMENTS: LazyLock<Vec<Experiment>> = LazyLock::new(|| {
    let texts = DATASETS.iter().map(|dataset| text(dataset));
    std::iter::once(glue())
        .chain(texts)
        .chain([own_text(), ablations()])
        .collect()
});

/// The experiment of that name.
///
/// # Errors
/// An unknown name.
pub fn find(name: &str) -> Result<&'static Experiment> {
    let found = EXPERIMENTS.iter().find(|experiment| experiment.name == name);
    found.with_context(|| support::unknown("experiment", name, EXPERIMENTS.iter().map(|experiment| experiment.name)))
}

#[cfg(test)]
mod tests {
    use super::EXPERIMENTS;
    use crate::config::run_config::RunConfig;
    use crate::experiment::config::ExperimentConfig;
    use results::paper::PaperTable;
    use serde_json::Value;

    /// Every run of every preset with the row of the paper that it stands in, if any.
    fn rows() -> Vec<(&'static str, &'static str, RunConfig, Option<String>)> {
        let mut rows = Vec::new();
        for experiment in EXPERIMENTS.iter() {
            for (preset, text) in &experiment.presets {
                let mut layers = experiment.layers();
                layers.push((preset, text));
                let mut raw = ExperimentConfig::read(experiment, &layers, &[]).unwrap();
                raw.model.get_or_insert_with(|| "model".into());
                for run in raw.runs(experiment).unwrap() {
                    let row = raw.paper_row(experiment, &raw, &run);
                    rows.push((experiment.name, *preset, run, row));
                }
            }
        }
        rows
    }

    #[test]
    fn every_row_that_the_authors_ran_has_a_preset() {
        let table2 = PaperTable::table2().unwrap();
        let found = |id: &str| {
            rows()
                .into_iter()
                .filter(|(_, _, _, row)| row.as_deref() == Some(id))
                .count()
        };
        for id in [
            "rob_base_lora",
            "rob_large_lora",
            "rob_large_adptP_3m",
            "rob_large_adptP_0p8m",
            "rob_large_adptH_6m",
            "rob_large_adptH_0p8m",
            "rob_large_lora_dagger",
            "deb_xxl_lora",
        ] {
            table2.row(id).unwrap();
            assert_eq!(found(id), 8 * 5, "{id}: tasks and seeds");
        }
    }

    /// Table 9's adapters: epochs and rates by task, in the paper's order.
    #[test]
    fn the_adapters_have_the_settings_of_table_9() {
        let tasks = ["mnli", "sst-2", "mrpc", "cola", "qnli", "qqp", "rte", "sts-b"];
        let (low, high) = (0.00003, 0.0003);
        let of = |first: usize| (0..8).map(|i| if i < first { low } else { high }).collect::<Vec<f64>>();
        let table = [
            (
                "rob_large_adptP_3m",
                "adapter_p",
                64,
                [10, 20, 20, 20, 10, 20, 20, 20],
                of(2),
            ),
            (
                "rob_large_adptP_0p8m",
                "adapter_p",
                16,
                [5, 20, 20, 20, 10, 20, 20, 20],
                of(0),
            ),
            (
                "rob_large_adptH_6m",
                "adapter_h",
                64,
                [10, 5, 10, 10, 5, 20, 20, 10],
                of(1),
            ),
            (
                "rob_large_adptH_0p8m",
                "adapter_h",
                8,
                [10, 5, 10, 10, 5, 20, 20, 10],
                of(0),
            ),
        ];
        let rows = rows();
        for (id, kind, bottleneck, epochs, rates) in table {
            for ((task, epochs), rate) in tasks.iter().zip(epochs).zip(rates) {
                let mut own = rows
                    .iter()
                    .filter(|(_, _, run, row)| row.as_deref() == Some(id) && run.task == *task);
                let run = &own.next().unwrap().2;
                assert_eq!(run.method["kind"], kind, "{id}");
                assert_eq!(run.method["bottleneck"], bottleneck, "{id}");
                assert_eq!((run.train.fit.epochs, run.train.fit.lr), (epochs, rate), "{id} {task}");
                let t = &run.train;
                assert_eq!(
                    (t.fit.batch_size, t.max_len, t.fit.warmup_ratio),
                    (32, 128, 0.06),
                    "{id}"
                );
            }
        }
    }

    /// Rows of GPT-2 stand beside the paper's under the settings of those who ran them, whole.
    #[test]
    fn quoted_rows_have_the_settings_of_their_authors() {
        let rows = rows();
        let texts = rows
            .iter()
            .filter(|(name, ..)| ["e2e", "webnlg", "dart"].contains(name));
        let (mut ours, mut theirs) = (0, 0);
        for (name, preset, run, row) in texts.filter_map(|(n, p, run, row)| Some((n, p, run, row.as_ref()?))) {
            let at = format!("{name} {preset} {row}");
            let (t, decode) = (&run.train, serde_json::to_value(&run.decode).unwrap());
            assert_eq!(serde_json::to_value(t.fit.adamw).unwrap(), "transformers", "{at}");
            if row.ends_with("_lora") {
                ours += 1;
                assert_eq!(
                    (t.fit.warmup_steps, t.fit.clip, t.model_dropout),
                    (Some(500), None, Some(0.0)),
                    "{at}"
                );
                assert_eq!(
                    (&decode["beams"], &decode["flavour"]),
                    (&10.into(), &"paper".into()),
                    "{at}"
                );
                let shared = run.method.get("shared_mask").is_some();
                assert_eq!(shared, *name != "dart", "{at}: DART's has no dropout");
                continue;
            }
            theirs += 1;
            assert_eq!(
                (t.fit.weight_decay, t.label_smoothing, t.fit.warmup_steps),
                (0.0, 0.0, Some(0)),
                "{at}"
            );
            assert_eq!((t.fit.clip, t.fit.eps), (Some(1.0), 1e-8), "{at}");
            let prefix = row.ends_with("_prelayer");
            assert_eq!(t.model_dropout, prefix.then_some(0.0), "{at}");
            let train = serde_json::to_value(t).unwrap();
            assert_eq!(train["encoding"], "li_liang", "{at}");
            let texts = train.get("loss_over").and_then(Value::as_str);
            assert_eq!(texts, prefix.then_some("texts"), "{at}");
            let wanted = serde_json::json!({"split": "test", "strategy": "beam", "flavour": "transformers_3", "beams": 5,
                "length_penalty": 1.0, "no_repeat_ngram": 0, "bad_words": [[628], [198]], "max_new_tokens": 100,
                "temperature": 1.0, "batch_size": 16});
            assert_eq!(decode, wanted, "{at}");
        }
        assert_eq!((ours, theirs), (3 * 2 * 3, 3 * (5 + 4) * 3));
    }

    #[test]
    fn the_table_as_it_is_printed_is_no_row() {
        let rows = rows();
        let mut printed = rows
            .iter()
            .filter(|(_, preset, ..)| *preset == "deberta-v2-xxlarge-table10");
        assert!(printed.all(|(_, _, run, row)| row.is_none() && run.method["r"] == 8 && run.method["alpha"] == 8));
    }
}
