//! `lora examples`: some rows of a task.

use crate::experiment::Experiment;
use crate::experiment::registry::EXPERIMENTS;
use crate::inputs::locator::DataSource;
use crate::task::Task;
use anyhow::{Context, Result};
use clap::Args;

/// `lora examples`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  lora examples mrpc\n  lora examples cola --data GLUE --rows 20")]
pub struct ExamplesArgs {
    /// The task, such as mrpc
    pub task: String,
    /// Folder that holds the task's data, its data set on the hub, or embedded for generated tasks
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]", default_value = "embedded")]
    pub data: String,
    /// Rows to show
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub rows: usize,
}

/// The first training rows.
///
/// # Errors
/// Unknown tasks; data that cannot be read.
pub fn show(args: &ExamplesArgs) -> Result<String> {
    let (experiment, task) = find(&args.task)?;
    let data = DataSource::parse(&args.data, &experiment.data, false)?;
    Ok(format!(
        "{} ({}): {}",
        task.id(),
        args.data,
        task.show(&data, args.rows)?
    ))
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
        format!("unknown task \"{name}\"; known tasks: {}", known.join(", "))
    })
}
