//! Access to the golden files.

use lora_core::batch::{Row, Target};
use lora_core::weights::Weights;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

pub struct Golden {
    dir: PathBuf,
    expected: Value,
    tensors: Weights,
    batches: Vec<Value>,
}

/// `LORA_TEST_DEVICE`; the CPU if unset.
pub fn test_device() -> Device {
    tch::set_num_threads(1); // tests run in parallel, and libtorch's threads spin while they wait
    lora_core::device::parse(&std::env::var("LORA_TEST_DEVICE").unwrap_or("cpu".into())).unwrap()
}

pub fn ints(values: &Value) -> Vec<i64> {
    let values = values.as_array().unwrap();
    values.iter().map(|v| v.as_i64().unwrap()).collect()
}

pub fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

impl Golden {
    pub fn open(name: &str) -> Golden {
        let root = std::env::var_os("LORA_PARITY_GOLDEN").map(PathBuf::from);
        let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/golden"));
        let dir = root.join(name);
        let batches = read(&dir.join("batches.json")).as_array().unwrap().clone();
        let tensors = Weights::open(&dir.join("expected.safetensors")).unwrap();
        Golden {
            expected: read(&dir.join("expected.json")),
            tensors,
            batches,
            dir,
        }
    }

    pub fn path(&self, sub: &str) -> PathBuf {
        self.dir.join(sub)
    }

    pub fn rows(&self, batch: usize, scores: bool) -> Vec<Row> {
        let batch = &self.batches[batch];
        let ids = batch["input_ids"].as_array().unwrap();
        (0..ids.len())
            .map(|i| Row {
                ids: ints(&ids[i]),
                types: batch
                    .get("token_type_ids")
                    .filter(|t| !t.is_null())
                    .map(|t| ints(&t[i]))
                    .unwrap_or_default(),
                prompt: None,
                target: match scores {
                    true => Target::Score(batch["float_labels"][i].as_f64().unwrap()),
                    false => Target::Class(batch["labels"][i].as_i64().unwrap()),
                },
            })
            .collect()
    }

    /// Rows of a masked language model: `wanted` holds the target id of each scored token.
    pub fn masked_rows(&self, batch: usize) -> Vec<Row> {
        let batch = &self.batches[batch];
        let lists = |key: &str| batch[key].as_array().unwrap().iter().map(ints);
        lists("input_ids")
            .zip(lists("wanted"))
            .map(|(ids, wanted)| Row {
                ids,
                types: Vec::new(),
                prompt: None,
                target: Target::Tokens(wanted),
            })
            .collect()
    }

    fn at(&self, path: &[&str]) -> &Value {
        path.iter().fold(&self.expected, |v, key| {
            v.get(key).unwrap_or_else(|| panic!("no {path:?}"))
        })
    }

    pub fn number(&self, path: &[&str]) -> f64 {
        self.at(path).as_f64().unwrap()
    }

    pub fn numbers(&self, path: &[&str]) -> Vec<f64> {
        self.at(path)
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect()
    }

    pub fn tensor(&self, name: &str) -> Tensor {
        self.tensors.tensor(name).unwrap().to_device(test_device())
    }

    /// The reference gradients of a method, by variable name.
    pub fn gradients(&self, method: &str) -> HashMap<String, Tensor> {
        let prefix = format!("{method}/grad/");
        let names = self.tensors.names().filter_map(|n| n.strip_prefix(&prefix));
        names
            .map(|n| {
                (
                    n.strip_prefix("base_model.model.").unwrap_or(n).to_string(),
                    self.tensor(&format!("{prefix}{n}")),
                )
            })
            .collect()
    }
}

/// How far logits may be from PEFT's. Under PiSSA the base is the rest of a decomposition, which PEFT computes in fp32 with an error
/// of its own on each processor; ours is in fp64.
pub fn logits_tolerance(method: &str) -> f64 {
    if method == "pissa" { 5e-5 } else { 1e-5 }
}

pub fn close(ours: &Tensor, reference: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(ours.size(), reference.size(), "{what}: shape");
    let difference = f64::try_from(
        (ours.to_kind(Kind::Double) - reference.to_kind(Kind::Double))
            .abs()
            .max(),
    )
    .unwrap();
    assert!(
        difference <= tolerance,
        "{what}: differs by {difference:e}, allowed {tolerance:e}"
    );
}
