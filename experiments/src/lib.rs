//! The experiments of the LoRA paper: a YAML file becomes validated runs, each run one record, and tables are read from
//! the records. The binaries in `src/bin` are thin.

pub mod analyses;
pub mod cli;
pub mod config;
pub mod experiment;
pub mod inputs;
pub mod labels;
pub mod plan;
pub mod report;
pub mod runner;
pub mod task;
pub mod tools;
