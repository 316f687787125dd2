//! The settings of `latency`: presets or the user's file, and `--set` over them.

use crate::config::overrides::{Layer, merge};
use crate::inputs::locator::ModelSource;
use anyhow::{Context, Result, bail, ensure};
use lora_core::model::{self, KNOWN};
use results::analysis::Design;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_yaml::Value;
use std::path::Path;

/// The presets, as (name, YAML text).
pub static PRESETS: &[(&str, &str)] = &[
    ("demo", include_str!("../../../latency/demo.yaml")),
    ("medium", include_str!("../../../latency/medium.yaml")),
    ("paper", include_str!("../../../latency/paper.yaml")),
];

/// The keys of a configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyConfig {
    /// What the numbers are, in words; by default from the model and its shape.
    #[serde(default, skip_serializing)]
    label: Option<String>,
    /// A model known by name, `embedded:gpt2`, or a Hugging Face model folder; only config.json is read.
    pub model: String,
    /// The model's name in tables.
    #[serde(default, skip_serializing)]
    name: Option<String>,
    /// Overrides of its config.json.
    #[serde(default)]
    pub shape: serde_json::Map<String, Json>,
    /// Rows.
    pub batch: Vec<u32>,
    /// Tokens a row.
    pub length: Vec<u32>,
    /// Bottlenecks of adapters, or ranks; 0 is the model alone, which is always measured.
    pub bottleneck: Vec<u32>,
    /// The designs that are measured beside the model alone.
    pub designs: Vec<Design>,
    /// Cells beside the grid.
    #[serde(default)]
    pub cells: Vec<Extra>,
    /// Timed passes of a cell.
    pub trials: u32,
    /// Untimed passes before them.
    pub warmup: u32,
    /// The workload of `--efficiency`.
    #[serde(default)]
    pub train: Workload,
}

/// A cell with bottlenecks of its own, as in Table 1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extra {
    /// Rows.
    pub batch: u32,
    /// Tokens a row.
    pub length: u32,
    /// Bottleneck of Adapter^L.
    pub adapter_l: u32,
    /// Bottleneck of Adapter^H.
    pub adapter_h: u32,
}

/// The workload that measures the cost of training.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Rows of a step.
    pub batch: u32,
    /// Tokens a row.
    pub length: u32,
    /// Timed steps, after two untimed ones.
    pub steps: u32,
    /// Rank of LoRA on query and value.
    pub rank: u32,
}

impl Default for Workload {
    fn default() -> Workload {
        Workload {
            batch: 8,
            length: 128,
            steps: 8,
            rank: 4,
        }
    }
}

/// One measured model: its design, and its bottleneck or rank.
pub type Variant = (Design, u32);

/// Batch, length, and the models measured there.
#[derive(Clone, Debug, PartialEq)]
pub struct Workpoint {
    /// Rows.
    pub batch: u32,
    /// Tokens a row.
    pub length: u32,
    /// The models, the base model alone first.
    pub kinds: Vec<Variant>,
}

impl LatencyConfig {
    /// Reads a preset or a file, with the overrides `sets` (`path=value`).
    ///
    /// # Errors
    /// Unknown presets or keys, missing files, values that cannot be used.
    pub fn read(preset: &str, file: Option<&Path>, sets: &[String]) -> Result<LatencyConfig> {
        let (name, text) = match file {
            Some(path) => (path.display().to_string(), crate::config::read_file(path)?),
            None => {
                let found = PRESETS.iter().find(|(known, _)| *known == preset);
                let unknown = || support::unknown("preset", preset, PRESETS.iter().map(|(known, _)| *known));
                let found = found.with_context(unknown)?;
                (format!("the preset `{preset}`"), found.1.to_string())
            }
        };
        let mut layered: Value = serde_yaml::from_str(PRESETS[0].1).context("the preset `demo`")?;
        let own: Value = serde_yaml::from_str(&text).with_context(|| format!("{name} is not valid YAML"))?;
        ensure!(own.is_mapping(), "{name}: expected `key: value` lines at the top");
        let clear = |value: &mut Value, keys: &[&str]| {
            for key in keys {
                value.as_mapping_mut().and_then(|map| map.remove(*key));
            }
        };
        // An overridden shape belongs to its model alone, and a label to its shape.
        clear(&mut layered, &["label", "name", "shape", "cells"]);
        merge(&mut layered, own);
        if sets.iter().any(|set| set.starts_with("model=")) {
            clear(&mut layered, &["label", "name", "shape", "cells"]);
        }
        if sets.iter().any(|set| set.starts_with("shape")) {
            clear(&mut layered, &["label", "name"]);
        }
        let read = |layered: &Value| LatencyConfig::deserialize(layered.clone());
        let mut settings = read(&layered).with_context(|| format!("in {name}"))?;
        for set in sets {
            merge(&mut layered, Layer::set(set)?.value);
            settings = read(&layered).with_context(|| format!("in --set {set}"))?;
        }
        settings.validate()?;
        Ok(settings)
    }

