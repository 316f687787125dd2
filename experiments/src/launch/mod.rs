//! Sweeps by several processes: workers on this machine or jobs of Slurm, over one folder of records.
//!
//! A sweep has a folder `OUT/sweeps/NAME`: its command, its plans, a journal and a log for each worker, and the runs that failed.
//! Workers are the same program with the same flags; [`crate::runner::claim`] says which of them computes which run.

pub mod args;
pub mod journal;
pub mod processes;
pub mod slurm;
pub mod stop;
pub mod sweep;
pub mod worker;
pub mod world;
