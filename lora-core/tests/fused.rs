//! The autograd nodes of `native/` against the plain compositions of libtorch's operators: losses, and gradients summed
//! over two batches, dropout included. The switch is the process's, so there is one test function.

mod common;

use common::{config, finish, fit_config, model_types, rows};
use lora_core::batch::{Batch, Row, Target};
use lora_core::method::{self, METHODS};
use lora_core::model::Model;
use lora_core::nn::{ActivationCheckpointing, Build, BuiltParams, use_fused};
use lora_core::seed::seed_step;
use lora_core::train::training_loss;
use tch::{Device, Kind, Tensor};

/// Moves every trained variable away from its start, so that B and adapters are not zero.
fn disturb(built: &BuiltParams) {
    let _guard = tch::no_grad_guard();
    tch::manual_seed(3);
    for entry in built.params.trainable() {
        let noise = entry.tensor.randn_like() * 0.1;
        let _ = entry.tensor.shallow_clone().g_add_(&noise);
    }
}

/// The losses of two batches, and the gradients of all trained variables after both.
fn losses_and_gradients(
    model_type: &str,
    model: &dyn Model,
    built: &BuiltParams,
    rows: &[Row],
) -> Vec<(String, Tensor)> {
    let objective = fit_config(model_type).objective;
    let mut found = Vec::new();
    for (i, half) in rows.chunks(rows.len().div_ceil(2)).enumerate() {
        seed_step(11, i as u64);
        let batch = Batch::new(&half.iter().collect::<Vec<_>>(), Device::Cpu).unwrap();
        let checkpointing = ActivationCheckpointing::off();
        let loss = training_loss(model, &model.features(&batch, true, &checkpointing), &batch, objective);
        (&loss * 0.5).backward();
        found.push((format!("loss of batch {i}"), loss.detach()));
    }
    for entry in built.params.trainable() {
        let gradient = entry.tensor.grad();
        let gradient = if gradient.defined() {
            gradient.copy()
        } else {
            entry.tensor.zeros_like()
        };
        found.push((entry.param.name.clone(), gradient));
        entry.tensor.shallow_clone().zero_grad();
    }
    found
}

fn number(t: Tensor) -> f64 {
    f64::try_from(t).unwrap()
}

/// Both ways agree: losses to `loss`, gradients to `gradient` of the largest gradient of the model.
fn agree(model_type: &str, what: &str, kind: Kind, rows: &[Row], (loss, gradient): (f64, f64), long: bool) {
    let method = method::from_yaml(what).unwrap();
    let mut config = config(model_type);
    if long {
        let positions = if model_type == "gpt2" {
            "n_positions"
        } else {
            "max_position_embeddings"
        };
        config[positions] = 400.into();
    }
    let (model, built) = finish(&config, Build::new(method.as_ref(), 1).base_kind(kind)).unwrap();
    if built.params.trainable().count() == 0 {
        return;
    }
    disturb(&built);
    let of = |fused| {
        use_fused(fused);
        losses_and_gradients(model_type, model.as_ref(), &built, rows)
    };
    let (plain, fused) = (of(false), of(true));
    let largest = plain
        .iter()
        .skip(2)
        .map(|(_, t)| number(t.abs().max()))
        .fold(0.0, f64::max);
    for (i, ((name, a), (_, b))) in plain.iter().zip(&fused).enumerate() {
        let apart = number((a - b).abs().max());
        let allowed = if i < 2 {
            loss * number(a.abs())
        } else {
            gradient * largest
        };
        assert!(
            apart <= allowed,
            "{what} on {model_type}, {kind:?}: {name} differs by {apart:e}, allowed {allowed:e}"
        );
    }
}

/// Rows longer than a block of queries.
fn long_rows(model_type: &str) -> Vec<Row> {
    let mut rows = rows(model_type, 4);
    for (i, row) in rows.iter_mut().enumerate() {
        let len = 130 + 61 * i;
        row.ids = (0..len).map(|t| 2 + ((i * 31 + t * 17) % 40) as i64).collect();
        row.types = Vec::new();
        row.prompt = None;
        if let Target::Tokens(wanted) = &mut row.target {
            *wanted = row.ids.iter().map(|id| id % 7 + 1).collect();
        }
    }
    rows
}

const LORA: &str = "{kind: lora, r: 3, alpha: 12, dropout: 0.2, targets: [query, value, attn_out, ffn_in]}";

#[test]
fn fused_nodes_equal_the_plain_compositions() {
    tch::set_num_threads(2);
    for model in model_types() {
        let ragged = rows(model, 7);
        let lora = if ["llama", "qwen2"].contains(&model) {
            LORA.replace("ffn_in", "ffn_gate")
        } else {
            LORA.into()
        };
        let shared = "{kind: lora, r: 2, alpha: 3, dropout: 0.2, shared_mask: true, targets: [query, value]}";
        for entry in METHODS {
            let what = format!("{{kind: {}}}", entry.kind);
            agree(model, &what, Kind::Float, &ragged, (1e-6, 1e-5), false);
        }
        for what in [lora.as_str(), shared] {
            agree(model, what, Kind::Float, &ragged, (1e-6, 1e-5), false);
        }
        for what in [lora.as_str(), "{kind: full}"] {
            agree(model, what, Kind::Float, &long_rows(model), (1e-6, 2e-5), true);
        }
        agree(model, &lora, Kind::BFloat16, &ragged, (0.05, 0.1), false);
    }
    use_fused(true);
}
