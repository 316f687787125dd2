//! `pretrain`: the small model of the embedded demonstration, from generated text to a Hugging Face folder.

use crate::cli::set_threads;
use anyhow::{Context, Result, ensure};
use clap::Args;
use datasets::synthetic::document;
use datasets::{Example, Label, Tokenizer, tokenize};
use indicatif::{ProgressBar, ProgressStyle};
use lora_core::batch::{Row, Target, UNSCORED};
use lora_core::model::{self, Model};
use lora_core::nn::{Adopted, BaseInit, Build, Params};
use lora_core::train::{Checkpoint, FitConfig, Objective, Progress, Schedule, Stepper, TokenScores, token_scores};
use lora_core::weights::{Precision, published, save_as};
use lora_core::{device, method, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// The configuration that made the committed weights.
pub const CONFIG: &str = include_str!("../embedded/roberta.yaml");

/// Documents that the tokenizer learns from.
const TOKENIZER_DOCUMENTS: usize = 20_000;

/// Documents held out to measure on.
const HELD_OUT: usize = 1024;

/// Steps between checkpoints, and between looks at the loss.
const SAVE_EVERY: u64 = 500;

/// `pretrain`
#[derive(Args, Debug)]
pub struct PretrainArgs {
    /// Folder to write config.json, tokenizer.json, model.safetensors and pretrain.json to
    #[arg(long, value_name = "DIR", default_value = "experiments/embedded/roberta")]
    pub out: PathBuf,
    /// A YAML file to use in place of the one that comes with the program (experiments/embedded/roberta.yaml)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Optimiser steps, in place of the configuration's
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: String,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Config {
    seed: u64,
    model: Value,
    vocab: usize,
    steps: u64,
    rows: usize,
    lr: f64,
    warmup_ratio: f64,
    weight_decay: f64,
    clip: f64,
    mask: f64,
    masked: f64,
    random: f64,
    opening: f64,
}

/// What is kept beside the weights.
#[derive(Debug, Serialize)]
struct Report {
    config: Config,
    parameters: i64,
    tokens: u64,
    seconds: f64,
    held_out_loss: f64,
    held_out_accuracy: f64,
}

/// Pretrains from the checkpoint if there is one, writes the folder, and says how well the model guesses.
///
/// # Errors
/// Settings that cannot be used, files that cannot be written, a loss that is not a number.
pub fn main(args: &PretrainArgs) -> Result<String> {
    set_threads(args.threads)?;
    let device = device::parse(&args.device)?;
    let mut config = read(args.config.as_deref())?;
    config.steps = args.steps.unwrap_or(config.steps);
    std::fs::create_dir_all(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    let tokenizer = learn_tokenizer(&config, &args.out)?;
    config.model["vocab_size"] = tokenizer.vocab_size().into();
    write(&args.out.join("config.json"), &pretty(&config.model)?)?;

    let method = method::from_yaml("{kind: full}")?;
    let build = Build::new(method.as_ref(), config.seed)
        .device(device)
        .base_init(BaseInit::Random);
    let arch = model::arch(&config.model)?;
    let model = arch.language_model(&config.model, &build.scope())?;
    ensure!(
        model.causal().is_none(),
        "models of type `{}` write from left to right: masked tokens teach them nothing",
        arch.model_type
    );
    let Adopted { params, counts } = build.adopt()?;
    let maker = Maker {
        config: &config,
        tokenizer: &tokenizer,
        max_len: model.max_len() as usize,
    };
    let progress = train(&maker, model.as_ref(), &params, device, &args.out)?;
    let TokenScores { loss, accuracy, .. } = held_out(&maker, model.as_ref(), device)?;
    let report = Report {
        config: config.clone(),
        parameters: counts.total,
        tokens: progress.tokens,
        seconds: progress.train_seconds.round(),
        held_out_loss: loss,
        held_out_accuracy: accuracy,
    };
    save_as(
        &args.out.join("model.safetensors"),
        &published(&params, arch),
        Default::default(),
        Precision::Half,
    )?;
    write(&args.out.join("pretrain.json"), &pretty(&report)?)?;
    checkpoint(&args.out).remove()?;
    Ok(format!(
        "{} parameters, {} tokens; guesses {:.1} % of the hidden tokens of unseen text (loss {loss:.3}). Written to {}\n",
        report.parameters,
        report.tokens,
        accuracy * 100.0,
        args.out.display()
    ))
}

fn read(path: Option<&Path>) -> Result<Config> {
    let (name, text) = match path {
        Some(path) => (path.display().to_string(), crate::presets::read(path)?),
        None => ("embedded/roberta.yaml".into(), CONFIG.into()),
    };
    let config: Config = serde_yaml::from_str(&text).with_context(|| format!("in {name}"))?;
    let share = |x: f64| (0.0..=1.0).contains(&x);
    let shares = [
        config.mask,
        config.masked,
        config.random,
        config.opening,
        config.masked + config.random,
    ];
    ensure!(
        shares.into_iter().all(share),
        "{name}: `mask`, `masked`, `random`, `opening` and `masked` + `random` must be from 0 to 1"
    );
    ensure!(
        config.rows > 0 && config.model.is_object(),
        "{name}: `rows` must be above 0 and `model` a mapping"
    );
    Ok(config)
}

fn learn_tokenizer(config: &Config, out: &Path) -> Result<Tokenizer> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(config.seed, "tokenizer", 0));
    let texts: Vec<String> = (0..TOKENIZER_DOCUMENTS)
        .flat_map(|_| {
            let document = document(&mut rng);
            std::iter::once(document.first).chain(document.second)
        })
        .collect();
    let json = tokenize::train_bpe(&texts, config.vocab).map_err(|e| anyhow::anyhow!("learning the tokenizer: {e}"))?;
    write(&out.join("tokenizer.json"), &(json + "\n"))?;
    Ok(Tokenizer::from_dir(out)?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(results::write_atomic(path, text.as_bytes())?)
}

fn pretty(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn checkpoint(out: &Path) -> Checkpoint {
    Checkpoint::new(&out.join("pretrain.checkpoint.safetensors"), "pretrain")
}

/// Makes batches of masked text.
struct Maker<'a> {
    config: &'a Config,
    tokenizer: &'a Tokenizer,
    max_len: usize,
}

impl Maker<'_> {
    /// The rows of step `step`: the same whenever they are asked for.
    fn rows(&self, purpose: &str, step: u64, count: usize) -> Result<Vec<Row>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(self.config.seed, purpose, step));
        let examples: Vec<Example> = (0..count)
            .map(|_| {
                let document = document(&mut rng);
                Example {
                    first: document.first,
                    second: document.second,
                    label: Label::Class(0),
                }
            })
            .collect();
        let encoded = self.tokenizer.encode_all(&examples, self.max_len)?;
        Ok(encoded.into_iter().map(|e| self.hide(&e.ids, &mut rng)).collect())
    }

    /// Hides some tokens, at least one: by the configuration's share the one that opens the second part, which says what
    /// the part is about. `<s>` and `</s>` (ids below the first that can be text) stay.
    fn hide(&self, ids: &[u32], rng: &mut ChaCha8Rng) -> Row {
        const TEXT: u32 = 5;
        const MASK: i64 = 4;
        const END: u32 = 2;
        let c = self.config;
        let vocab = self.tokenizer.vocab_size() as i64;
        let text: Vec<usize> = (0..ids.len()).filter(|i| ids[*i] >= TEXT).collect();
        let opening = ids.windows(2).position(|w| w == [END, END]).map(|at| at + 2);
        let any = text.get(rng.random_range(0..text.len().max(1))).copied();
        let sure = opening.filter(|_| rng.random_bool(c.opening)).or(any);
        let mut shown: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let mut wanted = vec![UNSCORED; ids.len()];
        for at in text {
            if Some(at) != sure && !rng.random_bool(c.mask) {
                continue;
            }
            wanted[at] = shown[at];
            let way: f64 = rng.random();
            if way < c.masked {
                shown[at] = MASK;
            } else if way < c.masked + c.random {
                shown[at] = rng.random_range(i64::from(TEXT)..vocab);
            }
        }
        Row {
            ids: shown,
            types: Vec::new(),
            prompt: None,
            target: Target::Tokens(wanted),
        }
    }
}

