//! Repository ids and revisions, and their paths on the hub and in the cache.

use std::fmt;

use hf_hub::RepoType;

use super::error::HubError;

/// A repository at a revision, both of a form that is safe in an address and in a path.
pub(super) struct Repo {
    kind: RepoType,
    id: String,
    revision: String,
}

impl Repo {
    pub fn new(kind: RepoType, id: &str, revision: Option<&str>) -> Result<Self, HubError> {
        let revision = revision.unwrap_or("main");
        if !is_id(id) {
            return Err(HubError::Name {
                what: "repository id",
                found: id.to_owned(),
                wanted: "OWNER/NAME or NAME, of letters, digits, `-`, `_` and `.`",
            });
        }
        if !is_revision(revision) {
            return Err(HubError::Name {
                what: "revision",
                found: revision.to_owned(),
                wanted: "a branch, a tag or a commit, of letters, digits, `-`, `_`, `.` and `/`",
            });
        }
        Ok(Self {
            kind,
            id: id.to_owned(),
            revision: revision.to_owned(),
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// As hf-hub knows it, for the layout of the cache.
    pub fn cached(&self) -> hf_hub::Repo {
        hf_hub::Repo::with_revision(self.id.clone(), self.kind, self.revision.clone())
    }

    /// Behind `ENDPOINT/`: its page.
    pub fn url_path(&self) -> String {
        match self.kind {
            RepoType::Model => self.id.clone(),
            RepoType::Dataset => format!("datasets/{}", self.id),
            RepoType::Space => format!("spaces/{}", self.id),
        }
    }

    /// Behind `ENDPOINT/api/`: its revision.
    pub fn api_path(&self) -> String {
        let folder = match self.kind {
            RepoType::Model => "models",
            RepoType::Dataset => "datasets",
            RepoType::Space => "spaces",
        };
        format!("{folder}/{}/revision/{}", self.id, self.revision.replace('/', "%2F"))
    }
}

/// `model ID`, `data set ID`.
impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RepoType::Model => "model",
            RepoType::Dataset => "data set",
            RepoType::Space => "space",
        };
        write!(f, "{kind} {}", self.id)
    }
}

/// Whether it is a full commit hash, whose files never change.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// In lower case, as hashes are written on the hub.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether it is a plain file name: one path component that is not hidden.
pub(super) fn is_file_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 96 && !text.starts_with('.') && text.bytes().all(plain)
}

fn is_id(text: &str) -> bool {
    // The cache writes `/` as `--`, so the hub does not allow it in names.
    let parts: Vec<&str> = text.split('/').collect();
    let ends = |p: &str| p.starts_with('-') || p.ends_with(['-', '.']);
    parts.len() <= 2
        && !text.contains("--")
        && !text.contains("..")
        && parts.iter().all(|p| is_file_name(p) && !ends(p))
}

fn is_revision(text: &str) -> bool {
    text.len() <= 200 && !text.contains("..") && text.split('/').all(|p| is_file_name(p) && !p.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_leave_the_cache_or_the_address_is_refused() {
        let of = |id, revision| Repo::new(RepoType::Model, id, revision);
        for id in ["gpt2", "FacebookAI/roberta-base", "a/b_c.d-e"] {
            assert!(of(id, None).is_ok(), "{id}");
        }
        for id in [
            "", "a/b/c", "../b", "a/..", "a//b", "/a", "a/", "a b", "a?b", "a--b", ".a", "a.", "-a", "ä", "a%2Fb",
        ] {
            assert!(of(id, None).is_err(), "{id}");
        }
        for revision in ["main", "v1.0", "refs/pr/3", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(of("gpt2", Some(revision)).is_ok(), "{revision}");
        }
        for revision in [
            "", "..", "a/../b", "/a", "a/", "a//b", "a b", "a?b", "a%2Fb", "-a", ".git", "a\n",
        ] {
            assert!(of("gpt2", Some(revision)).is_err(), "{revision}");
        }
        assert_eq!(
            of("gpt2", Some("refs/pr/3")).unwrap().api_path(),
            "models/gpt2/revision/refs%2Fpr%2F3"
        );
    }
}
