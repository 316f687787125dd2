//! Section 4.2: the cost of training with LoRA and with full fine-tuning. Measured, each method in its own process so that memory
//! is attributed to it; and computed for the shape of GPT-3.

use super::passes::rows;
use super::settings::LatencyConfig;
use crate::config::settings::Dtype;
use crate::inputs::environment;
use anyhow::{Context, Result, ensure};
use lora_core::batch::Row;
use lora_core::device::{guarded, synchronize};
use lora_core::method;
use lora_core::model::{Model, arch, known_config};
use lora_core::nn::{BaseInit, Build, Method, Params};
use lora_core::train::{FitConfig, Objective, Schedule, Stepper};
use lora_core::weights::save;
use results::analysis::{Cost, CostSource, Efficiency};
use results::claims;
use results::verdict::conclude;
use serde_json::Value as Json;
use std::process::Command;
use std::time::Instant;
use tch::Device;

/// The methods that are compared.
pub const METHODS: [&str; 2] = ["full", "lora"];

/// Untimed steps before the timed ones.
const WARM_UP: u32 = 2;

const MIB: f64 = (1 << 20) as f64;

/// Bytes of a trained parameter: value, gradient, and Adam's two moments, in fp32.
const TRAINED: i64 = 16;

fn method_of(name: &str, rank: u32) -> Result<Box<dyn Method>> {
    let text = match name {
        "lora" => format!("{{kind: lora, r: {rank}, alpha: 16, targets: [query, value]}}"),
        other => format!("{{kind: {other}}}"),
    };
    Ok(method::from_yaml(&text)?)
}

/// All costs: each method measured in a child process, GPT-3 computed from its shape, and the paper's numbers.
///
/// # Errors
/// Those of the measurement.
pub fn all(settings: &LatencyConfig) -> Result<Efficiency> {
    let mut costs = METHODS.iter().map(|m| child(m)).collect::<Result<Vec<Cost>>>()?;
    costs.extend(gpt3(settings.train.rank)?);
    costs.extend(paper());
    let mut found = Efficiency {
        costs,
        ..Efficiency::default()
    };
    found.remark = conclude(claims::efficiency(&found));
    Ok(found)
}

/// Runs this command again for one method, which prints the cost as JSON.
fn child(name: &str) -> Result<Cost> {
    let program = std::env::current_exe().context("finding this program")?;
    let output = Command::new(program)
        .args(std::env::args_os().skip(1))
        .args(["--only", name])
        .output();
    let output = output.context("starting the measurement")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "measuring {name}: {}",
        said.trim().trim_start_matches("error: ")
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("measuring {name}"))
}

/// Trains some steps with one method, in this process.
///
/// # Errors
/// A model that is no language model, rows that do not fit it, not enough memory.
pub fn one(name: &str, settings: &LatencyConfig, config: &Json, device: Device, dtype: Dtype) -> Result<Cost> {
    let t = settings.train;
    let method = method_of(name, t.rank)?;
    let build = Build::new(method.as_ref(), 0)
        .device(device)
        .base_kind(dtype.kind())
        .base_init(BaseInit::Random);
    let model = guarded("making the model", || {
        arch(config)?.language_model(config, &build.scope())
    })?;
    let built = build.finish()?;
    ensure!(
        i64::from(t.length) <= model.max_len(),
        "rows of {} tokens are longer than the {} that {} takes",
        t.length,
        model.max_len(),
        settings.model
    );
    let seconds = seconds(settings, model.as_ref(), &built.params, device)?;
    let peak = environment::peak_rss_mib().filter(|_| device == Device::Cpu);
    let trained = built
        .params
        .trainable()
        .map(|e| (e.param.name.clone(), e.tensor.detach()));
    let file = tempfile::NamedTempFile::new().context("making a temporary file")?;
    save(file.path(), &trained.collect::<Vec<_>>(), Default::default())?;
    let bytes = std::fs::metadata(file.path())
        .context("reading the checkpoint's size")?
        .len();
    let tokens = f64::from(t.batch) * f64::from(t.length);
    let counts = built.counts;
    Ok(Cost {
        model: settings.name((arch(config)?.shape)(config)?.total()),
        method: name.into(),
        how: CostSource::Measured,
        trained_params: counts.base + counts.method + counts.head,
        total_params: counts.total,
        memory_mib: peak,
        checkpoint_bytes: Some(bytes),
        tokens_per_second: Some(tokens / crate::tools::bench::training::median(&seconds)),
        note: format!(
            "{} steps of {} rows of {} tokens after {WARM_UP}; memory is the peak of the whole process, libtorch's own included",
            t.steps, t.batch, t.length
        ),
    })
}

