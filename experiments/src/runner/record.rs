//! The record of a run.

use crate::config::settings::Select;
use crate::inputs::environment;
use crate::plan::planned::Planned;
use crate::runner::session::Session;
use crate::task::{Criterion, StageScores};
use anyhow::{Context, Result};
use chrono::SecondsFormat;
use lora_core::nn::BuiltParams;
use lora_core::train::Progress;
use results::record::{Best, Eval, Memory, Params, Provenance, RunRecord, SCHEMA, Status, Timing};
use std::collections::BTreeMap;

/// A record with everything that is known before the run.
pub(crate) fn new(session: &Session, run: &Planned, started: &chrono::DateTime<chrono::Local>) -> RunRecord {
    let (commit, dirty) = environment::commit();
    let criterion = run.rows.evaluator.criterion();
    let name = run.name.clone();
    RunRecord {
        schema: SCHEMA,
        id: run.id.clone(),
        experiment: name.experiment,
        preset: name.preset,
        label: name.label,
        paper_row: name.paper_row,
        model: name.model,
        task: run.config.task.clone(),
        method: name.method,
        also: run.also.iter().map(|(_, name)| name.clone()).collect(),
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
            weights_sha256: Some(session.plan.assets.weights_sha256.clone()),
            data_sha256: Some(run.rows.sha256.clone()),
            scorer_data: BTreeMap::new(),
            config_sha256: Some(session.plan.assets.config_sha256.clone()),
            tokenizer_sha256: Some(session.plan.assets.tokenizer_sha256().into()),
            weights_source: session.plan.assets.source.clone(),
            data_source: run.rows.source.clone(),
            versions: environment::versions(),
            device: lora_core::device::name(session.plan.device),
            dtype: run.config.dtype.name().into(),
            threads: session.plan.parallelism.threads as u32,
            host: environment::host(),
        },
        timing: Timing {
            started: started.to_rfc3339_opts(SecondsFormat::Secs, false),
            ..Timing::default()
        },
        memory: Memory::default(),
    }
}

/// Adds evaluations, parameter counts and times.
pub(crate) fn add_training(
    record: &mut RunRecord,
    run: &Planned,
    progress: &Progress,
    built: &BuiltParams,
    seconds: f64,
) {
    let eval = |e: &lora_core::train::Eval| Eval {
        epoch: e.epoch as u32,
        step: e.step,
        train_loss: e.train_loss.is_finite().then_some(e.train_loss),
        metrics: e.metrics.clone(),
    };
    record.evals = progress.evals.iter().map(eval).collect();
    record.best = select_best(&record.evals, &run.rows.evaluator.criterion(), run.config.train.select);
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

/// The selected evaluation: the last, or the best by `criterion`, of equals the first, as in transformers' trainer. Epochs where
/// the metric is undefined are skipped.
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

/// The rule of selection, in words.
fn selection(select: Select, criterion: &Criterion) -> String {
    match select {
        Select::Last => "last epoch".into(),
        Select::Best if criterion.lower_is_better => "epoch of the lowest loss on dev".into(),
        Select::Best => "best epoch on dev".into(),
    }
}

/// Adds the scores of the stage after training to the evaluation of `epoch`.
pub(crate) fn add_scores(record: &mut RunRecord, epoch: Option<u32>, scores: StageScores) {
    for eval in record.evals.iter_mut().filter(|e| Some(e.epoch) == epoch) {
        eval.metrics.extend(scores.metrics.clone());
    }
    if let Some(data) = scores.scorer_data {
        record.provenance.scorer_data = data;
    }
}

/// The records of finished runs, each with its run. One that cannot be read is skipped with a warning.
fn finished<'a>(session: &'a Session) -> impl Iterator<Item = (&'a Planned, RunRecord)> {
    let plan = session.plan;
    plan.runs.iter().filter_map(|run| match plan.store.get(&run.id) {
        Ok(record) => Some((run, record?)),
        Err(error) => {
            tracing::warn!("{}: {error:#}", run.title());
            None
        }
    })
}

/// Adds to the records of finished runs the scores that they lack and that can be computed now, such as METEOR and TER once their
/// data are there. The kept texts are scored; nothing is trained or generated again.
///
/// # Errors
/// Texts or records that cannot be read or written.
pub(crate) fn backfill_scores(session: &Session) -> Result<()> {
    let store = &session.plan.store;
    for (run, mut record) in finished(session) {
        let Some(eval) = record.best_eval() else { continue };
        let stage = run.rows.evaluator.post_training();
        let Some(scores) = stage.rescore(&eval.metrics, &run.paths(store.dir()), session.scorers)? else {
            continue;
        };
        let epoch = record.best.map(|b| b.epoch);
        add_scores(&mut record, epoch, scores);
        store.put(&record).context("keeping the record")?;
        tracing::info!("{}: scores that were missing were added to run {}", run.title(), run.id);
    }
    Ok(())
}

/// Adds to the records of finished runs the names of this plan, so that they stand in its tables too.
///
/// # Errors
/// Records that cannot be read or written.
pub(crate) fn add_names(session: &Session) -> Result<()> {
    for (run, mut record) in finished(session) {
        let names = std::iter::once(&run.name).chain(run.also.iter().map(|(_, name)| name));
        let new = names.filter(|name| record.add_name((*name).clone())).count();
        if new > 0 {
            session.plan.store.put(&record).context("keeping the record")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
