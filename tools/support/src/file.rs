//! Atomic file writes.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot {action}")]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// The operation, as a verb phrase: `write the file`.
    pub action: &'static str,
    /// The system's error.
    pub source: io::Error,
}

impl FileError {
    fn at(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, action, source }
    }
}

/// Writes `bytes` to `path` atomically: a reader, a crash or a power cut sees the old file or the new one, never a part.
///
/// The bytes go to a hidden temporary file in the same folder, which is synced and renamed; then the folder is synced. Missing
/// folders are created.
///
/// # Errors
/// [`FileError`] (no space, no permission, ...); an existing file is left as it was.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic_with(path.as_ref(), |temporary| fs::write(temporary, bytes))
}

/// [`write_atomic`] with contents that `write` puts into the temporary file, whose path it is given.
///
/// # Errors
/// As [`write_atomic`], and those of `write`.
pub fn write_atomic_with(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(FileError::at(folder, "create the folder"))?;
    // The hidden name and the suffix keep an abandoned file out of every listing.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    #[cfg(unix)]
    {
        // tempfile's own 0600 would make files in a shared folder unreadable for others; the umask still applies.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder
        .tempfile_in(folder)
        .map_err(FileError::at(path, "write the file"))?;
    write(file.path()).map_err(FileError::at(path, "write the file"))?;
    file.as_file()
        .sync_all()
        .map_err(FileError::at(path, "write the file to disk"))?;
    file.persist(path)
        .map_err(|e| FileError::at(path, "replace the file")(e.error))?;
    sync_folder(folder)
}

/// Syncs a folder, so that renames and removals in it survive a power cut. Does nothing where the system cannot sync folders.
///
/// # Errors
/// [`FileError`].
pub fn sync_folder(folder: &Path) -> Result<(), FileError> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        done => done.map_err(FileError::at(folder, "write the folder to disk")),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_write_that_fails_names_the_path_and_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.txt");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // A file where the folder should be, and a folder where the file should be: refused for any user, root too.
        let error = write_atomic(path.join("c.txt"), b"x").unwrap_err();
        assert!(
            error.to_string().ends_with("b.txt: cannot create the folder"),
            "{error}"
        );
        assert!(error.source().is_some());
        let error = write_atomic(dir.path().join("a"), b"x").unwrap_err();
        assert!(error.to_string().ends_with("/a: cannot replace the file"), "{error}");
        let error = write_atomic_with(&path, |_| Err(io::Error::other("refused"))).unwrap_err();
        assert_eq!(error.source.to_string(), "refused");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        for folder in [dir.path(), &dir.path().join("a")] {
            assert_eq!(
                fs::read_dir(folder).unwrap().count(),
                1,
                "no temporary file is left in {folder:?}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn written_files_are_readable_as_the_umask_says() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let (atomic, plain) = (dir.path().join("atomic"), dir.path().join("plain"));
        write_atomic(&atomic, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        assert_eq!(mode(&atomic), mode(&plain));
    }
}
