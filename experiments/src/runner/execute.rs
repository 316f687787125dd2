//! One run, from its plan to its record.

use crate::config::run_config::{RunConfig, Start};
use crate::config::settings::{Pooler, Select};
use crate::inputs::assets::Inputs;
use crate::labels::Words;
use crate::plan::{Planned, checkpoint_path, weights_path};
use crate::report::events::RunEvent;
use crate::runner::environment;
use crate::runner::finite;
use crate::runner::scheduler::Split;
use crate::task::generation::RunPaths;
use crate::task::generation::scorers::Scorers;
use crate::task::{Criterion, Metrics};
use anyhow::{Context, Result};
use chrono::SecondsFormat;
use lora_core::model::Model;
use lora_core::nn::{Build, BuiltParams};
use lora_core::train::{BestCheckpoint, Checkpoint, Progress, Trainer};
use lora_core::weights::Weights;
use results::Store;
use results::record::{Best, Eval, Memory, Named, Params, Provenance, RunRecord, SCHEMA, Status, Timing};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use tch::Device;

/// What all runs of an experiment share.
pub struct Session<'a> {
    /// Model and data.
    pub inputs: &'a Inputs,
    /// Where records go.
    pub store: &'a Store,
    /// Where tensors live.
    pub device: Device,
    /// How the CPU's threads are shared.
    pub split: Split,
    /// What the numbers are.
    pub words: Words,
    /// The row of the paper whose setting a run's is, if any.
    pub paper_row: &'a (dyn Fn(&RunConfig) -> Option<String> + Sync),
    /// Whether checkpoints are taken up.
    pub resume: bool,
    /// Set by Ctrl-C.
    pub stop: &'static AtomicBool,
    /// What scoring texts needs.
    pub tools: &'a Scorers,
}

fn checkpoint(session: &Session, run: &Planned) -> Checkpoint {
    Checkpoint::new(&checkpoint_path(session.store.dir(), &run.id), &run.id)
}

fn place<'a>(session: &'a Session, run: &'a Planned) -> RunPaths<'a> {
    RunPaths {
        out: session.store.dir(),
        run: &run.id,
    }
}

/// Whether the best epoch's weights are kept until the texts are written.
fn writes_from_best(run: &Planned) -> bool {
    run.rows.exam.writing().is_some() && run.config.train.select == Select::Best
}

/// What a run needed while it went on goes.
pub(crate) fn clean_up(session: &Session, run: &Planned) -> Result<()> {
    checkpoint(session, run).remove()?;
    if run.rows.exam.writing().is_some() {
        place(session, run).forget()?;
    }
    if writes_from_best(run) && !run.config.keep {
        let _ = std::fs::remove_file(weights_path(session.store.dir(), &run.id));
    }
    Ok(())
}

/// Trains and evaluates one run.
pub(crate) fn execute(
    session: &Session,
    run: &Planned,
    emit: &mut dyn FnMut(&RunEvent),
    started: &chrono::DateTime<chrono::Local>,
) -> Result<RunRecord> {
    environment::reset_peak_rss();
    let since = Instant::now();
    let (model, built) = build(session, run)?;
    if let Some(writing) = run.rows.exam.writing() {
        writing.check(model.as_ref())?;
    }
    if !session.resume {
        clean_up(session, run)?;
    }
    let progress = if built.params.trainable().next().is_some() {
        fit(session, run, (model.as_ref(), &built), emit)?
    } else {
        untrained(session, run, model.as_ref(), &built)?
    };
    let mut record = new_record(session, run, started);
    record_training(&mut record, run, &progress, &built, since.elapsed().as_secs_f64());
    record.memory = Memory {
        // The system counts the process: of several runs at once nobody knows whose the peak was.
        peak_rss_mib: environment::peak_rss_mib().filter(|_| session.split.jobs == 1),
        peak_gpu_mib: None,
    };
    if run.rows.exam.writing().is_some() {
        write(session, run, (model.as_ref(), &built), &mut record, emit)?;
        record.timing.seconds = record.timing.seconds.max(since.elapsed().as_secs_f64());
    }
    // A record that could not be read back is a failure of this run alone; a store that cannot be written is one of all.
    record.to_json()?;
    Ok(record)
}

