//! `lora examples`: what a task asks, to look at.

use crate::source::DataSource;
use anyhow::Result;
use clap::Args;
use datasets::{Example, Kind, Label, Task};

/// `lora examples`
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  lora examples mrpc\n  lora examples cola --data GLUE --rows 20")]
pub struct ExamplesArgs {
    /// The task, such as mrpc
    pub task: String,
    /// Folder that holds the tasks' folders, nyu-mll/glue for the hub's, or embedded for generated tasks
    #[arg(long, value_name = "DIR|nyu-mll/glue[@REVISION]", default_value = "embedded")]
    pub data: String,
    /// Rows to show
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub rows: usize,
}

/// The first training rows, a label and its sentences each.
///
/// # Errors
/// Unknown tasks; data that cannot be had.
pub fn show(args: &ExamplesArgs) -> Result<String> {
    let task = datasets::find(&args.task)?;
    let (data, _) = DataSource::parse(&args.data, false)?.load(task)?;
    let sizes: Vec<String> = std::iter::once(&data.train)
        .chain(&data.evals)
        .map(|s| format!("{} {}", s.name, s.examples.len()))
        .collect();
    let rows = data.train.examples.iter().take(args.rows);
    let rows: String = rows.map(|e| line(task, e)).collect();
    Ok(format!(
        "{} ({}): {} rows\n\n{rows}",
        task.id,
        args.data,
        sizes.join(", ")
    ))
}

fn line(task: &Task, example: &Example) -> String {
    let label = match (task.kind, example.label) {
        (Kind::Classification { labels }, Label::Class(class)) => labels.get(class).copied().unwrap_or("?").to_string(),
        (_, Label::Class(class)) => class.to_string(),
        (_, Label::Score(score)) => format!("{score:.2}"),
    };
    let second = example.second.as_ref();
    let second = second.map_or(String::new(), |s| format!("\n{:<16} {s}", ""));
    format!("{label:<16} {}{second}\n", example.first)
}
