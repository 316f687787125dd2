//! Forward passes, timed.

use super::settings::{Kind, Place, Settings};
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
struct Timed {
    kind: Kind,
    model: Box<dyn Model>,
    added: i64,
}

/// Measures every cell: at each batch and length all models turn and turn about, so that the machine's moods meet all alike.
///
/// # Errors
/// A model that is no language model, bottlenecks or lengths that do not fit it, memory that does not suffice.
pub fn measure(settings: &Settings, config: &Json, device: Device, dtype: Dtype, bar: &ProgressBar) -> Result<Latency> {
    let places = settings.places();
    let architecture = arch(config)?;
    let shape = (architecture.shape)(config)?;
    let mut kinds: Vec<Kind> = places.iter().flat_map(|p| p.kinds.clone()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let frozen = frozen(config, device, dtype)?;
    let models = kinds
        .iter()
        .map(|kind| Timed::new(*kind, config, &frozen, device, dtype));
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

/// How much the passes at a place are, in tokens.
fn work(place: &Place, settings: &Settings) -> u64 {
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

impl Timed {
    fn new(kind: Kind, config: &Json, frozen: &Params, device: Device, dtype: Dtype) -> Result<Timed> {
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
            // What is measured is LoRA, merged: the very layers of the model alone.
            model.merge()?;
        }
        let added = if kind.0 == Design::Base { 0 } else { added };
        Ok(Timed { kind, model, added })
    }
}

fn design((design, size): Kind) -> Result<Box<dyn Method>> {
    let lora = |r: u32| format!("{{kind: lora, r: {r}, alpha: 16, targets: [query, value]}}");
    let text = match design {
        Design::Base => lora(1),
        Design::LoraUnmerged => lora(size),
        Design::AdapterL => format!("{{kind: adapter_l, bottleneck: {size}}}"),
        Design::AdapterH => format!("{{kind: adapter_h, bottleneck: {size}}}"),
    };
    Ok(method::from_yaml(&text)?)
}

/// As tables and settings call it.
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
    place: &Place,
    settings: &Settings,
    models: &[Timed],
    device: Device,
    bar: &ProgressBar,
) -> Result<Vec<LatencyCell>> {
    let _guard = tch::no_grad_guard();
    let models: Vec<&Timed> = models.iter().filter(|m| place.kinds.contains(&m.kind)).collect();
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
    let cell = |(timed, times): (&&Timed, Vec<f64>)| {
        let of = Summary::of(times);
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

/// Rows whose every token is foretold, as transformers' forward pass does.
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

/// What is kept of the times of one cell.
#[derive(Debug, PartialEq)]
struct Summary {
    median: f64,
    iqr: f64,
    mean: f64,
    sd: f64,
}

impl Summary {
    fn of(mut times: Vec<f64>) -> Summary {
        times.sort_by(f64::total_cmp);
        let n = times.len() as f64;
        let mean = times.iter().sum::<f64>() / n;
        let squares: f64 = times.iter().map(|t| (t - mean).powi(2)).sum();
        let sd = if times.len() > 1 {
            (squares / (n - 1.0)).sqrt()
        } else {
            0.0
        };
        Summary {
            median: quantile(&times, 0.5),
            iqr: quantile(&times, 0.75) - quantile(&times, 0.25),
            mean,
            sd,
        }
    }
}

/// Between the two nearest, as numpy has it; `sorted` holds at least one.
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
        let of = Summary::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!((of.median, of.iqr, of.mean), (2.5, 1.5, 2.5));
        assert!((of.sd - 1.290_994_448_735_805_6).abs() < 1e-12);
        let one = Summary::of(vec![7.0]);
        assert_eq!((one.median, one.iqr, one.sd), (7.0, 0.0, 0.0));
    }
}
