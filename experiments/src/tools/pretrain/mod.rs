//! `pretrain`: pretrains the small models of the demonstrations on generated text and writes Hugging Face folders: encoders by masked
//! language modelling, GPT-2 by causal language modelling.

pub mod corpus;
mod masking;

use crate::config::identity;
use crate::inputs::environment::set_threads;
use crate::tools::pretrain::corpus::{Corpus, Source};
use crate::tools::pretrain::masking::{Masking, only_verdicts};
use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use datasets::synthetic::Document;
use datasets::tokenize::END_OF_TEXT;
use datasets::{Example, Label, Tokenizer, tokenize};
use indicatif::{ProgressBar, ProgressStyle};
use lora_core::batch::{Row, Target};
use lora_core::model::{self, Model};
use lora_core::nn::{BaseInit, Build, BuiltParams, Params};
use lora_core::train::{Checkpoint, FitConfig, Objective, Progress, Schedule, Stepper, TokenScores, token_scores};
use lora_core::weights::{Precision, published, save_as};
use lora_core::{device, method, seed};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// The configurations, by name. Those of `roberta`, `deberta` and `gpt2` made the committed weights in the folder of that name
/// under `experiments/embedded`; `texts` is for real texts that the user names.
pub static CONFIGS: &[(&str, &str)] = &[
    ("roberta", include_str!("../../../embedded/roberta.yaml")),
    ("deberta", include_str!("../../../embedded/deberta.yaml")),
    ("gpt2", include_str!("../../../embedded/gpt2.yaml")),
    ("texts", include_str!("../../../embedded/texts.yaml")),
];

/// Documents that the tokenizer is trained on.
const TOKENIZER_DOCUMENTS: usize = 20_000;

/// The number of held-out documents, and the purpose in their seed.
const MEASURED: usize = 1024;
const HELD_OUT: &str = "held out";

/// Steps between checkpoints and between reports of the loss.
const SAVE_EVERY: u64 = 500;