    fn validate(&self) -> Result<()> {
        let lists = [("batch", &self.batch), ("length", &self.length)];
        for (key, list) in lists {
            ensure!(!list.is_empty(), "`{key}` is empty; give at least one number");
            ensure!(!list.contains(&0), "`{key}` holds 0; numbers from 1 are wanted");
        }
        let places = self.places();
        let most = places.iter().map(|p| u64::from(p.batch) * u64::from(p.length)).max();
        ensure!(
            most.is_none_or(|most| most <= MOST_TOKENS),
            "`batch` times `length` is {} tokens a pass; at most {MOST_TOKENS} are measured",
            most.unwrap_or_default()
        );
        let extra = self
            .cells
            .iter()
            .flat_map(|c| [c.batch, c.length, c.adapter_l, c.adapter_h]);
        ensure!(
            extra.into_iter().all(|n| n > 0),
            "`cells` holds a 0; numbers from 1 are wanted"
        );
        ensure!(
            !self.designs.contains(&Design::Base),
            "`designs` names what is measured beside the model alone"
        );
        ensure!(self.trials > 0, "`trials` is 0; at least one pass must count");
        ensure!(
            self.warmup <= 100_000 && self.trials <= 100_000,
            "`warmup` and `trials` must be at most 100000"
        );
        let widest = places.iter().flat_map(|p| &p.kinds).map(|(_, size)| *size).max();
        ensure!(
            widest.is_none_or(|widest| widest <= WIDEST),
            "`bottleneck` is {}; at most {WIDEST} is measured",
            widest.unwrap_or_default()
        );
        let t = self.train;
        ensure!(
            u64::from(t.batch) * u64::from(t.length) <= MOST_TOKENS && t.steps <= 100_000 && t.rank <= WIDEST,
            "`train` is too much: at most {MOST_TOKENS} tokens a step, 100000 steps and rank {WIDEST} are measured"
        );
        ensure!(
            [t.batch, t.length, t.steps, t.rank].iter().all(|n| *n > 0),
            "`train` holds a 0; numbers from 1 are wanted"
        );
        Ok(())
    }

    /// The model's config.json.
    ///
    /// # Errors
    /// A model that is not known, or is no language model.
    pub fn config(&self) -> Result<Json> {
        let mut config = if KNOWN.contains(&self.model.as_str()) {
            model::known_config(&self.model)?
        } else if Path::new(&self.model).is_dir() || self.model.starts_with("embedded:") {
            model::read_config(&ModelSource::parse(&self.model, true)?.folder()?.0)?
        } else {
            bail!(
                "model `{}`: expected embedded:gpt2, a model folder, or one of the known shapes: {}",
                self.model,
                KNOWN.join(", ")
            );
        };
        let known = config
            .as_object_mut()
            .with_context(|| format!("{}: config.json is no mapping", self.model))?;
        for key in self.shape.keys() {
            ensure!(
                known.contains_key(key) || OPTIONAL.contains(&key.as_str()),
                "shape.{key}: the config.json of {} has no `{key}`; it has {}",
                self.model,
                known.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
            );
        }
        known.extend(self.shape.clone());
        Ok(config)
    }

    /// The model's name in tables; with its size where its shape is overridden.
    pub fn name(&self, params: i64) -> String {
        let model = ModelSource::name(&self.model);
        let own = if self.shape.is_empty() {
            model
        } else {
            format!("{model}-{}", size(params).to_lowercase())
        };
        self.name.clone().unwrap_or(own)
    }

    /// What the numbers are, in words.
    pub fn label(&self, params: i64) -> String {
        let what = if self.shape.is_empty() {
            ModelSource::name(&self.model)
        } else {
            format!("a model of {}'s shape and {} parameters", self.model, size(params))
        };
        let label = || format!("{what} with random weights; the paper measured GPT-2 medium on a Quadro RTX8000");
        self.label.clone().unwrap_or_else(label)
    }

    /// The cells, smallest first, each once.
    pub fn places(&self) -> Vec<Workpoint> {
        let mut places: Vec<Workpoint> = Vec::new();
        let mut add = |batch, length, kinds: Vec<Variant>| {
            let at = places.iter().position(|p| (p.batch, p.length) == (batch, length));
            let at = at.unwrap_or_else(|| {
                places.push(Workpoint {
                    batch,
                    length,
                    kinds: vec![(Design::Base, 0)],
                });
                places.len() - 1
            });
            for kind in kinds {
                if !places[at].kinds.contains(&kind) {
                    places[at].kinds.push(kind);
                }
            }
        };
        for batch in &self.batch {
            for length in &self.length {
                let sizes = || self.bottleneck.iter().filter(|r| **r > 0);
                let kinds = self.designs.iter().flat_map(|d| sizes().map(move |r| (*d, *r)));
                add(*batch, *length, kinds.collect());
            }
        }
        for cell in &self.cells {
            let own = [(Design::AdapterL, cell.adapter_l), (Design::AdapterH, cell.adapter_h)];
            add(cell.batch, cell.length, own.into());
        }
        places.sort_by_key(|p| (u64::from(p.batch) * u64::from(p.length), p.batch));
        places
    }
}

