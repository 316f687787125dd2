//! Tasks of text generation: a text is generated after a context.
//!
//! Training is on `context, end, completion, end` with the completion and its end scored, as in the paper's GPT-2 code; the loss
//! on dev selects the epoch; then texts are generated for the contexts of one split and scored.

use crate::config::run_config::RunConfig;
use crate::config::settings::{DecodeConfig, Encoding, Limit, LossOver, TrainConfig};
use crate::inputs::locator::{DataSource, at};
use crate::task::generation::{GenerationTask, TextForm};
use crate::task::shown::Shown;
use crate::task::{DataReader, Evaluator, HELD_OUT, HeadKind, Metrics, NoStage, PostTraining, Task, TaskRows};
use anyhow::{Context, Result, bail, ensure};
use datasets::text::encode::{self, Cut, Frame};
use datasets::text::{self, DATASETS, Dataset, TextData, TextSplit};
use lora_core::batch::{Row, Target, UNSCORED};
use lora_core::model::Model;
use lora_core::train::{Criterion, Objective, Passes, token_scores_by};

impl Task for Dataset {
    fn id(&self) -> &'static str {
        self.id
    }

    fn about(&self) -> String {
        format!("{} ({})", self.name, self.metrics.join(", "))
    }

    fn check(&self, run: &RunConfig) -> Result<()> {
        let decode = decode(run)?;
        let known: Vec<&str> = self.splits.iter().map(|s| s.name).collect();
        ensure!(
            known.contains(&decode.split.as_str()) && decode.split != "train",
            "`decode.split` is `{}`; it must be dev or test",
            decode.split
        );
        check_length(run)?;
        lead(self, run.train.encoding)?;
        self.template(run.prompt.as_deref())?;
        Ok(())
    }

    fn load(&self, run: &RunConfig, reader: &DataReader) -> Result<TaskRows> {
        let dataset = text::find(self.id)?;
        let decode = decode(run)?;
        let mut splits = vec!["train", "dev"];
        if !splits.contains(&decode.split.as_str()) {
            splits.push(&decode.split);
        }
        let (data, source) = read(dataset, reader.data, &splits, run.prompt.as_deref())?;
        let form = TextForm {
            task: dataset.id,
            scorer: dataset.scorer,
            ends_at_blank_line: true,
            lead: lead(self, run.train.encoding)?,
        };
        let rows = rows(form, run, reader, &data.splits)?;
        Ok(TaskRows {
            sha256: data.sha256,
            source,
            ..rows
        })
    }

    fn show(&self, data: &DataSource) -> Result<Vec<Shown>> {
        let dataset = text::find(self.id)?;
        let known: Vec<&str> = dataset.splits.iter().map(|s| s.name).collect();
        let (data, _) = read(dataset, data, &known[..2], None)?;
        Ok(data.splits.into_iter().map(Shown::of_texts).collect())
    }
}

/// The rows of `run` out of `splits`: `train`, `dev`, and the one whose contexts are decoded. Hash and source are left empty.
pub(super) fn rows(form: TextForm, run: &RunConfig, reader: &DataReader, splits: &[TextSplit]) -> Result<TaskRows> {
    let decode = decode(run)?;
    let split = |name: &str| splits.iter().find(|split| split.name == name);
    let (frame, max_len) = (Frame::of(reader.tokenizer, reader.ends)?, run.train.max_len);
    let frame = form.lead.map_or(frame, |lead| frame.li_liang(lead));
    let pairs = |name: &str| split(name).map(|s| s.pairs.clone()).unwrap_or_default();
    let rows = |name: &str, pairs: Vec<_>| -> Result<Vec<Row>> {
        // The completion must be kept, and decoding cuts contexts at the same side. (The paper's code cuts rows at their end;
        // no row of E2E, WebNLG and DART reaches its limit of 512 tokens.)
        let encoded = encode::pairs(reader.tokenizer, &pairs, frame, max_len, Cut::Start)?;
        if encoded.cut > 0 {
            let (cut, all) = (encoded.cut, encoded.pairs.len());
            tracing::warn!(
                "{} {name}: {cut} of {all} rows are longer than `train.max_len` {max_len}; their contexts are cut at the beginning",
                form.task
            );
        }
        Ok(encoded.pairs.into_iter().map(row).collect())
    };
    let (train, held_out) = run
        .limit
        .hold_out(run.limit.train(pairs("train")), |pair| pair.context.clone());
    let train = rows("train", train)?;
    let judged = if run.limit.held_out.is_some() { HELD_OUT } else { "dev" };
    let dev = match judged {
        HELD_OUT => rows(judged, held_out)?,
        _ => rows(judged, Limit::cut(pairs("dev"), run.limit.dev))?,
    };
    let prompts = split(&decode.split)
        .filter(|_| judged == "dev")
        .map(|s| s.prompts.clone());
    let prompts = Limit::cut(prompts.unwrap_or_default(), run.limit.test);
    Ok(TaskRows {
        train,
        evaluator: Box::new(TextEvaluator {
            split: judged,
            dev,
            generation: GenerationTask::new(form, prompts, (reader, frame), (decode, max_len))?,
        }),
        paired: false,
        sha256: String::new(),
        source: None,
    })
}

