//! How the classifier of a file is loaded.

use crate::model::Arch;
use tch::Tensor;

/// How the classifier of a file is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredHead {
    /// Unchanged, if there is one.
    AsStored,
    /// Output i comes from this row of the file.
    Reordered(Vec<i64>),
    /// Not at all: the model's classifier keeps its initial values.
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