/// The most tokens of a pass that are accepted.
const MOST_TOKENS: u64 = 1 << 24;
/// The largest bottleneck or rank that is accepted.
const WIDEST: u32 = 1 << 20;
/// Keys that a config.json may leave out.
const OPTIONAL: [&str; 5] = [
    "n_inner",
    "initializer_range",
    "scale_attn_weights",
    "scale_attn_by_inverse_layer_idx",
    "tie_word_embeddings",
];

/// `82.1M`, `355M`.
fn size(params: i64) -> String {
    let millions = params as f64 / 1e6;
    format!("{millions:.*}M", usize::from(millions < 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_read_and_say_where_is_measured() {
        let demo = LatencyConfig::read("demo", None, &[]).unwrap();
        let places = demo.places();
        assert_eq!(places.len(), 4);
        assert_eq!(places[0].kinds.len(), 1 + 2 * 2);
        let medium = LatencyConfig::read("medium", None, &[]).unwrap();
        assert!(medium.shape.is_empty() && medium.places().len() == 1);
        let kinds = [(Design::Base, 0), (Design::AdapterL, 224), (Design::AdapterH, 112)];
        assert_eq!(medium.places()[0].kinds, kinds);
        let paper = LatencyConfig::read("paper", None, &[]).unwrap();
        assert!(paper.shape.is_empty() && paper.name(354_823_168) == "gpt2-medium");
        let places = paper.places();
        assert_eq!(places.len(), 18, "Table 1's cells are of Figure 5's grid");
        let table1 = places.iter().find(|p| (p.batch, p.length) == (1, 128)).unwrap();
        assert!(table1.kinds.contains(&(Design::AdapterL, 224)) && table1.kinds.contains(&(Design::AdapterH, 112)));
        // 144 timings with the shared r = 0, and two more in each of Table 1's columns.
        let timings: usize = places.iter().map(|p| p.kinds.len()).sum();
        assert_eq!(timings, 18 * (1 + 2 * 3) + 3 * 2);
    }

    #[test]
    fn words_are_of_what_is_measured() {
        let read = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            LatencyConfig::read("demo", None, &sets).unwrap()
        };
        let params = |settings: &LatencyConfig| {
            let config = settings.config().unwrap();
            (model::arch(&config).unwrap().shape)(&config).unwrap().total()
        };
        let demo = read(&[]);
        assert_eq!(demo.name(params(&demo)), "gpt2-21.5m");
        assert!(demo.label(params(&demo)).contains("gpt2's shape and 21.5M parameters"));
        let other = read(&["shape.n_embd=768", "shape.n_head=12", "shape.vocab_size=50257"]);
        assert_eq!(other.name(params(&other)), "gpt2-81.9m");
        assert!(
            other.label(params(&other)).contains("81.9M"),
            "{}",
            other.label(params(&other))
        );
        let medium = read(&["model=gpt2-medium"]);
        assert_eq!(medium.name(params(&medium)), "gpt2-medium");
        let named = read(&["shape.n_layer=2", "name=mine", "label=my words"]);
        assert_eq!(
            (named.name(1), named.label(1)),
            ("mine".to_owned(), "my words".to_owned())
        );
    }

    #[test]
    fn a_typo_in_the_shape_is_an_error_that_lists_what_there_is() {
        let wrong = LatencyConfig::read("demo", None, &["shape.n_layers=12".to_owned()]).unwrap();
        let said = format!("{:#}", wrong.config().unwrap_err());
        assert!(said.contains("shape.n_layers") && said.contains("n_layer,"), "{said}");
        let fine = LatencyConfig::read("demo", None, &["shape.n_inner=64".to_owned()]).unwrap();
        fine.config().unwrap();
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let said = |set: &str| {
            format!(
                "{:#}",
                LatencyConfig::read("demo", None, &[set.to_string()]).unwrap_err()
            )
        };
        assert!(said("batch=[0]").contains("`batch` holds 0"));
        assert!(said("length=[]").contains("`length` is empty"));
        assert!(said("batch=[4294967295]").contains("549755813760 tokens a pass"));
        assert!(said("bottleneck=[4294967295]").contains("`bottleneck` is 4294967295"));
        assert!(said("train.batch=4294967295").contains("`train` is too much"));
        assert!(said("trials=0").contains("`trials` is 0"));
        assert!(said("designs=[adapter_x]").contains("adapter_x"));
        assert!(said("colour=1").contains("unknown field `colour`"));
        assert!(said("train.rank=0").contains("`train` holds a 0"));
        assert!(
            format!("{:#}", LatencyConfig::read("papr", None, &[]).unwrap_err()).contains("known: demo, medium, paper")
        );
        let mut settings = LatencyConfig::read("demo", None, &[]).unwrap();
        settings.model = "gpt9".into();
        assert!(format!("{:#}", settings.config().unwrap_err()).contains("gpt2-medium"));
    }
}
