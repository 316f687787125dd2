//! `lora plan`: what the paper's experiments need on a given number of devices, by a device's measured speed.

pub mod schedule;
pub mod speed;
pub mod work;

use crate::config::run_config::RunConfig;
use crate::experiment::Experiment;
use crate::experiment::config::ExperimentConfig;
use crate::experiment::registry::EXPERIMENTS;
use crate::inputs::locator::ModelSource;
use crate::tools::plan::schedule::Job;
use crate::tools::plan::speed::DeviceProfile;
use crate::tools::plan::work::{Counted, Needs, Sizes};
use anyhow::{Context, Result, ensure};
use clap::Args;
use lora_core::model;
use results::listing::{Column, listing, terminal_width, wrapped};
use results::record::Status;
use results::{RunRecord, Store};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

/// `lora plan`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora bench device --device cuda --dtype bf16 --out h100.json\n  lora plan --nodes 2 --gpus 8 --device-profile h100.json\n  lora plan --device-profile laptop.json --check results/demo\n\nNo data, no models and no network are needed: rows and lengths are those of sizes that are assumed and printed. For data at hand,\n`--dry-run` of an experiment measures the runs themselves. --check predicts the training seconds of the runs of a store, with the\ntokens that they record, and compares them with those that were measured."
)]
pub struct PlanArgs {
    /// Machines
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub nodes: usize,
    /// Devices of each machine
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub gpus: usize,
    /// The measured speed of such a device, from `lora bench device`
    #[arg(long, value_name = "FILE")]
    pub device_profile: PathBuf,
    /// Only this experiment (glue, e2e, webnlg, dart, wikisql, samsum)
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// Compare predicted and measured training seconds of the runs in this store instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["nodes", "gpus", "experiment"])]
    pub check: Option<PathBuf>,
}

/// The plan, or the comparison, as text.
///
/// # Errors
/// A profile or a store that cannot be read; an unknown experiment.
pub fn plan(args: &PlanArgs) -> Result<String> {
    ensure!(args.nodes > 0 && args.gpus > 0, "--nodes and --gpus must be at least 1");
    let profile = DeviceProfile::read(&args.device_profile)?;
    match &args.check {
        Some(store) => check(&profile, &Store::open(store)?),
        None => paper(args, &profile),
    }
}

/// The runs of one preset.
struct Part {
    name: String,
    model: String,
    runs: Vec<(RunConfig, Needs)>,
}

fn paper(args: &PlanArgs, profile: &DeviceProfile) -> Result<String> {
    let (sizes, mut parts) = (work::sizes()?, Vec::new());
    let wanted = |experiment: &&Experiment| args.experiment.as_ref().is_none_or(|name| name == experiment.name);
    for experiment in EXPERIMENTS.iter().filter(wanted) {
        for (preset, text) in &experiment.presets {
            parts.extend(part(experiment, (preset, text), profile, &sizes)?);
        }
    }
    let known = "glue, e2e, webnlg, dart, wikisql or samsum";
    ensure!(!parts.is_empty(), "no preset of the paper's rows; name {known}");
    let devices = args.nodes * args.gpus;
    let columns = [
        Column::text("preset"),
        Column::number("runs"),
        Column::number("training"),
        Column::number("evaluation"),
        Column::number("generation"),
        Column::number("memory"),
    ];
    let (mut rows, mut jobs) = (Vec::new(), Vec::new());
    for part in &parts {
        let sum = |of: fn(&Needs) -> f64| part.runs.iter().map(|(_, needs)| of(needs)).sum::<f64>() / 3600.0;
        let memory = part.runs.iter().map(|(_, needs)| needs.memory_mib).fold(0.0, f64::max);
        rows.push(vec![
            part.name.clone(),
            part.runs.len().to_string(),
            format!("{:.1} h", sum(|n| n.train_s)),
            format!("{:.1} h", sum(|n| n.eval_s)),
            format!("{:.1} h", sum(|n| n.decode_s)),
            format!("{:.1} GB", memory * 1.048_576e-3),
        ]);
        jobs.extend(part.jobs(jobs.len()));
    }
    let (table, mut text) = (listing(&columns, rows, terminal_width()), String::new());
    let all: f64 = jobs.iter().map(|job| job.seconds).sum();
    writeln!(
        text,
        "\n{} runs: {:.0} device-hours; on {} with {} {:.1} h ({:.0} days), one run at a time on each device.",
        jobs.len(),
        all / 3600.0,
        support::counted(args.nodes, "machine"),
        support::counted(args.gpus, "device"),
        schedule::end(&jobs, devices) / 3600.0,
        schedule::end(&jobs, devices) / 86400.0,
    )?;
    text += &storage(&parts, args.nodes);
    text += &assumptions(profile, &sizes, &parts);
    Ok(table + &wrapped(&text, terminal_width()))
}

