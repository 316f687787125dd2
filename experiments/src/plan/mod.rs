//! The second phase: which runs there are, which of them the store lacks, and what they need.

pub mod assets;
pub mod calibrate;
pub mod dry_run;
pub mod eta;
pub mod labels;
pub mod parallelism;
pub mod planned;

use crate::config::identity;
use crate::config::run_config::RunConfig;
use crate::experiment::Experiment;
use crate::experiment::config::ExperimentConfig;
use crate::experiment::rates::Stage;
use crate::experiment::resolved::Resolved;
use crate::plan::assets::Assets;
use crate::plan::labels::Labels;
use crate::plan::parallelism::Parallelism;
use crate::plan::planned::{Planned, State};
use crate::task::TaskRows;
use crate::task::run_paths::RunPaths;
use anyhow::{Context, Result, ensure};
use results::Store;
use results::by_value::BySetting;
use results::record::RunName;
use std::sync::Arc;
use tch::Device;

/// All runs of an experiment, with what they are computed from and how.
pub struct Plan {
    /// The experiment.
    pub experiment: &'static Experiment,
    /// The runs: those that others start from first, otherwise seeds outermost.
    pub runs: Vec<Planned>,
    /// Model and data.
    pub assets: Assets,
    /// Where records go.
    pub store: Store,
    /// Where tensors live.
    pub device: Device,
    /// How many runs at once.
    pub parallelism: Parallelism,
    /// The preset, where the runs use its model and data.
    pub preset: Option<String>,
    /// What is swept.
    pub sweeps: Vec<BySetting>,
    /// The text after the tables.
    pub closing: Option<String>,
    /// Whether checkpoints of interrupted runs are used.
    pub resume: bool,
}

impl Plan {
    /// Reads model and data, and plans the runs. `quiet` hides downloads.
    ///
    /// # Errors
    /// Settings, models or data that cannot be used; a warm start that is missing.
    pub fn new(resolved: Resolved, quiet: bool) -> Result<Plan> {
        let Resolved {
            experiment,
            mut config,
            base,
            preset,
            execution,
            stage,
        } = resolved;
        let (model, data) = (config.model.as_deref(), config.data.as_deref());
        let mut assets = Assets::open(&experiment.data, model, data, quiet)?;
        labels::clear_borrowed_name(&mut config, base.as_ref(), &assets);
        let mut runs = runs(experiment, (&config, &stage), &mut assets, &execution.store)?;
        runs.iter_mut().for_each(|run| run.config.keep |= execution.keep);
        check_heads(&runs, &assets)?;
        let (jobs, threads, device) = (execution.jobs, execution.threads, execution.device);
        let parallelism = Parallelism::new(jobs, threads, &runs, &assets.model, device)?;
        check_starts(&runs, &execution.store)?;
        let labels = Labels::new(&config, base.as_ref(), preset.as_deref(), &assets, &runs);
        let paper_row = |run: &RunConfig| config.paper_row(experiment, base.as_ref()?, run);
        for run in &mut runs {
            let also = run.also.iter_mut().map(|(config, name)| (&*config, name));
            for (config, name) in std::iter::once((&run.config, &mut run.name)).chain(also) {
                name.paper_row = paper_row(config);
                name.label = labels.label(name.paper_row.is_some());
                name.preset.clone_from(&labels.preset);
            }
        }
        Ok(Plan {
            experiment,
            runs,
            assets,
            store: execution.store,
            device,
            parallelism,
            preset: labels.preset,
            sweeps: config.sweeps,
            closing: labels.closing,
            resume: execution.resume,
        })
    }
}

/// The name of a run in its record; label, preset and row of the paper depend on the whole plan and are filled in later.
fn name(config: &RunConfig) -> RunName {
    RunName {
        experiment: config.experiment.clone(),
        preset: None,
        label: String::new(),
        paper_row: None,
        model: config.model.clone(),
        method: config.method_name.clone(),
    }
}

/// Every run of the experiment with its state; runs of one id are one run.
fn runs(
    experiment: &Experiment,
    (settings, stage): (&ExperimentConfig, &Stage),
    assets: &mut Assets,
    store: &Store,
) -> Result<Vec<Planned>> {
    let mut planned: Vec<Planned> = Vec::new();
    for mut config in stage.runs(settings, experiment)? {
        let sources = settings.sources(experiment, &config)?;
        if let Some(start) = &mut config.start {
            let ids = sources.iter().map(|source| Ok(identify(experiment, source, assets)?.0));
            start.runs = ids.collect::<Result<_>>()?;
        }
        let (id, rows) = identify(experiment, &config, assets)?;
        if let Some(same) = planned.iter_mut().find(|run| run.id == id) {
            let name = name(&config);
            same.also.push((config, name));
            continue;
        }
        let state = if store.has(&id)? {
            State::Done
        } else if RunPaths::new(store.dir(), &id).checkpoint().exists() {
            State::Interrupted
        } else {
            State::Missing
        };
        planned.push(Planned {
            name: name(&config),
            config,
            id,
            rows,
            state,
            also: Vec::new(),
        });
    }
    // The sort is stable: otherwise the order stays.
    planned.sort_by_key(|run| run.config.start.is_some());
    Ok(planned)
}

/// The id of a run, and its rows.
fn identify(experiment: &Experiment, config: &RunConfig, assets: &mut Assets) -> Result<(String, Arc<TaskRows>)> {
    let rows = assets.rows(experiment.task(&config.task)?, config)?;
    Ok((identity::of(config, &assets.contents(&rows))?, rows))
}

/// Refuses a model without the head that the tasks take.
fn check_heads(runs: &[Planned], assets: &Assets) -> Result<()> {
    let (_, arch) = lora_core::model::load_config(&assets.model)?;
    let fits = |run: &Planned| {
        run.rows
            .evaluator
            .head()
            .check(arch)
            .with_context(|| run.config.task.clone())
    };
    runs.iter().try_for_each(fits)
}

/// Refuses a run whose warm start is neither in the store, with its weights, nor part of the plan.
fn check_starts(runs: &[Planned], store: &Store) -> Result<()> {
    for run in runs.iter().filter(|r| r.state != State::Done) {
        let Some(start) = &run.config.start else { continue };
        let to_come = |id: &String| runs.iter().any(|r| r.id == *id && r.state != State::Done);
        let mut missing = Vec::new();
        for id in start.runs.iter().filter(|id| !to_come(id)) {
            if !(store.has(id)? && RunPaths::new(store.dir(), id).weights().exists()) {
                missing.push(id.as_str());
            }
        }
        let (task, method) = (&start.task, &run.config.method_name);
        ensure!(
            missing.is_empty(),
            "{} starts from the best {task} run of {method}, and of those {} are not in the store ({}): add {task} to --tasks, or set methods.{method}.tasks.{}.start=null",
            run.title(),
            missing.len(),
            missing.join(", "),
            run.config.task
        );
    }
    Ok(())
}