/// Seconds of each timed step.
fn seconds(settings: &LatencyConfig, model: &dyn Model, params: &Params, device: Device) -> Result<Vec<f64>> {
    let t = settings.train;
    let fit = FitConfig {
        batch_size: t.batch as usize,
        lr: 5e-4,
        weight_decay: 0.1,
        clip: Some(1.0),
        objective: Objective::Tokens { label_smoothing: 0.0 },
        device,
        ..FitConfig::default()
    };
    let rows = rows(t.batch, t.length, model.vocab());
    let rows: Vec<&Row> = rows.iter().collect();
    // The memory for drawing the weights is not part of training.
    environment::reset_peak_rss();
    let mut stepper = Stepper::new(model, params, &fit, Schedule::constant(fit.lr))?;
    let mut seconds = Vec::new();
    for step in 0..WARM_UP + t.steps {
        synchronize(device);
        let since = Instant::now();
        let _loss = stepper.step(&rows)?;
        synchronize(device);
        if step >= WARM_UP {
            seconds.push(since.elapsed().as_secs_f64());
        }
    }
    Ok(seconds)
}

/// GPT-3 by its shape: frozen parameters in half precision, trained ones with gradient and moments in fp32; no activations.
fn gpt3(rank: u32) -> Result<Vec<Cost>> {
    let config = known_config("gpt3-175b")?;
    let shape = (arch(&config)?.shape)(&config)?;
    let total = shape.total();
    let cost = |name: &str| -> Result<Cost> {
        let (base, own) = method_of(name, rank)?.expected_params(&shape);
        let trained = base + own;
        let frozen = total - base;
        let bytes = frozen * 2 + trained * TRAINED;
        Ok(Cost {
            model: "gpt3-175b".into(),
            method: name.into(),
            how: CostSource::Computed,
            trained_params: trained,
            total_params: total + own,
            memory_mib: Some(bytes as f64 / MIB),
            checkpoint_bytes: Some(trained as u64 * 2),
            tokens_per_second: None,
            note: "frozen numbers of 2 bytes; trained ones of 16 with gradient and Adam's moments in fp32; no activations; checkpoint in fp16".into(),
        })
    };
    METHODS.iter().map(|m| cost(m)).collect()
}

/// What Section 4.2 prints of GPT-3, in its units of 1000: 1.2 TB against 350 GB, 350 GB against 35 MB, 32.5 against 43.1 tokens a second.
fn paper() -> Vec<Cost> {
    let cost = |method: &str, trained: i64, memory: f64, checkpoint: u64, speed: f64| Cost {
        model: "gpt3-175b".into(),
        method: method.into(),
        how: CostSource::Paper,
        trained_params: trained,
        total_params: 175_255_800_000,
        memory_mib: Some(memory / MIB),
        checkpoint_bytes: Some(checkpoint),
        tokens_per_second: Some(speed),
        note: "Section 4.2; tokens a second on one V100; LoRA with r = 4 on query and value".into(),
    };
    vec![
        cost("full", 175_255_800_000, 1.2e12, 350_000_000_000, 32.5),
        cost("lora", 18_874_368, 350e9, 35_000_000, 43.1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt3_costs_what_its_shape_says() {
        let [full, lora] = &gpt3(4).unwrap()[..] else { panic!() };
        assert_eq!(lora.trained_params, 18_874_368, "2 L r (d + d)");
        assert_eq!(lora.checkpoint_bytes, Some(37_748_736));
        let gib = |c: &Cost| c.memory_mib.unwrap() / 1024.0;
        assert!(
            (full.total_params as f64 / 174.6e9 - 1.0).abs() < 0.01,
            "{}",
            full.total_params
        );
        assert_eq!(full.trained_params, full.total_params);
        assert!((2590.0..2620.0).contains(&gib(full)), "{}", gib(full));
        assert!((324.0..327.0).contains(&gib(lora)), "{}", gib(lora));
    }
}