/// The runs of a preset that stand in a row of the paper; none without such runs.
fn part(
    experiment: &Experiment,
    (preset, text): (&str, &'static str),
    profile: &DeviceProfile,
    sizes: &BTreeMap<String, Sizes>,
) -> Result<Option<Part>> {
    let mut layers = experiment.layers();
    layers.push((preset, text));
    let mut config = ExperimentConfig::read(experiment, &layers, &[])?;
    let Some(model) = config
        .model_name
        .clone()
        .filter(|name| model::known_config(name).is_ok())
    else {
        return Ok(None);
    };
    let known = model::known_config(&model)?;
    config.model.get_or_insert_with(|| model.clone());
    let (mut counted, mut runs) = (BTreeMap::new(), Vec::new());
    for run in config.runs(experiment)? {
        let (Some(_), Some(sizes)) = (config.paper_row(experiment, &config, &run), sizes.get(&run.task)) else {
            continue;
        };
        if !counted.contains_key(&run.method_name) {
            counted.insert(run.method_name.clone(), Counted::new(&known, &run)?);
        }
        let needs = counted[&run.method_name].needs(profile, &run, sizes)?;
        runs.push((run, needs));
    }
    let name = format!("{} {preset}", experiment.name);
    Ok((!runs.is_empty()).then_some(Part { name, model, runs }))
}

impl Part {
    /// The runs as jobs, whose groups (runs of one method and task) have numbers from `first` on.
    fn jobs(&self, first: usize) -> Vec<Job> {
        let key = |run: &RunConfig, task: &str| (run.method_name.clone(), task.to_string());
        let mut groups = BTreeMap::new();
        for (run, _) in &self.runs {
            let next = first + groups.len();
            groups.entry(key(run, &run.task)).or_insert(next);
        }
        let job = |(run, needs): &(RunConfig, Needs)| Job {
            seconds: needs.seconds(),
            group: groups[&key(run, &run.task)],
            after: run
                .start
                .as_ref()
                .and_then(|start| groups.get(&key(run, &start.task)).copied()),
        };
        self.runs.iter().map(job).collect()
    }
}

/// Bytes of a committed record, about.
const RECORD: f64 = 5e3;

fn storage(parts: &[Part], nodes: usize) -> String {
    let needs = |of: &dyn Fn(&Needs) -> f64| {
        let each = parts.iter().flat_map(|part| &part.runs).map(|(_, needs)| of(needs));
        each.fold(0.0, f64::max)
    };
    let mut models: BTreeMap<&str, f64> = BTreeMap::new();
    for part in parts {
        let total = part.runs.iter().map(|(_, needs)| needs.total).fold(0.0, f64::max);
        models.insert(&part.model, total);
    }
    let weights: f64 = models.values().map(|total| 4.0 * total).sum();
    let runs = parts.iter().map(|part| part.runs.len()).sum::<usize>() as f64;
    format!(
        "Storage: {} of weights of {} (fp32), {} of records, and while a run lasts a checkpoint of at most {} a device (trained\n\
         parameters and two moments). Traffic: the weights once from the hub and {} to {}; between devices none, since a run has one.\n\
         Where several ranks share a run, each sends its trained parameters' gradients in a step: at most {}.\n",
        size(weights),
        support::counted(models.len(), "model"),
        size(runs * RECORD),
        size(12.0 * needs(&|n| n.trained)),
        size(weights * nodes as f64),
        support::counted(nodes, "machine"),
        size(4.0 * needs(&|n| n.trained)),
    )
}

/// `8.2 GB`, `1.6 MB`.
fn size(bytes: f64) -> String {
    if bytes >= 1e9 {
        format!("{:.1} GB", bytes / 1e9)
    } else {
        format!("{:.1} MB", bytes / 1e6)
    }
}

fn assumptions(profile: &DeviceProfile, sizes: &BTreeMap<String, Sizes>, parts: &[Part]) -> String {
    let mut text = format!(
        "\nAssumed: devices as fast as {} ({}, {}), whose rates hold between and beyond the measured widths; dev is read after each\n\
         epoch, and texts are written once, with all beams to the mean length. Not counted: hub, tokenising, scoring, failed runs. Sizes:\n",
        profile.device,
        profile.dtype.name(),
        support::counted(profile.threads, "thread"),
    );
    let used = |task: &str| {
        parts
            .iter()
            .flat_map(|part| &part.runs)
            .any(|(run, _)| run.task == task)
    };
    for (task, s) in sizes.iter().filter(|(task, _)| used(task)) {
        text += &format!(
            "  {task:<8} {:>7} rows of {:>3.0} tokens, evaluation {:>6} of {:>3.0}",
            s.train, s.train_tokens, s.eval, s.eval_tokens
        );
        if s.prompts > 0 {
            text += &format!(", {:>5} texts of {:.0} after {:.0}", s.prompts, s.written, s.prompt);
        }
        text.push('\n');
    }
    text
}

/// Predicted against measured seconds of training, for the finished runs of a store.
fn check(profile: &DeviceProfile, store: &Store) -> Result<String> {
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let (mut predicted_all, mut measured_all) = (0.0, 0.0);
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    for record in store
        .records()?
        .iter()
        .filter(|record| record.status == Status::Finished)
    {
        let Some((predicted, measured)) = seconds(profile, record, &mut counted)? else {
            continue;
        };
        predicted_all += predicted;
        measured_all += measured;
        ratios
            .entry(record.method.clone())
            .or_default()
            .push(predicted / measured);
    }
    ensure!(
        !ratios.is_empty(),
        "{}: no finished run that trained",
        store.dir().display()
    );
    let columns = [
        Column::text("method"),
        Column::number("runs"),
        Column::number("predicted / measured"),
        Column::number("least"),
        Column::number("most"),
    ];
    let row = |(method, mut ratios): (String, Vec<f64>)| {
        ratios.sort_by(f64::total_cmp);
        let shown = [ratios.len() / 2, 0, ratios.len() - 1].map(|at| format!("{:.2}", ratios[at]));
        [method, ratios.len().to_string()].into_iter().chain(shown).collect()
    };
    let table = listing(&columns, ratios.into_iter().map(row), terminal_width());
    let off = (predicted_all / measured_all - 1.0) * 100.0;
    let said = format!(
        "\nTraining took {measured_all:.0} s and is predicted to take {predicted_all:.0} s by {}: {off:+.0} %.\n",
        profile.device
    );
    Ok(table + &wrapped(&said, terminal_width()))
}

/// Predicted and measured seconds of training of a record; none where nothing was trained.
fn seconds(
    profile: &DeviceProfile,
    record: &RunRecord,
    counted: &mut BTreeMap<String, Counted>,
) -> Result<Option<(f64, f64)>> {
    let run = RunConfig::from_record(&record.config)?;
    let timing = &record.timing;
    let (Some(last), Some(speed)) = (record.evals.last(), timing.tokens_per_second) else {
        return Ok(None);
    };
    let steps = last.step as f64;
    if steps == 0.0
        || timing.train_seconds <= 0.0
        || record.params.base + record.params.method + record.params.head == 0
    {
        return Ok(None);
    }
    let key = format!("{} {:?} {}", record.model, run.method, run.dtype.name());
    if !counted.contains_key(&key) {
        counted.insert(key.clone(), Counted::new(&config_of(&record.model)?, &run)?);
    }
    let tokens = speed * timing.train_seconds / steps;
    let (rows, passes) = (run.train.fit.batch_size as f64, run.train.fit.accumulate as f64);
    let step = counted[&key].step_seconds(profile, rows, tokens / rows / passes, passes);
    Ok(Some((steps * step, timing.train_seconds)))
}

/// config.json of a record's model: a known one, or that of the folder that the name means here.
fn config_of(name: &str) -> Result<Value> {
    if let Ok(config) = model::known_config(name) {
        return Ok(config);
    }
    let (folder, _) = ModelSource::parse(name, true)?.folder()?;
    model::read_config(&folder).with_context(|| format!("the model `{name}` of a record"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Dtype;
    use crate::tools::plan::speed::{DecodeRate, StepRate};

    /// A device with one rate for everything, as a file.
    fn profile(dir: &std::path::Path, rate: f64) -> PathBuf {
        let kinds = [(false, false), (false, true), (true, false), (true, true)];
        let step = |(decoder, full)| StepRate {
            decoder,
            full,
            width: 768,
            tokens: 1024,
            train: rate,
            eval: rate,
        };
        let decoding = vec![DecodeRate {
            width: 768,
            rows: 160,
            rate,
        }];
        let profile = DeviceProfile {
            device: "a device".into(),
            memory_mib: None,
            dtype: Dtype::Fp32,
            threads: 1,
            updates: 1e15,
            steps: kinds.map(step).into(),
            decoding,
        };
        let path = dir.join("device.json");
        std::fs::write(&path, serde_json::to_string(&profile).unwrap()).unwrap();
        path
    }

    fn args(device_profile: PathBuf, nodes: usize, experiment: &str) -> PlanArgs {
        PlanArgs {
            nodes,
            gpus: 1,
            device_profile,
            experiment: Some(experiment.into()),
            check: None,
        }
    }

    /// Device-hours, and hours until the last run ends.
    fn hours(text: &str) -> [f64; 2] {
        let number = |after: &str, unit: &str| {
            let part = text.split(after).nth(1).and_then(|rest| rest.split(unit).next());
            part.unwrap().trim().parse().unwrap()
        };
        [number("runs: ", "device-hours"), number("with 1 device ", " h (")]
    }

    #[test]
    fn hours_follow_the_rate_and_the_devices() {
        let dir = tempfile::tempdir().unwrap();
        let slow = hours(&plan(&args(profile(dir.path(), 1e3), 1, "glue")).unwrap());
        let several = hours(&plan(&args(profile(dir.path(), 1e3), 8, "glue")).unwrap());
        let fast = hours(&plan(&args(profile(dir.path(), 1e4), 1, "glue")).unwrap());
        assert!((slow[0] - slow[1]).abs() < 1.0, "one device: {slow:?}");
        assert_eq!(slow[0], several[0]);
        assert!(
            several[1] < slow[1] / 7.0 && several[1] >= slow[1] / 8.01,
            "{slow:?}, {several:?}"
        );
        assert!((fast[0] * 10.0 / slow[0] - 1.0).abs() < 0.01, "{slow:?}, {fast:?}");
    }

    #[test]
    fn what_cannot_be_planned_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |args: &PlanArgs| format!("{:#}", plan(args).unwrap_err());
        let path = profile(dir.path(), 1e3);
        assert!(refused(&args(path.clone(), 1, "nothing")).contains("glue, e2e"));
        assert!(refused(&args(path.clone(), 0, "glue")).contains("at least 1"));
        std::fs::write(&path, "{}").unwrap();
        assert!(refused(&args(path, 1, "glue")).contains("lora bench device"));
        assert!(refused(&args(profile(dir.path(), 0.0), 1, "glue")).contains("not positive"));
    }
}
