//! The flags of programs that compute with a model beside experiments: device, number type and threads.

use crate::config::settings::Dtype;
use crate::inputs::environment::set_threads;
use anyhow::Result;
use clap::Args;
use tch::Device;

/// Where and how a model is computed.
#[derive(Args, Clone, Debug)]
pub struct ComputeArgs {
    /// auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: String,
    /// Number type of frozen weights and activations
    #[arg(long, value_name = "TYPE", default_value = "fp32")]
    pub dtype: Dtype,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}

impl ComputeArgs {
    /// Sets the threads, and returns their number and the device.
    ///
    /// # Errors
    /// A device that is unknown or missing; threads that cannot be set.
    pub fn start(&self) -> Result<(usize, Device)> {
        let device = lora_core::device::parse(&self.device)?;
        self.dtype.check(device)?;
        Ok((set_threads(self.threads)?, device))
    }
}
