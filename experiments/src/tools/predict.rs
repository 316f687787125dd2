//! `lora predict` and `lora evaluate`: a trained adapter on texts of the user's own, and on a task's dev set.

use crate::inputs::compute::ComputeArgs;
use crate::inputs::locator::{DataChoices, DataSource};
use crate::inputs::texts;
use crate::task::glue::read;
use crate::tools::adapter::Beside;
use crate::tools::adapter::stored::{BaseModel, Stored};
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use datasets::rows::{self, OwnRows, TEXT};
use datasets::{Example, GlueTask, Label, TaskKind, Tokenizer};
use indicatif::{ProgressBar, ProgressStyle};
use lora_core::batch::{Row, Target};
use lora_core::model::Model;
use lora_core::{method, train};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tch::Device;

/// The adapter, its base, and how it is computed.
#[derive(Args, Debug)]
pub struct AdapterArgs {
    /// RESULTS/ID of a run whose weights were kept (glue --keep), a folder of `lora adapter import`, a PEFT folder or OWNER/NAME of
    /// one on the hub, or a loralib checkpoint
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: PathBuf,
    /// The base model, where the adapter does not name it
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]")]
    pub base: Option<String>,
    /// Alpha of a loralib checkpoint
    #[arg(long, value_name = "NUMBER")]
    pub alpha: Option<f64>,
    /// The base was fine-tuned on another task, and the adapter has its own head
    #[arg(long)]
    pub fresh_head: bool,
    /// Tokens of a row; longer ones are cut, the longer sentence first. By default as many as the model takes, at most 512
    #[arg(long, value_name = "N")]
    pub max_len: Option<usize>,
    /// Rows of a forward pass
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub batch: usize,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// `lora predict`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora predict --adapter results/own/1977ecad94f36450 \"A sentence.\" \\\n      \"Another one.\"\n  lora predict --adapter peft/mrpc --base FacebookAI/roberta-base \\\n      --file pairs.csv --text a --text-pair b --tsv\n  printf 'one\\ntwo\\n' | lora predict --adapter adapters/cola --json\n\nA tab in a text of the command line or of standard input divides it into a pair; each line of standard input gets an answer."
)]
pub struct PredictArgs {
    #[command(flatten)]
    adapter: AdapterArgs,
    /// The task that a foreign adapter was trained on, such as mnli, which names its classes
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Texts; standard input, one a line, where there are none and no --file
    texts: Vec<String>,
    /// A file of texts: .csv, .tsv, .jsonl, .parquet, or one a line
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    file: Option<PathBuf>,
    /// The column of the texts in --file
    #[arg(long, value_name = "NAME", requires = "file")]
    text: Option<String>,
    /// The column of the second sentences in --file
    #[arg(long, value_name = "NAME", requires = "file")]
    text_pair: Option<String>,
    /// A JSON object for each text
    #[arg(long, conflicts_with = "tsv")]
    json: bool,
    /// Columns divided by tabs, with a header
    #[arg(long)]
    tsv: bool,
}

/// `lora evaluate`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora evaluate --adapter results/own/1977ecad94f36450 --data GLUE\n  lora evaluate --adapter roberta_base_lora_mnli.bin --alpha 16 \\\n      --base FacebookAI/roberta-base --task mnli --data nyu-mll/glue\n\nThe second is the authors' released adapter; it should give 87.5 on the matched dev set of MNLI."
)]
pub struct EvaluateArgs {
    #[command(flatten)]
    adapter: AdapterArgs,
    /// The task, where the adapter does not name it
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Folder of GLUE's data (with CoLA/, MRPC/, ...), nyu-mll/glue on the hub, or embedded for generated tasks
    #[arg(long, value_name = "DIR|OWNER/NAME[@REVISION]")]
    data: String,
    /// A JSON object
    #[arg(long)]
    json: bool,
}

/// A model with its adapter, ready to answer.
pub(crate) struct Answerer {
    model: Box<dyn Model>,
    tokenizer: Tokenizer,
    /// The names of the outputs, where known.
    labels: Vec<String>,
    max_len: usize,
    batch: usize,
    device: Device,
    /// The adapter's task, where known.
    pub(crate) task: Option<String>,
    /// Whether its rows have two texts, where known.
    paired: Option<bool>,
}

