//! Forward passes, timed.

use super::settings::{LatencyConfig, Variant, Workpoint};
use crate::config::settings::Dtype;
use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use lora_core::batch::{Batch, Row, Target};
use lora_core::device::{guarded, synchronize};
use lora_core::method;
use lora_core::model::{Model, arch};
use lora_core::nn::{BaseInit, Build, Method, Params};
use results::analysis::{Design, Latency, LatencyCell};
use serde_json::Value as Json;
use std::time::Instant;
use tch::Device;

/// A model under one design.
struct TimedModel {
    kind: Variant,
    model: Box<dyn Model>,
    added: i64,
}

/// Measures every cell: at each batch and length the models take turns, so that changes of the machine's speed affect all alike.
///
/// # Errors
/// A model that is no language model, bottlenecks or lengths that do not fit it, not enough memory.
pub fn measure(
    settings: &LatencyConfig,
    config: &Json,
    device: Device,
    dtype: Dtype,
    bar: &ProgressBar,
) -> Result<Latency> {
    let places = settings.places();
    let architecture = arch(config)?;
    let shape = (architecture.shape)(config)?;
    let mut kinds: Vec<Variant> = places.iter().flat_map(|p| p.kinds.clone()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let frozen = frozen(config, device, dtype)?;
    let models = kinds
        .iter()
        .map(|kind| TimedModel::new(*kind, config, &frozen, device, dtype));
    let models = models.collect::<Result<Vec<_>>>()?;
    let longest = models.iter().map(|m| m.model.max_len()).min().unwrap_or(0);
    for place in &places {
        ensure!(
            i64::from(place.length) <= longest,
            "rows of {} tokens are longer than the {longest} that {} takes",
            place.length,
            settings.model
        );
    }
    bar.set_length(places.iter().map(|p| work(p, settings)).sum());
    let mut cells = Vec::new();
    for place in &places {
        cells.extend(at(place, settings, &models, device, bar)?);
    }
    let narrow = |n: i64| u32::try_from(n).context("the model's shape");
    Ok(Latency {
        layers: narrow(shape.layers)?,
        hidden: narrow(shape.hidden)?,
        params: shape.total(),
        warmup: settings.warmup,
        cells,
        remark: String::new(),
    })
}

/// Tokens of all passes of a cell.
fn work(place: &Workpoint, settings: &LatencyConfig) -> u64 {
    let passes = u64::from(settings.warmup + settings.trials) * place.kinds.len() as u64;
    passes * u64::from(place.batch) * u64::from(place.length)
}

/// The weights that all models share.
fn frozen(config: &Json, device: Device, dtype: Dtype) -> Result<Params> {
    let head = method::from_yaml("{kind: head}")?;
    let build = Build::new(head.as_ref(), 0)
        .device(device)
        .base_kind(dtype.kind())
        .base_init(BaseInit::Random);
    guarded("making the model", || {
        arch(config)?.language_model(config, &build.scope())
    })?;
    Ok(build.finish()?.params)
}

impl TimedModel {
    fn new(kind: Variant, config: &Json, frozen: &Params, device: Device, dtype: Dtype) -> Result<TimedModel> {
        let method = design(kind)?;
        let build = Build::new(method.as_ref(), 0)
            .device(device)
            .base_kind(dtype.kind())
            .sharing(frozen);
        let model = guarded("making the model", || {
            arch(config)?.language_model(config, &build.scope())
        });
        let mut model = model.with_context(|| format!("{} with {}", name(kind.0), kind.1))?;
        let added = build.finish()?.counts.method;
        if kind.0 == Design::Base {
            // Merged LoRA has exactly the layers of the base model.
            model.merge()?;
        }
        let added = if kind.0 == Design::Base { 0 } else { added };
        Ok(TimedModel { kind, model, added })
    }
}

fn design((design, size): Variant) -> Result<Box<dyn Method>> {
    let lora = |r: u32| format!("{{kind: lora, r: {r}, alpha: 16, targets: [query, value]}}");
    let text = match design {
        Design::Base => lora(1),
        Design::LoraUnmerged => lora(size),
        Design::AdapterL => format!("{{kind: adapter_l, bottleneck: {size}}}"),
        Design::AdapterH => format!("{{kind: adapter_h, bottleneck: {size}}}"),
    };
    Ok(method::from_yaml(&text)?)
}

/// Its name in tables and settings.
pub fn name(design: Design) -> &'static str {
    match design {
        Design::Base => "base",
        Design::LoraUnmerged => "lora_unmerged",
        Design::AdapterL => "adapter_l",
        Design::AdapterH => "adapter_h",
    }
}

