//! One run, from its plan to its record.

use crate::config::run_config::WarmStart;
use crate::config::settings::Select;
use crate::inputs::environment;
use crate::plan::planned::Planned;
use crate::runner::events::RunEvent;
use crate::runner::record;
use crate::runner::session::Session;
use crate::task::run_paths::RunPaths;
use crate::task::{Metrics, StageContext, agreed, finite};
use anyhow::{Context, Result};
use lora_core::model::Model;
use lora_core::nn::BuiltParams;
use lora_core::train::{BestCheckpoint, Checkpoint, Criterion, Fitted, Passes, Progress, Traffic, Trainer};
use lora_core::weights::Weights;
use results::Store;
use results::record::{Memory, RunRecord};
use std::path::Path;
use std::time::Instant;

fn checkpoint(session: &Session, run: &Planned) -> Checkpoint {
    Checkpoint::new(&run.paths(session.plan.store.dir()).checkpoint(), &run.id)
}

/// Whether the weights of the best epoch are kept until the stage after training is done.
fn needs_selected_weights(run: &Planned) -> bool {
    run.rows.evaluator.post_training().uses_selected_weights() && run.config.train.select == Select::Best
}

/// Deletes the checkpoint and the temporary files of a finished run.
pub(crate) fn clean_up(session: &Session, run: &Planned) -> Result<()> {
    let paths = run.paths(session.plan.store.dir());
    checkpoint(session, run).remove()?;
    run.rows.evaluator.post_training().clean_up(&paths)?;
    if needs_selected_weights(run) && !run.config.keep {
        let _ = std::fs::remove_file(paths.weights());
    }
    Ok(())
}

/// Trains and evaluates one run, and runs the stage after training. Of several ranks all call it, and the first reads and writes the
/// run's files.
pub(crate) fn run(
    session: &Session,
    run: &Planned,
    emit: &mut dyn FnMut(&RunEvent),
    started: &chrono::DateTime<chrono::Local>,
) -> Result<RunRecord> {
    environment::reset_peak_rss();
    let since = Instant::now();
    let (model, built) = agreed(session.ranks, ready(session, run))?;
    let fitted = if built.params.trainable().next().is_some() {
        fit(session, run, (model.as_ref(), &built), emit)?
    } else {
        untrained(session, run, model.as_ref(), &built)?
    };
    let mut record = record::new(session, run, started);
    record::add_training(
        &mut record,
        run,
        &fitted.progress,
        &built,
        since.elapsed().as_secs_f64(),
    );
    record::add_ranks(&mut record, session.ranks, fitted.traffic);
    record.memory = Memory {
        // The system counts the process: with several runs at once the peak cannot be attributed to one.
        peak_rss_mib: environment::peak_rss_mib().filter(|_| session.plan.parallelism.jobs == 1),
        peak_gpu_mib: None,
    };
    post_training(session, run, (model.as_ref(), &built), &mut record, emit)?;
    record.timing.seconds = record.timing.seconds.max(since.elapsed().as_secs_f64());
    // A record that cannot be read back is a failure of this run alone; a store that cannot be written is one of all.
    record.to_json()?;
    Ok(record)
}

/// The model, with what is left of earlier attempts deleted where it is of no use.
fn ready(session: &Session, run: &Planned) -> Result<(Box<dyn Model>, BuiltParams)> {
    let (model, built) = load(session, run)?;
    run.check(model.as_ref())?;
    if session.ranks.is_first() {
        if !session.plan.resume {
            clean_up(session, run)?;
        }
        if keeps(run) {
            let kept = run.paths(session.plan.store.dir()).weights();
            check_kept(&kept, &checkpoint(session, run))?;
        }
    }
    Ok((model, built))
}

/// Whether the weights of the best epoch are written.
fn keeps(run: &Planned) -> bool {
    run.config.keep || needs_selected_weights(run)
}

/// The model with its pretrained weights, and with those of the warm start, if there is one.
fn load(session: &Session, run: &Planned) -> Result<(Box<dyn Model>, BuiltParams)> {
    let (model, built, report) = run.load(&session.plan.assets.model, session.plan.device)?;
    session.plan.assets.unchanged()?;
    tracing::info!(
        "{}: {} tensors loaded, {} of the head are fresh",
        run.title(),
        report.loaded,
        report.fresh_head.len()
    );
    if let Some(start) = &run.config.start {
        let store = &session.plan.store;
        let id = best_of(store, start)?;
        let weights = RunPaths::new(store.dir(), &id).weights();
        let taken = Weights::open(&weights)?.load_trained(&built.params)?;
        tracing::info!("{}: {taken} tensors from {} run {id}", run.title(), start.task);
    }
    Ok((model, built))
}

/// The best of the runs of a warm start, the first of equals. All must be finished: the best of some need not be the best.
fn best_of(store: &Store, start: &WarmStart) -> Result<String> {
    let mut best: Option<(f64, &String)> = None;
    for id in &start.runs {
        let record = store.get(id)?;
        let record =
            record.with_context(|| format!("{} run {id}, one of those to start from, is not finished", start.task))?;
        let criterion = Criterion::new(record.metric);
        let value = record.best.map_or(criterion.worst(), |best| best.value);
        if best.is_none_or(|(earlier, _)| criterion.improves(value, earlier)) {
            best = Some((value, id));
        }
    }
    let (_, id) = best.with_context(|| format!("there is no {} run to start from", start.task))?;
    Ok(id.clone())
}

