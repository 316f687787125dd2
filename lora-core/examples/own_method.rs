//! A method defined outside the crate: SSF of Lian et al. (2022), scaling and shifting of features, on chosen linear
//! layers. Once it is registered, configurations name it like any other method, also in combinations.
//!
//! ```sh
//! cargo run -p lora-core --example own_method
//! ```
#![allow(clippy::print_stdout)] // Its output is for a person.

use lora_core::method::{self, Registered};
use lora_core::model::{self, ModelShape};
use lora_core::nn::{AttachPoint, Branch, Build, Init, Method, ParamKind, Role, Scope, Site};
use lora_core::weights::Weights;
use lora_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use tch::{Kind, Tensor};

/// Scales and shifts the output of each target layer feature by feature: y = (1 + s) · (W x + b) + t, with s = t = 0 at the
/// start.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Ssf {
    targets: Vec<Role>,
}

impl Method for Ssf {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        self.targets.iter().copied().map(AttachPoint::Linear).collect()
    }

    fn at_linear(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        if !self.targets.contains(&role) {
            return Ok(None);
        }
        let var = |name: &str, kind| scope.var(name, kind, &[site.out_dim], Init::Const(0.0));
        Ok(Some(Box::new(Scaled {
            scale: var("ssf_scale", ParamKind::NormWeight)?,
            shift: var("ssf_shift", ParamKind::NormBias)?,
        })))
    }

    /// Two parameters per output feature of each target.
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        let outputs: i64 = self.targets.iter().map(|role| shape.dims(*role).1).sum();
        (0, 2 * shape.layers * outputs)
    }
}

#[derive(Debug)]
struct Scaled {
    scale: Tensor,
    shift: Tensor,
}

impl Branch for Scaled {
    fn add_to(&self, y: &Tensor, _: &Tensor, _: bool) -> Tensor {
        y + y * self.scale.to_kind(y.kind()) + self.shift.to_kind(y.kind())
    }
}

fn main() -> Result<()> {
    method::register(Registered::new::<Ssf>(
        "ssf",
        "trained scales and shifts of the outputs of chosen layers (SSF)",
        "{targets: [key, value]}",
    ))?;

    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/embedded/roberta"));
    for yaml in ["{kind: ssf}", "{kind: ssf, targets: [query]}", "{kind: ssf+pre_layer}"] {
        let method = method::from_yaml(yaml)?;
        let build = Build::new(method.as_ref(), 1);
        let (model, arch) = model::from_dir(folder, 2, &build)?;
        let built = build.finish()?;
        Weights::open(folder)?
            .load_into(&built.params, arch)?
            .require_complete()?;
        let (_, expected) = method.expected_params(&(arch.shape)(&model::read_config(folder)?)?);
        println!("{yaml}: {} parameters, {expected} expected", built.counts.method);
        assert_eq!(built.counts.method, expected);

        // All trainable variables get gradients.
        let batch = lora_core::batch::Batch::of_prompts(&[&[0, 5, 6, 2], &[0, 7, 2]], tch::Device::Cpu)?;
        model
            .forward(&batch, true)
            .pow_tensor_scalar(2)
            .sum(Kind::Float)
            .backward();
        for trained in built.params.trainable() {
            if !trained.tensor.grad().defined() {
                return Err(Error::NoGradient(trained.param.name.clone()));
            }
        }
    }
    Ok(())
}
