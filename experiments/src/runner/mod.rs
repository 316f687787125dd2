//! One run, many runs, and their records.

pub mod environment;
pub mod execute;
pub mod finite;
pub mod scheduler;
