//! A stand-in for the Hugging Face hub, for tests: it speaks HTTP on localhost as the hub does, and fails on demand.
//!
//! Two listeners: the hub, and the host ("CDN") that large files are redirected to. The CDN answers 400 to any request
//! that carries a token. What is uploaded can be downloaded from then on. Tests of other crates take this file in by
//! `#[path]`; it needs base64, serde_json and sha2.

// Not every test that takes this file in uses all of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Which listener.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Host {
    Hub,
    Cdn,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub host: Host,
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    fn token(&self) -> Option<&str> {
        self.headers.get("authorization")?.strip_prefix("Bearer ")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// How a request fails.
#[derive(Debug, Clone)]
pub enum Failure {
    /// Another status, with these headers and no body.
    Status(u16, Vec<(&'static str, &'static str)>),
    /// The connection is dropped after so many bytes of the body.
    Drop(usize),
    /// The body ends after so many bytes, in good order.
    Truncate(usize),
    /// The body's first byte is another.
    Flip,
    /// The range is ignored, and the whole body sent with status 200.
    Whole,
    /// Another body.
    Body(Vec<u8>),
}

struct Fault {
    host: Host,
    method: &'static str,
    path: String,
    times: usize,
    failure: Failure,
}

struct Commit {
    revisions: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Default)]
struct Repo {
    /// The only token that may read it.
    token: Option<String>,
    /// Listed for everybody, files for the token alone.
    gated: bool,
    commits: BTreeMap<String, Commit>,
}

#[derive(Default)]
struct State {
    /// By `models/ID` or `datasets/ID`.
    repos: BTreeMap<String, Repo>,
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    /// Large files that are uploaded and in no commit yet, by SHA-256.
    uploaded: BTreeMap<String, Vec<u8>>,
}

/// The two listeners, which go on until the test's process ends.
pub struct StandIn {
    state: Arc<Mutex<State>>,
    hub: SocketAddr,
    cdn: SocketAddr,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn refusal(status: u16, code: &str) -> Self {
        Self::empty(status).with("X-Error-Code", code)
    }
}

/// As the hub decides by `.gitattributes`: what is large is not in git.
fn is_lfs(file: &str) -> bool {
    [".safetensors", ".parquet", ".bin", ".model"]
        .iter()
        .any(|end| file.ends_with(end))
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Stands for git's own hash, which nobody checks.
pub fn git_hash(bytes: &[u8]) -> String {
    sha256(bytes)[..40].to_owned()
}

impl StandIn {
    pub fn start() -> Self {
        let listen = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (hub, cdn) = (listen(), listen());
        let stand_in = Self {
            state: Arc::default(),
            hub: hub.local_addr().unwrap(),
            cdn: cdn.local_addr().unwrap(),
        };
        for (host, listener) in [(Host::Hub, hub), (Host::Cdn, cdn)] {
            let (state, cdn) = (stand_in.state.clone(), stand_in.cdn);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = state.clone();
                    std::thread::spawn(move || serve(host, &stream, &state, cdn));
                }
            });
        }
        stand_in
    }

    /// What to set `HF_ENDPOINT` to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.hub)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a commit that the revision names from now on. `repo` is `models/ID` or `datasets/ID`.
    pub fn commit(&self, repo: &str, revision: &str, commit: &str, files: &[(&str, &[u8])]) {
        let mut state = self.lock();
        let commits = &mut state.repos.entry(repo.to_owned()).or_default().commits;
        for other in commits.values_mut() {
            other.revisions.retain(|r| r != revision);
        }
        let files = files
            .iter()
            .map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()))
            .collect();
        let revisions = vec![revision.to_owned()];
        commits.insert(commit.to_owned(), Commit { revisions, files });
    }

    /// Shows the repository to this token alone; if `gated`, its listing to everybody.
    pub fn restrict(&self, repo: &str, token: &str, gated: bool) {
        let mut state = self.lock();
        let repo = state.repos.get_mut(repo).unwrap();
        (repo.token, repo.gated) = (Some(token.to_owned()), gated);
    }

    /// Lets the next `times` requests fail of this method to paths that contain `path`. Faults are used up in order.
    pub fn fail(&self, host: Host, method: &'static str, path: &str, times: usize, failure: Failure) {
        self.lock().faults.push(Fault {
            host,
            method,
            path: path.to_owned(),
            times,
            failure,
        });
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.lock().seen.clone()
    }

    /// Requests to that host so far, of that method, to paths that contain `path`.
    pub fn count(&self, host: Host, method: &str, path: &str) -> usize {
        let seen = self.seen();
        let same = |s: &&Seen| s.host == host && s.method == method && s.path.contains(path);
        seen.iter().filter(same).count()
    }
}

