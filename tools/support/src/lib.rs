//! What all crates share: error messages that are safe to print ([`excerpt`], [`printable`]), files that are written
//! atomically ([`write_atomic`]), and panics of third-party readers as errors ([`guarded`]).

mod file;
mod guard;
mod message;

pub use file::{FileError, sweep_unfinished, sync_folder, write_atomic, write_atomic_with};
pub use guard::{Panicked, guarded};
pub use message::{counted, excerpt, print, printable, unknown};
