//! How the classifier of a file is taken over.

use crate::model::Arch;
use tch::Tensor;

/// How the classifier of a file is taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredHead {
    /// As it is, where there is one.
    AsStored,
    /// Output i from this row.
    Reordered(Vec<i64>),
    /// Not at all: the model's own stays as it was initialised.
    Fresh,
}

impl StoredHead {
    pub(super) fn rows(&self, tensor: Tensor, target: &str, arch: &Arch) -> Tensor {
        match self {
            StoredHead::Reordered(rows) if arch.is_of_output(target) => {
                tensor.index_select(0, &Tensor::from_slice(rows))
            }
            _ => tensor,
        }
    }
}