fn serve(host: Host, stream: &TcpStream, state: &Mutex<State>, cdn: SocketAddr) {
    let Some(request) = read_request(host, stream) else {
        return;
    };
    let (answer, failure) = {
        let mut state = state.lock().unwrap();
        state.seen.push(request.clone());
        let failure = take_fault(&mut state.faults, &request);
        let answer = match (host, request.method.as_str()) {
            _ if matches!(failure, Some(Failure::Status(..))) => Answer::empty(500),
            (Host::Hub, "POST") => take(&mut state, &request, cdn),
            (Host::Hub, _) => hub_answer(&state, &request, cdn),
            (Host::Cdn, "PUT") => store(&mut state, &request),
            (Host::Cdn, _) => cdn_answer(&state, &request),
        };
        (answer, failure)
    };
    // The client may have gone; that is its own affair.
    let _ = send(stream, &request, answer, failure);
}

fn read_request(host: Host, stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    for line in lines.map_while(Result::ok).take_while(|l| !l.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let len = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        host,
        method,
        path,
        headers,
        body,
    })
}

fn take_fault(faults: &mut [Fault], request: &Seen) -> Option<Failure> {
    let mut faults = faults.iter_mut();
    let fault = faults.find(|f| {
        f.times > 0 && f.host == request.host && f.method == request.method && request.path.contains(&f.path)
    })?;
    fault.times -= 1;
    Some(fault.failure.clone())
}

