//! Counting parameters: by closed form, and by building the model.

use anyhow::{Context, Result, ensure};
use clap::Args;
use lora_core::method::{self, METHODS};
use lora_core::model;
use lora_core::nn::Build;
use serde_yaml::{Mapping, Value};
use std::path::Path;

/// `lora params`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora params --model roberta-large --method lora --set r=8\n  lora params --model DIR --method lora --set targets=[query,key,value,attn_out]\n\nNo weights, no files and no network are needed for the models known by name."
)]
pub struct ParamsArgs {
    /// A model known by name (roberta-base, roberta-large, ...) or a Hugging Face model folder
    #[arg(long, value_name = "NAME|DIR")]
    pub model: String,
    /// The method; all of them if not given
    #[arg(long, value_name = "NAME")]
    pub method: Option<String>,
    /// A setting of the method, such as r=8; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Outputs of the head
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub labels: i64,
}

/// The counts as a table.
///
/// # Errors
/// Unknown models, methods or settings; a closed form that disagrees with the model as built.
pub fn count(args: &ParamsArgs) -> Result<String> {
    ensure!(
        (1..=1_000_000).contains(&args.labels),
        "--labels must be from 1 to 1000000, not {}",
        args.labels
    );
    let dir = Path::new(&args.model);
    let config = if dir.is_dir() {
        model::read_config(dir)?
    } else {
        model::known_config(&args.model)?
    };
    let arch = model::arch(&config)?;
    let shape = (arch.shape)(&config)?;
    let kinds: Vec<&str> = match &args.method {
        Some(kind) => vec![kind],
        None => METHODS.iter().map(|m| m.kind).collect(),
    };
    let mut text = format!(
        "{:<10} {:>13} {:>13} {:>11} {:>9} {:>13}\n",
        "method", "of the model", "of the method", "of the head", "% trained", "whole model"
    );
    for kind in kinds {
        let settings = settings(kind, if args.method.is_some() { &args.sets } else { &[] })?;
        let method = method::from_value(&settings)?;
        let build = Build::new(method.as_ref(), 0);
        let _model = match arch.build {
            Some(classifier) => classifier(&config, args.labels, &build.scope()),
            None => arch.language_model(&config, &build.scope()),
        }
        .with_context(|| format!("method `{kind}`"))?;
        let counts = build.adopt()?.counts;
        let formula = method.expected_params(&shape);
        ensure!(
            formula == (counts.base, counts.method),
            "`{kind}`: the closed form gives {formula:?}, the model has {counts:?}"
        );
        let share = (counts.base + counts.method) as f64 / (counts.total - counts.head) as f64 * 100.0;
        text += &format!(
            "{kind:<10} {:>13} {:>13} {:>11} {share:>9.3} {:>13}\n",
            counts.base, counts.method, counts.head, counts.total
        );
    }
    text += "\nTrained parameters by owner. The paper counts the first two columns and leaves the head out.\n";
    Ok(text)
}

fn settings(kind: &str, sets: &[String]) -> Result<Value> {
    let mut map = Mapping::new();
    map.insert("kind".into(), kind.into());
    for set in sets {
        let (key, value) = set
            .split_once('=')
            .with_context(|| format!("--set {set}: expected key=value, such as r=8"))?;
        let value: Value =
            serde_yaml::from_str(value).with_context(|| format!("--set {set}: the value is not valid YAML"))?;
        map.insert(key.trim().into(), value);
    }
    Ok(Value::Mapping(map))
}
