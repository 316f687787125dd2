//! The first phase: flags and files become one resolved experiment.

use crate::experiment::Experiment;
use crate::experiment::config::ExperimentConfig;
use crate::experiment::flags::ExperimentArgs;
use crate::experiment::rates::Stage;
use crate::inputs::environment::set_threads;
use anyhow::Result;
use results::Store;
use tch::Device;

/// An experiment with all settings known, before model and data are read.
#[derive(Clone)]
pub struct Resolved {
    /// The experiment.
    pub experiment: &'static Experiment,
    /// The configuration with all flags.
    pub config: ExperimentConfig,
    /// The configuration of the preset or file alone, without flags: labels and rows of the paper hold where runs agree with it.
    pub base: Option<ExperimentConfig>,
    /// The preset's name.
    pub preset: Option<String>,
    /// Where and how runs are computed.
    pub execution: Execution,
    /// Which of its runs are meant.
    pub stage: Stage,
}

/// Where and how runs are computed; no part of what they compute.
#[derive(Clone)]
pub struct Execution {
    /// Where records go.
    pub store: Store,
    /// Where tensors live.
    pub device: Device,
    /// CPU threads.
    pub threads: usize,
    /// Runs at once; 0 for a number that fits the machine.
    pub jobs: usize,
    /// Whether checkpoints of interrupted runs are used.
    pub resume: bool,
    /// Whether the trained weights of every run are kept.
    pub keep: bool,
}

impl Resolved {
    /// Reads the layers, sets the number of threads, and opens device and store.
    ///
    /// # Errors
    /// Configurations, devices, or folders that cannot be used.
    pub fn new(experiment: &'static Experiment, args: &ExperimentArgs) -> Result<Resolved> {
        let config = args.config(experiment)?;
        let base = args.base(experiment)?;
        let threads = set_threads(args.threads)?;
        let device = lora_core::device::parse(&args.device)?;
        config.dtype.check(device)?;
        Ok(Resolved {
            experiment,
            config,
            base,
            preset: args.preset().map(String::from),
            execution: Execution {
                threads,
                device,
                store: Store::open(&args.out)?,
                jobs: args.jobs,
                resume: args.resume,
                keep: args.keep,
            },
            stage: Stage::default(),
        })
    }

    /// The same with the runs that try rates; none where the configuration names none.
    pub fn tries(&self) -> Option<Resolved> {
        let rates = self.config.rates.clone()?;
        let mut tries = self.clone();
        tries.stage = Stage::Tries(rates);
        tries.execution.keep = false;
        Some(tries)
    }
}