/// All models at one batch and length.
fn at(
    place: &Workpoint,
    settings: &LatencyConfig,
    models: &[TimedModel],
    device: Device,
    bar: &ProgressBar,
) -> Result<Vec<LatencyCell>> {
    let _guard = tch::no_grad_guard();
    let models: Vec<&TimedModel> = models.iter().filter(|m| place.kinds.contains(&m.kind)).collect();
    let first = models.first().context("nothing is measured")?;
    let rows = rows(place.batch, place.length, first.model.vocab());
    let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), device)?;
    let mut times = vec![Vec::new(); models.len()];
    for pass in 0..settings.warmup + settings.trials {
        for (timed, times) in models.iter().zip(&mut times) {
            synchronize(device);
            let since = Instant::now();
            let _answers = guarded("the forward pass", || Ok(timed.model.forward(&batch, false)))?;
            synchronize(device);
            if pass >= settings.warmup {
                times.push(since.elapsed().as_secs_f64() * 1e3);
            }
            bar.inc(u64::from(place.batch) * u64::from(place.length));
        }
    }
    let cell = |(timed, times): (&&TimedModel, Vec<f64>)| {
        let of = TimeSummary::of(times);
        LatencyCell {
            design: timed.kind.0,
            batch: place.batch,
            length: place.length,
            bottleneck: timed.kind.1,
            added_params: timed.added,
            median_ms: of.median,
            iqr_ms: of.iqr,
            mean_ms: of.mean,
            sd_ms: of.sd,
            trials: settings.trials,
        }
    };
    Ok(models.iter().zip(times).map(cell).collect())
}

/// Rows with a prediction at every token, as in transformers' forward pass.
pub fn rows(batch: u32, length: u32, vocab: i64) -> Vec<Row> {
    let id = |row: u32, token: u32| (i64::from(row) * 31 + i64::from(token) * 17) % vocab;
    let row = |row| Row {
        ids: (0..length).map(|token| id(row, token)).collect(),
        types: Vec::new(),
        prompt: None,
        target: Target::Tokens((0..length).map(|token| id(row, token + 1)).collect()),
    };
    (0..batch).map(row).collect()
}

/// Statistics of the times of one cell.
#[derive(Debug, PartialEq)]
struct TimeSummary {
    median: f64,
    iqr: f64,
    mean: f64,
    sd: f64,
}

impl TimeSummary {
    fn of(mut times: Vec<f64>) -> TimeSummary {
        times.sort_by(f64::total_cmp);
        let n = times.len() as f64;
        let mean = times.iter().sum::<f64>() / n;
        let squares: f64 = times.iter().map(|t| (t - mean).powi(2)).sum();
        let sd = if times.len() > 1 {
            (squares / (n - 1.0)).sqrt()
        } else {
            0.0
        };
        TimeSummary {
            median: quantile(&times, 0.5),
            iqr: quantile(&times, 0.75) - quantile(&times, 0.25),
            mean,
            sd,
        }
    }
}

/// The quantile, interpolated between neighbours as in numpy; `sorted` must not be empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up_as_numpy_does() {
        let of = TimeSummary::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!((of.median, of.iqr, of.mean), (2.5, 1.5, 2.5));
        assert!((of.sd - 1.290_994_448_735_805_6).abs() < 1e-12);
        let one = TimeSummary::of(vec![7.0]);
        assert_eq!((one.median, one.iqr, one.sd), (7.0, 0.0, 0.0));
    }
}
