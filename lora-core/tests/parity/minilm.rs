//! MiniLM against transformers on real sentences. `make_minilm_golden.py` writes the reference.

use crate::golden::{close, test_device};
use lora_core::batch::{Batch, Row, Target};
use lora_core::nn::Build;
use lora_core::weights::Weights;
use lora_core::{method, model};
use std::path::Path;

#[test]
fn minilm_logits() {
    let Some(dir) = testing::named("LORA_MINILM") else {
        return;
    };
    let Some(golden) = testing::named("LORA_MINILM_GOLDEN") else {
        return;
    };
    let method = method::from_yaml("{kind: head}").unwrap();
    let build = Build::new(method.as_ref(), 1).device(test_device());
    let (model, arch) = model::from_dir(Path::new(&dir), 2, &build).unwrap();
    let built = build.finish().unwrap();
    Weights::open(Path::new(&dir))
        .unwrap()
        .load_into(&built.params, arch)
        .unwrap()
        .require_complete()
        .unwrap();
    let golden = Weights::open(Path::new(&golden)).unwrap();
    let _guard = tch::no_grad_guard();
    for name in ["classifier.weight", "classifier.bias"] {
        built
            .params
            .get(name)
            .unwrap()
            .tensor
            .shallow_clone()
            .copy_(&golden.tensor(name).unwrap());
    }
    let ints = |name: &str| Vec::<i64>::try_from(golden.tensor(name).unwrap()).unwrap();
    let (ids, types, lengths) = (ints("input_ids"), ints("token_type_ids"), ints("lengths"));
    let mut start = 0;
    let mut rows = Vec::new();
    for len in lengths {
        let span = start..start + len as usize;
        rows.push(Row {
            ids: ids[span.clone()].to_vec(),
            types: types[span.clone()].to_vec(),
            prompt: None,
            target: Target::Class(0),
        });
        start = span.end;
    }
    assert_eq!(rows.len(), 100);
    let logits = model.forward(
        &Batch::new(&rows.iter().collect::<Vec<_>>(), test_device()).unwrap(),
        false,
    );
    close(
        &logits,
        &golden.tensor("logits").unwrap().to_device(test_device()),
        1e-4,
        "MiniLM logits",
    );
}
