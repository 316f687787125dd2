//! The programs `lora` and `pretrain`.

pub mod adapter;
pub mod bench;
pub mod doctor;
pub mod examples;
pub mod figures;
pub mod generate;
pub mod params;
pub mod plan;
pub mod predict;
pub mod pretrain;
pub mod score;
pub mod shell;
pub mod submit;
pub mod sweep;
pub mod upgrade;