/// Trains to the end, from the checkpoint if there is one.
fn fit(
    session: &Session,
    run: &Planned,
    (model, built): (&dyn Model, &BuiltParams),
    emit: &mut dyn FnMut(&RunEvent),
) -> Result<Progress> {
    let checkpoint = checkpoint(session, run);
    let (settings, exam) = (&run.config.train, &run.rows.exam);
    let criterion = exam.criterion();
    let fit = settings.fit(run.config.seed, exam.objective(settings), session.device);
    let keep = run.config.keep || writes_from_best(run);
    let trainer = Trainer {
        model,
        params: &built.params,
        config: &fit,
        checkpoint: Some(&checkpoint),
        keep: keep.then(|| BestCheckpoint {
            metric: &criterion.key,
            lower_is_better: criterion.lower_is_better,
            last: settings.select == Select::Last,
            path: weights_path(session.store.dir(), &run.id),
        }),
        stop: Some(session.stop),
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
    let progress = fitted?.progress;
    finite::losses(&progress.evals, &criterion)?;
    Ok(progress)
}

/// Every metric of the model as it is; refuses weights and metrics that are not finite.
fn evaluated(session: &Session, run: &Planned, model: &dyn Model, built: &BuiltParams) -> Result<Metrics> {
    finite::weights(&built.params)?;
    let batch = run.config.train.eval_batch_size;
    let metrics = run.rows.exam.evaluate(model, batch, session.device)?;
    finite::metrics(&metrics)?;
    Ok(metrics)
}

/// A method that trains nothing, on a model without a head: the model as it is, evaluated once.
fn untrained(session: &Session, run: &Planned, model: &dyn Model, built: &BuiltParams) -> Result<Progress> {
    let since = Instant::now();
    let metrics = evaluated(session, run, model, built)?;
    let eval = lora_core::train::Eval {
        epoch: 0,
        step: 0,
        train_loss: f64::NAN,
        metrics,
    };
    Ok(Progress {
        evals: vec![eval],
        eval_seconds: since.elapsed().as_secs_f64(),
        ..Progress::default()
    })
}

/// Writes the texts with the epoch that counts, scores them, and adds the scores to its evaluation.
fn write(
    session: &Session,
    run: &Planned,
    (model, built): (&dyn Model, &BuiltParams),
    record: &mut RunRecord,
    emit: &mut dyn FnMut(&RunEvent),
) -> Result<()> {
    let Some(writing) = run.rows.exam.writing() else {
        return Ok(());
    };
    let (since, place) = (Instant::now(), place(session, run));
    let last = record.evals.last().map(|e| e.epoch);
    if record.best.is_some_and(|best| Some(best.epoch) != last) {
        Weights::open(&weights_path(session.store.dir(), &run.id))?.load_trained(&built.params)?;
    }
    let (seed, total) = (run.config.seed, writing.prompts.len());
    let texts = writing.write(model, (seed, session.device), place, session.stop, &mut |done| {
        emit(&RunEvent::Generating { run, done, total });
    })?;
    let metrics = writing.score(&texts, session.tools)?;
    finite::metrics(&metrics).context("scoring the texts")?;
    writing.keep(&texts, place)?;
    let epoch = record.best.map(|b| b.epoch).or(last);
    add_scores(record, epoch, &metrics, session.tools);
    record.timing.eval_seconds += since.elapsed().as_secs_f64();
    Ok(())
}

/// Adds the scores of texts to the evaluation of `epoch`, and says which data they were computed with.
fn add_scores(record: &mut RunRecord, epoch: Option<u32>, metrics: &Metrics, tools: &Scorers) {
    for eval in record.evals.iter_mut().filter(|e| Some(e.epoch) == epoch) {
        eval.metrics.extend(metrics.clone());
    }
    let with_data = |name: &String| ["METEOR", "TER", "bleu_nltk"].iter().any(|score| name.ends_with(score));
    if metrics.keys().any(with_data) {
        let data = tools.data_sha256().into_iter();
        record.provenance.scorer_data = data.map(|(name, hash)| (name.to_string(), hash)).collect();
    }
}

/// Adds to the records of finished runs what they lack and can now be had: METEOR and TER, once their data are there. The texts are
/// those that were kept; nothing is trained or written again.
///
/// # Errors
/// Texts or records that cannot be read or written.
pub fn backfill_scores(session: &Session, runs: &[Planned]) -> Result<()> {
    for run in runs {
        let Some(writing) = run.rows.exam.writing() else {
            continue;
        };
        let mut record = match session.store.get(&run.id) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!("{}: {error:#}", run.title());
                continue;
            }
        };
        let lacks = record
            .best_eval()
            .is_some_and(|eval| session.tools.would_add(&eval.metrics));
        let Some(texts) = lacks.then(|| writing.kept(place(session, run))).transpose()?.flatten() else {
            continue;
        };
        let metrics = writing.score(&texts, session.tools)?;
        finite::metrics(&metrics).with_context(|| run.title())?;
        let epoch = record.best.map(|b| b.epoch);
        add_scores(&mut record, epoch, &metrics, session.tools);
        session.store.put(&record).context("keeping the record")?;
        tracing::info!("{}: scores that were missing were added to run {}", run.title(), run.id);
    }
    Ok(())
}