/// `/api/models/ID/revision/REV`, `/ID/resolve/REV/FILE`, `/datasets/ID/resolve/REV/FILE`, and where small files are
/// redirected to: `/api/resolve-cache/models/ID/COMMIT/FILE`.
fn hub_answer(state: &State, request: &Seen, cdn: SocketAddr) -> Answer {
    let path = request.path.trim_start_matches('/');
    let token = request.token();
    if let Some((repo, revision)) = path.strip_prefix("api/").and_then(|p| p.split_once("/revision/")) {
        return match find(state, repo, &revision.replace("%2F", "/"), token, true) {
            Ok((sha, commit)) => {
                let siblings: Vec<_> = commit.files.keys().map(|f| json!({ "rfilename": f })).collect();
                let body = json!({ "id": repo, "sha": sha, "siblings": siblings, "private": false });
                with_json(&body)
            }
            Err(answer) => answer,
        };
    }
    if let Some(rest) = path.strip_prefix("api/resolve-cache/") {
        let (repo, rest) = rest.split_once("/at/").unwrap();
        let (commit, file) = rest.split_once('/').unwrap();
        return match find(state, repo, commit, token, false) {
            Ok((sha, commit)) => whole_file(&commit.files[file], sha),
            Err(answer) => answer,
        };
    }
    let Some((repo, rest)) = path.split_once("/resolve/") else {
        return Answer::empty(404);
    };
    let repo = if repo.starts_with("datasets/") {
        repo.to_owned()
    } else {
        format!("models/{repo}")
    };
    let (revision, file) = rest.split_once('/').unwrap();
    let (sha, commit) = match find(state, &repo, &revision.replace("%2F", "/"), token, false) {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    match commit.files.get(file) {
        None => Answer::refusal(404, "EntryNotFound").with("X-Repo-Commit", sha),
        Some(bytes) if is_lfs(file) => {
            let hash = sha256(bytes);
            Answer::empty(302)
                .with(
                    "Location",
                    format!("http://{cdn}/blob/{hash}?name={file}&signature=sesame"),
                )
                .with("X-Repo-Commit", sha)
                .with("X-Linked-Etag", format!("\"{hash}\""))
                .with("X-Linked-Size", bytes.len().to_string())
        }
        Some(_) => Answer::empty(307)
            .with("Location", format!("/api/resolve-cache/{repo}/at/{sha}/{file}"))
            .with("X-Repo-Commit", sha),
    }
}

fn with_json(body: &Value) -> Answer {
    let mut answer = Answer::empty(200).with("Content-Type", "application/json");
    answer.body = body.to_string().into_bytes();
    answer
}

/// What is written to the hub: `/api/repos/create`, `/api/models/ID/preupload/main`, `/ID.git/info/lfs/objects/batch`,
/// `/ID.git/info/lfs/objects/verify`, `/api/models/ID/commit/main`.
fn take(state: &mut State, request: &Seen, cdn: SocketAddr) -> Answer {
    let Some(token) = request.token() else {
        return Answer::empty(401);
    };
    let path = request.path.trim_start_matches('/');
    if path == "api/repos/create" {
        let body = request.json();
        let repo = match body["organization"].as_str() {
            Some(owner) => format!("models/{owner}/{}", body["name"].as_str().unwrap()),
            None => format!("models/{}", body["name"].as_str().unwrap()),
        };
        let there = state.repos.contains_key(&repo);
        state.repos.entry(repo).or_default();
        return Answer::empty(if there { 409 } else { 200 });
    }
    let lfs = path.split_once(".git/info/lfs/objects/");
    let api = path
        .strip_prefix("api/")
        .and_then(|p| p.rsplit_once('/')?.0.rsplit_once('/'));
    let (repo, what) = match (lfs, api) {
        (Some((id, what)), _) => (format!("models/{id}"), what),
        (None, Some((repo, what))) => (repo.to_owned(), what),
        _ => return Answer::empty(404),
    };
    match state.repos.get(&repo) {
        None => return Answer::refusal(404, "RepoNotFound"),
        Some(repo) if repo.token.as_deref().is_some_and(|t| t != token) => return Answer::empty(403),
        Some(_) => {}
    }
    match what {
        "preupload" => {
            let mode = |f: &Value| {
                let mode = if is_lfs(f["path"].as_str().unwrap()) {
                    "lfs"
                } else {
                    "regular"
                };
                json!({"path": f["path"], "uploadMode": mode, "shouldIgnore": false})
            };
            let body = request.json();
            let files: Vec<_> = body["files"].as_array().unwrap().iter().map(mode).collect();
            with_json(&json!({ "files": files }))
        }
        "batch" => with_json(&batch(state, request, cdn)),
        "verify" => {
            let there = state.uploaded.contains_key(request.json()["oid"].as_str().unwrap());
            Answer::empty(if there { 200 } else { 404 })
        }
        "commit" => with_json(&commit(state, request, &repo)),
        _ => Answer::empty(404),
    }
}

/// Where to put large files, but for those that are there.
fn batch(state: &State, request: &Seen, cdn: SocketAddr) -> Value {
    let object = |o: &Value| {
        let oid = o["oid"].as_str().unwrap();
        if state.uploaded.contains_key(oid) {
            return json!({"oid": oid, "size": o["size"]});
        }
        let hub = request.headers["host"].as_str();
        let verify = format!("http://{hub}{}", request.path.replace("/batch", "/verify"));
        let upload = format!("http://{cdn}/upload/{oid}?signature=sesame");
        json!({"oid": oid, "size": o["size"], "actions": {"upload": {"href": upload}, "verify": {"href": verify}}})
    };
    let body = request.json();
    let objects: Vec<_> = body["objects"].as_array().unwrap().iter().map(object).collect();
    json!({"transfer": "basic", "objects": objects})
}

/// A new `main` with the files of the one before and those of the request.
fn commit(state: &mut State, request: &Seen, name: &str) -> Value {
    let mut files = BTreeMap::new();
    let commits = &state.repos[name].commits;
    if let Some(main) = commits.values().find(|c| c.revisions.iter().any(|r| r == "main")) {
        files.clone_from(&main.files);
    }
    for line in request.body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap();
        let value = &line["value"];
        let path = || value["path"].as_str().unwrap().to_owned();
        match line["key"].as_str().unwrap() {
            "file" => {
                let content = value["content"].as_str().unwrap();
                let bytes = base64::engine::general_purpose::STANDARD.decode(content).unwrap();
                files.insert(path(), bytes);
            }
            "lfsFile" => {
                let bytes = state.uploaded[value["oid"].as_str().unwrap()].clone();
                files.insert(path(), bytes);
            }
            _ => assert!(value["summary"].is_string()),
        }
    }
    let sha = sha256(&request.body)[..40].to_owned();
    let commits = &mut state.repos.get_mut(name).unwrap().commits;
    commits.values_mut().for_each(|c| c.revisions.retain(|r| r != "main"));
    let revisions = vec!["main".to_owned()];
    commits.insert(sha.clone(), Commit { revisions, files });
    let id = name.trim_start_matches("models/");
    json!({"commitUrl": format!("http://{}/{id}/commit/{sha}", request.headers["host"]), "commitOid": sha})
}

