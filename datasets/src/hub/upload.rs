//! Uploads of a folder as one commit, by the protocol of huggingface_hub (`_commit_api.py`, `lfs.py`): create the repository, ask
//! which files are large, send those to the addresses that the hub names (without the token: other hosts), then commit the rest.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hf_hub::RepoType;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::Outgoing;
use super::error::HubError;
use super::repo::{Repo, is_file_name};
use super::{Hub, store};

const JSON: &str = "application/json";
const LFS: &str = "application/vnd.git-lfs+json";
/// Bytes of a file that the hub needs to tell text from binary.
const SAMPLE: u64 = 512;

/// A file to upload.
struct UploadFile {
    name: String,
    path: PathBuf,
    size: u64,
    large: bool,
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<UploadMode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UploadMode {
    path: String,
    upload_mode: String,
}

#[derive(Deserialize)]
struct LfsBatch {
    #[serde(default)]
    transfer: Option<String>,
    objects: Vec<LfsObject>,
}

#[derive(Deserialize)]
struct LfsObject {
    oid: String,
    #[serde(default)]
    actions: Option<LfsActions>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct LfsActions {
    upload: LfsAction,
    #[serde(default)]
    verify: Option<LfsAction>,
}

#[derive(Deserialize)]
struct LfsAction {
    href: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Committed {
    commit_url: String,
}

impl Hub {
    /// Uploads the files of a folder (not those of folders in it) as one commit to `main` of the model `id`, which is made
    /// if it is not there: the address of the commit. Files of the repository that the folder lacks stay.
    ///
    /// # Errors
    /// [`HubError::Write`] without a token that may write; any [`HubError`] of the network. Before the commit nothing of it is
    /// seen by anybody.
    pub fn upload(&self, id: &str, dir: &Path, message: &str) -> Result<String, HubError> {
        let repo = Repo::new(RepoType::Model, id, None)?;
        let refused = |problem: &str| HubError::Write {
            repo: repo.to_string(),
            problem: problem.to_owned(),
            endpoint: self.client.endpoint().to_owned(),
        };
        if self.offline {
            return Err(refused("HF_HUB_OFFLINE is set"));
        }
        if !self.client.has_token() {
            return Err(refused("no token is set"));
        }
        let mut items = items(dir)?;
        let api = format!("{}/api", self.client.endpoint());
        self.create(&repo, &api)?;
        self.sort(&repo, &api, &mut items)?;
        self.send_large(&repo, &items)?;
        let url = format!("{api}/models/{}/commit/main", repo.id());
        let body = commit(&items, message)?;
        let done: Committed = self.answer(&repo, &url, "application/x-ndjson", &body)?;
        Ok(done.commit_url)
    }

    fn create(&self, repo: &Repo, api: &str) -> Result<(), HubError> {
        let (owner, name) = match repo.id().split_once('/') {
            Some((owner, name)) => (Some(owner), name),
            None => (None, repo.id()),
        };
        let body = json!({"type": "model", "name": name, "organization": owner}).to_string();
        let url = format!("{api}/repos/create");
        // 409: it exists.
        self.post(repo, &url, JSON, body.as_bytes()).map(|_| ())
    }

    /// Asks which files go to LFS.
    fn sort(&self, repo: &Repo, api: &str, items: &mut [UploadFile]) -> Result<(), HubError> {
        let mut files = Vec::new();
        for item in items.iter() {
            let mut sample = Vec::new();
            let read = File::open(&item.path).and_then(|f| f.take(SAMPLE).read_to_end(&mut sample));
            read.map_err(HubError::io(&item.path, "read"))?;
            files.push(json!({"path": item.name, "sample": BASE64.encode(sample), "size": item.size}));
        }
        let url = format!("{api}/models/{}/preupload/main", repo.id());
        let body = json!({ "files": files }).to_string();
        let modes: Preupload = self.answer(repo, &url, JSON, body.as_bytes())?;
        for item in items {
            let mode = modes.files.iter().find(|m| m.path == item.name);
            // LFS refuses empty files.
            item.large = item.size > 0 && mode.is_some_and(|m| m.upload_mode == "lfs");
        }
        Ok(())
    }

