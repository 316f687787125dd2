//! `lora generate`: a trained adapter of a language model continues contexts of the user's own.

mod decoding;
mod stream;

use crate::config::run_config::RunConfig;
use crate::config::settings::Encoding;
use crate::inputs::compute::ComputeArgs;
use crate::inputs::texts;
use crate::tools::adapter::Beside;
use crate::tools::adapter::stored::{BaseModel, Stored};
use crate::tools::generate::decoding::{Decoding, DecodingArgs};
use crate::tools::generate::stream::Printed;
use anyhow::{Context, Result, ensure};
use clap::Args;
use datasets::Tokenizer;
use datasets::rows::{self, OwnRows, TEXT};
use datasets::text::encode::{self, Frame};
use datasets::text::{self, Dataset};
use lora_core::generate::{GenerationSettings, Generator, Strategy};
use lora_core::method;
use lora_core::model::{self, Model};
use serde_json::json;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use tch::Device;

/// `lora generate`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora generate --adapter results/own/1977ecad94f36450 \\\n      \"name : Blue Spice | Type : coffee shop\"\n  lora generate --adapter peft/e2e --base gpt2-medium --file contexts.txt \\\n      --beams 10 --length-penalty 0.9 --json\n  lora generate --adapter adapters/chat --temperature 0.7 --top-p 0.9 \\\n      --seed 3 < prompts.txt\n\nThe adapter of a run is decoded as the run decoded, but for what flags say; stderr has the settings. On a terminal one context's text is printed\ntoken by token, unless there are beams. Of several contexts each text is one line; --json keeps their line breaks.\n\nAn end-of-text token follows each context, as in training here; --plain leaves it out, for adapters that were trained otherwise."
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
    #[command(flatten)]
    decoding: DecodingArgs,
    /// A JSON object for each context, in their order
    #[arg(long)]
    json: bool,
    /// Contexts of a batch [default: that of the run, or 16]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    #[command(flatten)]
    compute: ComputeArgs,
}

/// Prints a text for each context, batch by batch; one alone token by token on a terminal, but for beam search.
///
/// # Errors
/// Adapters, bases and files that are missing or do not fit; settings that cannot be used.
pub fn generate(args: &GenerateArgs) -> Result<String> {
    ensure!(args.batch != Some(0), "--batch must be at least 1");
    // What flags alone contradict is said before anything is read.
    args.decoding.check()?;
    let contexts = contexts(args)?;
    ensure!(!contexts.is_empty(), "there are no contexts");
    let writer = Writer::open(args)?;
    let decoding = args
        .decoding
        .beside(writer.run.as_ref().and_then(|run| run.decode.as_ref()))?;
    let prompts = writer.prompts(args, decoding.max_new, &contexts)?;
    eprintln!("{}", decoding.said);
    let settings = writer.settings(decoding);
    let generator = Generator {
        model: writer.model.as_ref(),
        settings: &settings,
        batch_size: args.batch.unwrap_or_else(|| writer.batch()),
        device: writer.device,
        stop: None,
    };
    let searches = matches!(settings.strategy, Strategy::Beam { .. });
    if let ([prompt], false, false) = (&prompts[..], args.json, searches)
        && std::io::stdout().is_terminal()
    {
        return writer.stream(&generator, prompt);
    }
    writer.print(&generator, &contexts, &prompts, args.json)
}

