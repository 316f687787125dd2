//! Layers, and the interface through which methods attach to models.

mod activation;
mod adapt;
mod attention;
mod build;
mod cache;
mod checkpointing;
mod dropout;
mod embedding;
mod linear;
mod native;
#[cfg(test)]
mod native_blocks;
mod native_decode;
mod norm;
mod packed;
mod params;
mod prompt;
mod rotary;
mod scope;
mod site;
mod tap;
mod tensors;

pub use activation::Activation;
pub use adapt::{Adapter, Branch, LowRank, PrefixKv, PromptTokens};
pub use attention::{Attention, Prefix};
pub use cache::KvCache;
pub use checkpointing::ActivationCheckpointing;
pub use dropout::dropout;
pub(crate) use dropout::{seed_dropout, shared_by_rows, split_masks};
pub use embedding::Embedding;
pub use linear::Linear;
pub(crate) use native::{AdamUpdate, Relative, Updated, adamw, fused_adamw, takes, vocabulary_loss};
pub use native::{is_fused, use_fused};
pub(crate) use native_decode::{Banned, best_continuations, takes_logits};
pub use norm::{Norm, RmsNorm};
pub(crate) use packed::Packable;
pub use packed::PackedWeights;
pub use params::{BuiltParams, Counts, Init, NamedParam, Params};
pub use prompt::SoftPrompt;
pub use rotary::{Rotary, RotaryScaling, Rotation};
pub use scope::{BaseInit, Build, Method, Scope};
pub use site::{AdapterSite, AttachPoint, Depth, Owner, Param, ParamKind, Role, Site};
pub use tap::TapPoint;
pub use tensors::check_finite;
pub(crate) use tensors::{assign, cast_like, copy, fits};