/// `PUT /upload/SHA256`, at the other host.
fn store(state: &mut State, request: &Seen) -> Answer {
    let hash = request
        .path
        .trim_start_matches("/upload/")
        .split('?')
        .next()
        .unwrap()
        .to_owned();
    if request.headers.contains_key("authorization") || sha256(&request.body) != hash {
        return Answer::empty(400);
    }
    state.uploaded.insert(hash, request.body.clone());
    Answer::empty(200)
}

fn find<'a>(
    state: &'a State,
    repo: &str,
    revision: &str,
    token: Option<&str>,
    listing: bool,
) -> Result<(&'a str, &'a Commit), Answer> {
    let Some(repo) = state.repos.get(repo) else {
        // The hub does not tell strangers whether there is such a repository.
        return Err(if token.is_some() {
            Answer::refusal(404, "RepoNotFound")
        } else {
            Answer::empty(401)
        });
    };
    let granted = repo.token.is_none() || repo.token.as_deref() == token;
    match (granted, repo.gated, token) {
        (true, ..) => {}
        (false, true, _) if listing => {}
        (false, true, Some(_)) => return Err(Answer::refusal(403, "GatedRepo")),
        (false, true, None) => return Err(Answer::refusal(401, "GatedRepo")),
        (false, false, _) => return Err(Answer::empty(401)),
    }
    let mut commits = repo.commits.iter();
    let found = commits.find(|(sha, c)| *sha == revision || c.revisions.iter().any(|r| r == revision));
    let (sha, commit) = found.ok_or_else(|| Answer::refusal(404, "RevisionNotFound"))?;
    Ok((sha, commit))
}

fn whole_file(bytes: &[u8], commit: &str) -> Answer {
    let mut answer = Answer::empty(200)
        .with("X-Repo-Commit", commit)
        .with("ETag", format!("\"{}\"", git_hash(bytes)))
        .with("Accept-Ranges", "bytes");
    answer.body = bytes.to_vec();
    answer
}

fn cdn_answer(state: &State, request: &Seen) -> Answer {
    if request.headers.contains_key("authorization") {
        return Answer::empty(400);
    }
    let hash = request.path.strip_prefix("/blob/").and_then(|p| p.split('?').next());
    let commits = state.repos.values().flat_map(|r| r.commits.values());
    let mut files = commits.flat_map(|c| c.files.values());
    match files.find(|bytes| Some(sha256(bytes).as_str()) == hash) {
        Some(bytes) => {
            let mut answer = Answer::empty(200)
                .with("ETag", "\"another\"")
                .with("Accept-Ranges", "bytes");
            answer.body = bytes.clone();
            answer
        }
        None => Answer::empty(403),
    }
}

fn send(mut stream: &TcpStream, request: &Seen, mut answer: Answer, failure: Option<Failure>) -> std::io::Result<()> {
    let mut dropped = None;
    let mut ranged = true;
    match failure {
        Some(Failure::Status(status, headers)) => {
            answer = Answer::empty(status);
            answer.headers = headers
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
        }
        Some(Failure::Drop(after)) => dropped = Some(after),
        Some(Failure::Truncate(after)) => answer.body.truncate(after),
        Some(Failure::Flip) => answer.body[0] ^= 1,
        Some(Failure::Whole) => ranged = false,
        Some(Failure::Body(body)) => answer.body = body,
        None => {}
    }
    let range = request.headers.get("range").filter(|_| ranged && answer.status == 200);
    if let Some(start) = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()) {
        answer = cut(answer, start);
    }
    let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        let end = dropped.unwrap_or(usize::MAX).min(answer.body.len());
        stream.write_all(&answer.body[..end])?;
    }
    stream.flush()
}

/// The answer to a request for the bytes from `start` on.
fn cut(mut answer: Answer, start: usize) -> Answer {
    let size = answer.body.len();
    if start >= size {
        return Answer::empty(416).with("Content-Range", format!("bytes */{size}"));
    }
    answer.body.drain(..start);
    answer.status = 206;
    answer.with("Content-Range", format!("bytes {start}-{}/{size}", size - 1))
}