fn train(maker: &Maker, model: &dyn Model, params: &Params, device: Device, out: &Path) -> Result<Progress> {
    let c = maker.config;
    let fit = FitConfig {
        epochs: 1,
        batch_size: c.rows,
        accumulate: 1,
        lr: c.lr,
        weight_decay: c.weight_decay,
        warmup_ratio: c.warmup_ratio,
        warmup_steps: None,
        clip: Some(c.clip),
        betas: (0.9, 0.98), // RoBERTa's
        eps: 1e-6,
        objective: Objective::Tokens { label_smoothing: 0.0 },
        seed: c.seed,
        checkpoint_every: SAVE_EVERY,
        recompute: false,
        device,
    };
    let schedule = Schedule::with_ratio(c.lr, c.warmup_ratio, c.steps);
    let mut stepper = Stepper::new(model, params, &fit, schedule)?;
    let checkpoint = checkpoint(out);
    let mut progress = checkpoint.restore(&mut stepper.optim)?.unwrap_or_default();
    let bar = ProgressBar::new(c.steps).with_style(ProgressStyle::with_template(
        "pretraining {wide_bar} {pos}/{len} steps, {eta} left  {msg}",
    )?);
    let mut since = std::time::Instant::now();
    let mut sum = Tensor::zeros([], (Kind::Float, device));
    for step in progress.step..c.steps {
        bar.set_position(step);
        let rows = maker.rows("text", step, c.rows)?;
        progress.tokens += rows.iter().map(|r| r.ids.len() as u64).sum::<u64>();
        sum += stepper.step(&rows.iter().collect::<Vec<_>>())?;
        progress.step = step + 1;
        if progress.step.is_multiple_of(SAVE_EVERY) {
            let loss = f64::try_from(&sum)? / SAVE_EVERY as f64;
            ensure!(
                loss.is_finite(),
                "the loss of step {} is {loss}: lower `lr`",
                progress.step
            );
            sum = sum.zeros_like();
            progress.train_seconds += since.elapsed().as_secs_f64();
            since = std::time::Instant::now();
            checkpoint.save(&stepper.optim, &progress)?;
            bar.set_message(format!("loss {loss:.3}"));
            if bar.is_hidden() {
                eprintln!("step {}: loss {loss:.4}", progress.step);
            }
        }
    }
    progress.train_seconds += since.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(progress)
}

/// How well the model guesses the hidden tokens of text that was not trained on.
fn held_out(maker: &Maker, model: &dyn Model, device: Device) -> Result<TokenScores> {
    let rows = maker.rows("held out", 0, HELD_OUT)?;
    Ok(token_scores(model, &rows, 64, device)?)
}
