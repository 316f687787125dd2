//! `lora adapter info`.

use super::stored::{AdapterInfo, AdapterSource, Stored, open_foreign};
use anyhow::Result;
use clap::Args;
use lora_core::interop::{AdapterFile, AdapterForm, Layerwise, Norms};
use lora_core::method::Lora;
use results::listing::{Column, listing, terminal_width, wrapped};
use std::path::{Path, PathBuf};

/// `lora adapter info`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora adapter info roberta_base_lora_mnli.bin\n  lora adapter info results/own/1977ecad94f36450"
)]
pub struct InfoArgs {
    /// An adapter of any form
    pub adapter: PathBuf,
    /// Alpha of a loralib checkpoint
    #[arg(long, value_name = "NUMBER")]
    pub alpha: Option<f64>,
}

/// The description of the adapter, and a line for each update.
///
/// # Errors
/// A missing adapter; damaged or hostile files, or another format.
pub fn info(args: &InfoArgs) -> Result<String> {
    let place = AdapterSource::of(&args.adapter)?;
    match place {
        AdapterSource::Peft(_) => {
            let adapter = open_foreign(&place, args.alpha)?;
            let base = adapter.base.as_deref().unwrap_or("not named");
            let kind = match adapter.form {
                AdapterForm::Lora { .. } => None,
                AdapterForm::Ia3 => Some("(IA)³".to_string()),
                AdapterForm::Vera { r, key, .. } => Some(format!("VeRA, r {r}, key {key}")),
            };
            if let Some(kind) = kind {
                return Ok(format!(
                    "PEFT adapter, base {base}\n{kind}: {} tensors\n",
                    adapter.tensors.len()
                ));
            }
            let norms = adapter.norms()?;
            Ok(format!("PEFT adapter, base {base}\n{}", body(&adapter, &norms)))
        }
        AdapterSource::Loralib(_) => {
            let adapter = open_foreign(&place, args.alpha)?;
            Ok(format!("loralib checkpoint\n{}", body(&adapter, &adapter.norms()?)))
        }
        own => {
            let stored = Stored::open(&own)?;
            let mut text = about(&stored.about);
            text += &match stored.lora() {
                Ok(lora) => updates(stored, &lora, &args.adapter)?,
                Err(_) => format!("{}\n", line(&stored)),
            };
            Ok(text)
        }
    }
}

/// The method and its size, on one line.
pub fn line(stored: &Stored) -> String {
    let method = serde_yaml::to_string(&stored.about.method).unwrap_or_default();
    let method: Vec<&str> = method.lines().filter(|l| !l.starts_with("kind:")).collect();
    let numbers: usize = stored.trained.values().map(tch::Tensor::numel).sum();
    let kind = stored
        .about
        .method
        .get("kind")
        .and_then(serde_yaml::Value::as_str)
        .unwrap_or("?");
    format!(
        "{kind} ({}), {} tensors with {numbers} numbers, for the base {}",
        method.join(", ").replace(":, - ", ": ").replace(", - ", " "),
        stored.trained.len(),
        stored.about.base.word()
    )
}

fn about(about: &AdapterInfo) -> String {
    let mut text = format!("{}\nbase     {}\n", about.origin, about.base.word());
    let score = about.score.as_ref();
    let lines = [
        ("task", about.task.clone()),
        ("data", about.data.clone()),
        (
            "score",
            score.map(|s| format!("{} {:.4} after epoch {}", s.metric, s.value, s.epoch)),
        ),
        ("command", Some(about.command.clone())),
    ];
    for (key, value) in lines {
        if let Some(value) = value {
            text += &format!("{key:<8} {value}\n");
        }
    }
    text
}