impl Answerer {
    pub(crate) fn open(args: &AdapterArgs, task: Option<&GlueTask>) -> Result<Answerer> {
        ensure!(args.batch > 0, "--batch must be at least 1");
        let (_, device) = args.compute.start()?;
        let beside = Beside {
            adapter: &args.adapter,
            base: args.base.as_deref(),
            alpha: args.alpha,
            task,
            fresh_head: args.fresh_head,
        };
        let (Stored { about, trained, .. }, BaseModel { base, .. }) = beside.open()?;
        ensure!(
            !base.head.is_empty(),
            "{}: an adapter of a language model, which writes texts and classifies none",
            args.adapter.display()
        );
        let method = method::from_value(&about.method)?;
        let (model, _) = base.load_trained(method.as_ref(), &trained, device, args.compute.dtype.kind())?;
        let most = (model.max_len() as usize).min(512);
        let max_len = args.max_len.unwrap_or(most);
        ensure!(
            (3..=model.max_len() as usize).contains(&max_len),
            "--max-len {max_len}: the model takes from 3 to {} tokens",
            model.max_len()
        );
        Ok(Answerer {
            tokenizer: Tokenizer::from_dir(&base.dir)?,
            model,
            labels: about.labels,
            max_len,
            batch: args.batch,
            device,
            paired: about.task.as_deref().and_then(pairs).or(about.paired),
            task: about.task,
        })
    }

