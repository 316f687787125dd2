//! The masked language model that `pretrain` trains, against transformers. `make_masked_lm_golden.py` writes the
//! reference.

use super::close_relative;
use super::golden::{Golden, close, test_device};
use lora_core::batch::Batch;
use lora_core::nn::{BaseInit, Build};
use lora_core::train::{Objective, loss};
use lora_core::weights::Weights;
use lora_core::{method, model};

#[test]
fn logits_loss_and_gradients() {
    let golden = Golden::open("masked_lm");
    let rows = golden.masked_rows(0);
    let batch = Batch::new(&rows.iter().collect::<Vec<_>>(), test_device()).unwrap();
    let method = method::from_yaml("{kind: full}").unwrap();
    let build = Build::new(method.as_ref(), 1)
        .device(test_device())
        .base_init(BaseInit::Blank);
    let (model, arch) = model::lm_from_dir(&golden.path(""), &build).unwrap();
    let params = build.finish().unwrap().params;
    let report = Weights::open(&golden.path("")).unwrap().load_into(&params, arch);
    let report = report.unwrap().require_complete().unwrap();
    assert!(report.fresh_head.is_empty(), "{:?}", report.fresh_head);

    let logits = model.forward(&batch, false);
    close(&logits, &golden.tensor("full/logits"), 1e-5, "logits");
    let loss = loss(
        &model.forward(&batch, true),
        &batch,
        Objective::Tokens { label_smoothing: 0.0 },
    );
    let difference = f64::try_from(&loss).unwrap() - golden.number(&["loss", "full"]);
    assert!(difference.abs() < 1e-5, "loss differs by {difference:e}");
    loss.backward();
    let expected = golden.gradients("full");
    assert_eq!(
        params.trainable().count(),
        expected.len(),
        "as many gradients as the reference"
    );
    for entry in params.trainable() {
        let name = entry.param.name.as_str();
        close_relative(&entry.tensor.grad(), &expected[name], 1e-4, name);
    }
}
