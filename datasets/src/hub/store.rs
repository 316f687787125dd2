//! The Hugging Face cache on disk, shared with Python's: `blobs/ETAG`, `snapshots/COMMIT/FILE` (links to blobs), `refs/REVISION`.
//!
//! A blob appears under its name when it is whole and not before; until then it grows as `blobs/ETAG.incomplete`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo};
use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::{Response, StatusCode};

use super::client::{Client, Failure, FileMetadata, header};
use super::error::HubError;
use super::repo::{Repo, is_commit, is_hex};

const CHUNK: usize = 256 << 10;

/// Progress of a download. The last report of a file has `done == total`.
#[derive(Debug)]
pub struct Progress<'a> {
    /// `model ID` or `data set ID`.
    pub repo: &'a str,
    /// The file's path in the repository.
    pub file: &'a str,
    /// Bytes so far, those of earlier attempts included. It decreases if a server makes the download restart.
    pub done: u64,
    /// Bytes of the file.
    pub total: u64,
}

/// One repository's folder in the cache.
pub(super) struct RepoCache<'a> {
    repo: &'a Repo,
    folder: PathBuf,
    layout: CacheRepo,
    locks: PathBuf,
}

/// A file to download.
pub(super) struct Download<'a> {
    pub client: &'a Client,
    pub commit: &'a str,
    pub file: &'a str,
    pub progress: &'a (dyn Fn(&Progress<'_>) + Send + Sync),
}

impl<'a> RepoCache<'a> {
    pub fn new(root: &Path, repo: &'a Repo) -> Self {
        let name = repo.cached().folder_name();
        Self {
            repo,
            folder: root.join(&name),
            layout: Cache::new(root.to_path_buf()).repo(repo.cached()),
            locks: root.join(".locks").join(name),
        }
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.layout.pointer_path(commit)
    }

