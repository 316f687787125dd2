//! `lora bench`: speed and memory, measured.

pub mod adapters;
pub mod generate;
pub mod memory;
pub mod products;
pub mod scoring;
pub mod training;
