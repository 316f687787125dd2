//! `lora generate`: a trained adapter of a language model continues contexts of the user's own.

use crate::config::settings::Flavour;
use crate::inputs::compute::ComputeArgs;
use crate::inputs::texts;
use crate::tools::adapter::Beside;
use crate::tools::adapter::stored::{BaseModel, Stored};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use datasets::Tokenizer;
use datasets::rows::{self, OwnRows, TEXT};
use datasets::text::encode::{self, Frame};
use lora_core::generate::{GenerationSettings, Generator, Strategy};
use lora_core::method;
use lora_core::model::{self, Model};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use tch::Device;

/// `lora generate`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora generate --adapter results/own/1977ecad94f36450 \"name : Blue Spice | Type : coffee shop\"\n  lora generate --adapter peft/e2e --base gpt2-medium --file contexts.txt --beams 10 --length-penalty 0.9 --json\n  lora generate --adapter adapters/chat --temperature 0.7 --top-p 0.9 --seed 3 < prompts.txt\n\nAn end-of-text token follows each context, as in training here; --plain leaves it out, for adapters that were trained otherwise."
)]
pub struct GenerateArgs {
    /// RESULTS/ID of a run whose weights were kept (--keep), a folder of `lora adapter import`, a PEFT folder or OWNER/NAME of one on
    /// the hub, or a loralib checkpoint
    #[arg(long, value_name = "ADAPTER")]
    adapter: PathBuf,
    /// The base model, where the adapter does not name it
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]")]
    base: Option<String>,
    /// Alpha of a loralib checkpoint
    #[arg(long, value_name = "NUMBER")]
    alpha: Option<f64>,
    /// Contexts; standard input, one a line, where there are none and no --file
    contexts: Vec<String>,
    /// A file of contexts: .csv, .tsv, .jsonl, .parquet, or one a line
    #[arg(long, value_name = "FILE", conflicts_with = "contexts")]
    file: Option<PathBuf>,
    /// The column of the contexts in --file
    #[arg(long, value_name = "NAME", requires = "file")]
    text: Option<String>,
    /// Nothing follows a context
    #[arg(long)]
    plain: bool,
    /// Beams; 1 = the likeliest token each time
    #[arg(long, value_name = "N", default_value_t = 1)]
    beams: usize,
    /// The score of a finished beam is its log-likelihood divided by its length to this power
    #[arg(long, value_name = "NUMBER", requires = "beams")]
    length_penalty: Option<f64>,
    /// Draw tokens, with this temperature
    #[arg(long, value_name = "NUMBER", conflicts_with = "beams")]
    temperature: Option<f64>,
    /// Of drawing: only so many of the likeliest tokens
    #[arg(long, value_name = "N", requires = "temperature")]
    top_k: Option<usize>,
    /// Of drawing: only the likeliest tokens that together reach this probability
    #[arg(long, value_name = "NUMBER", requires = "temperature")]
    top_p: Option<f64>,
    /// Of drawing
    #[arg(long, value_name = "N", requires = "temperature")]
    seed: Option<u64>,
    /// The length of n-grams that must not repeat; 0 = no ban
    #[arg(long, value_name = "N", default_value_t = 0)]
    no_repeat_ngram: usize,
    /// The largest number of tokens of a text
    #[arg(long, value_name = "N", default_value_t = 64)]
    max_new: usize,
    /// A JSON object for each context, in their order
    #[arg(long)]
    json: bool,
    /// Contexts of a batch
    #[arg(long, value_name = "N", default_value_t = 16)]
    batch: usize,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Prints a text for each context, batch by batch.
///
/// # Errors
/// Adapters, bases and files that are missing or do not fit; settings that cannot be used.
pub fn generate(args: &GenerateArgs) -> Result<String> {
    ensure!(args.batch > 0, "--batch must be at least 1");
    let contexts = contexts(args)?;
    ensure!(!contexts.is_empty(), "there are no contexts");
    let writer = Writer::open(args)?;
    let prompts = writer.prompts(args, &contexts)?;
    let settings = writer.settings(args)?;
    let generator = Generator {
        model: writer.model.as_ref(),
        settings: &settings,
        batch_size: args.batch,
        device: writer.device,
        stop: None,
    };
    let mut out = std::io::stdout().lock();
    for (contexts, prompts) in contexts.chunks(args.batch).zip(prompts.chunks(args.batch)) {
        let written = generator.generate(prompts, &mut |_| {})?;
        for (context, generation) in contexts.iter().zip(written) {
            let text = writer.text(&generation.tokens)?;
            if args.json {
                writeln!(
                    out,
                    "{}",
                    json!({"context": context, "text": text, "score": generation.score})
                )?;
            } else {
                writeln!(out, "{text}")?;
            }
        }
        out.flush()?;
    }
    Ok(String::new())
}