fn build(session: &Session, run: &Planned) -> Result<(Box<dyn Model>, BuiltParams)> {
    let method = lora_core::method::from_value(&run.config.method)?;
    let build = Build::new(method.as_ref(), run.config.seed)
        .device(session.device)
        .base_kind(run.config.dtype.kind())
        .freeze_pooler(run.config.train.pooler == Pooler::Frozen);
    let (model, arch) = run
        .rows
        .exam
        .answers()
        .build(&session.inputs.model, run.config.train.dropout(), &build)?;
    let built = build.finish()?;
    let weights = Weights::open(&session.inputs.model)?;
    let exam = &run.rows.exam;
    let head = exam.answers().stored_head(
        &session.inputs.model,
        &weights,
        exam.classes(),
        run.config.train.fresh_head,
    )?;
    let report = weights.load_with(&built.params, arch, &head)?.require_complete()?;
    tracing::info!(
        "{}: {} tensors loaded, {} of the head are fresh",
        run.title(),
        report.loaded,
        report.fresh_head.len()
    );
    if let Some(start) = &run.config.start {
        let id = best_of(session.store, start)?;
        let taken = Weights::open(&weights_path(session.store.dir(), &id))?.load_trained(&built.params)?;
        tracing::info!("{}: {taken} tensors from {} run {id}", run.title(), start.task);
    }
    Ok((model, built))
}

/// The best of the runs to start from, the first of equals. All must be there: the best of some is not the best.
fn best_of(store: &Store, start: &Start) -> Result<String> {
    let mut best: Option<(f64, &String)> = None;
    for id in &start.runs {
        let record = store.get(id)?;
        let record =
            record.with_context(|| format!("{} run {id}, one of those to start from, is not finished", start.task))?;
        // Of a loss the lowest is the best.
        let sign = if record.metric.ends_with("loss") { -1.0 } else { 1.0 };
        let value = record.best.map_or(f64::NEG_INFINITY, |b| sign * b.value);
        if best.is_none_or(|(highest, _)| value > highest) {
            best = Some((value, id));
        }
    }
    let (_, id) = best.with_context(|| format!("there is no {} run to start from", start.task))?;
    Ok(id.clone())
}

/// What a run is called in this session.
fn named(session: &Session, config: &RunConfig) -> Named {
    let paper_row = (session.paper_row)(config);
    Named {
        experiment: config.experiment.into(),
        preset: session.words.preset.clone(),
        label: session.words.label(paper_row.is_some()),
        paper_row,
        model: config.model.clone(),
        method: config.method_name.clone(),
    }
}

/// Adds to the records of finished runs the names that they are asked for by now: the same question is not computed again
/// for being asked elsewhere, and stands in the tables of both places.
///
/// # Errors
/// Records that cannot be read or written.
pub fn add_names(session: &Session, runs: &[Planned]) -> Result<()> {
    for run in runs {
        let mut record = match session.store.get(&run.id) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!("{}: {error}", run.title());
                continue;
            }
        };
        let names = std::iter::once(&run.config).chain(&run.also);
        let new = names.filter(|config| record.add_name(named(session, config))).count();
        if new > 0 {
            session.store.put(&record).context("keeping the record")?;
        }
    }
    Ok(())
}

/// A record with everything that is known before the run.
pub(crate) fn new_record(session: &Session, run: &Planned, started: &chrono::DateTime<chrono::Local>) -> RunRecord {
    let (commit, dirty) = environment::commit();
    let criterion = run.rows.exam.criterion();
    let paper_row = (session.paper_row)(&run.config);
    RunRecord {
        schema: SCHEMA,
        id: run.id.clone(),
        experiment: run.config.experiment.into(),
        preset: session.words.preset.clone(),
        label: session.words.label(paper_row.is_some()),
        paper_row,
        model: run.config.model.clone(),
        task: run.config.task.into(),
        method: run.config.method_name.clone(),
        also: run.also.iter().map(|config| named(session, config)).collect(),
        seed: run.config.seed,
        config: serde_json::to_value(&run.config).unwrap_or_default(),
        status: Status::Finished,
        metric: criterion.key.clone(),
        evals: Vec::new(),
        best: None,
        selection: selection(run.config.train.select, &criterion),
        params: Params::default(),
        provenance: Provenance {
            commit,
            dirty,
            weights_sha256: Some(session.inputs.weights_sha256.clone()),
            data_sha256: Some(run.rows.sha256.clone()),
            scorer_data: std::collections::BTreeMap::new(),
            config_sha256: Some(session.inputs.config_sha256.clone()),
            tokenizer_sha256: Some(session.inputs.tokenizer_sha256().into()),
            weights_source: session.inputs.source.clone(),
            data_source: run.rows.source.clone(),
            versions: environment::versions(),
            device: lora_core::device::name(session.device),
            dtype: run.config.dtype.name().into(),
            threads: session.split.threads as u32,
            host: environment::host(),
        },
        timing: Timing {
            started: started.to_rfc3339_opts(SecondsFormat::Secs, false),
            ..Timing::default()
        },
        memory: Memory::default(),
    }
}

