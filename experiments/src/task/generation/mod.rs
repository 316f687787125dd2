//! Generation after training: the contexts of a split are continued, batch by batch, and every batch is kept at once, so that
//! a run that is stopped goes on from there.

pub mod scorers;

use crate::config::settings::{DecodeConfig, Flavour, Strategy};
use crate::task::Metrics;
use crate::task::generation::scorers::Scorers;
use anyhow::{Context, Result, bail, ensure};
use datasets::Tokenizer;
use datasets::text::encode::{self, Frame};
use datasets::text::{Dataset, Prompt};
use lora_core::generate::{self, Generator, Settings};
use lora_core::model::Model;
use lora_core::seed::derive;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tch::Device;

/// What is to be written.
#[derive(Debug)]
pub struct GenerationTask {
    dataset: &'static Dataset,
    /// The contexts with their references.
    pub prompts: Vec<Prompt>,
    /// The contexts' ids.
    ids: Vec<Vec<i64>>,
    tokenizer: Tokenizer,
    /// Tokens at which a text ends: the end of a text, and a blank line where that is one token.
    ends: Vec<i64>,
    /// How.
    pub decode: DecodeConfig,
}

/// Where a run's texts are.
#[derive(Clone, Copy, Debug)]
pub struct RunPaths<'a> {
    /// The folder of the experiment.
    pub out: &'a Path,
    /// The run's id.
    pub run: &'a str,
}

/// A line of a file of texts: which context, and what was written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    row: usize,
    text: String,
}

