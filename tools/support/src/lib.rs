//! What all crates share: error messages that are safe to print ([`excerpt`], [`printable`]) and files that are written
//! atomically ([`write_atomic`]).

mod file;
mod message;

pub use file::{FileError, sync_folder, write_atomic, write_atomic_with};
pub use message::{counted, excerpt, print, printable};