    /// The outputs for each example, in their order.
    pub(crate) fn outputs(&self, examples: &[Example]) -> Result<Vec<Vec<f32>>> {
        let encoded = self.tokenizer.encode_all(examples, self.max_len)?;
        let wide = |v: Vec<u32>| v.into_iter().map(i64::from).collect();
        let rows: Vec<Row> = encoded
            .into_iter()
            .map(|e| Row {
                ids: wide(e.ids),
                types: wide(e.type_ids),
                prompt: None,
                target: Target::Class(0),
            })
            .collect();
        // Rows of like length together; the outputs go back to their places.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|i| rows[*i].ids.len());
        let bar = ProgressBar::new(rows.len() as u64).with_style(ProgressStyle::with_template(
            "{wide_bar} {pos}/{len} texts, {eta} left",
        )?);
        let mut outputs = vec![Vec::new(); rows.len()];
        for chunk in order.chunks(self.batch) {
            let batch: Vec<Row> = chunk.iter().map(|i| rows[*i].clone()).collect();
            let answers = train::predict(self.model.as_ref(), &batch, self.batch, self.device)?;
            chunk.iter().zip(answers).for_each(|(i, answer)| outputs[*i] = answer);
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        Ok(outputs)
    }

    /// The outputs for each example in the order of the classes of `task`, one after the other.
    ///
    /// # Errors
    /// An adapter with the outputs of another task.
    pub(crate) fn logits(&self, task: &GlueTask, examples: &[Example]) -> Result<Vec<f32>> {
        let order = order(task, &self.labels)?;
        let outputs = self.outputs(examples)?;
        let mut logits = Vec::with_capacity(outputs.len() * order.len());
        for output in &outputs {
            ensure!(
                output.len() == order.len(),
                "the adapter's head has {} outputs, and {} has {}: it is an adapter of another task",
                output.len(),
                task.id,
                order.len()
            );
            logits.extend(order.iter().filter_map(|class| output.get(*class)));
        }
        Ok(logits)
    }
}

/// Answers for the texts.
///
/// # Errors
/// Adapters, bases and files that are missing or do not fit.
pub fn predict(args: &PredictArgs) -> Result<String> {
    let task = args.task.as_deref().map(datasets::find).transpose()?;
    let examples = examples(args)?;
    ensure!(!examples.is_empty(), "there are no texts");
    let answerer = Answerer::open(&args.adapter, task)?;
    if let Some(warning) = unlike_the_task(answerer.task.as_deref(), answerer.paired, &examples) {
        eprintln!("warning: {warning}");
    }
    let outputs = answerer.outputs(&examples)?;
    let paired = examples.iter().any(|example| example.second.is_some());
    let mut text = String::new();
    for (number, (example, output)) in examples.iter().zip(&outputs).enumerate() {
        let answer = Answer::of(output, &answerer.labels)?;
        if args.json {
            writeln!(text, "{}", answer.json(example))?;
        } else if args.tsv {
            if number == 0 {
                writeln!(text, "{}", answer.header(paired))?;
            }
            writeln!(text, "{}", answer.tsv(example, paired))?;
        } else {
            writeln!(text, "{}", answer.line(example))?;
        }
    }
    Ok(text)
}

/// Whether the rows of a known task have two texts.
fn pairs(task: &str) -> Option<bool> {
    datasets::find(task).ok().map(datasets::GlueTask::paired)
}

/// What to say where the adapter was trained on pairs and gets single texts, or the other way round.
fn unlike_the_task(task: Option<&str>, paired: Option<bool>, examples: &[Example]) -> Option<String> {
    let (id, paired) = (task?, paired?);
    let other = examples.iter().filter(|example| example.second.is_some() != paired);
    let texts = match other.count() {
        0 => return None,
        n => support::counted(n, "text"),
    };
    Some(match paired {
        true => format!(
            "{id} is a task of pairs, and {texts} came alone: divide a pair by a tab, or name its second column with --text-pair"
        ),
        false => format!("{id} is a task of single texts, and {texts} came as a pair"),
    })
}

/// The texts to answer for.
fn examples(args: &PredictArgs) -> Result<Vec<Example>> {
    if let Some(path) = &args.file {
        return of_file(path, args.text.as_deref(), args.text_pair.as_deref());
    }
    let texts = texts::given(&args.texts, "texts")?;
    texts.iter().map(|text| example(text)).collect()
}

/// A text, or a pair divided by a tab.
fn example(text: &str) -> Result<Example> {
    let (first, second) = text.split_once('\t').map_or((text, None), |(a, b)| (a, Some(b)));
    ensure!(
        second.is_none_or(|second| !second.contains('\t')),
        "{}: a tab divides a pair, and here are several; texts that contain tabs can come from a CSV or JSON lines --file",
        support::printable(text)
    );
    Ok(Example {
        first: first.to_owned(),
        second: second.map(str::to_owned),
        label: Label::Class(0),
    })
}

fn of_file(path: &Path, text: Option<&str>, pair: Option<&str>) -> Result<Vec<Example>> {
    let OwnRows { columns, rows } = rows::read(path)?;
    if text.is_none() && pair.is_none() && rows::has_lines(path) {
        let all = rows
            .into_iter()
            .filter_map(|row| row.cells.into_iter().next().flatten());
        return all.map(|text| example(&text)).collect();
    }
    let text = text.unwrap_or(TEXT);
    let first = rows::column(path, &columns, text).with_context(|| "name the column of the texts with --text")?;
    let second = pair.map(|pair| rows::column(path, &columns, pair)).transpose()?;
    let of = |row: rows::OwnRow| {
        let cell = |at: usize, name: &str| {
            let cell = row.cells[at].clone();
            cell.with_context(|| format!("{}:{}: no value in column \"{name}\"", path.display(), row.line))
        };
        Ok(Example {
            first: cell(first, text)?,
            second: second.map(|at| cell(at, pair.unwrap_or_default())).transpose()?,
            label: Label::Class(0),
        })
    };
    rows.into_iter().map(of).collect()
}

/// What the model says of a text.
enum Answer {
    Score(f32),
    /// The likeliest class first in `best`; all classes with their probabilities.
    Class {
        best: usize,
        all: Vec<(String, f64)>,
    },
}

impl Answer {
    fn of(output: &[f32], labels: &[String]) -> Result<Answer> {
        ensure!(
            output.iter().all(|v| v.is_finite()),
            "an output of the model is not a finite number: its weights are broken"
        );
        if let [score] = output {
            return Ok(Answer::Score(*score));
        }
        let most = output.iter().copied().fold(f32::MIN, f32::max);
        let raised: Vec<f64> = output.iter().map(|v| f64::from(v - most).exp()).collect();
        let sum: f64 = raised.iter().sum();
        let name = |i: usize| labels.get(i).cloned().unwrap_or_else(|| format!("LABEL_{i}"));
        Ok(Answer::Class {
            best: output.iter().position(|v| *v == most).unwrap_or(0),
            all: raised.iter().enumerate().map(|(i, v)| (name(i), v / sum)).collect(),
        })
    }

