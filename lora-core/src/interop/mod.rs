//! Adapters of other libraries.

mod peft;

pub use peft::load_peft;
