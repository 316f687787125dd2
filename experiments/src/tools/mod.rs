//! The programs `lora` and `pretrain`.

pub mod adapter;
pub mod bench;
pub mod doctor;
pub mod examples;
pub mod params;
pub mod pretrain;
pub mod score;
pub mod upgrade;