    fn json(&self, example: &Example) -> Value {
        let mut object = Map::new();
        object.insert("text".into(), example.first.as_str().into());
        if let Some(second) = &example.second {
            object.insert("text_pair".into(), second.as_str().into());
        }
        match self {
            Answer::Score(score) => drop(object.insert("score".into(), json!(score))),
            Answer::Class { best, all } => {
                object.insert("label".into(), all[*best].0.as_str().into());
                let probabilities: Map<String, Value> = all.iter().map(|(name, p)| (name.clone(), json!(p))).collect();
                object.insert("probabilities".into(), Value::Object(probabilities));
            }
        }
        Value::Object(object)
    }

    /// The names of the columns; pairs, among which single texts may be, have one more.
    fn header(&self, paired: bool) -> String {
        let mut columns = vec!["text".to_owned()];
        columns.extend(paired.then(|| "text_pair".to_owned()));
        match self {
            Answer::Score(_) => columns.push("score".into()),
            Answer::Class { all, .. } => {
                columns.push("label".into());
                columns.extend(all.iter().map(|(name, _)| format!("p({name})")));
            }
        }
        columns.join("\t")
    }

    fn tsv(&self, example: &Example, paired: bool) -> String {
        let plain = |text: &str| text.replace(['\t', '\n', '\r'], " ");
        let mut cells = vec![plain(&example.first)];
        cells.extend(paired.then(|| plain(example.second.as_deref().unwrap_or_default())));
        match self {
            Answer::Score(score) => cells.push(score.to_string()),
            Answer::Class { best, all } => {
                cells.push(all[*best].0.clone());
                cells.extend(all.iter().map(|(_, p)| format!("{p:.6}")));
            }
        }
        cells.join("\t")
    }

