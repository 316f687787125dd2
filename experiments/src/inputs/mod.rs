//! Where models and data come from.

pub mod assets;
pub mod download;
pub mod embedded;
pub mod locator;
