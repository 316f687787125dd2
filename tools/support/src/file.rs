//! Atomic file writes, and what they leave behind when the process is killed.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::NamedTempFile;

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
/// folders are created. A process that is killed while it writes leaves that file behind; [`sweep_unfinished`] deletes it.
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
    let file = unfinished(folder).map_err(FileError::at(path, "write the file"))?;
    write(file.path()).map_err(FileError::at(path, "write the file"))?;
    file.as_file()
        .sync_all()
        .map_err(FileError::at(path, "write the file to disk"))?;
    file.persist(path)
        .map_err(|e| FileError::at(path, "replace the file")(e.error))?;
    sync_folder(folder)
}

/// The start of a temporary file's name: hidden, with the machine's name, since a lock may not be seen on another one.
static PREFIX: LazyLock<String> = LazyLock::new(|| {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain: String = host
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    format!(".{plain}-")
});

/// The end of a temporary file's name, which no listing looks for.
const SUFFIX: &str = ".tmp";

/// A temporary file in `folder`, locked so that [`sweep_unfinished`] of another process leaves it alone.
fn unfinished(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX.as_str()).suffix(SUFFIX);
    #[cfg(unix)]
    {
        // tempfile's own 0600 would make files in a shared folder unreadable for others; the umask still applies.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    loop {
        let file = builder.tempfile_in(folder)?;
        match file.as_file().try_lock() {
            // Swept between its creation and its lock.
            Ok(()) if !file.path().exists() => {}
            Err(TryLockError::WouldBlock) => {}
            // File systems without locks: nothing is swept there.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

/// Age from which an unfinished file of another machine is deleted, whose lock may not be seen here.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Deletes the temporary files in `folder` that killed processes left there: those that no process has locked and that were
/// made on this machine, or a day ago. Returns their number.
///
/// # Errors
/// [`FileError`], for a folder that exists and cannot be listed.
pub fn sweep_unfinished(folder: &Path) -> Result<usize, FileError> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        other => other.map_err(FileError::at(folder, "list the folder"))?,
    };
    let mut swept = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|n| n.starts_with('.') && n.ends_with(SUFFIX)) else {
            continue;
        };
        let Ok(about) = entry.metadata() else { continue };
        let age = about.modified().ok().and_then(|at| at.elapsed().ok());
        if !about.is_file() || !(name.starts_with(PREFIX.as_str()) || age.is_some_and(|age| age >= ABANDONED)) {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        if file.try_lock().is_ok() && fs::remove_file(entry.path()).is_ok() {
            swept += 1;
        }
    }
    Ok(swept)
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

    #[test]
    fn what_killed_processes_left_is_swept_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ours = |name: &str| at(&format!("{}{name}.tmp", PREFIX.as_str()));
        assert_eq!(sweep_unfinished(&at("nowhere")).unwrap(), 0);
        for path in [
            ours("killed"),
            at(".elsewhere-x.tmp"),
            at("a.tmp"),
            at(".a.json"),
            at("a.json"),
        ] {
            fs::write(path, "{").unwrap();
        }
        let old = at(".elsewhere-old.tmp");
        fs::write(&old, "{").unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * ABANDONED;
        File::options()
            .write(true)
            .open(&old)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        // In the middle of a write, the sweep of another thread leaves the file alone.
        write_atomic_with(&at("b.json"), |temporary| {
            assert_eq!(sweep_unfinished(dir.path()).unwrap(), 2);
            fs::write(temporary, "whole")
        })
        .unwrap();
        assert_eq!(fs::read(at("b.json")).unwrap(), b"whole");
        assert!(!ours("killed").exists() && !old.exists());
        for name in [".elsewhere-x.tmp", "a.tmp", ".a.json", "a.json"] {
            assert!(at(name).exists(), "{name}");
        }
        assert_eq!(sweep_unfinished(dir.path()).unwrap(), 0);
    }

    #[test]
    fn writes_and_sweeps_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let dir = dir.path();
                scope.spawn(move || {
                    for n in 0..200 {
                        write_atomic(dir.join(format!("{thread}-{n}.json")), b"whole").unwrap();
                    }
                });
                scope.spawn(move || {
                    for _ in 0..200 {
                        // A file may be swept between its creation and its lock; the write then takes another.
                        sweep_unfinished(dir).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 400);
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