/// A language model with its adapter.
struct Writer {
    model: Box<dyn Model>,
    tokenizer: Tokenizer,
    frame: Frame,
    /// The tokens that end a text.
    ends: Vec<u32>,
    device: Device,
    /// The run whose adapter it is.
    run: Option<RunConfig>,
    /// The data set of the run.
    dataset: Option<&'static Dataset>,
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
        let (Stored { about, trained, config }, BaseModel { base, .. }) = beside.open()?;
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
        let run = config.as_ref().map(RunConfig::from_record).transpose()?;
        let dataset = run.as_ref().and_then(|run| text::find(&run.task).ok());
        let frame = framed(Frame::of(&tokenizer, &known)?, run.as_ref(), dataset);
        let mut ends = if known.is_empty() { vec![frame.end] } else { known };
        // The byte-level alphabet writes a newline as Ċ. Texts of data sets end at a blank line.
        ends.extend(tokenizer.token_id("ĊĊ").filter(|_| dataset.is_some()));
        Ok(Writer {
            ends,
            model,
            tokenizer,
            frame,
            device,
            run,
            dataset,
        })
    }

    /// Contexts of a batch.
    fn batch(&self) -> usize {
        let decode = self.run.as_ref().and_then(|run| run.decode.as_ref());
        decode.map_or(16, |decode| decode.batch_size)
    }

    /// Prints the text of one prompt as it grows.
    fn stream(&self, generator: &Generator, prompt: &[i64]) -> Result<String> {
        let mut out = std::io::stdout().lock();
        let (mut printed, mut fault) = (Printed::default(), None);
        let generation = generator.stream(prompt, &mut |tokens| {
            let text = self.text(tokens).map(|text| printed.next(&text));
            let shown = text.and_then(|text| Ok(write!(out, "{text}").and_then(|()| out.flush())?));
            fault = fault.take().or(shown.err());
        })?;
        fault.map_or(Ok(()), Err)?;
        writeln!(out, "{}", printed.last(&self.text(&generation.tokens)?))?;
        Ok(String::new())
    }

    /// Prints the texts batch by batch.
    fn print(&self, generator: &Generator, contexts: &[String], prompts: &[Vec<i64>], json: bool) -> Result<String> {
        let mut out = std::io::stdout().lock();
        let (batch, contexts_in_all) = (generator.batch_size, contexts.len());
        for (contexts, prompts) in contexts.chunks(batch).zip(prompts.chunks(batch)) {
            let written = generator.generate(prompts, &mut |_| {})?;
            let mut lines = String::new();
            for (context, generation) in contexts.iter().zip(written) {
                let text = self.text(&generation.tokens)?;
                lines += &match json {
                    true => json!({"context": context, "text": text, "score": generation.score}).to_string(),
                    false if contexts_in_all > 1 => on_one_line(&text),
                    false => text,
                };
                lines.push('\n');
            }
            match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
                // A reader such as `head` has enough of it.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                done => done?,
            }
        }
        Ok(String::new())
    }

    /// The tokens of each context, and of what follows it.
    fn prompts(&self, args: &GenerateArgs, max_new: usize, contexts: &[String]) -> Result<Vec<Vec<i64>>> {
        let most = usize::try_from(self.model.max_len())?;
        // A run has cut its contexts to fit the rows that it was trained on.
        let of_run = self.run.as_ref().map_or(most, |run| run.train.max_len.min(most));
        let most = if max_new + 1 < of_run { of_run } else { most };
        let room = most.saturating_sub(max_new);
        ensure!(room > 1, "--max-new {max_new}: the model takes {most} tokens in all");
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

    fn settings(&self, decoding: Decoding) -> GenerationSettings {
        GenerationSettings {
            strategy: decoding.strategy,
            max_new_tokens: decoding.max_new,
            end: self.ends.iter().map(|id| i64::from(*id)).collect(),
            no_repeat_ngram: decoding.no_repeat_ngram,
            bad_words: decoding.bad_words,
        }
    }

    /// The text of generated tokens, up to the first that ends it, and to the first blank line where that ends texts.
    fn text(&self, tokens: &[i64]) -> Result<String> {
        let tokens: Vec<u32> = tokens.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
        let tokens = tokens.split(|id| self.ends.contains(id)).next().unwrap_or_default();
        let text = self.tokenizer.decode(tokens)?;
        let text = if self.dataset.is_some() {
            encode::answer(&text)
        } else {
            text.trim()
        };
        Ok(text.to_owned())
    }
}

/// A text without line breaks.
fn on_one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The frame of the run's encoding.
fn framed(frame: Frame, run: Option<&RunConfig>, dataset: Option<&Dataset>) -> Frame {
    let li_liang = run.is_some_and(|run| run.train.encoding == Encoding::LiLiang);
    let lead = dataset.and_then(|dataset| dataset.li_liang).filter(|_| li_liang);
    lead.map_or(frame, |lead| frame.li_liang(lead))
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

#[cfg(test)]
mod tests {
    use super::on_one_line;

    #[test]
    fn one_line_holds_all_words_of_a_text() {
        assert_eq!(on_one_line("one\n\n  two \nthree"), "one two three");
        assert_eq!(on_one_line(""), "");
    }
}