fn updates(stored: Stored, lora: &Lora, path: &Path) -> Result<String> {
    let adapter = AdapterFile {
        path: path.into(),
        tensors: stored.trained,
        form: AdapterForm::Lora {
            rslora: lora.rslora,
            init: lora.init,
            dora: false,
        },
        alpha: Some(lora.alpha),
        dropout: lora.dropout,
        saved: Vec::new(),
        base: None,
        layerwise: Layerwise::default(),
    };
    Ok(body(&adapter, &adapter.norms()?))
}

/// The scale, the tensors beside the updates, the updates, and damaged tensors.
fn body(adapter: &AdapterFile, norms: &[Norms]) -> String {
    let damage: String = adapter.damage().iter().map(|line| format!("{line}\n")).collect();
    let about = wrapped(&(scale(adapter, norms) + &head(adapter)), terminal_width());
    format!("{about}{}{damage}", table(norms))
}

fn scale(adapter: &AdapterFile, norms: &[Norms]) -> String {
    let r = norms.first().map_or(0, |n| n.r);
    let rslora = matches!(adapter.form, AdapterForm::Lora { rslora: true, .. });
    let dora = match adapter.form {
        AdapterForm::Lora { dora: true, .. } => "DoRA: the rows of each changed weight have trained lengths\n",
        _ => "",
    };
    if adapter.layerwise.differ() {
        return format!("rank_pattern, alpha_pattern: layers have ranks or scales of their own\n{dora}");
    }
    dora.to_string()
        + &match adapter.alpha {
            Some(alpha) if rslora => {
                let scale = alpha / (r as f64).sqrt();
                format!("r {r}, alpha {alpha}, rsLoRA: each update is {scale} x BA\n")
            }
            Some(alpha) => format!("r {r}, alpha {alpha}: each update is {} x BA\n", alpha / r as f64),
            None => format!(
                "r {r}; alpha is not in the file, so neither is the scale alpha / r of the updates. The paper's scripts say 16 for RoBERTa (scale {}) and 32 for GPT-2: --alpha\n",
                16.0 / r as f64
            ),
        }
}

/// The tensors beside the updates.
fn head(adapter: &AdapterFile) -> String {
    let others = adapter.tensors.iter().filter(|(n, _)| !n.contains(".lora_"));
    let others: Vec<String> = others.map(|(name, t)| format!("{name} {:?}", t.size())).collect();
    let unsaved = adapter.unsaved();
    if others.is_empty() && !unsaved.is_empty() {
        format!(
            "no head, though adapter_config.json lists {} under modules_to_save: a base with such modules is refused\n",
            unsaved.join(", ")
        )
    } else if others.is_empty() {
        "no head\n".into()
    } else {
        format!("head: {}\n", others.join(", "))
    }
}

fn table(norms: &[Norms]) -> String {
    let mut rows: Vec<(usize, &str, &Norms)> = norms
        .iter()
        .map(|n| {
            let (depth, role) = split(&n.layer);
            (depth, role, n)
        })
        .collect();
    rows.sort_by_key(|(depth, role, _)| (*depth, *role));
    let norm = |value: f64| format!("{value:.3}");
    let rows = rows.iter().map(|(depth, role, n)| {
        vec![
            depth.to_string(),
            (*role).to_owned(),
            n.r.to_string(),
            norm(n.a),
            norm(n.b),
            norm(n.ba),
        ]
    });
    let columns = [
        Column::number("layer"),
        Column::text("role"),
        Column::number("r"),
        Column::number("|A|"),
        Column::number("|B|"),
        Column::number("|BA|"),
    ];
    let table = listing(&columns, rows, terminal_width());
    format!("\n{table}\nFrobenius norms.\n")
}

/// The number of the block and the rest of the name: 3 and `attention.self.query` of `...layer.3.attention.self.query`.
fn split(layer: &str) -> (usize, &str) {
    let mut at = 0;
    for part in layer.split('.') {
        at += part.len() + 1;
        if let Ok(depth) = part.parse() {
            return (depth, layer.get(at..).unwrap_or_default());
        }
    }
    (0, layer)
}
