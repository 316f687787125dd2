//! Which process this is: machine, process and job.

use serde::{Deserialize, Serialize};

/// A process among those of all machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The machine's name.
    pub host: String,
    /// The machine's name, and on Linux the id of its last start: equal only for processes that share one system.
    pub machine: String,
    /// The process id.
    pub pid: u32,
    /// Slurm's job id.
    pub job: Option<String>,
    /// How often Slurm has started the job again.
    pub restart: u32,
}

impl Host {
    /// Whether both processes run under one system, so that the system knows which of them live.
    pub fn same_machine(&self, other: &Host) -> bool {
        !self.machine.is_empty() && self.machine == other.machine
    }

    /// The machine's name in names of files.
    pub fn plain_name(&self) -> String {
        let name = self.machine.split(' ').next().unwrap_or_default();
        name.chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect()
    }

    /// Whether this is a process of an earlier start of the job that `other` belongs to: Slurm ends one before the next.
    pub fn is_earlier_start_of(&self, other: &Host) -> bool {
        self.job.is_some() && self.job == other.job && self.restart < other.restart
    }
}

/// This process.
pub fn this() -> Host {
    let host = name();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let restart = std::env::var("SLURM_RESTART_COUNT").ok();
    Host {
        machine: format!("{host} {}", boot.trim()).trim().to_owned(),
        pid: std::process::id(),
        job: std::env::var("SLURM_JOB_ID").ok().filter(|job| !job.is_empty()),
        restart: restart.and_then(|count| count.parse().ok()).unwrap_or(0),
        // Nodes that one machine plays have its name; Slurm tells them apart.
        host: std::env::var("SLURMD_NODENAME").unwrap_or(host),
    }
}

#[cfg(unix)]
fn name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