/// A language model with its adapter.
struct Writer {
    model: Box<dyn Model>,
    tokenizer: Tokenizer,
    frame: Frame,
    /// The tokens that end a text.
    ends: Vec<u32>,
    device: Device,
}

impl Writer {
    fn open(args: &GenerateArgs) -> Result<Writer> {
        let (_, device) = args.compute.start()?;
        let beside = Beside {
            adapter: &args.adapter,
            base: args.base.as_deref(),
            alpha: args.alpha,
            task: None,
            fresh_head: false,
        };
        let (Stored { about, trained }, BaseModel { base, .. }) = beside.open()?;
        let method = method::from_value(&about.method)?;
        let (model, _) = base.load_trained(method.as_ref(), &trained, device, args.compute.dtype.kind())?;
        ensure!(
            model.causal().is_some(),
            "{}: an adapter of a classifier, which writes no texts; `lora predict` asks it",
            args.adapter.display()
        );
        let tokenizer = Tokenizer::from_dir(&base.dir)?;
        let known = model::end_tokens(&base.dir)?;
        let known: Vec<u32> = known.into_iter().filter_map(|id| u32::try_from(id).ok()).collect();
        let frame = Frame::of(&tokenizer, &known)?;
        Ok(Writer {
            ends: if known.is_empty() { vec![frame.end] } else { known },
            model,
            tokenizer,
            frame,
            device,
        })
    }

    /// The tokens of each context, and of what follows it.
    fn prompts(&self, args: &GenerateArgs, contexts: &[String]) -> Result<Vec<Vec<i64>>> {
        let most = self.model.max_len();
        let room = usize::try_from(most)?.saturating_sub(args.max_new);
        ensure!(
            room > 1,
            "--max-new {}: the model takes {most} tokens in all",
            args.max_new
        );
        let mut ids = encode::contexts(&self.tokenizer, contexts, self.frame, room)?;
        if args.plain {
            ids.iter_mut().for_each(|ids| ids.truncate(ids.len().saturating_sub(1)));
            let some = ids.iter().all(|ids| !ids.is_empty());
            ensure!(some, "with --plain a context must not be empty");
        }
        Ok(ids
            .into_iter()
            .map(|ids| ids.into_iter().map(i64::from).collect())
            .collect())
    }

    fn settings(&self, args: &GenerateArgs) -> Result<GenerationSettings> {
        Ok(GenerationSettings {
            strategy: strategy(args)?,
            max_new_tokens: args.max_new,
            end: self.ends.iter().map(|id| i64::from(*id)).collect(),
            no_repeat_ngram: args.no_repeat_ngram,
            bad_words: Vec::new(),
        })
    }

    /// The text of generated tokens, up to the first that ends it.
    fn text(&self, tokens: &[i64]) -> Result<String> {
        let tokens: Vec<u32> = tokens.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
        let tokens = tokens.split(|id| self.ends.contains(id)).next().unwrap_or_default();
        Ok(self.tokenizer.decode(tokens)?.trim().to_owned())
    }
}

fn strategy(args: &GenerateArgs) -> Result<Strategy> {
    if let Some(temperature) = args.temperature {
        return Ok(Strategy::Sample {
            temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            seed: args.seed.unwrap_or(0),
        });
    }
    match (args.beams, args.length_penalty) {
        (0, _) => bail!("--beams 0: at least 1"),
        (1, None) => Ok(Strategy::Greedy),
        (1, Some(_)) => bail!("--length-penalty chooses between beams; give --beams 2 or more"),
        (beams, penalty) => Ok(Strategy::Beam {
            beams,
            length_penalty: penalty.unwrap_or(1.0),
            flavour: Flavour::Paper,
        }),
    }
}

fn contexts(args: &GenerateArgs) -> Result<Vec<String>> {
    if let Some(path) = &args.file {
        let OwnRows { columns, rows } = rows::read(path)?;
        let name = args.text.as_deref().unwrap_or(TEXT);
        let at = rows::column(path, &columns, name).context("name the column of the contexts with --text")?;
        let cell = |row: rows::OwnRow| {
            let missing = || format!("{}:{}: no value in column \"{name}\"", path.display(), row.line);
            row.cells[at].clone().with_context(missing)
        };
        return rows.into_iter().map(cell).collect();
    }
    texts::given(&args.contexts, "contexts")
}
