//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Writes `bytes` to `path` so that a reader, or a machine that loses power, sees the old file or the new one and
/// never a part: temporary file in the same folder, fsync, rename, fsync of the folder. Missing folders are created.
///
/// # Errors
/// [`Error::Io`] with the path (no space, no permission, ...); the old file, if any, is left as it was.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir).map_err(Error::io(dir, "create the folder"))?;
    // The hidden name and the suffix keep an abandoned one out of every listing of records.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    {
        // tempfile's own 0600 would make published tables unreadable for others; the umask still applies.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(dir).map_err(Error::io(path, "write the file"))?;
    file.write_all(bytes).map_err(Error::io(path, "write the file"))?;
    file.as_file()
        .sync_all()
        .map_err(Error::io(path, "write the file to disk"))?;
    file.persist(path)
        .map_err(|e| Error::io(path, "replace the file")(e.error))?;
    sync_dir(dir)
}

/// Makes a rename or a removal in `dir` outlive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(dir)
            .and_then(|d| d.sync_all())
            .map_err(Error::io(dir, "write the folder to disk"))?;
    }
    Ok(())
}
