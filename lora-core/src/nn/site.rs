//! Types shared by models and methods: roles, places, and descriptions of variables.

use serde::{Deserialize, Serialize};
use std::fmt;
use tch::Tensor;

/// The role of a linear layer. The set is closed, so a typo in a configuration is an error that lists the roles.
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
    /// `gate` of a gated feed-forward network, down(f(gate(x)) · up(x)).
    #[serde(alias = "gate")]
    FfnGate,
    /// The first matrix of the feed-forward network; `up` of a gated one.
    #[serde(alias = "up")]
    FfnIn,
    /// The last matrix of the feed-forward network; `down` of a gated one.
    #[serde(alias = "down")]
    FfnOut,
    /// W_q, W_k and W_v of a fused weight as one matrix, as in PEFT's adapters of GPT-2's c_attn, which have one A for
    /// all three.
    Qkv,
    /// The projection of relative positions to keys, in a DeBERTa with separate projections for positions.
    RelPosKey,
    /// The projection of relative positions to queries, likewise.
    RelPosQuery,
}

impl Role {
    /// The matrices of a block with an ungated feed-forward network, in order.
    pub const BLOCK: [Role; 6] = [
        Role::Query,
        Role::Key,
        Role::Value,
        Role::AttnOut,
        Role::FfnIn,
        Role::FfnOut,
    ];

    /// All roles.
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

/// A site in a block for a method's module: see [`super::Adapter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdapterSite {
    /// After attention with its projection and dropout, before the residual add.
    AfterAttention,
    /// After the feed-forward network and dropout, before the residual add.
    AfterFfn,
    /// On the block's output: after the last residual add and, in post-LN blocks, its LayerNorm.
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

/// A place that a method can claim. The methods of a combination must claim different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttachPoint {
    /// The pretrained weights.
    Base,
    /// The linear layers with this role.
    Linear(Role),
    /// An adapter site of the blocks.
    AdapterSite(AdapterSite),
    /// The keys and values of attention.
    Attention,
    /// The embeddings, for inserted tokens.
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

/// The owner of a variable. The paper counts [`Owner::Method`] and the trained part of [`Owner::Base`] as trainable
/// parameters; the head is trained by every method and not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The pretrained model.
    Base,
    /// The method.
    Method,
    /// The task head.
    Head,
}

/// The kind of a variable, for methods and weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A matrix of a linear layer.
    Weight,
    /// An embedding.
    Embedding,
    /// The bias of a linear layer.
    Bias,
    /// The gain of a LayerNorm or RMSNorm, or any factor that starts at 1 and must not decay.
    NormWeight,
    /// The bias of a LayerNorm.
    NormBias,
}

impl ParamKind {
    /// Whether AdamW decays it: true except for biases and normalisations, as in transformers.
    pub fn decays(self) -> bool {
        matches!(self, ParamKind::Weight | ParamKind::Embedding)
    }

    /// Whether it is a bias, LayerNorm's included (BitFit trains these).
    pub fn is_bias(self) -> bool {
        matches!(self, ParamKind::Bias | ParamKind::NormBias)
    }
}

/// The block of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Index of the block, counted from 0 at the input.
    pub index: usize,
    /// Number of blocks.
    pub of: usize,
}

/// A linear layer that a method can adapt.
#[derive(Debug)]
pub struct Site {
    /// The block, if the layer is inside one.
    pub depth: Option<Depth>,
    /// Features in.
    pub in_dim: i64,
    /// Features out; of one slot for a fused weight.
    pub out_dim: i64,
    /// The layer's weight `[out, in]`, or its slot of a fused weight. Weights are loaded after the model is built, so a
    /// branch must read it only when it runs.
    pub weight: Tensor,
    /// The layer's bias `[out]`, likewise, if it has one.
    pub bias: Option<Tensor>,
}

/// The description of a variable in [`super::Params`].
#[derive(Clone, Debug)]
pub struct Param {
    /// The full name: transformers' for base and head, PEFT's for adapters.
    pub name: String,
    /// The owner.
    pub owner: Owner,
    /// The kind.
    pub kind: ParamKind,
    /// The block; none outside the blocks.
    pub depth: Option<Depth>,
    /// Whether it comes after the last block: the final LayerNorm of a pre-LN model, or a token embedding that is tied
    /// to the output layer.
    pub output: bool,
    /// Whether it is train-only, that is replaced after training: see [`super::Params::kept`].
    pub train_only: bool,
    /// The factor of the learning rate: see [`super::Method::lr_factor`].
    pub lr_factor: f64,
}
