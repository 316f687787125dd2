//! Adapters, special tokens, prefixes and DoRA against a transformer in plain PyTorch (`make_methods_golden.py`).

use super::golden::{Golden, close, test_device};
use super::{CLASSES, build, close_relative};
use lora_core::batch::Batch;
use lora_core::nn::{Adopted, Owner};
use lora_core::train::loss;
use lora_core::weights::Weights;
use std::collections::BTreeMap;
use tch::Tensor;

const MODELS: [&str; 1] = ["roberta"];

/// Puts the reference's variables in the place of the method's; each must have its counterpart.
fn fill(adopted: &Adopted, file: &Weights, method: &str) {
    let prefix = format!("{method}/var/");
    let _guard = tch::no_grad_guard();
    for name in file.names().filter_map(|n| n.strip_prefix(&prefix)) {
        let entry = adopted.params.get(name);
        let entry = entry.unwrap_or_else(|| panic!("{method}: the reference has {name}"));
        assert_eq!(entry.param.owner, Owner::Method, "{name}");
        let value = file.tensor(&format!("{prefix}{name}")).unwrap();
        assert_eq!(entry.tensor.size(), value.size(), "{method}: {name}");
        entry.tensor.shallow_clone().copy_(&value);
    }
}

#[test]
fn logits_and_gradients() {
    for name in MODELS {
        let golden = Golden::open(name);
        let file = Weights::open(&golden.path(&format!("../methods/{name}.safetensors"))).unwrap();
        let text = std::fs::read_to_string(golden.path(&format!("../methods/{name}.json"))).unwrap();
        let methods: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        assert!(methods.len() > 9);
        let rows = golden.rows(0, false);
        let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), test_device()).unwrap();
        for (method, settings) in methods {
            let (model, adopted) = build(&golden, "", &settings, 3, None);
            fill(&adopted, &file, &method);
            let logits = model.forward(&batch, false);
            let expected = |what: &str| -> Tensor {
                file.tensor(&format!("{method}/{what}"))
                    .unwrap()
                    .to_device(test_device())
            };
            close(&logits, &expected("logits"), 1e-5, &format!("{name} {method} logits"));
            loss(&model.forward(&batch, true), &batch, CLASSES).backward();
            for entry in adopted.params.iter().filter(|e| e.param.owner == Owner::Method) {
                let what = format!("{name} {method} {}", entry.param.name);
                let reference = expected(&format!("grad/{}", entry.param.name));
                close_relative(&entry.tensor.grad(), &reference, 1e-4, &what);
            }
        }
    }
}