/// Trains to the end, from the checkpoint if there is one.
fn fit(
    session: &Session,
    run: &Planned,
    (model, built): (&dyn Model, &BuiltParams),
    emit: &mut dyn FnMut(&RunEvent),
) -> Result<Fitted> {
    let checkpoint = checkpoint(session, run);
    let (settings, evaluator) = (&run.config.train, &run.rows.evaluator);
    let criterion = evaluator.criterion();
    let fit = settings.fit_config(run.config.seed, evaluator.objective(settings), session.plan.device);
    let trainer = Trainer {
        model,
        params: &built.params,
        config: &fit,
        checkpoint: Some(&checkpoint),
        keep: keeps(run).then(|| BestCheckpoint {
            criterion: &criterion,
            select: settings.select,
            path: run.paths(session.plan.store.dir()).weights(),
        }),
        criterion: Some(&criterion),
        stop: Some(session.stop),
        ranks: session.ranks,
    };
    let mut failure = None;
    let fitted = trainer.fit(
        &run.rows.train,
        &mut |model| {
            let metrics = evaluated(session, run, model, built);
            metrics.map_err(|e| {
                let text = format!("{e:#}");
                failure = Some(e);
                lora_core::Error::Config(text)
            })
        },
        &mut |event| emit(&RunEvent::Training(run, &event)),
    );
    if let Some(failure) = failure {
        return Err(finite::explained(failure).context("evaluating"));
    }
    let fitted = fitted?;
    finite::losses(&fitted.progress.evals, &criterion)?;
    Ok(fitted)
}

/// Deletes the kept weights of a run in progress if they are damaged, and its checkpoint with them, so that the run starts anew.
fn check_kept(kept: &Path, checkpoint: &Checkpoint) -> Result<()> {
    if !kept.exists() {
        return Ok(());
    }
    match Weights::open(kept) {
        Err(lora_core::Error::Format { .. }) => {
            checkpoint.remove()?;
            std::fs::remove_file(kept).with_context(|| format!("removing {}", kept.display()))?;
            let kept = kept.display();
            tracing::warn!(
                "{kept}: these weights of a run in progress are damaged; they were deleted with its checkpoint, and the run starts anew"
            );
            Ok(())
        }
        other => Ok(other.map(drop)?),
    }
}

/// Every metric of the model as it is; refuses weights and metrics that are not finite.
fn evaluated(session: &Session, run: &Planned, model: &dyn Model, built: &BuiltParams) -> Result<Metrics> {
    finite::weights(&built.params)?;
    let passes = Passes {
        batch_size: run.config.train.eval_batch_size,
        device: session.plan.device,
        ranks: session.ranks,
    };
    let metrics = run.rows.evaluator.evaluate(model, &passes)?;
    finite::metrics(&metrics)?;
    Ok(metrics)
}

/// A method that trains nothing, on a model without a head: the model as it is, evaluated once.
fn untrained(session: &Session, run: &Planned, model: &dyn Model, built: &BuiltParams) -> Result<Fitted> {
    let since = Instant::now();
    let metrics = evaluated(session, run, model, built)?;
    let eval = lora_core::train::Eval {
        epoch: 0,
        step: 0,
        train_loss: f64::NAN,
        metrics,
    };
    let progress = Progress {
        evals: vec![eval],
        eval_seconds: since.elapsed().as_secs_f64(),
        ..Progress::default()
    };
    Ok(Fitted {
        progress,
        traffic: Traffic::default(),
    })
}

/// Runs the stage after training on the weights of the selected epoch, and adds its metrics to that epoch's evaluation.
fn post_training(
    session: &Session,
    run: &Planned,
    (model, built): (&dyn Model, &BuiltParams),
    record: &mut RunRecord,
    emit: &mut dyn FnMut(&RunEvent),
) -> Result<()> {
    let (since, stage) = (Instant::now(), run.rows.evaluator.post_training());
    let paths = run.paths(session.plan.store.dir());
    let last = record.evals.last().map(|e| e.epoch);
    let selected = record.best.map(|best| best.epoch).or(last);
    if stage.uses_selected_weights() && selected != last {
        take_selected(session, &paths, built)?;
    }
    let context = StageContext {
        seed: run.config.seed,
        device: session.plan.device,
        paths,
        scorers: session.scorers,
        stop: session.stop,
        ranks: session.ranks,
    };
    let total = stage.inputs();
    let scores = stage.run(model, &context, &mut |done| {
        emit(&RunEvent::Generating { run, done, total })
    })?;
    record::add_scores(record, selected, scores);
    record.timing.eval_seconds += since.elapsed().as_secs_f64();
    Ok(())
}

/// Gives the model the weights of the selected epoch.
fn take_selected(session: &Session, paths: &RunPaths, built: &BuiltParams) -> Result<()> {
    let load = || anyhow::Ok(Weights::open(&paths.weights())?.load_trained(&built.params)?);
    if session.ranks.is_alone() {
        return load().map(drop);
    }
    agreed(session.ranks, if session.ranks.is_first() { load() } else { Ok(0) })?;
    let trained = built.params.trainable();
    let trained: Vec<_> = trained
        .map(|entry| (entry.param.name.clone(), entry.tensor.shallow_clone()))
        .collect();
    Ok(session.ranks.copy_first(&trained)?)
}
