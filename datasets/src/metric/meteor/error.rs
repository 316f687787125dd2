//! Errors of METEOR's data.

use std::path::PathBuf;

use crate::metric::pinned::Mismatch;

/// METEOR's data are missing or not the published ones.
#[derive(Debug, thiserror::Error)]
pub enum MeteorError {
    /// A folder without METEOR's data.
    #[error("{}: no METEOR data there; wanted pycocoevalcap-1.2-py3-none-any.whl, meteor-1.5.jar with data/paraphrase-en.gz beside it, or a folder that holds either", .path.display())]
    NotFound {
        /// The folder.
        path: PathBuf,
    },
    /// A file that cannot be read.
    #[error("{}: cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is not a wheel or jar.
    #[error("{}: not the pycocoevalcap 1.2 wheel or METEOR's jar", .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: zip::result::ZipError,
    },
    /// A file that is not METEOR 1.5's.
    #[error("{}: {} is not METEOR 1.5's ({mismatch}); scores with it would be others", .path.display(), .mismatch.file)]
    Checksum {
        /// Where it was found.
        path: PathBuf,
        /// The file that differs.
        mismatch: Mismatch,
    },
    /// A truncated paraphrase table.
    #[error("METEOR's paraphrase table is damaged at line {line}")]
    Table {
        /// Line, from 1.
        line: usize,
    },
}
