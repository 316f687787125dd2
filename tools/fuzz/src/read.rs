//! The type of all readers.

use std::path::Path;

/// What a reader does with bytes, in a folder of its own.
pub type Read = fn(&Path, &[u8]);
