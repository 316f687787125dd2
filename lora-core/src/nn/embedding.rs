use super::tensors::cast_like;
use tch::{Kind, Tensor};

/// An embedding: a table of vectors, looked up by id.
#[derive(Debug)]
pub struct Embedding {
    /// `[count, dim]`.
    table: Tensor,
}

impl Embedding {
    pub(super) fn new(table: Tensor) -> Self {
        Embedding { table }
    }

    /// The vectors, `[count, dim]`.
    pub(crate) fn table(&self) -> &Tensor {
        &self.table
    }

    /// Ids `[T]` to `[T, dim]` in `kind`.
    pub fn forward(&self, ids: &Tensor, kind: Kind) -> Tensor {
        Tensor::embedding(&self.table, ids, -1, false, false).to_kind(kind)
    }

    /// The products of `x` `[S, dim]` with all vectors, `[S, count]`: the tied output layer of a language model.
    pub fn scores(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        x.linear(&cast_like(&self.table, x), bias.map(|b| cast_like(b, x)).as_ref())
    }
}
