//! The experiments of the LoRA paper: flags and YAML files become validated runs, each run one record, and tables are read from
//! the records. The binaries in `src/bin` are thin.
//!
//! Modules from bottom to top: `config`, `inputs`, `task`, `experiment`, `plan`, `runner`, `report`, `launch`, `app`; each uses
//! those before it. `tools` and `analyses` are the programs beside the experiments.

pub mod analyses;
pub mod app;
pub mod config;
pub mod experiment;
pub mod inputs;
pub mod launch;
pub mod plan;
pub mod report;
pub mod runner;
pub mod task;
pub mod tools;