fn record_training(record: &mut RunRecord, run: &Planned, progress: &Progress, built: &BuiltParams, seconds: f64) {
    let eval = |e: &lora_core::train::Eval| Eval {
        epoch: e.epoch as u32,
        step: e.step,
        train_loss: e.train_loss.is_finite().then_some(e.train_loss),
        metrics: e.metrics.clone(),
    };
    record.evals = progress.evals.iter().map(eval).collect();
    record.best = select_best(&record.evals, &run.rows.exam.criterion(), run.config.train.select);
    let counts = built.counts;
    record.params = Params {
        base: counts.base,
        method: counts.method,
        head: counts.head,
        total_model: counts.total,
    };
    record.timing.seconds = seconds.max(progress.train_seconds + progress.eval_seconds);
    record.timing.train_seconds = progress.train_seconds;
    record.timing.eval_seconds = progress.eval_seconds;
    record.timing.tokens_per_second =
        (progress.train_seconds > 0.0).then(|| progress.tokens as f64 / progress.train_seconds);
    record.timing.resumed = progress.resumed;
}

/// The evaluation that counts: the last, or the best by `criterion`; of equals the first, as transformers' trainer keeps
/// it. Where the metric is undefined an epoch is out of the running.
fn select_best(evals: &[Eval], criterion: &Criterion, select: Select) -> Option<Best> {
    let scored = |e: &Eval| {
        Some(Best {
            epoch: e.epoch,
            value: (*e.metrics.get(&criterion.key)?)?,
        })
    };
    match select {
        Select::Last => scored(evals.last()?),
        Select::Best => {
            let better = |best: Best, next: Best| {
                if criterion.improves(next.value, best.value) {
                    next
                } else {
                    best
                }
            };
            evals.iter().filter_map(scored).reduce(better)
        }
    }
}

/// The rule, in words.
fn selection(select: Select, criterion: &Criterion) -> String {
    match select {
        Select::Last => "last epoch".into(),
        Select::Best if criterion.lower_is_better => "epoch of the lowest loss on dev".into(),
        Select::Best => "best epoch on dev".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    fn epochs(key: &str, values: &[Option<f64>]) -> Vec<Eval> {
        let eval = |(i, value): (usize, &Option<f64>)| Eval {
            epoch: i as u32 + 1,
            step: i as u64,
            train_loss: None,
            metrics: BTreeMap::from([(key.to_string(), *value)]),
        };
        values.iter().enumerate().map(eval).collect()
    }

    fn criterion(key: &str, lower_is_better: bool) -> Criterion {
        let key = key.into();
        Criterion { key, lower_is_better }
    }

    #[test]
    fn the_first_best_epoch_is_kept() {
        let best = |values: &[Option<f64>]| {
            let by = criterion("dev/accuracy", false);
            select_best(&epochs("dev/accuracy", values), &by, Select::Best).map(|b| (b.epoch, b.value))
        };
        assert_eq!(
            best(&[Some(0.5), None, Some(0.7), Some(0.7), Some(0.6)]),
            Some((3, 0.7))
        );
        assert_eq!(best(&[Some(-0.2), Some(-0.1)]), Some((2, -0.1)));
        assert_eq!(best(&[None, None]), None);
        let other = select_best(
            &epochs("dev/accuracy", &[Some(1.0)]),
            &criterion("dev/f1", false),
            Select::Best,
        );
        assert_eq!(other, None);
    }

    #[test]
    fn the_lowest_loss_or_the_last_epoch() {
        let losses = epochs("dev/loss", &[Some(2.0), Some(1.0), Some(1.0), Some(1.5)]);
        let by = criterion("dev/loss", true);
        let epoch = |select| select_best(&losses, &by, select).map(|b| (b.epoch, b.value));
        assert_eq!(epoch(Select::Best), Some((2, 1.0)));
        assert_eq!(epoch(Select::Last), Some((4, 1.5)));
        assert_eq!(select_best(&[], &by, Select::Last), None);
        assert_eq!(selection(Select::Best, &by), "epoch of the lowest loss on dev");
        assert_eq!(
            selection(Select::Best, &criterion("dev/f1", false)),
            "best epoch on dev"
        );
        assert_eq!(selection(Select::Last, &by), "last epoch");
    }
}
