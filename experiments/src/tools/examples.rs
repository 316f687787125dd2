//! `lora examples`: some rows of a task.

use crate::experiment::Experiment;
use crate::experiment::registry::EXPERIMENTS;
use crate::inputs::locator::DataSource;
use crate::task::Task;
use anyhow::{Context, Result};
use clap::Args;
use results::listing::terminal_width;

/// `lora examples`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora examples mrpc\n  lora examples cola --data GLUE --rows 20\n  lora examples rte --json --split dev > dev.jsonl"
)]
pub struct ExamplesArgs {
    /// The task, such as mrpc
    pub task: String,
    /// Folder that holds the task's data, its data set on the hub, or embedded for generated tasks
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]", default_value = "embedded")]
    pub data: String,
    /// The split [default: the training rows]
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Rows to show [default: 8, or all with --json]
    #[arg(long, value_name = "N")]
    pub rows: Option<usize>,
    /// A JSON object a line: text, text_pair and label, or prompt and completion
    #[arg(long)]
    pub json: bool,
}

/// The first rows of a split.
///
/// # Errors
/// Unknown tasks and splits; data that cannot be read.
pub fn show(args: &ExamplesArgs) -> Result<String> {
    let (experiment, task) = find(&args.task)?;
    let data = DataSource::parse(&args.data, &experiment.data, false)?;
    let splits = task.show(&data)?;
    let names: Vec<&str> = splits.iter().map(|s| s.split.as_str()).collect();
    let wanted = args.split.as_deref().or(names.first().copied());
    let split = splits
        .iter()
        .find(|s| Some(s.split.as_str()) == wanted)
        .with_context(|| {
            let (wanted, task) = (wanted.unwrap_or_default(), task.id());
            format!("{task} has no split \"{wanted}\"; it has {}", names.join(", "))
        })?;
    if args.json {
        let rows = split.rows.iter().take(args.rows.unwrap_or(usize::MAX));
        return Ok(rows.map(|row| format!("{}\n", row.json())).collect());
    }
    let sizes: Vec<String> = splits.iter().map(|s| format!("{} {}", s.split, s.rows.len())).collect();
    let shown: String = split
        .rows
        .iter()
        .take(args.rows.unwrap_or(8))
        .map(|row| row.lines(terminal_width()))
        .collect();
    let (task, sizes) = (task.id(), sizes.join(", "));
    Ok(format!("{task} ({}): {sizes} rows\n\n{shown}", args.data))
}

/// The task of that name in any experiment.
fn find(name: &str) -> Result<(&'static Experiment, &'static dyn Task)> {
    let found = EXPERIMENTS.iter().find_map(|e| Some((e, e.task(name).ok()?)));
    found.with_context(|| {
        let tasks = EXPERIMENTS.iter().flat_map(|e| &e.tasks);
        let mut known: Vec<&str> = Vec::new();
        for task in tasks {
            // An experiment may have tasks of others.
            if !known.contains(&task.id()) {
                known.push(task.id());
            }
        }
        support::unknown("task", name, known)
    })
}
