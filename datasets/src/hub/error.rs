//! Errors of the hub: each message names the problem, its place and the remedy.

use std::path::PathBuf;

use crate::DataError;

/// A failed download or upload. No message contains a token or the query of an address, which may be a signature.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No folder for the cache.
    #[error("no folder for the Hugging Face cache: set HF_HOME or HF_HUB_CACHE")]
    NoHome,
    /// A setting that cannot be used.
    #[error("{name} cannot be used: {problem}")]
    Setting {
        /// The environment variable or file it usually comes from.
        name: &'static str,
        /// What is wrong with it, without its value where that is a secret.
        problem: String,
    },
    /// A repository id or revision that cannot exist.
    #[error("\"{found}\" is no {what}; wanted {wanted}")]
    Name {
        /// `repository id` or `revision`.
        what: &'static str,
        /// As it was given.
        found: String,
        /// What it may look like.
        wanted: &'static str,
    },
    /// 401. The hub also answers so for a repository that does not exist.
    #[error("{}", unauthorized(.repo, .endpoint, *.with_token))]
    Unauthorized {
        /// `model ID` or `data set ID`.
        repo: String,
        /// The hub's address.
        endpoint: String,
        /// Whether a token was sent, which then was refused.
        with_token: bool,
    },
    /// 403: private or gated.
    #[error("{repo}: the hub denies access (private, or gated); accept its terms at {page}, and {}", give_token(*.with_token))]
    Forbidden {
        /// `model ID` or `data set ID`.
        repo: String,
        /// The repository's own page.
        page: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The repository is not there.
    #[error(
        "{repo}: the hub {endpoint} has no such repository; check the id (OWNER/NAME), or set HF_TOKEN if it is private"
    )]
    NoRepo {
        /// `model ID` or `data set ID`.
        repo: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The branch, tag or commit is not there.
    #[error("{repo}: no revision \"{revision}\"; wanted a branch, a tag or a commit of {page}")]
    NoRevision {
        /// `model ID` or `data set ID`.
        repo: String,
        /// As it was asked for.
        revision: String,
        /// The repository's own page.
        page: String,
    },
    /// A required file is missing in the repository.
    #[error(
        "{repo}: no file {file} at revision \"{revision}\"; check that this is the repository and revision that you mean"
    )]
    NoFile {
        /// `model ID` or `data set ID`.
        repo: String,
        /// As it was asked for.
        revision: String,
        /// The file's path in the repository.
        file: String,
    },
    /// Status 429 in all attempts.
    #[error("{url}: too many requests (429) for the hub, in attempt {attempts}; wait some minutes and run again{}", if *.with_token { "" } else { ", or set HF_TOKEN: with one the limits are wider" })]
    Busy {
        /// The address.
        url: String,
        /// Attempts made.
        attempts: u32,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// Status 5xx in all attempts.
    #[error(
        "{url}: the server failed (status {status}) in attempt {attempts}; run again later, what was downloaded is kept"
    )]
    Server {
        /// The address.
        url: String,
        /// The last HTTP status.
        status: u16,
        /// Attempts made.
        attempts: u32,
    },
    /// No connection.
    #[error(
        "{url}: cannot be reached ({problem}) in attempt {attempts}; check the network (HTTPS_PROXY, HF_ENDPOINT), or work from the \
         cache with HF_HUB_OFFLINE=1"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What the connection said.
        problem: String,
        /// Attempts made.
        attempts: u32,
    },
    /// An interrupted download.
    #[error(
        "{repo}: {file} broke off at {got} of {size} bytes ({problem}) in attempt {attempts} without progress; run again to go on from there"
    )]
    Interrupted {
        /// `model ID` or `data set ID`.
        repo: String,
        /// The file's path in the repository.
        file: String,
        /// Bytes that are there.
        got: u64,
        /// Bytes that the file has.
        size: u64,
        /// What the connection said.
        problem: String,
        /// Attempts since the last byte that was new.
        attempts: u32,
    },
    /// A file with another SHA-256 than the hub's. It was deleted.
    #[error(
        "{repo}: {file} arrived with SHA-256 {found}, and the hub says {wanted}; it was deleted: run again, and if it persists distrust the network or the mirror"
    )]
    Hash {
        /// `model ID` or `data set ID`.
        repo: String,
        /// The file's path in the repository.
        file: String,
        /// SHA-256 of the file, in hex, as the hub names it.
        wanted: String,
        /// SHA-256, in hex, of what is there.
        found: String,
    },
    /// A response that is not of the hub's API.
    #[error("{url}: {problem}; is HF_ENDPOINT a Hugging Face hub?")]
    Answer {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The cache cannot be read or written.
    #[error("{}: cannot be {doing}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// `read`, `written`, ...
        doing: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Offline, and the cache does not have it.
    #[error(
        "{repo} at revision \"{revision}\": {file} is not in the cache {}, and the hub is not asked (HF_HUB_OFFLINE); run once \
         without HF_HUB_OFFLINE, or copy the cache of a machine that has it",
        .cache.display()
    )]
    NotCached {
        /// `model ID` or `data set ID`.
        repo: String,
        /// As it was asked for.
        revision: String,
        /// The first file that is missing.
        file: String,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// A refused upload.
    #[error(
        "{repo}: nothing is uploaded: {problem}; set HF_TOKEN to a token that may write to it (see {endpoint}/settings/tokens)"
    )]
    Write {
        /// `model ID`.
        repo: String,
        /// The reason.
        problem: String,
        /// The hub's address.
        endpoint: String,
    },
    /// An index of shards that cannot be used.
    #[error("{}: {problem}", .path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Downloaded files that cannot be read as the task's data.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl HubError {
    /// The error with the number of attempts.
    pub(super) fn tried(mut self, times: u32) -> Self {
        if let Self::Busy { attempts, .. }
        | Self::Server { attempts, .. }
        | Self::Unreachable { attempts, .. }
        | Self::Interrupted { attempts, .. } = &mut self
        {
            *attempts = times;
        }
        self
    }

    /// Whether the hub was unavailable, so that the cache may be used instead.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Server { .. } | Self::Unreachable { .. })
    }

    pub(super) fn io(path: impl Into<PathBuf>, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, doing, source }
    }
}

fn unauthorized(repo: &str, endpoint: &str, with_token: bool) -> String {
    let what = format!("{repo}: the hub does not show it");
    if with_token {
        format!(
            "{what} to this token (401): the token was refused (see {endpoint}/settings/tokens; it comes from HF_TOKEN, else from \
             the file `token` in HF_HOME), or there is no such repository"
        )
    } else {
        format!(
            "{what} without a token (401): check the id (OWNER/NAME); if it is private or gated, set HF_TOKEN (from \
             {endpoint}/settings/tokens)"
        )
    }
}

fn give_token(with_token: bool) -> &'static str {
    if with_token {
        "check that HF_TOKEN is of the account that was granted access"
    } else {
        "set HF_TOKEN to a token of that account"
    }
}
