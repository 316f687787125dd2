//! `lora bench generate`: the speed of generation with a language model.

use crate::config::settings::Dtype;
use crate::inputs::environment;
use crate::inputs::environment::set_threads;
use crate::report::profile::Profiling;
use crate::tools::bench::products::best_gflops;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use lora_core::generate::{Flavour, GenerationSettings, Generator, Strategy};
use lora_core::model::Model;
use lora_core::nn::{BaseInit, Build};
use lora_core::weights::Weights;
use lora_core::{device, method, model};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::Device;

/// `lora bench generate`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lora bench generate gpt2-medium --beams 10 --device cuda --dtype bf16\n\n\
    Weights are a folder's model.safetensors; a name, and a folder without that file, have random ones. No text ends early, so that\nthe work is known. Printed is one JSON object."
)]
pub struct GenerateArgs {
    /// A name such as gpt2-medium, or a folder with config.json
    pub model: String,
    /// Prompts
    #[arg(long, default_value_t = 16)]
    pub prompts: usize,
    /// Prompts of a batch
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Tokens of the longest prompt; the shortest has a third of them
    #[arg(long, default_value_t = 60)]
    pub prompt_len: usize,
    /// Tokens to generate for each prompt
    #[arg(long, default_value_t = 64)]
    pub new: usize,
    /// Beams; 1 = greedy
    #[arg(long, default_value_t = 10)]
    pub beams: usize,
    /// The beam search: the paper's, or that of transformers, for comparison
    #[arg(long, value_enum, default_value_t = Search::Paper)]
    pub search: Search,
    /// Print the tokens of the texts too
    #[arg(long)]
    pub texts: bool,
    /// Number type of weights and activations
    #[arg(long, default_value = "fp32")]
    pub dtype: Dtype,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// Print where the time went, by phases and operations, and write a trace in Chrome's format. Slower
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
}

/// A beam search.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Search {
    /// The paper's.
    Paper,
    /// That of transformers with `early_stopping=False`.
    Transformers,
}

/// The JSON line.
#[derive(Debug, Serialize)]
pub struct Written {
    model: String,
    dtype: &'static str,
    device: String,
    prompts: usize,
    beams: usize,
    /// Tokens of all texts, without those of losing beams.
    tokens: usize,
    seconds: f64,
    tokens_per_s: f64,
    prompts_per_s: f64,
    peak_mib: f64,
    /// The score of each text.
    scores: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<Vec<i64>>>,
}

/// Generates after random prompts.
///
/// # Errors
/// Models and settings that cannot be used.
pub fn generate(args: &GenerateArgs) -> Result<Written> {
    set_threads(args.threads)?;
    let device = device::parse(&args.device)?;
    args.dtype.check(device)?;
    let (model, hidden) = language_model(args, device)?;
    ensure!(
        args.prompts > 0 && args.prompt_len > 0,
        "there must be prompts, and tokens in them"
    );
    let settings = settings(args);
    let generator = Generator {
        model: model.as_ref(),
        settings: &settings,
        batch_size: args.batch,
        device,
        stop: None,
    };
    let prompts = prompts(args, model.vocab());
    generator.generate(&prompts[..1], &mut |_| ())?; // the first launch of a kernel is slow
    device::synchronize(device);
    let profiling = Profiling::start(args.profile.as_deref())?;
    let since = Instant::now();
    let texts = generator.generate(&prompts, &mut |_| ())?;
    device::synchronize(device);
    let (seconds, tokens) = (
        since.elapsed().as_secs_f64(),
        texts.iter().map(|t| t.tokens.len()).sum::<usize>(),
    );
    if let Some(profiling) = profiling {
        let rows = (args.batch.min(args.prompts) * args.beams) as i64;
        eprint!(
            "{}",
            profiling.finish(best_gflops(rows, hidden, (device, args.dtype.kind())))?
        );
    }
    Ok(Written {
        model: args.model.clone(),
        dtype: args.dtype.name(),
        device: device::name(device),
        prompts: args.prompts,
        beams: args.beams,
        tokens,
        seconds,
        tokens_per_s: tokens as f64 / seconds,
        prompts_per_s: args.prompts as f64 / seconds,
        peak_mib: environment::peak_rss_mib().unwrap_or_default(),
        scores: texts.iter().map(|t| t.score).collect(),
        texts: args.texts.then(|| texts.into_iter().map(|t| t.tokens).collect()),
    })
}

/// The model with the folder's weights or random ones, and its width.
fn language_model(args: &GenerateArgs, device: Device) -> Result<(Box<dyn Model>, i64)> {
    let dir = Path::new(&args.model);
    let config = if dir.is_dir() {
        model::read_config(dir)?
    } else {
        model::known_config(&args.model)?
    };
    let (method, arch) = (method::from_yaml("{kind: head}")?, model::arch(&config)?);
    let build = Build::new(method.as_ref(), 1)
        .device(device)
        .base_kind(args.dtype.kind())
        .base_init(BaseInit::Random);
    let model = arch.language_model(&config, &build.scope())?;
    let built = build.finish()?;
    if dir.join("model.safetensors").exists() {
        Weights::open(dir)?.load_into(&built.params, arch)?.require_complete()?;
    }
    Ok((model, (arch.shape)(&config)?.hidden))
}

/// Beam search, or greedy.
fn settings(args: &GenerateArgs) -> GenerationSettings {
    GenerationSettings {
        strategy: match args.beams {
            1 => Strategy::Greedy,
            beams => Strategy::Beam {
                beams,
                length_penalty: 0.9,
                flavour: match args.search {
                    Search::Paper => Flavour::Paper,
                    Search::Transformers => Flavour::Transformers,
                },
            },
        },
        max_new_tokens: args.new,
        end: Vec::new(),
        no_repeat_ngram: 4,
        bad_words: Vec::new(),
    }
}

/// Prompts of uneven lengths, the same as in tools/peer_bench.py.
fn prompts(args: &GenerateArgs, vocab: i64) -> Vec<Vec<i64>> {
    let shortest = args.prompt_len.div_ceil(3);
    let prompt = |i: usize| {
        let len = args.prompt_len - (i * 7) % (args.prompt_len - shortest + 1);
        (0..len).map(|t| ((i * 7919 + t * 104_729) as i64) % vocab).collect()
    };
    (0..args.prompts).map(prompt).collect()
}
