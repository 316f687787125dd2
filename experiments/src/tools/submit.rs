//! `lora submit`: predictions for GLUE's test sets, as the leaderboard takes them.

use crate::inputs::compute::ComputeArgs;
use crate::tools::predict::{AdapterArgs, Answerer};
use anyhow::{Context, Result, ensure};
use clap::Args;
use datasets::glue_test::{TEST_SETS, archive};
use datasets::{Example, GlueTask};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `lora submit`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lora submit results/own/1977ecad94f36450 results/own/5e0d19c1a3b9f2c4 \\\n      --data GLUE --out submission\n\nWrites OUT/CoLA.tsv, OUT/MNLI-m.tsv, ... and OUT/submission.zip for gluebenchmark.com. Each adapter answers the test sets of its task, that of\nMNLI the diagnostic set AX too. A task without an adapter gets one answer for all rows, since the site wants every file."
)]
pub struct SubmitArgs {
    /// Runs whose weights were kept (RESULTS/ID, glue --keep), or folders of `lora adapter import`, one a task
    #[arg(required = true, value_name = "ADAPTER")]
    adapters: Vec<PathBuf>,
    /// Folder of GLUE's data, with the files test.tsv
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The base model, where the adapters do not name it
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]")]
    base: Option<String>,
    /// Tokens of a row. By default as many as the model takes, at most 512
    #[arg(long, value_name = "N")]
    max_len: Option<usize>,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Writes the files and returns what to know of them.
///
/// # Errors
/// Adapters and data that are missing or do not fit; two adapters of one task.
pub fn submit(args: &SubmitArgs) -> Result<String> {
    let empty = std::fs::read_dir(&args.out).map_or(!args.out.exists(), |mut entries| entries.next().is_none());
    ensure!(empty, "{} is there already; name another folder", args.out.display());
    let mut answerers: BTreeMap<&'static str, (&'static GlueTask, Answerer)> = BTreeMap::new();
    for path in &args.adapters {
        let answerer = Answerer::open(&args.of(path), None)?;
        let named = answerer.task.as_deref();
        let named = named.with_context(|| {
            format!(
                "{}: the adapter does not say on which task it was trained",
                path.display()
            )
        })?;
        let task = datasets::find(named)?;
        let twice = answerers.insert(task.id, (task, answerer));
        ensure!(twice.is_none(), "two adapters are of the task {}; name one", task.id);
    }
    let (mut files, mut said) = (Vec::new(), String::new());
    for set in &TEST_SETS {
        let text = match answerers.get(set.task) {
            None => {
                said += &format!(
                    "warning: {}: no adapter of {}, so every row has the same answer\n",
                    set.name, set.task
                );
                set.filler()?
            }
            Some((task, answerer)) => {
                let path = set.file(&args.data);
                let path = path.with_context(|| {
                    let (data, name) = (args.data.display(), set.name);
                    match args.data.is_dir() {
                        true => {
                            format!("{data}: no test file of {name}; wanted {name}/test.tsv, as GLUE's archive has it")
                        }
                        false => format!(
                            "{data}: no such folder; give the folder that holds GLUE's tasks ({name}/test.tsv, ...)"
                        ),
                    }
                })?;
                let rows = set.read(&path)?;
                let examples: Vec<Example> = rows.iter().map(|row| row.example.clone()).collect();
                let logits = answerer.logits(task, &examples)?;
                let indices: Vec<String> = rows.into_iter().map(|row| row.index).collect();
                said += &format!("{}: {} rows\n", set.name, indices.len());
                set.predictions(&indices, &task.predictions(&logits)?, task.kind)
            }
        };
        files.push((format!("{}.tsv", set.name), text));
    }
    std::fs::create_dir_all(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    for (name, text) in &files {
        support::write_atomic(args.out.join(name), text.as_bytes())?;
    }
    let zip = args.out.join("submission.zip");
    support::write_atomic(&zip, &archive(&files)?)?;
    Ok(format!("{said}{}\n", zip.display()))
}

impl SubmitArgs {
    fn of(&self, adapter: &std::path::Path) -> AdapterArgs {
        AdapterArgs {
            adapter: adapter.into(),
            base: self.base.clone(),
            alpha: None,
            fresh_head: false,
            max_len: self.max_len,
            batch: 32,
            compute: self.compute.clone(),
        }
    }
}
