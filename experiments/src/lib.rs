//! The experiments of the LoRA paper: a YAML file becomes validated runs, each run one record, and tables are read from
//! the records. The binaries in `src/bin` are thin.

pub mod adapter;
pub mod again;
pub mod bench;
pub mod bench_adapters;
pub mod bench_generate;
pub mod calibrate;
pub mod cli;
pub mod config;
pub mod console;
pub mod corpus;
pub mod doctor;
pub mod download;
pub mod embedded;
pub mod examples;
pub mod experiment;
pub mod glue;
pub mod host;
pub mod inputs;
pub mod jobs;
pub mod json;
pub mod news;
pub mod params;
pub mod plan;
pub mod presets;
pub mod pretrain;
pub mod run;
pub mod score;
pub mod settings;
pub mod source;
pub mod tables;
pub mod task;
pub mod tensorboard;
pub mod text;
pub mod tfevents;
pub mod work;
