//! Text generation after training: a text for each context of a split, batch by batch. Each batch is kept at once, so that a run
//! that is stopped goes on from there.

pub mod scorers;
mod so_far;

use crate::config::settings::DecodeConfig;
use crate::task::generation::scorers::Scorers;
use crate::task::generation::so_far::TextsSoFar;
use crate::task::run_paths::RunPaths;
use crate::task::{DataReader, Metrics, PostTraining, StageContext, StageOutputs, StageScores, agreed, finite};
use anyhow::{Context, Result, bail, ensure};
use datasets::Tokenizer;
use datasets::text::encode::{self, Frame};
use datasets::text::{Prompt, TextScorer};
use lora_core::generate::{Generation, GenerationSettings, Generator};
use lora_core::model::Model;
use lora_core::profile::{Phase, phase};
use lora_core::seed::derive;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use tch::Device;

/// What a task's texts are, beside their rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextForm {
    /// The task.
    pub task: &'static str,
    /// How generated texts are scored.
    pub scorer: TextScorer,
    /// Whether a text ends at its first blank line, as in the paper's code.
    pub ends_at_blank_line: bool,
    /// The text before contexts, in the encoding of Li and Liang's code.
    pub lead: Option<&'static str>,
}

/// The contexts of a split, and how texts are generated for them.
#[derive(Debug)]
pub struct GenerationTask {
    form: TextForm,
    /// The contexts with their references.
    prompts: Vec<Prompt>,
    /// The contexts' ids.
    ids: Vec<Vec<i64>>,
    tokenizer: Tokenizer,
    /// Tokens at which a text ends: the one that ends texts in training, the model's others, and a blank line where it ends
    /// texts and is one token.
    ends: Vec<i64>,
    decode: DecodeConfig,
}

/// A line of a file of texts: the context's index, and the text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    row: usize,
    text: String,
}

impl GenerationTask {
    pub(super) fn new(
        form: TextForm,
        prompts: Vec<Prompt>,
        (reader, frame): (&DataReader, Frame),
        (decode, max_len): (&DecodeConfig, usize),
    ) -> Result<GenerationTask> {
        let tokenizer = reader.tokenizer;
        let contexts: Vec<&str> = prompts.iter().map(|p| p.context.as_str()).collect();
        // As in the paper's code, long contexts are cut at the beginning, which leaves room for the new tokens.
        let ids = encode::contexts(tokenizer, &contexts, frame, max_len - decode.max_new_tokens)?;
        // The byte-level alphabet writes a newline as Ċ.
        let blank = tokenizer.token_id("ĊĊ").filter(|_| form.ends_at_blank_line);
        Ok(GenerationTask {
            form,
            ids: ids
                .into_iter()
                .map(|ids| ids.into_iter().map(i64::from).collect())
                .collect(),
            prompts,
            tokenizer: tokenizer.clone(),
            ends: std::iter::once(frame.end)
                .chain(reader.ends.iter().copied().filter(|end| *end != frame.end))
                .chain(blank)
                .map(i64::from)
                .collect(),
            decode: decode.clone(),
        })
    }

    /// Generates all texts, or those that are missing; `progress` gets their number. Each rank generates the next batch, and the
    /// first keeps and returns the texts of all.
    fn generate(
        &self,
        model: &dyn Model,
        context: &StageContext,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<String>> {
        let ranks = context.ranks;
        let mut so_far = self.texts_so_far(context)?;
        let batches = self.batches();
        let mut missing: Vec<u8> = batches.iter().map(|batch| u8::from(!so_far.has(batch))).collect();
        ranks.broadcast(&mut missing)?;
        progress(so_far.texts.len());
        let missing: Vec<usize> = (0..batches.len()).filter(|number| missing[*number] == 1).collect();
        for round in missing.chunks(ranks.size()) {
            if ranks.any(context.stop.load(Ordering::Relaxed))? {
                let (done, total) = (so_far.texts.len(), self.ids.len());
                return Err(lora_core::Error::GenerationStopped { done, total }.into());
            }
            let written = ranks.deal(round.len(), &mut |i| {
                let texts = self.batch(model, context, (round[i], &batches[round[i]]))?;
                serde_json::to_vec(&texts).map_err(|e| lora_core::Error::Ranks(e.to_string()))
            })?;
            let written: Vec<Vec<(usize, String)>> = written
                .iter()
                .map(|texts| serde_json::from_slice(texts))
                .collect::<Result<_, _>>()?;
            let added = so_far.add(written.concat());
            agreed(ranks, added)?;
            progress(so_far.texts.len());
        }
        let mut texts = so_far.texts;
        let all = (0..self.ids.len()).map(|row| texts.remove(&row).unwrap_or_default());
        Ok(all.collect())
    }

    /// The texts of an earlier attempt, which the first rank knows.
    fn texts_so_far(&self, context: &StageContext) -> Result<TextsSoFar> {
        let opened = match context.ranks.is_first() {
            true => TextsSoFar::open(&context.paths.texts_so_far(), self.ids.len()),
            false => Ok(TextsSoFar::elsewhere()),
        };
        agreed(context.ranks, opened)
    }

    /// The texts of the contexts `rows`, the batch with this number.
    fn batch(
        &self,
        model: &dyn Model,
        context: &StageContext,
        (number, rows): (usize, &[usize]),
    ) -> lora_core::Result<Vec<(usize, String)>> {
        let settings = self.settings(derive(context.seed, "texts", number as u64));
        let generator = Generator {
            model,
            settings: &settings,
            batch_size: rows.len(),
            device: context.device,
            // Several ranks stop together, after a batch.
            stop: context.ranks.is_alone().then_some(context.stop),
        };
        let ids: Vec<Vec<i64>> = rows.iter().map(|row| self.ids[*row].clone()).collect();
        let written = generator.generate(&ids, &mut |_| {})?;
        let text = |(row, g): (&usize, Generation)| Ok((*row, self.text(&g.tokens)?));
        let texts: Result<Vec<_>> = rows.iter().zip(written).map(text).collect();
        texts.map_err(|e| lora_core::Error::Config(format!("{e:#}")))
    }

    /// The contexts of each batch, by length. They are the same in each process, so that a resumed run computes the same texts.
    fn batches(&self) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        order.sort_by_key(|row| self.ids[*row].len());
        order.chunks(self.decode.batch_size).map(<[usize]>::to_vec).collect()
    }

