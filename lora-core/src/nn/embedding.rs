use super::packed::{Packable, PackedWeight};
use super::tensors::cast_like;
use tch::{Device, Kind, Tensor};

/// An embedding: a table of vectors, looked up by id.
#[derive(Debug)]
pub struct Embedding {
    /// `[count, dim]`.
    table: Tensor,
    /// For [`Embedding::scores`].
    packed: PackedWeight,
}

impl Embedding {
    pub(super) fn new(table: Tensor) -> Self {
        Embedding {
            table,
            packed: PackedWeight::default(),
        }
    }

    /// The device of the vectors.
    pub(crate) fn device(&self) -> Device {
        self.table.device()
    }

    /// The vectors, `[count, dim]`.
    pub(crate) fn table(&self) -> &Tensor {
        &self.table
    }

    /// Ids `[T]` to `[T, dim]` in `kind`.
    pub fn forward(&self, ids: &Tensor, kind: Kind) -> Tensor {
        Tensor::embedding(&self.table, ids, -1, false, false).to_kind(kind)
    }

    /// The products of `x` `[S, dim]` with all vectors, `[S, count]`, in the data type of `x` or in fp32: the tied output
    /// layer of a language model.
    pub fn scores(&self, x: &Tensor, bias: Option<&Tensor>) -> Tensor {
        if let Some(scores) = self.packed.linear(x, bias, true) {
            return scores;
        }
        x.linear(&cast_like(&self.table, x), bias.map(|b| cast_like(b, x)).as_ref())
    }
}

impl Packable for Embedding {
    fn elements(&self) -> usize {
        self.table.numel()
    }

    fn pack(&self, kind: Kind) {
        self.packed.pack(&self.table, kind);
    }

    fn unpack(&self) {
        self.packed.unpack();
    }
}