/// Pretrains small models: those of the demonstrations on generated text, or a GPT-2 on real texts.
///
/// The committed weights were made with this command (see experiments/embedded/*.yaml). A stopped run resumes from its checkpoint.
#[derive(Parser, Debug)]
#[command(
    name = "pretrain",
    version,
    after_help = "Examples:\n  pretrain roberta\n  pretrain gpt2\n  pretrain gpt2 --steps 100 --out small --device cpu\n  pretrain texts --corpus samsum=DIR --corpus webnlg=DIR --out gpt2-texts"
)]
pub struct PretrainArgs {
    /// The configuration: roberta, deberta or gpt2 for the embedded models, or texts for a GPT-2 on real texts
    #[arg(default_value = "roberta")]
    pub name: String,
    /// Real texts instead of generated ones: DATASET=DIR, the training rows of samsum, webnlg, wikisql, e2e or dart, or a
    /// plain UTF-8 file with a blank line between texts; may be repeated
    #[arg(long, value_name = "DATASET=DIR|FILE", requires = "out")]
    pub corpus: Vec<String>,
    /// Folder to write config.json, tokenizer.json, model.safetensors and pretrain.json to, in place of
    /// experiments/embedded/NAME
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A YAML file instead of the one that comes with the program (experiments/embedded/NAME.yaml)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Optimiser steps, instead of the configuration's
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
struct PretrainConfig {
    seed: u64,
    model: Value,
    vocab: usize,
    steps: u64,
    rows: usize,
    lr: f64,
    warmup_ratio: f64,
    weight_decay: f64,
    clip: f64,
    /// The masking of an encoder; none for a language model.
    #[serde(skip_serializing_if = "Option::is_none")]
    hide: Option<Masking>,
}

/// The report beside the weights, `pretrain.json`.
#[derive(Debug, Serialize)]
struct PretrainReport {
    config: PretrainConfig,
    /// The sources of real texts, if any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    corpus: Vec<Source>,
    parameters: i64,
    tokens: u64,
    seconds: f64,
    held_out_loss: f64,
    held_out_accuracy: f64,
    /// Share of the verdicts on words that are right, and of those on whole second parts, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out_verdicts: Option<[f64; 2]>,
}

/// Pretrains, from the checkpoint of the same configuration and texts if there is one, writes the folder, and returns the held-out accuracy as text.
///
/// # Errors
/// Settings that cannot be used, files that cannot be written, a loss that is not a number.
pub fn main(args: &PretrainArgs) -> Result<String> {
    set_threads(args.threads)?;
    let device = device::parse(&args.device)?;
    let (mut config, corpus, out) = prepare(args)?;
    let tokenizer = learn_tokenizer(&config, &corpus, &out)?;
    config.model["vocab_size"] = tokenizer.vocab_size().into();
    write(&out.join("config.json"), &pretty(&config.model)?)?;

    let method = method::from_yaml("{kind: full}")?;
    let build = Build::new(method.as_ref(), config.seed)
        .device(device)
        .base_init(BaseInit::Random);
    let arch = model::arch(&config.model)?;
    let model = arch.language_model(&config.model, &build.scope())?;
    fits(&config, arch, model.as_ref())?;
    let BuiltParams { params, counts } = build.finish()?;
    let maker = BatchMaker {
        config: &config,
        corpus: &corpus,
        tokenizer: &tokenizer,
        max_len: model.max_len() as usize,
    };
    let checkpoint = checkpoint(&maker, &out)?;
    let progress = train(&maker, model.as_ref(), &params, device, &checkpoint)?;
    let rows = maker.held_out()?;
    let TokenScores { loss, accuracy, .. } = token_scores(model.as_ref(), &rows, 64, device)?;
    let report = PretrainReport {
        config: config.clone(),
        corpus: corpus.sources().to_vec(),
        parameters: counts.total,
        tokens: progress.tokens,
        seconds: progress.train_seconds.round(),
        held_out_loss: loss,
        held_out_accuracy: accuracy,
        held_out_verdicts: maker.verdicts(model.as_ref(), &rows, device)?,
    };
    save_as(
        &out.join("model.safetensors"),
        &published(&params, arch),
        Default::default(),
        Precision::Half,
    )?;
    write(&out.join("pretrain.json"), &pretty(&report)?)?;
    checkpoint.remove()?;
    Ok(format!(
        "{} parameters, {} tokens; predicts {:.1} % of held-out tokens (loss {loss:.3}). Written to {}\n",
        report.parameters,
        report.tokens,
        accuracy * 100.0,
        out.display()
    ))
}

/// The configuration, the corpus, and the output folder.
fn prepare(args: &PretrainArgs) -> Result<(PretrainConfig, Corpus, PathBuf)> {
    let mut config = read(&args.name, args.config.as_deref())?;
    config.steps = args.steps.unwrap_or(config.steps);
    ensure!(
        args.name != "texts" || args.config.is_some() || !args.corpus.is_empty(),
        "`texts` is for real texts: name them with --corpus, such as --corpus samsum=DIR"
    );
    let corpus = Corpus::open(&args.corpus)?;
    let out = args.out.clone();
    let out = out.unwrap_or_else(|| Path::new("experiments/embedded").join(&args.name));
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    support::sweep_unfinished(&out)?;
    Ok((config, corpus, out))
}

/// Refuses an objective that does not fit the model.
fn fits(config: &PretrainConfig, arch: &model::Arch, model: &dyn Model) -> Result<()> {
    ensure!(
        model.causal().is_none() == config.hide.is_some(),
        "a model of type `{}` {}",
        arch.model_type,
        match config.hide {
            Some(_) => "is a causal language model, which is not trained on masked tokens; leave out `hide`",
            None => "is trained on masked tokens: give `hide`",
        }
    );
    Ok(())
}

fn read(name: &str, path: Option<&Path>) -> Result<PretrainConfig> {
    let (name, text) = match path {
        Some(path) => (path.display().to_string(), crate::config::read_file(path)?),
        None => {
            let Some((name, text)) = CONFIGS.iter().find(|(known, _)| *known == name) else {
                bail!(support::unknown("model", name, CONFIGS.iter().map(|(known, _)| *known)));
            };
            (format!("embedded/{name}.yaml"), (*text).to_string())
        }
    };
    let config: PretrainConfig = serde_yaml::from_str(&text).with_context(|| format!("in {name}"))?;
    if let Some(hide) = &config.hide {
        hide.check().with_context(|| format!("in {name}"))?;
    }
    ensure!(
        config.rows > 0 && config.model.is_object(),
        "{name}: `rows` must be above 0 and `model` a mapping"
    );
    Ok(config)
}

fn learn_tokenizer(config: &PretrainConfig, corpus: &Corpus, out: &Path) -> Result<Tokenizer> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(config.seed, "tokenizer", 0));
    let mut texts = Vec::new();
    for _ in 0..TOKENIZER_DOCUMENTS {
        if config.hide.is_some() {
            let document = corpus.document(false, &mut rng);
            texts.extend(std::iter::once(document.first).chain(document.second));
        } else {
            texts.push(corpus.prose(false, &mut rng));
        }
    }
    let learn = match config.hide {
        Some(_) => tokenize::train_bpe,
        None => tokenize::train_causal_bpe,
    };
    let json = learn(&texts, config.vocab).map_err(|e| anyhow::anyhow!("learning the tokenizer: {e}"))?;
    write(&out.join("tokenizer.json"), &(json + "\n"))?;
    Ok(Tokenizer::from_dir(out)?)
}

fn write(path: &Path, text: &str) -> Result<()> {
    Ok(support::write_atomic(path, text.as_bytes())?)
}

fn pretty(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// The checkpoint of this configuration on these texts.
fn checkpoint(maker: &BatchMaker, out: &Path) -> Result<Checkpoint> {
    let id = identity::hash(&(maker.config, maker.corpus.sources()))?;
    let path = out.join("pretrain.checkpoint.safetensors");
    Ok(Checkpoint::new(&path, &format!("pretrain {id}")))
}

/// Makes batches of text.
struct BatchMaker<'a> {
    config: &'a PretrainConfig,
    corpus: &'a Corpus,
    tokenizer: &'a Tokenizer,
    max_len: usize,
}