    /// The commit of the revision, as of the last request.
    pub fn known_commit(&self) -> Option<String> {
        let revision = self.repo.revision();
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.ref_path()).ok()?;
        Some(text.trim().to_owned()).filter(|c| is_commit(c))
    }

    /// Stores the commit of the revision.
    pub fn set_commit(&self, commit: &str) -> Result<(), HubError> {
        let path = self.ref_path();
        if is_commit(self.repo.revision()) || self.known_commit().as_deref() == Some(commit) {
            return Ok(());
        }
        let dir = path.parent().unwrap_or(&self.folder);
        create_dir(dir)?;
        let written = support::write_atomic(&path, commit.as_bytes());
        written.map_err(|error| HubError::io(&path, "written")(error.source))
    }

    fn ref_path(&self) -> PathBuf {
        self.folder.join("refs").join(self.repo.revision())
    }

    /// Downloads the file into the snapshot, unless it is there: a commit's files never change.
    pub fn fetch(&self, wanted: &Download<'_>) -> Result<(), HubError> {
        let pointer = self.snapshot(wanted.commit).join(wanted.file);
        // False for a link to a blob that is gone.
        if pointer.exists() {
            return Ok(());
        }
        let meta = wanted.client.metadata(self.repo, wanted.commit, wanted.file)?;
        let blobs = self.folder.join("blobs");
        create_dir(&blobs)?;
        let blob = blobs.join(&meta.etag);
        let _lock = self.lock(&meta.etag)?;
        if size_of(&blob) != Some(meta.size) {
            self.download(wanted, &meta, &blob)?;
        }
        link(&blob, &pointer, wanted.file)
    }

    /// Compares a file of the snapshot with its hash; deletes it if they differ.
    pub fn check(&self, commit: &str, file: &str) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(file);
        let blob = pointer.canonicalize().map_err(HubError::io(&pointer, "read"))?;
        let name = blob.file_name().unwrap_or_default().to_string_lossy();
        match self.verify(file, &name, &blob)? {
            None => Ok(()),
            Some(error) => {
                remove(&blob)?;
                Err(error)
            }
        }
    }

    /// Locks the blob against other processes, Python's libraries included, while the file is open.
    fn lock(&self, etag: &str) -> Result<File, HubError> {
        create_dir(&self.locks)?;
        let path = self.locks.join(format!("{etag}.lock"));
        let open = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let file = open.map_err(HubError::io(&path, "written"))?;
        let locked = match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {
                tracing::info!(
                    "{}: waiting for another program that downloads this file",
                    path.display()
                );
                file.lock()
            }
            Err(fs::TryLockError::Error(e)) => Err(e),
            Ok(()) => Ok(()),
        };
        if let Err(e) = locked {
            // Some network file systems have no locks.
            tracing::warn!(
                "{}: cannot be locked ({e}); let no other program download now",
                path.display()
            );
        }
        Ok(file)
    }

    /// Downloads `blob`, resuming an earlier attempt.
    fn download(&self, wanted: &Download<'_>, meta: &FileMetadata, blob: &Path) -> Result<(), HubError> {
        let part = blob.with_file_name(format!("{}.incomplete", meta.etag));
        let mut from_scratch = size_of(&part).is_none();
        let mut best = 0;
        let mut patience = wanted.client.patience();
        loop {
            let arrived = self.grow(wanted, meta, &part);
            let have = size_of(&part).unwrap_or(0);
            if have > best {
                best = have;
                patience.renew();
            }
            if let Err(failure) = arrived {
                patience.wait(failure)?;
                continue;
            }
            match self.verify(wanted.file, &meta.etag, &part)? {
                None => break,
                Some(error) => {
                    remove(&part)?;
                    if from_scratch {
                        return Err(error);
                    }
                    tracing::warn!("{error}; an earlier, interrupted download was broken: downloading anew");
                    (from_scratch, best) = (true, 0);
                }
            }
        }
        fs::rename(&part, blob).map_err(HubError::io(blob, "written"))
    }

    /// One attempt to append what is missing.
    fn grow(&self, wanted: &Download<'_>, meta: &FileMetadata, part: &Path) -> Result<(), Failure> {
        let mut have = size_of(part).unwrap_or(0);
        if have > meta.size {
            remove(part)?;
            have = 0;
        }
        let open = OpenOptions::new().create(true).append(true).open(part);
        let mut file = open.map_err(HubError::io(part, "written"))?;
        if have < meta.size {
            let response = wanted.client.bytes(self.repo, wanted.commit, wanted.file, have)?;
            if !continues(&response, have) {
                // The response is the whole file, or another range than requested.
                file.set_len(0).map_err(HubError::io(part, "written"))?;
                have = 0;
            }
            match response.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT if continues(&response, have) => {
                    have = self.copy(wanted, meta, response, (&mut file, part), have)?;
                }
                status => return Err(self.interrupted(wanted, meta, have, format!("status {status}"))),
            }
        }
        if have != meta.size {
            let problem = "the connection was closed".to_owned();
            return Err(self.interrupted(wanted, meta, have, problem));
        }
        file.sync_all().map_err(HubError::io(part, "written"))?;
        Ok(())
    }

    /// Appends the body to `to`; the file's size at its end.
    fn copy(
        &self,
        wanted: &Download<'_>,
        meta: &FileMetadata,
        mut response: Response<Body>,
        (file, part): (&mut File, &Path),
        mut have: u64,
    ) -> Result<u64, Failure> {
        let name = self.repo.to_string();
        let report = |done| {
            (wanted.progress)(&Progress {
                repo: &name,
                file: wanted.file,
                done,
                total: meta.size,
            });
        };
        report(have);
        // Bytes beyond the file's size are ignored.
        let mut body = response.body_mut().as_reader().take(meta.size - have);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match body.read(&mut chunk) {
                Ok(0) => return Ok(have),
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.interrupted(wanted, meta, have, e.to_string())),
            };
            file.write_all(&chunk[..read]).map_err(HubError::io(part, "written"))?;
            have += read as u64;
            report(have);
        }
    }

    fn interrupted(&self, wanted: &Download<'_>, meta: &FileMetadata, got: u64, problem: String) -> Failure {
        let error = HubError::Interrupted {
            repo: self.repo.to_string(),
            file: wanted.file.to_owned(),
            got,
            size: meta.size,
            problem,
            attempts: 1,
        };
        Failure::Passing(error, None)
    }

    /// An error if the SHA-256 differs from the hub's. Git's hash of small files is not checked.
    fn verify(&self, file: &str, etag: &str, path: &Path) -> Result<Option<HubError>, HubError> {
        if etag.len() != 64 || !is_hex(etag) {
            return Ok(None);
        }
        let found = sha256(path).map_err(HubError::io(path, "read"))?;
        Ok((found != etag).then(|| HubError::Hash {
            repo: self.repo.to_string(),
            file: file.to_owned(),
            wanted: etag.to_owned(),
            found,
        }))
    }
}

/// Whether the body's first byte is the file's byte `have`.
fn continues(response: &Response<Body>, have: u64) -> bool {
    let start = || {
        header(response, "content-range")?
            .strip_prefix("bytes ")?
            .split('-')
            .next()?
            .parse()
            .ok()
    };
    match response.status() {
        StatusCode::PARTIAL_CONTENT => start() == Some(have),
        _ => have == 0,
    }
}

/// Makes `pointer`, the path `file` in a snapshot, name the blob. Where there are no links, the blob itself moves there.
fn link(blob: &Path, pointer: &Path, file: &str) -> Result<(), HubError> {
    if let Some(dir) = pointer.parent() {
        create_dir(dir)?;
    }
    // Another program may have been first.
    if pointer.exists() {
        return Ok(());
    }
    if pointer.is_symlink() {
        remove(pointer)?;
    }
    let depth = 1 + file.split('/').count();
    let target: PathBuf = std::iter::repeat_n("..", depth).chain(["blobs"]).collect();
    let target = target.join(blob.file_name().unwrap_or_default());
    if symlink(&target, pointer).is_err() {
        fs::rename(blob, pointer).map_err(HubError::io(pointer, "written"))?;
    }
    Ok(())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(not(unix))]
fn symlink(_target: &Path, _link: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn create_dir(dir: &Path) -> Result<(), HubError> {
    fs::create_dir_all(dir).map_err(HubError::io(dir, "made"))
}

fn remove(path: &Path) -> Result<(), HubError> {
    fs::remove_file(path).map_err(HubError::io(path, "removed"))
}

fn size_of(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| m.len())
}

pub(super) fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest)?;
    Ok(format!("{:x}", digest.finalize()))
}
