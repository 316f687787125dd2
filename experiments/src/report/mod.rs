//! What is shown while runs go on, and tables at the end.

pub mod console;
pub mod events;
pub mod json_events;
pub mod resume_command;
pub mod samples;
pub mod tables;
pub mod tensorboard;
pub mod tfevents;
