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
mod norm;
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
pub(crate) use dropout::seed_dropout;
pub use embedding::Embedding;
pub use linear::Linear;
pub use norm::{Norm, RmsNorm};
pub use params::{BuiltParams, Counts, Init, NamedParam, Params};
pub use prompt::SoftPrompt;
pub use rotary::{Rotary, RotaryScaling, Rotation};
pub use scope::{BaseInit, Build, Method, Scope};
pub use site::{AdapterSite, AttachPoint, Depth, Owner, Param, ParamKind, Role, Site};
pub use tap::TapPoint;
pub use tensors::check_finite;
pub(crate) use tensors::{cast_like, copy};
