//! What a model answers under an adapter, for tools/check-peft: `adapter_answers BASE ADAPTER ROWS.json` prints the answers of
//! each row (`{"ids": [...], "types": [...]}`), or of each of its tokens in a language model, as JSON. `--types` prints the
//! model types that are known.
#![allow(clippy::print_stdout)] // Its output is for a person.

use anyhow::{Context, Result};
use experiments::tools::adapter::stored::{AdapterSource, BaseModel, Stored};
use lora_core::batch::{Batch, Row, Target};
use lora_core::{method, model};
use serde::Deserialize;
use std::path::PathBuf;
use tch::{Device, Kind, Tensor};

#[derive(Deserialize)]
struct Asked {
    ids: Vec<i64>,
    types: Vec<i64>,
}

fn main() -> Result<()> {
    tch::set_num_threads(1);
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words == ["--types"] {
        model::MODELS.iter().for_each(|m| println!("{}", m.model_type));
        return Ok(());
    }
    let [base, adapter, rows] = words.as_slice() else {
        anyhow::bail!("wanted BASE ADAPTER ROWS.json");
    };
    let stored = Stored::open(&AdapterSource::of(&PathBuf::from(adapter))?)?;
    let found = BaseModel::of(&stored.about, Some(base))?;
    let method = method::from_value(&stored.about.method)?;
    let (model, _) = found
        .base
        .load_trained(method.as_ref(), &stored.trained, Device::Cpu, Kind::Float)?;
    let rows: Vec<Asked> = serde_json::from_str(&std::fs::read_to_string(rows).context("reading the rows")?)?;
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|row| Row {
            target: Target::Class(0),
            prompt: None,
            ids: row.ids,
            types: row.types,
        })
        .collect();
    let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), Device::Cpu)?;
    let _guard = tch::no_grad_guard();
    let answers = model.forward(&batch, false);
    let lines: Vec<Tensor> = (0..answers.size()[0]).map(|i| answers.get(i)).collect();
    let lines: Vec<Vec<f32>> = lines.iter().map(Vec::try_from).collect::<Result<_, _>>()?;
    println!("{}", serde_json::to_string(&lines)?);
    Ok(())
}
