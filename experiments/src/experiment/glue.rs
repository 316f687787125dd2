//! `glue`: Table 2, for any encoder and any of GLUE's tasks.

use crate::config::DEFAULTS;
use crate::experiment::Experiment;
use crate::inputs::locator::DataChoices;
use crate::task::Task;
use crate::task::own::{OWN, Own};
use datasets::TASKS;

/// The experiment. To add a preset: a file in `configs/` and a line here.
pub fn glue() -> Experiment {
    Experiment {
        name: "glue",
        about: "Fine-tunes an encoder on GLUE tasks with each method and prints Table 2.\n\n\
            Only runs that OUT/runs lacks are computed; a killed run resumes from its checkpoint."
            .into(),
        examples: "Examples:
  glue --list
  glue --preset minilm --model DIR --data DIR --tasks mrpc,rte \\
      --methods full,bitfit,lora,head --seeds 1..3
  glue --preset minilm --model DIR --data DIR --set methods.lora.r=4 \\
      --set train.lr=0.0003 --dry-run
  glue --preset fair --model DIR --data DIR --tasks mrpc,rte \\
      --methods full,lora,head --dry-run
  glue --config my.yaml --out my-results --device cuda:0 --dtype bf16
  glue --config my.yaml --json 2>/dev/null | jq -c 'select(.event == \"run\")'
  tensorboard --logdir results/own/tensorboard

Ctrl-C writes a checkpoint, prints the table so far and the command that resumes, and exits with 130."
            .into(),
        defaults: vec![("the defaults".into(), DEFAULTS)],
        presets: vec![
            ("demo", include_str!("../../configs/demo.yaml")),
            ("demo-all", include_str!("../../configs/demo-all.yaml")),
            ("quick", include_str!("../../configs/quick.yaml")),
            ("minilm", include_str!("../../configs/minilm.yaml")),
            ("fair", include_str!("../../configs/fair.yaml")),
            ("minilm-fair", include_str!("../../configs/minilm-fair.yaml")),
            ("roberta-base", include_str!("../../configs/roberta-base.yaml")),
            ("roberta-large", include_str!("../../configs/roberta-large.yaml")),
            (
                "roberta-large-dagger",
                include_str!("../../configs/roberta-large-dagger.yaml"),
            ),
            (
                "deberta-v2-xxlarge",
                include_str!("../../configs/deberta-v2-xxlarge.yaml"),
            ),
            (
                "deberta-v2-xxlarge-table10",
                include_str!("../../configs/deberta-v2-xxlarge-table10.yaml"),
            ),
            ("deberta-v3-base", include_str!("../../configs/deberta-v3-base.yaml")),
        ],
        tasks: TASKS
            .iter()
            .map(|task| task as &'static dyn Task)
            .chain([&Own as &dyn Task])
            .collect(),
        own_task: Some(OWN),
        tables: vec!["table2", "fair"],
        flags: &[],
        data: DataChoices {
            folder: "the folder that holds the tasks' folders (CoLA/, MRPC/, ...)",
            repositories: vec![datasets::hub::GLUE],
        },
    }
}