    fn send_large(&self, repo: &Repo, items: &[UploadFile]) -> Result<(), HubError> {
        let large: Vec<&UploadFile> = items.iter().filter(|i| i.large).collect();
        if large.is_empty() {
            return Ok(());
        }
        let hashed = large.iter().map(|item| Ok((hash(item)?, *item)));
        let hashed = hashed.collect::<Result<Vec<_>, HubError>>()?;
        let objects: Vec<Value> = hashed
            .iter()
            .map(|(oid, i)| json!({"oid": oid, "size": i.size}))
            .collect();
        let body = json!({"operation": "upload", "transfers": ["basic"], "objects": objects, "hash_algo": "sha256"});
        let url = format!(
            "{}/{}.git/info/lfs/objects/batch",
            self.client.endpoint(),
            repo.url_path()
        );
        let batch: LfsBatch = self.answer(repo, &url, LFS, body.to_string().as_bytes())?;
        let odd = |problem: String| HubError::Answer {
            url: url.clone(),
            problem,
        };
        if batch.transfer.as_deref().is_some_and(|t| t != "basic") {
            return Err(odd("another way of transfer than was asked for".to_owned()));
        }
        for (oid, item) in &hashed {
            let object = batch.objects.iter().find(|o| o.oid == *oid);
            let object = object.ok_or_else(|| odd(format!("{} is missing", item.name)))?;
            if let Some(error) = &object.error {
                return Err(odd(format!("{} is not accepted: {error}", item.name)));
            }
            // Without actions the hub has the file already.
            if let Some(actions) = &object.actions {
                self.send_one(repo, item, oid, actions)?;
            }
        }
        Ok(())
    }

    fn send_one(&self, repo: &Repo, item: &UploadFile, oid: &str, actions: &LfsActions) -> Result<(), HubError> {
        self.client.patience().until(|| {
            let file = File::open(&item.path).map_err(HubError::io(&item.path, "read"))?;
            let sent = Outgoing {
                method: &Method::PUT,
                url: &actions.upload.href,
                kind: "application/octet-stream",
            };
            self.client.send_body(repo, &sent, &file).map(|_| ())
        })?;
        match &actions.verify {
            Some(verify) => {
                let body = json!({"oid": oid, "size": item.size}).to_string();
                self.post(repo, &verify.href, JSON, body.as_bytes()).map(|_| ())
            }
            None => Ok(()),
        }
    }

    fn post(&self, repo: &Repo, url: &str, kind: &str, body: &[u8]) -> Result<Vec<u8>, HubError> {
        let sent = Outgoing {
            method: &Method::POST,
            url,
            kind,
        };
        self.client
            .patience()
            .until(|| self.client.send_body(repo, &sent, body))
    }

    fn answer<T: for<'de> Deserialize<'de>>(
        &self,
        repo: &Repo,
        url: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<T, HubError> {
        let bytes = self.post(repo, url, kind, body)?;
        serde_json::from_slice(&bytes).map_err(|e| HubError::Answer {
            url: url.to_owned(),
            problem: format!("the answer is not what was to be expected: {e}"),
        })
    }
}

/// The files of the folder, by name.
fn items(dir: &Path) -> Result<Vec<UploadFile>, HubError> {
    let entries = std::fs::read_dir(dir).map_err(HubError::io(dir, "read"))?;
    let mut items = Vec::new();
    for entry in entries {
        let path = entry.map_err(HubError::io(dir, "read"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let meta = path.metadata().map_err(HubError::io(&path, "read"))?;
        if meta.is_file() && is_file_name(&name) {
            items.push(UploadFile {
                name,
                path,
                size: meta.len(),
                large: false,
            });
        }
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
}

fn hash(item: &UploadFile) -> Result<String, HubError> {
    store::sha256(&item.path).map_err(HubError::io(&item.path, "read"))
}

/// The commit as JSON lines: its message, then its files.
fn commit(items: &[UploadFile], message: &str) -> Result<Vec<u8>, HubError> {
    let mut lines = vec![json!({"key": "header", "value": {"summary": message, "description": ""}})];
    for item in items {
        lines.push(if item.large {
            let value = json!({"path": item.name, "algo": "sha256", "oid": hash(item)?, "size": item.size});
            json!({"key": "lfsFile", "value": value})
        } else {
            let bytes = std::fs::read(&item.path).map_err(HubError::io(&item.path, "read"))?;
            json!({"key": "file", "value": {"path": item.name, "encoding": "base64", "content": BASE64.encode(bytes)}})
        });
    }
    Ok(lines.iter().flat_map(|l| (l.to_string() + "\n").into_bytes()).collect())
}