impl RunPaths<'_> {
    /// The texts of a finished run, one JSON object a line.
    pub fn texts(&self) -> PathBuf {
        self.out.join("texts").join(format!("{}.jsonl", self.run))
    }

    /// What has been written so far of a run in progress.
    fn so_far(&self) -> PathBuf {
        self.out.join("checkpoints").join(format!("{}.texts.jsonl", self.run))
    }

    /// Forgets what has been written so far.
    ///
    /// # Errors
    /// What the system says.
    pub fn forget(&self) -> Result<()> {
        let path = self.so_far();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

impl GenerationTask {
    pub(super) fn new(
        dataset: &'static Dataset,
        prompts: Vec<Prompt>,
        (tokenizer, frame): (&Tokenizer, Frame),
        (decode, max_len): (&DecodeConfig, usize),
    ) -> Result<GenerationTask> {
        let contexts: Vec<&str> = prompts.iter().map(|p| p.context.as_str()).collect();
        // As in the paper's code what is too long is cut at the beginning, and room is left for what is written.
        let ids = encode::prompts(tokenizer, &contexts, frame, max_len - decode.max_new_tokens)?;
        // The byte-level alphabet writes a newline as Ċ.
        let blank = tokenizer.token_id("ĊĊ");
        Ok(GenerationTask {
            dataset,
            ids: ids
                .into_iter()
                .map(|ids| ids.into_iter().map(i64::from).collect())
                .collect(),
            prompts,
            tokenizer: tokenizer.clone(),
            ends: std::iter::once(frame.end).chain(blank).map(i64::from).collect(),
            decode: decode.clone(),
        })
    }

    /// Refuses a model that could not write these texts, before it is trained.
    ///
    /// # Errors
    /// A context and what follows it that are longer than the model takes; a tokenizer of another model.
    pub fn check(&self, model: &dyn Model) -> Result<()> {
        ensure!(
            model.causal().is_some(),
            "the model does not write from left to right: {} needs a GPT-2",
            self.dataset.id
        );
        let beyond = self.decode.bad_words.iter().flatten();
        if let Some(id) = beyond.copied().find(|id| !(0..model.vocab()).contains(id)) {
            bail!(
                "`decode.bad_words` names token {id}, and the model has tokens 0 to {}",
                model.vocab() - 1
            );
        }
        let longest = self.ids.iter().map(Vec::len).max().unwrap_or(0) + self.decode.max_new_tokens;
        ensure!(
            longest as i64 <= model.max_len(),
            "the longest context and {} new tokens are {longest} tokens, but the model takes {}: lower `train.max_len` to {}",
            self.decode.max_new_tokens,
            model.max_len(),
            model.max_len()
        );
        let known = i64::from(self.tokenizer.max_id()) + 1;
        ensure!(
            known <= model.vocab(),
            "the tokenizer has {known} tokens and the model {}: it is another model's",
            model.vocab()
        );
        if known < model.vocab() {
            let unknown = model.vocab() - known;
            tracing::warn!("the model has {unknown} tokens that the tokenizer does not know; they give no text");
        }
        Ok(())
    }

    /// Writes all texts, or those that are missing, and tells after each batch how many there are.
    ///
    /// # Errors
    /// [`lora_core::Error::GenerationStopped`] after Ctrl-C; files that cannot be written; not enough memory.
    pub fn write(
        &self,
        model: &dyn Model,
        (seed, device): (u64, Device),
        place: RunPaths,
        stop: &AtomicBool,
        emit: &mut dyn FnMut(usize),
    ) -> Result<Vec<String>> {
        let mut texts = self.read_so_far(&place.so_far())?;
        let mut file = open(&place.so_far())?;
        emit(texts.len());
        for (number, batch) in self.batches().into_iter().enumerate() {
            let settings = self.settings(derive(seed, "texts", number as u64));
            if batch.iter().all(|row| texts.contains_key(row)) {
                continue;
            }
            if stop.load(Ordering::Relaxed) {
                let (done, total) = (texts.len(), self.ids.len());
                return Err(lora_core::Error::GenerationStopped { done, total }.into());
            }
            let generator = Generator {
                model,
                settings: &settings,
                batch_size: batch.len(),
                device,
                stop: Some(stop),
            };
            let ids: Vec<Vec<i64>> = batch.iter().map(|row| self.ids[*row].clone()).collect();
            let written = generator.generate(&ids, &mut |_| {})?;
            let mut lines = String::new();
            for (row, generation) in batch.iter().zip(written) {
                let text = self.text(&generation.tokens)?;
                lines += &line(*row, &text)?;
                texts.insert(*row, text);
            }
            let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
            written.with_context(|| format!("writing {}", place.so_far().display()))?;
            emit(texts.len());
        }
        let all = (0..self.ids.len()).map(|row| texts.remove(&row).unwrap_or_default());
        Ok(all.collect())
    }

    /// The contexts of each batch: of like length, and the same whenever they are asked for, so that a run that goes on
    /// computes what it would have computed.
    fn batches(&self) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        order.sort_by_key(|row| self.ids[*row].len());
        order.chunks(self.decode.batch_size).map(<[usize]>::to_vec).collect()
    }

    /// Lines that are whole; a line that was cut short by the end of the process is written again.
    fn read_so_far(&self, path: &Path) -> Result<HashMap<usize, String>> {
        let text = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
            other => other.with_context(|| format!("reading {}", path.display()))?,
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        if whole.len() < text.len() {
            support::write_atomic(path, whole.as_bytes())?;
        }
        read_lines(whole, self.ids.len())
            .with_context(|| format!("{}; delete it to write the texts anew", path.display()))
    }

    /// Scores `texts`, one a context, as `test/BLEU` and so on.
    ///
    /// # Errors
    /// What the scorers say.
    pub fn score(&self, texts: &[String], tools: &Scorers) -> Result<Metrics> {
        Ok(self.dataset.score(&self.decode.split, &self.prompts, texts, tools)?)
    }

    /// Keeps the texts of a finished run, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&self, texts: &[String], place: RunPaths) -> Result<()> {
        let lines: Result<Vec<String>> = texts.iter().enumerate().map(|(row, text)| line(row, text)).collect();
        Ok(support::write_atomic(place.texts(), lines?.concat().as_bytes())?)
    }

    /// The texts of a finished run, if they are there: as many as there are contexts.
    ///
    /// # Errors
    /// A file that is not of these contexts.
    pub fn kept(&self, place: RunPaths) -> Result<Option<Vec<String>>> {
        let path = place.texts();
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(None);
        };
        let mut texts = read_lines(&text, self.ids.len()).with_context(|| path.display().to_string())?;
        let all: Option<Vec<String>> = (0..self.ids.len()).map(|row| texts.remove(&row)).collect();
        all.map(Some)
            .with_context(|| format!("{}: not as many texts as contexts", path.display()))
    }

    /// What is left of generated ids: up to the end of the text and the first blank line, without blanks around it, as the
    /// paper's code has it.
    fn text(&self, ids: &[i64]) -> Result<String> {
        let ids: Vec<u32> = ids.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
        Ok(encode::answer(&self.tokenizer.decode(&ids)?).to_string())
    }

    fn settings(&self, seed: u64) -> Settings {
        let d = &self.decode;
        let strategy = match d.strategy {
            Strategy::Greedy => generate::Strategy::Greedy,
            Strategy::Sample => generate::Strategy::Sample {
                temperature: d.temperature,
                top_k: None,
                top_p: None,
                seed,
            },
            Strategy::Beam => generate::Strategy::Beam {
                beams: d.beams,
                length_penalty: d.length_penalty,
                flavour: match d.flavour {
                    Flavour::Paper => generate::Flavour::Paper,
                    Flavour::Transformers => generate::Flavour::Transformers,
                    Flavour::Transformers3 => generate::Flavour::Transformers3,
                },
            },
        };
        Settings {
            strategy,
            max_new_tokens: d.max_new_tokens,
            end: self.ends.clone(),
            no_repeat_ngram: d.no_repeat_ngram,
            bad_words: d.bad_words.clone(),
        }
    }

    /// Seconds that a text takes, by a few tokens of the first batch.
    ///
    /// # Errors
    /// As [`GenerationTask::write`].
    pub fn pace(&self, model: &dyn Model, device: Device) -> Result<f64> {
        const TOKENS: usize = 6;
        let settings = Settings {
            max_new_tokens: TOKENS.min(self.decode.max_new_tokens),
            ..self.settings(0)
        };
        let batch: Vec<Vec<i64>> = self.ids.iter().take(self.decode.batch_size).cloned().collect();
        let generator = Generator {
            model,
            settings: &settings,
            batch_size: batch.len(),
            device,
            stop: None,
        };
        let mut took = 0.0;
        // The first time memory is taken and kernels are chosen.
        for _ in 0..2 {
            let since = std::time::Instant::now();
            generator.generate(&batch, &mut |_| {})?;
            took = since.elapsed().as_secs_f64();
        }
        let share = self.decode.max_new_tokens as f64 / settings.max_new_tokens as f64;
        Ok(took * share / batch.len().max(1) as f64)
    }
}

fn line(row: usize, text: &str) -> Result<String> {
    let text = text.to_string();
    Ok(serde_json::to_string(&Line { row, text })? + "\n")
}

fn read_lines(text: &str, rows: usize) -> Result<HashMap<usize, String>> {
    let mut texts = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        ensure!(line.row < rows, "line {}: there is no context {}", number + 1, line.row);
        texts.insert(line.row, line.text);
    }
    Ok(texts)
}

fn open(path: &Path) -> Result<std::fs::File> {
    let make = || {
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::OpenOptions::new().create(true).append(true).open(path)
    };
    make().with_context(|| format!("opening {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back() {
        let text = line(1, "a \"b\"\nc").unwrap() + &line(0, "").unwrap();
        assert_eq!(text.lines().count(), 2);
        let texts = read_lines(&text, 2).unwrap();
        assert_eq!((texts[&1].as_str(), texts[&0].as_str()), ("a \"b\"\nc", ""));
        assert!(read_lines(&text, 1).unwrap_err().to_string().contains("no context 1"));
        assert!(read_lines("{\"row\": 0}", 1).is_err());
    }
}
