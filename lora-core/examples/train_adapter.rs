//! Trains a LoRA adapter on rows of your own: lines of `text TAB class`, with classes 0, 1, ….
//!
//! ```sh
//! cargo run -p lora-core --example train_adapter -- rows.tsv adapter.safetensors [MODEL_FOLDER]
//! ```
//!
//! MODEL_FOLDER is a Hugging Face folder of an encoder; the default is the small RoBERTa that comes with the project.
//! Every fifth row is held out, and the epoch with the best accuracy on the held-out rows is kept.
#![allow(clippy::print_stdout)] // Its output is for a person.

use datasets::{Encoded, Example, Label, Tokenizer};
use lora_core::batch::{Row, Target};
use lora_core::model::{self, Model};
use lora_core::train::{Alone, BestCheckpoint, Criterion, FitConfig, Select, Trainer, predict};
use lora_core::{method, nn::Build, weights::Weights};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

const MAX_LEN: usize = 128;
const EMBEDDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/embedded/roberta");

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (rows, adapter, folder) = match args.as_slice() {
        [rows, adapter] => (rows, adapter, EMBEDDED),
        [rows, adapter, folder] => (rows, adapter, folder.as_str()),
        _ => return Err("usage: train_adapter ROWS.tsv ADAPTER.safetensors [MODEL_FOLDER]".into()),
    };
    let (rows, classes) = read(Path::new(rows), &Tokenizer::from_dir(Path::new(folder))?)?;
    train(Path::new(folder), rows, classes, PathBuf::from(adapter))
}

/// Tokenised rows, and the number of classes.
fn read(path: &Path, tokenizer: &Tokenizer) -> Result<(Vec<Row>, i64), Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut examples = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let fault = |what: &str| format!("{}, line {}: {what}", path.display(), i + 1);
        let (text, class) = line
            .rsplit_once('\t')
            .ok_or_else(|| fault("no tab between text and class"))?;
        let class = class.trim().parse();
        examples.push(Example {
            first: text.to_string(),
            second: None,
            label: Label::Class(class.map_err(|_| fault("the class is not a whole number"))?),
        });
    }
    let class = |label: Label| {
        if let Label::Class(class) = label {
            class as i64
        } else {
            0
        }
    };
    let classes = examples.iter().map(|e| class(e.label)).max().ok_or("no rows")? + 1;
    if examples.len() < 10 || classes < 2 {
        return Err(format!("{}: at least ten rows of two classes are needed", path.display()).into());
    }
    let row = |encoded: Encoded| Row {
        ids: encoded.ids.into_iter().map(i64::from).collect(),
        types: Vec::new(),
        prompt: None,
        target: Target::Class(class(encoded.label)),
    };
    let encoded = tokenizer.encode_all(&examples, MAX_LEN)?;
    Ok((encoded.into_iter().map(row).collect(), classes))
}

fn train(folder: &Path, rows: Vec<Row>, classes: i64, adapter: PathBuf) -> Result<(), Box<dyn Error>> {
    // The model with LoRA; the mapping is that of the experiments' YAML.
    let method = method::from_yaml("{kind: lora, r: 8, alpha: 16, targets: [query, value]}")?;
    let build = Build::new(method.as_ref(), 1);
    let (model, arch) = model::from_dir(folder, classes, &build)?;
    let built = build.finish()?;
    Weights::open(folder)?
        .load_into(&built.params, arch)?
        .require_complete()?;
    println!(
        "{} parameters of LoRA, {} of the head",
        built.counts.method, built.counts.head
    );

    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (i, row) in rows.into_iter().enumerate() {
        if i % 5 == 4 {
            held_out.push(row)
        } else {
            train.push(row)
        }
    }
    let config = FitConfig {
        epochs: 5,
        lr: 2e-3,
        weight_decay: 0.1,
        warmup_ratio: 0.06,
        clip: Some(1.0),
        seed: 1,
        ..FitConfig::default()
    };
    let trainer = Trainer {
        model: model.as_ref(),
        params: &built.params,
        config: &config,
        checkpoint: None,
        keep: Some(BestCheckpoint {
            criterion: &Criterion::new("accuracy"),
            select: Select::Best,
            path: adapter.clone(),
        }),
        criterion: None,
        stop: None,
        ranks: &Alone,
    };
    let mut evaluate = |model: &dyn Model| {
        let answers = predict(model, &held_out, 32, config.device)?;
        let accuracy = accuracy(&answers, &held_out);
        Ok(BTreeMap::from([("accuracy".to_string(), Some(accuracy))]))
    };
    let fitted = trainer.fit(&train, &mut evaluate, &mut |_| {})?;
    for eval in &fitted.progress.evals {
        let accuracy = eval.metrics["accuracy"].unwrap_or(f64::NAN);
        println!(
            "epoch {}: loss {:.4}, accuracy {accuracy:.3} on {} rows",
            eval.epoch,
            eval.train_loss,
            held_out.len()
        );
    }
    println!("{} holds the adapter and the head of the best epoch", adapter.display());
    Ok(())
}

/// The share of rows whose own class has the highest score.
fn accuracy(answers: &[Vec<f32>], rows: &[Row]) -> f64 {
    let best = |scores: &[f32]| (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let right = |(scores, row): &(&Vec<f32>, &Row)| {
        best(scores).map(|class| Target::Class(class as i64)) == Some(row.target.clone())
    };
    answers.iter().zip(rows).filter(right).count() as f64 / rows.len() as f64
}
