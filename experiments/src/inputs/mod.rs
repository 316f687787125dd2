//! Where models and data come from, and the machine that runs use.

pub mod compute;
pub mod download;
pub mod embedded;
pub mod environment;
pub mod locator;
pub mod texts;
