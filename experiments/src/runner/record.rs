//! The record of a run.

use crate::config::settings::Select;
use crate::inputs::environment;
use crate::plan::planned::Planned;
use crate::runner::session::Session;
use crate::task::StageScores;
use crate::task::own::OWN;
use anyhow::{Context, Result};
use chrono::SecondsFormat;
use lora_core::nn::BuiltParams;
use lora_core::train::{Criterion, Progress, Ranks, Traffic, select_best};
use results::record::{Best, Eval, Memory, Params, Provenance, RankShare, Rows, RunRecord, SCHEMA, Status, Timing};
use std::collections::BTreeMap;

/// A record with everything that is known before the run.
pub(crate) fn new(session: &Session, run: &Planned, started: &chrono::DateTime<chrono::Local>) -> RunRecord {
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
        metric: criterion.metric.clone(),
        evals: Vec::new(),
        best: None,
        selection: selection(run),
        rates: run.config.rates.clone(),
        classes: match run.config.task.as_str() {
            OWN => run.rows.evaluator.classes().iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        },
        rows: Some(Rows {
            train: run.rows.train.len() as u64,
            evaluated: run
                .rows
                .evaluator
                .splits()
                .iter()
                .map(|split| split.len() as u64)
                .collect(),
            paired: run.rows.paired,
        }),
        params: Params::default(),
        provenance: provenance(session, run),
        timing: Timing {
            started: started.to_rfc3339_opts(SecondsFormat::Secs, false),
            ..Timing::default()
        },
        memory: Memory::default(),
    }
}

/// Program, inputs and machine.
fn provenance(session: &Session, run: &Planned) -> Provenance {
    let (commit, dirty) = environment::commit();
    Provenance {
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
        ranks: None,
        host: environment::host(),
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
    let criterion = run.rows.evaluator.criterion();
    let selected = select_best(&progress.evals, &criterion, run.config.train.select);
    record.best = selected.and_then(|eval| {
        Some(Best {
            epoch: eval.epoch as u32,
            value: criterion.value(eval)?,
        })
    });
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

/// Adds the number of ranks, if there are several, and what they have sent each other.
pub(crate) fn add_ranks(record: &mut RunRecord, ranks: &dyn Ranks, traffic: Traffic) {
    record.provenance.ranks = (!ranks.is_alone()).then_some(RankShare {
        world_size: ranks.size() as u32,
        bytes_per_step: traffic.bytes_per_step,
        steps: traffic.steps,
        microseconds_per_step: (traffic.seconds * 1e6 / traffic.steps.max(1) as f64).round() as u64,
    });
}

/// The rule of selection of epoch and learning rate, in words.
fn selection(run: &Planned) -> String {
    let (config, criterion) = (&run.config, run.rows.evaluator.criterion());
    let on = if config.limit.held_out.is_some() {
        "held-out training rows"
    } else {
        "dev"
    };
    let epoch = epoch_rule(config.train.select, &criterion, on);
    match &config.rates {
        None => epoch,
        Some(choice) => format!(
            "{epoch}; the learning rate is the best of {} by one training row in {}, held out",
            choice.tried.len(),
            choice.held_out
        ),
    }
}

fn epoch_rule(select: Select, criterion: &Criterion, on: &str) -> String {
    match select {
        Select::Last => "last epoch".into(),
        Select::Best if criterion.lower_is_better => format!("epoch of the lowest loss on {on}"),
        Select::Best => format!("best epoch on {on}"),
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

    #[test]
    fn the_rule_of_selection_is_stated() {
        let loss = Criterion::new("dev/loss");
        assert_eq!(
            epoch_rule(Select::Best, &loss, "dev"),
            "epoch of the lowest loss on dev"
        );
        let f1 = Criterion::new("dev/f1");
        assert_eq!(epoch_rule(Select::Best, &f1, "dev"), "best epoch on dev");
        assert_eq!(epoch_rule(Select::Last, &loss, "dev"), "last epoch");
    }
}