    /// Scores `texts`, one a context, as `test/BLEU` and so on.
    fn score(&self, texts: &[String], scorers: &Scorers) -> Result<StageScores> {
        let _scoring = phase(Phase::Scoring, Device::Cpu);
        let metrics = self
            .form
            .scorer
            .score(&self.decode.split, &self.prompts, texts, scorers)?;
        finite::metrics(&metrics).context("scoring the texts")?;
        let with_data = |name: &String| ["METEOR", "TER", "bleu_nltk"].iter().any(|score| name.ends_with(score));
        let data = || {
            scorers
                .data_sha256()
                .into_iter()
                .map(|(name, hash)| (name.into(), hash))
        };
        Ok(StageScores {
            scorer_data: metrics.keys().any(with_data).then(|| data().collect()),
            metrics,
        })
    }

    /// The texts of a finished run, if they are there: as many as there are contexts.
    fn kept(&self, paths: &RunPaths) -> Result<Option<Vec<String>>> {
        let path = paths.texts();
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(None);
        };
        let mut texts = read_lines(&text, self.ids.len()).with_context(|| path.display().to_string())?;
        let all: Option<Vec<String>> = (0..self.ids.len()).map(|row| texts.remove(&row)).collect();
        all.map(Some)
            .with_context(|| format!("{}: not as many texts as contexts", path.display()))
    }

    /// The text of generated ids, trimmed: up to its end, or the first blank line where that ends texts, as in the paper's code.
    fn text(&self, ids: &[i64]) -> Result<String> {
        let ids = ids.split(|id| self.ends.contains(id)).next().unwrap_or_default();
        let ids: Vec<u32> = ids.iter().filter_map(|id| u32::try_from(*id).ok()).collect();
        let text = self.tokenizer.decode(&ids)?;
        Ok(match self.form.ends_at_blank_line {
            true => encode::answer(&text),
            false => text.trim(),
        }
        .to_string())
    }

    fn settings(&self, seed: u64) -> GenerationSettings {
        let d = &self.decode;
        GenerationSettings {
            strategy: d.strategy(seed),
            max_new_tokens: d.max_new_tokens,
            end: self.ends.clone(),
            no_repeat_ngram: d.no_repeat_ngram,
            bad_words: d.bad_words.clone(),
        }
    }
}

impl PostTraining for GenerationTask {
    fn inputs(&self) -> usize {
        self.prompts.len()
    }

    fn uses_selected_weights(&self) -> bool {
        true
    }

    fn check(&self, model: &dyn Model) -> Result<()> {
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

    fn seconds_per_input(&self, model: &dyn Model, device: Device) -> Result<f64> {
        const TOKENS: usize = 6;
        let settings = GenerationSettings {
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

    fn run(&self, model: &dyn Model, context: &StageContext, progress: &mut dyn FnMut(usize)) -> Result<StageScores> {
        let texts = self.generate(model, context, progress)?;
        if !context.ranks.is_first() {
            return Ok(StageScores::default());
        }
        let scores = self.score(&texts, context.scorers)?;
        let lines: Result<Vec<String>> = texts.iter().enumerate().map(|(row, text)| line(row, text)).collect();
        support::write_atomic(context.paths.texts(), lines?.concat().as_bytes())?;
        Ok(scores)
    }

    fn rescore(&self, metrics: &Metrics, paths: &RunPaths, scorers: &Scorers) -> Result<Option<StageScores>> {
        if !scorers.would_add(metrics) {
            return Ok(None);
        }
        let texts = self.kept(paths)?;
        texts.map(|texts| self.score(&texts, scorers)).transpose()
    }

    fn outputs(&self, paths: &RunPaths) -> Result<Option<StageOutputs<'_>>> {
        fn example(prompt: &Prompt) -> (&str, &str) {
            let reference = prompt.references.first().map(String::as_str);
            (&prompt.context, reference.unwrap_or_default())
        }
        Ok(self.kept(paths)?.map(|texts| StageOutputs {
            split: &self.decode.split,
            inputs: self.prompts.iter().map(example).collect(),
            texts,
        }))
    }

    fn summary(&self, metrics: &Metrics) -> Option<String> {
        let shown = metrics.iter().map(|(key, value)| match value {
            Some(value) => format!("{key} {}", results::table::text_metric(key, *value)),
            None => format!("{key} –"),
        });
        Some(shown.collect::<Vec<_>>().join(", "))
    }

    fn clean_up(&self, paths: &RunPaths) -> Result<()> {
        let path = paths.texts_so_far();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
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
