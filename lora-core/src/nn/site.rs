//! The vocabulary that models and methods share.

use serde::{Deserialize, Serialize};
use std::fmt;
use tch::Tensor;

/// Where a linear layer sits. A closed set, so that a typo in a configuration is an error that lists the choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// W_q of self-attention.
    #[serde(alias = "q")]
    Query,
    /// W_k of self-attention.
    #[serde(alias = "k")]
    Key,
    /// W_v of self-attention.
    #[serde(alias = "v")]
    Value,
    /// W_o: the projection after attention.
    #[serde(alias = "o")]
    AttnOut,
    /// The gate of a gated feed-forward network, down(f(gate(x)) · up(x)).
    #[serde(alias = "gate")]
    FfnGate,
    /// The first matrix of the feed-forward network; of a gated one the matrix `up`.
    #[serde(alias = "up")]
    FfnIn,
    /// The last matrix of the feed-forward network, `down` of a gated one.
    #[serde(alias = "down")]
    FfnOut,
    /// W_q, W_k and W_v of a model that keeps them in one weight, taken as the one matrix that it is: PEFT's form of an
    /// adapter beside GPT-2's c_attn, with one A for all three.
    Qkv,
    /// What positions are as keys, in a DeBERTa with projections of their own for them.
    RelPosKey,
    /// What positions are as queries, likewise.
    RelPosQuery,
}

impl Role {
    /// The matrices of a block with a plain feed-forward network, in its order.
    pub const BLOCK: [Role; 6] = [
        Role::Query,
        Role::Key,
        Role::Value,
        Role::AttnOut,
        Role::FfnIn,
        Role::FfnOut,
    ];

    /// Every role.
    pub const ALL: [Role; 10] = [
        Role::Query,
        Role::Key,
        Role::Value,
        Role::AttnOut,
        Role::FfnGate,
        Role::FfnIn,
        Role::FfnOut,
        Role::Qkv,
        Role::RelPosKey,
        Role::RelPosQuery,
    ];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Query => "query",
            Role::Key => "key",
            Role::Value => "value",
            Role::AttnOut => "attn_out",
            Role::FfnGate => "ffn_gate",
            Role::FfnIn => "ffn_in",
            Role::FfnOut => "ffn_out",
            Role::Qkv => "qkv",
            Role::RelPosKey => "rel_pos_key",
            Role::RelPosQuery => "rel_pos_query",
        })
    }
}

/// Where in a block a method may put a module: see [`super::Adapter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdapterSite {
    /// After attention, its projection and dropout, before the residual add.
    AfterAttention,
    /// After the feed-forward network and dropout, before the residual add.
    AfterFfn,
    /// On what the block hands on: after the last residual add and, in post-LN blocks, its LayerNorm.
    AfterBlock,
}

impl fmt::Display for AdapterSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdapterSite::AfterAttention => "after_attention",
            AdapterSite::AfterFfn => "after_ffn",
            AdapterSite::AfterBlock => "after_block",
        })
    }
}

/// A kind of place that a method may claim. Two methods that work together must claim different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttachPoint {
    /// The pretrained weights themselves.
    Base,
    /// Beside the linear layers in this role.
    Linear(Role),
    /// A tap of the blocks.
    AdapterSite(AdapterSite),
    /// The keys and values of attention.
    Attention,
    /// Between the tokens, at the embeddings.
    Embedding,
}

impl fmt::Display for AttachPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachPoint::Base => f.write_str("the pretrained weights"),
            AttachPoint::Linear(role) => write!(f, "the {role} layers"),
            AttachPoint::AdapterSite(tap) => write!(f, "the place {tap} of the blocks"),
            AttachPoint::Attention => f.write_str("the keys and values of attention"),
            AttachPoint::Embedding => f.write_str("the embeddings"),
        }
    }
}

/// Who a variable belongs to. The paper counts [`Owner::Method`] and the trained part of [`Owner::Base`]; the head is
/// trained by every method and counted by none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The pretrained model.
    Base,
    /// What the method adds.
    Method,
    /// The task head.
    Head,
}

/// What a variable is, as far as methods and weight decay ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A matrix of a linear layer.
    Weight,
    /// A table of embeddings.
    Embedding,
    /// The bias of a linear layer.
    Bias,
    /// The gain of a LayerNorm or RMSNorm, or any gain: a factor that starts at 1 and must not decay to 0.
    NormWeight,
    /// The bias of a LayerNorm.
    NormBias,
}

impl ParamKind {
    /// Whether AdamW decays it: everything but biases and LayerNorm, as transformers groups them.
    pub fn decays(self) -> bool {
        matches!(self, ParamKind::Weight | ParamKind::Embedding)
    }

    /// Whether it is a bias of any layer, LayerNorm's included (what BitFit trains).
    pub fn is_bias(self) -> bool {
        matches!(self, ParamKind::Bias | ParamKind::NormBias)
    }
}

/// The block a variable is in: `index` counts from 0 at the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// This block, from 0.
    pub index: usize,
    /// How many blocks there are.
    pub of: usize,
}

/// What a method is told about a linear layer it may adapt.
#[derive(Debug)]
pub struct Site {
    /// The block, if the layer is inside one.
    pub depth: Option<Depth>,
    /// Features in.
    pub in_dim: i64,
    /// Features out (of one slot, where a weight holds several).
    pub out_dim: i64,
    /// The layer's own weight `[out, in]` (its slot of it). Read it when the branch runs, not before: while a model is
    /// built, its weights are not loaded yet.
    pub weight: Tensor,
    /// The layer's own bias `[out]`, likewise, where it has one.
    pub bias: Option<Tensor>,
}

/// A variable's description, kept beside its tensor in [`super::Params`].
#[derive(Clone, Debug)]
pub struct Param {
    /// The full name, in Hugging Face's spelling for base and head, in PEFT's for adapters.
    pub name: String,
    /// Who it belongs to.
    pub owner: Owner,
    /// What it is.
    pub kind: ParamKind,
    /// The block it is in.
    pub depth: Option<Depth>,
    /// Whether it is behind the last block: the last LayerNorm of a pre-LN model, or the table of tokens where that is the
    /// output layer too.
    pub output: bool,
    /// Whether it serves training alone and is dropped afterwards: see [`super::Params::kept`].
    pub train_only: bool,
}
