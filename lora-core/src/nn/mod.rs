//! Layers, and the seam at which methods attach to models.

mod activation;
mod adapt;
mod attention;
mod cache;
mod checkpointing;
mod dropout;
mod embedding;
mod linear;
mod norm;
mod prompt;
mod scope;
mod site;
mod tap;

pub use activation::Activation;
pub use adapt::{Adapter, Branch, LowRank, Method, PrefixKv, PromptTokens};
pub use attention::{Attention, Prefix};
pub use cache::KvCache;
pub use checkpointing::ActivationCheckpointing;
pub use dropout::dropout;
pub(crate) use dropout::seed_dropout;
pub use embedding::Embedding;
pub use linear::Linear;
pub use norm::Norm;
pub use prompt::SoftPrompt;
pub use scope::{BaseInit, Build, BuiltParams, Counts, Entry, Init, Params, Scope};
pub use site::{AdapterSite, AttachPoint, Depth, Owner, Param, ParamKind, Role, Site};
pub use tap::TapPoint;

use tch::Tensor;

/// `t` in the kind of `x`: how fp32 adapters and trained weights meet bf16 activations (as autocast does).
pub(crate) fn cast_like(t: &Tensor, x: &Tensor) -> Tensor {
    if t.kind() == x.kind() {
        t.shallow_clone()
    } else {
        t.to_kind(x.kind())
    }
}