/// The text that Li and Liang's code puts before contexts; none for the paper's encoding.
fn lead(dataset: &Dataset, encoding: Encoding) -> Result<Option<&'static str>> {
    if encoding == Encoding::Paper {
        return Ok(None);
    }
    let known = DATASETS.iter().filter(|d| d.li_liang.is_some()).map(|d| d.id);
    let lead = dataset.li_liang.with_context(|| {
        format!(
            "`train.encoding` is li_liang, whose code knows {}; leave it out for {}",
            known.collect::<Vec<_>>().join(", "),
            dataset.id
        )
    });
    lead.map(Some)
}

/// Each position predicts the next token; positions from the end of the context on are scored.
fn row(pair: encode::EncodedPair) -> Row {
    let mut ids: Vec<i64> = pair.ids.into_iter().map(i64::from).collect();
    let mut wanted = vec![UNSCORED; pair.scored_from - 1];
    wanted.extend(&ids[pair.scored_from..]);
    ids.pop();
    Row {
        ids,
        types: Vec::new(),
        prompt: Some(pair.scored_from),
        target: Target::Tokens(wanted),
    }
}

/// Refuses decoding settings that leave nothing of `train.max_len` for the context.
pub(super) fn check_length(run: &RunConfig) -> Result<()> {
    let new = decode(run)?.max_new_tokens;
    ensure!(
        new < run.train.max_len,
        "`decode.max_new_tokens` is {new}, and `train.max_len` {}: nothing is left for the context",
        run.train.max_len
    );
    Ok(())
}

/// The run's decoding settings, which tasks of text must have.
pub(super) fn decode(run: &RunConfig) -> Result<&DecodeConfig> {
    let decode = run.decode.as_ref();
    decode.with_context(|| format!("{} generates texts and needs `decode` settings", run.task))
}

/// The texts of these splits, and repository and commit of those from the hub.
fn read(
    dataset: &'static Dataset,
    data: &DataSource,
    splits: &[&str],
    prompt: Option<&str>,
) -> Result<(TextData, Option<String>)> {
    Ok(match data {
        DataSource::Embedded => (dataset.generate(prompt)?, None),
        DataSource::Own(_) | DataSource::OwnTexts(_) => bail!(
            "{} has files of its own form; `data: {{kind: ..., ...}}` is for the programs `text` (kind: text) and `glue`",
            dataset.id
        ),
        DataSource::Folder(dir) => (dataset.load(dir, splits, prompt)?, None),
        DataSource::Hub(r) => {
            let (data, snapshot) = r.hub().texts(dataset, splits, prompt, r.revision())?;
            (data, at(&snapshot))
        }
    })
}

/// The loss on dev, and the texts to generate after training; on held-out training rows the loss alone.
#[derive(Debug)]
struct TextEvaluator {
    /// `dev`, or [`HELD_OUT`].
    split: &'static str,
    dev: Vec<Row>,
    generation: GenerationTask,
}

impl Evaluator for TextEvaluator {
    fn head(&self) -> HeadKind {
        HeadKind::LanguageModel
    }

    fn objective(&self, train: &TrainConfig) -> Objective {
        let label_smoothing = train.label_smoothing;
        match train.loss_over {
            LossOver::Tokens => Objective::Tokens { label_smoothing },
            LossOver::Texts => Objective::Texts { label_smoothing },
        }
    }

    fn criterion(&self) -> Criterion {
        Criterion::new(format!("{}/loss", self.split))
    }

    fn splits(&self) -> Vec<&[Row]> {
        vec![&self.dev]
    }

    /// The mean loss of a scored token, without label smoothing.
    fn evaluate(&self, model: &dyn Model, passes: &Passes) -> Result<Metrics> {
        let scores = token_scores_by(model, &self.dev, passes)?;
        Ok(Metrics::from([(format!("{}/loss", self.split), Some(scores.loss))]))
    }

    fn post_training(&self) -> &dyn PostTraining {
        if self.split == HELD_OUT {
            return &NoStage;
        }
        &self.generation
    }
}