impl BatchMaker<'_> {
    /// The rows of step `step`, the same in each process.
    fn rows(&self, purpose: &str, step: u64, count: usize) -> Result<Vec<Row>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(self.config.seed, purpose, step));
        let held_out = purpose == HELD_OUT;
        let Some(hide) = &self.config.hide else {
            return (0..count).map(|_| self.stretch(held_out, &mut rng)).collect();
        };
        let documents: Vec<Document> = (0..count).map(|_| self.corpus.document(held_out, &mut rng)).collect();
        let example = |document: &Document| Example {
            first: document.first.clone(),
            second: document.second.clone(),
            label: Label::Class(0),
        };
        let examples: Vec<Example> = documents.iter().map(example).collect();
        let encoded = self.tokenizer.encode_all(&examples, self.max_len)?.into_iter();
        let hidden = encoded.zip(&documents);
        Ok(hidden
            .map(|(e, document)| hide.row(self.tokenizer, &e.ids, document, &mut rng))
            .collect())
    }

    /// Rows of held-out text.
    fn held_out(&self) -> Result<Vec<Row>> {
        let rows = if self.config.hide.is_some() {
            MEASURED
        } else {
            MEASURED / 16
        };
        self.rows(HELD_OUT, 0, rows)
    }

    /// The shares of the verdicts in `rows` that the model gives rightly: those on words, and those on whole second parts.
    fn verdicts(&self, model: &dyn Model, rows: &[Row], device: Device) -> Result<Option<[f64; 2]>> {
        let mut shares = [0.0; 2];
        for (share, whole) in shares.iter_mut().zip([false, true]) {
            let rows = rows.iter().filter_map(|row| only_verdicts(self.tokenizer, row, whole));
            let rows: Vec<Row> = rows.collect();
            if rows.is_empty() {
                return Ok(None);
            }
            *share = token_scores(model, &rows, 64, device)?.accuracy;
        }
        Ok(Some(shares))
    }

    /// A row of the model's length, filled document after document as in the training of GPT-2; each next token is predicted.
    fn stretch(&self, held_out: bool, rng: &mut ChaCha8Rng) -> Result<Row> {
        let end = self.tokenizer.token_id(END_OF_TEXT);
        let end = end.with_context(|| format!("the tokenizer has no {END_OF_TEXT}"))?;
        let mut ids: Vec<i64> = Vec::new();
        while ids.len() <= self.max_len {
            let texts = [self.corpus.prose(held_out, rng)];
            let documents = self.tokenizer.ids(&texts)?;
            ids.extend(documents.into_iter().flatten().chain([end]).map(i64::from));
        }
        ids.truncate(self.max_len + 1);
        let wanted = ids[1..].to_vec();
        ids.pop();
        Ok(Row {
            ids,
            types: Vec::new(),
            prompt: None,
            target: Target::Tokens(wanted),
        })
    }
}

fn train(
    maker: &BatchMaker,
    model: &dyn Model,
    params: &Params,
    device: Device,
    checkpoint: &Checkpoint,
) -> Result<Progress> {
    let c = maker.config;
    let fit = FitConfig {
        batch_size: c.rows,
        lr: c.lr,
        weight_decay: c.weight_decay,
        clip: Some(c.clip),
        beta2: 0.98, // RoBERTa's, and good enough for a small GPT-2
        eps: 1e-6,
        objective: Objective::Tokens { label_smoothing: 0.0 },
        seed: c.seed,
        device,
        ..FitConfig::default()
    };
    let schedule = Schedule::with_ratio(c.lr, c.warmup_ratio, c.steps);
    let mut stepper = Stepper::new(model, params, &fit, schedule)?;
    let warn = |why: &str| eprintln!("warning: {}", support::printable(why));
    let progress = checkpoint.restore_or_start_anew(&mut stepper.optim, warn)?;
    let mut progress = progress.unwrap_or_default();
    let bar = ProgressBar::new(c.steps).with_style(ProgressStyle::with_template(
        "pretraining {wide_bar} {pos}/{len} steps, {eta} left  {msg}",
    )?);
    let measured = maker.held_out()?;
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
            let message = message(loss, maker.verdicts(model, &measured, device)?);
            if bar.is_hidden() {
                eprintln!("step {}: {message}", progress.step);
            }
            bar.set_message(message);
        }
    }
    progress.train_seconds += since.elapsed().as_secs_f64();
    bar.finish_and_clear();
    Ok(progress)
}

/// What is said at a checkpoint: the loss since the last one, and the held-out verdicts.
fn message(loss: f64, verdicts: Option<[f64; 2]>) -> String {
    let verdicts = verdicts.map(|shares| shares.map(|share| 100.0 * share));
    let verdicts = verdicts
        .map(|[words, whole]| format!(", right verdicts on {words:.1} % of words, {whole:.1} % of second parts"));
    format!("loss {loss:.3}{}", verdicts.unwrap_or_default())
}
