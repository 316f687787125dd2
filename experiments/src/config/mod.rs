//! From YAML layers and flags to validated runs.

pub mod grids;
pub mod identity;
pub(crate) mod layers;
pub mod run_config;
pub mod settings;
