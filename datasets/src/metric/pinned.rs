//! Data files that scores depend on, accepted only with their published SHA-256.

use sha2::{Digest, Sha256};

/// A published file.
pub(super) struct PinnedFile {
    pub name: &'static str,
    /// In hex.
    pub sha256: &'static str,
}

/// A file with another SHA-256 than the published one.
#[derive(Debug, thiserror::Error)]
#[error("SHA-256 {found}, wanted {wanted}")]
pub struct Mismatch {
    /// The file's name.
    pub file: &'static str,
    /// SHA-256 of what was found.
    pub found: String,
    /// SHA-256 of what was published.
    pub wanted: &'static str,
}

impl PinnedFile {
    /// Compares the content with the published one.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        let found = format!("{:x}", Sha256::digest(bytes));
        if found == self.sha256 {
            return Ok(());
        }
        Err(Mismatch {
            file: self.name,
            found,
            wanted: self.sha256,
        })
    }

    /// SHA-256 of a list of files: of `NAME SHA256` and a newline each.
    pub fn digest(files: &[Self]) -> String {
        let lines: String = files.iter().map(|f| format!("{} {}\n", f.name, f.sha256)).collect();
        format!("{:x}", Sha256::digest(lines))
    }
}
