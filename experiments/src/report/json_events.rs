//! `--json`: events as JSON objects on stdout, one a line.

use crate::plan::planned::Planned;
use crate::runner::events::{Observer, RunEvent};
use lora_core::train::Event;
use results::record::{RunRecord, Status};
use serde_json::{Map, Value, json};
use std::io::Write;

/// The kinds of objects, for `--help`.
pub const HELP: &str = "Print one JSON object a line on stdout, and nothing else there

plan   every run with its id, steps and state, and the device
texts  after training: id, done, total: so many of the texts are written
epoch  an evaluation: id, epoch, step, train_loss, metrics (fractions; null where undefined)
run    the end of a run: id, status (finished, failed, interrupted, elsewhere: another process has it),
       metric, best (epoch and value), seconds, error
table  the last line: the tables, and in go_on, after Ctrl-C, the command that resumes
The key `event` says which. Human text, if any, goes to stderr.";

/// Writes the lines. An error of stdout gives one warning; the runs continue.
#[derive(Debug, Default)]
pub struct JsonEvents {
    closed: bool,
}

impl Observer for JsonEvents {
    fn on_event(&mut self, event: &RunEvent) {
        let Some(object) = object(event) else { return };
        if self.closed {
            return;
        }
        if let Err(error) = writeln!(std::io::stdout().lock(), "{object}") {
            self.closed = true;
            tracing::warn!("stdout: {error}; the runs continue; their records are kept");
        }
    }
}

fn object(event: &RunEvent) -> Option<Value> {
    let value = match event {
        RunEvent::Plan { runs, device } => {
            let runs: Vec<Value> = runs.iter().map(planned).collect();
            json!({"event": "plan", "device": device, "runs": runs})
        }
        RunEvent::Training(run, Event::Epoch(eval)) => about(
            "epoch",
            run,
            json!({"epoch": eval.epoch, "epochs": run.config.train.fit.epochs, "step": eval.step, "steps": run.steps(),
                   "train_loss": eval.train_loss, "metrics": eval.metrics}),
        ),
        RunEvent::Generating { run, done, total } => about("texts", run, json!({"done": done, "total": total})),
        RunEvent::Ended(run, record) => about("run", run, ended(record)),
        RunEvent::Interrupted(run, _) => about("run", run, json!({"status": "interrupted"})),
        RunEvent::Elsewhere { run, .. } => about("run", run, json!({"status": "elsewhere"})),
        RunEvent::Tables {
            tables, resume_command, ..
        } => json!({"event": "table", "tables": tables, "go_on": resume_command}),
        RunEvent::Started(_) | RunEvent::Training(..) => return None,
    };
    Some(value)
}

fn planned(run: &Planned) -> Value {
    let config = &run.config;
    json!({"id": run.id, "task": config.task, "method": config.method_name, "seed": config.seed,
           "steps": run.steps(), "state": run.state.name()})
}

/// An object about a run, with the keys of `more`.
fn about(event: &str, run: &Planned, more: Value) -> Value {
    let config = &run.config;
    let which =
        json!({"event": event, "id": run.id, "task": config.task, "method": config.method_name, "seed": config.seed});
    let objects = [which, more].into_iter().filter_map(|v| match v {
        Value::Object(map) => Some(map),
        _ => None,
    });
    Value::Object(objects.flatten().collect::<Map<_, _>>())
}

fn ended(record: &RunRecord) -> Value {
    match &record.status {
        Status::Finished => json!({"status": "finished", "metric": record.metric, "best": record.best,
                                   "seconds": record.timing.seconds}),
        Status::Failed { error } => json!({"status": "failed", "error": error}),
    }
}
