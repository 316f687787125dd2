//! Adapters of other libraries: PEFT's in and out, loralib's in.

mod adapter;
mod base;
mod fit;
mod layerwise;
mod loralib;
mod peft;
mod peft_file;
mod pickle;
mod torch_file;
mod vectors;

pub use adapter::{AdapterFile, AdapterForm, Norms};
pub(crate) use base::fill;
pub use base::{Base, Layer, Tensors};
pub use layerwise::{Layerwise, TrainedBiases};
pub use loralib::open_loralib;
pub use peft::{Export, load_peft, open_peft};
pub(crate) use torch_file::TorchFile;
pub use torch_file::read_torch;
pub use vectors::VectorExport;