    fn line(&self, example: &Example) -> String {
        let second = example
            .second
            .as_ref()
            .map_or(String::new(), |second| format!("  |  {second}"));
        let text = format!("{}{second}", example.first).replace(['\n', '\r'], " ");
        match self {
            Answer::Score(score) => format!("{score:<24.3} {text}"),
            Answer::Class { best, all } => {
                let (name, p) = &all[*best];
                format!("{:<24} {text}", format!("{name} ({:.1} %)", 100.0 * p))
            }
        }
    }
}

/// The metrics of the adapter on the dev sets of a task.
///
/// # Errors
/// Adapters, bases and data that are missing or do not fit.
pub fn evaluate(args: &EvaluateArgs) -> Result<String> {
    let named = args.task.as_deref().map(datasets::find).transpose()?;
    let answerer = Answerer::open(&args.adapter, named)?;
    let task = match (named, &answerer.task) {
        (Some(task), Some(own)) if task.id != own => bail!(
            "the adapter was trained on {own}, and --task is {}: leave --task out, or name its own",
            task.id
        ),
        (Some(task), _) => task,
        (None, Some(own)) => datasets::find(own).map_err(|_| {
            anyhow!("the adapter was trained on `{own}`, rows of your own: `lora evaluate` reads GLUE's tasks, and the record of the run has its metrics on dev")
        })?,
        (None, None) => bail!("the adapter does not say on which task it was trained: name it with --task"),
    };
    let choices = DataChoices {
        folder: "the folder that holds the tasks' folders (CoLA/, MRPC/, ...)",
        repositories: vec![datasets::hub::GLUE],
    };
    let (data, _) = read(task, &DataSource::parse(&args.data, &choices, false)?)?;
    let (mut text, mut all) = (String::new(), Map::new());
    for split in &data.evals {
        let logits = answerer.logits(task, &split.examples)?;
        let labels: Vec<Label> = split.examples.iter().map(|e| e.label).collect();
        let scores = task.score(&task.predictions(&logits)?, &labels)?;
        for (metric, value) in scores {
            let shown = value.map_or("undefined".into(), |value| format!("{:.2}", 100.0 * value));
            writeln!(
                text,
                "{} {} {metric}: {shown} ({} rows)",
                task.id,
                split.name,
                labels.len()
            )?;
            all.insert(format!("{}/{metric}", split.name), json!(value));
        }
    }
    if args.json {
        let object = json!({"task": task.id, "data_sha256": data.sha256, "metrics": all});
        return Ok(object.to_string() + "\n");
    }
    Ok(text)
}

/// The output of the head for each class of the task, in the task's order.
fn order(task: &GlueTask, labels: &[String]) -> Result<Vec<usize>> {
    let TaskKind::Classification { labels: classes } = task.kind else {
        return Ok(vec![0]);
    };
    if labels.is_empty() {
        return Ok((0..classes.len()).collect());
    }
    let place = |class: &&str| labels.iter().position(|label| label == class);
    let found: Option<Vec<usize>> = classes.iter().map(place).collect();
    found.with_context(|| {
        format!(
            "the adapter's outputs are {}, and the classes of {} are {}",
            labels.join(", "),
            task.id,
            classes.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names_and_probabilities() {
        let labels = ["no".to_string(), "yes".to_string()];
        let answer = Answer::of(&[0.0, 1.0], &labels).unwrap();
        let object = answer.json(&example("a\tb").unwrap());
        assert_eq!(
            (&object["text"], &object["text_pair"], &object["label"]),
            (&json!("a"), &json!("b"), &json!("yes"))
        );
        let p = object["probabilities"]["yes"].as_f64().unwrap();
        assert!((p - 1.0 / (1.0 + (-1.0f64).exp())).abs() < 1e-12, "{p}");
        assert_eq!(answer.header(true), "text\ttext_pair\tlabel\tp(no)\tp(yes)");
        assert!(
            Answer::of(&[0.0, 1.0, -1.0], &[])
                .unwrap()
                .line(&example("a").unwrap())
                .starts_with("LABEL_1")
        );
        assert_eq!(
            Answer::of(&[2.5], &[]).unwrap().tsv(&example("a b").unwrap(), false),
            "a b\t2.5"
        );
        assert_eq!(
            Answer::of(&[2.5], &[]).unwrap().tsv(&example("a b").unwrap(), true),
            "a b\t\t2.5"
        );
        assert!(Answer::of(&[f32::NAN, 0.0], &[]).is_err());
    }

    #[test]
    fn tabs_divide_lines_and_stay_in_the_cells_of_a_file() {
        assert!(example("a\tb\tc").is_err());
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, bytes: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let [example] = &of_file(&path, None, None).unwrap()[..] else {
                panic!("{name}")
            };
            (example.first.clone(), example.second.clone())
        };
        assert_eq!(read("a.jsonl", r#"{"text": "a\tb"}"#), ("a\tb".into(), None));
        assert_eq!(read("a.txt", "a\tb\n"), ("a".into(), Some("b".into())));
    }

    #[test]
    fn single_texts_for_a_task_of_pairs_are_said() {
        let said = |task: Option<&str>, texts: &[&str]| {
            let examples: Vec<Example> = texts.iter().map(|text| example(text).unwrap()).collect();
            unlike_the_task(task, task.and_then(pairs), &examples)
        };
        let alone = said(Some("rte"), &["a", "a\tb", "c"]).unwrap();
        assert!(
            alone.starts_with("rte is a task of pairs, and 2 texts came alone"),
            "{alone}"
        );
        let pair = said(Some("sst-2"), &["a\tb", "a"]).unwrap();
        assert!(pair.ends_with("single texts, and 1 text came as a pair"), "{pair}");
        let fine = [
            (Some("rte"), "a\tb"),
            (Some("sst-2"), "a"),
            (Some("own"), "a"),
            (None, "a"),
        ];
        assert!(fine.iter().all(|(task, text)| said(*task, &[text]).is_none()));
    }

    #[test]
    fn outputs_are_those_of_the_classes_by_name() {
        let rte = datasets::find("rte").unwrap();
        let named = |names: [&str; 2]| order(rte, &names.map(String::from));
        assert_eq!(named(["entailment", "not_entailment"]).unwrap(), [0, 1]);
        assert_eq!(named(["not_entailment", "entailment"]).unwrap(), [1, 0]);
        assert!(named(["a", "b"]).is_err());
        assert_eq!(order(rte, &[]).unwrap(), [0, 1]);
    }
}
