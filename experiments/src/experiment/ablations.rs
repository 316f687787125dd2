//! `ablations`: Tables 5, 6, 15, 16, 18 and Figure 2, as grids of methods ([`crate::config::grids`]) on the tasks of GLUE or of texts.

use crate::config::DEFAULTS;
use crate::experiment::Experiment;
use crate::inputs::locator::DataChoices;
use crate::task::Task;
use crate::task::generation::scorers::DataArgs;
use datasets::TASKS;
use datasets::text::DATASETS;

/// The experiment. To add a preset: a file in `configs/ablations/` and a line here.
pub fn ablations() -> Experiment {
    let glue = TASKS.iter().map(|task| task as &'static dyn Task);
    let texts = DATASETS.iter().map(|dataset| *dataset as &'static dyn Task);
    let repositories = DATASETS.iter().map(|dataset| dataset.hub.id);
    Experiment {
    name: "ablations",
    about: "Runs grids of methods: which matrices (Table 5), which rank (Tables 6, 18), few rows (Table 16), methods by size \
            (Table 15, Figure 2).\n\n\
            A grid is a list of methods in which `{each: [...]}` stands for a method with each value; what grids share is run once. \
            Only runs that OUT/runs lacks are computed; a killed run resumes from its checkpoint."
            .into(),
    examples: "Examples:
  ablations --grid which
  ablations --preset minilm --model DIR --data DIR --grid rank --tasks rte \\
      --seeds 1..3
  ablations --preset roberta-base --grid low-data --dry-run
  ablations --preset gpt2-medium --grid rank \\
      --methods lora-qv-r1,lora-qv-r1024 --dry-run
  ablations --config my.yaml

Grids of the presets: which, rank, low-data, sizes."
            .into(),
    defaults: vec![("the defaults".into(), DEFAULTS)],
    presets: vec![
        ("demo", include_str!("../../configs/ablations/demo.yaml")),
        ("minilm", include_str!("../../configs/ablations/minilm.yaml")),
        (
            "minilm-rates",
            include_str!("../../configs/ablations/minilm-rates.yaml"),
        ),
        (
            "roberta-base",
            include_str!("../../configs/ablations/roberta-base.yaml"),
        ),
        ("gpt2-medium", include_str!("../../configs/ablations/gpt2-medium.yaml")),
    ],
    tasks: glue.chain(texts).collect(),
    own_task: None,
    tables: vec!["table5", "table6", "table15", "table16", "table18"],
    flags: &[<DataArgs as clap::Args>::augment_args],
    data: DataChoices {
        folder: "the folder of the preset's data (GLUE's with CoLA/, MRPC/, ..., or E2E's with trainset.csv)",
        repositories: std::iter::once(datasets::hub::GLUE).chain(repositories).collect(),
    },
    }
}
