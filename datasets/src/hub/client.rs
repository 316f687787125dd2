//! HTTP client of the hub: redirects, the token, refusals, and retries.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderValue, Method, Request, Response, Uri};
use ureq::{Agent, AsSendBody, Body};

use super::error::HubError;
use super::repo::{Repo, is_commit};

/// Attempts without progress, with 1, 2, 4 and 8 seconds between them.
const ATTEMPTS: u32 = 5;
/// What a server may ask for in `Retry-After`; the hub counts requests in windows of five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
const REDIRECTS: usize = 10;
/// A listing of a repository with a hundred thousand files has some 10 MB.
const LONGEST_JSON: u64 = 64 << 20;

/// A failed attempt.
pub(super) enum Failure {
    /// Another attempt would fail too.
    Final(HubError),
    /// Another attempt may succeed, in that time if the server named one.
    Passing(HubError, Option<Duration>),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Metadata of a file on the hub.
pub(super) struct FileMetadata {
    /// Name of the blob: SHA-256 of a large (LFS) file, git's hash of another.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// Commit and files of a revision.
pub(super) struct Listing {
    pub commit: String,
    /// Paths of all files.
    pub files: Vec<String>,
}

/// A request without its body.
pub(super) struct Outgoing<'a> {
    pub method: &'a Method,
    pub url: &'a str,
    /// Of the body, as HTTP names it.
    pub kind: &'a str,
}

#[derive(Deserialize)]
struct RepoInfo {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    /// Marked as sensitive: never printed, not even for debugging.
    token: Option<HeaderValue>,
    wait: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Client {
    pub fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // The agent would send the same headers to any host on the same name, whatever its port.
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("lora-datasets/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.new_agent(),
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            wait: Arc::new(std::thread::sleep),
        }
    }

    pub fn set_endpoint(&mut self, endpoint: &str) -> Result<(), HubError> {
        let bad = |problem: &str| HubError::Setting {
            name: "HF_ENDPOINT",
            problem: problem.to_owned(),
        };
        let uri: Uri = endpoint
            .parse()
            .map_err(|_| bad("not an address; wanted such as https://huggingface.co"))?;
        if origin(&uri).is_none() {
            return Err(bad("wanted an address that starts with https:// or http://"));
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(bad("it holds a user name or password; use HF_TOKEN instead"));
        }
        self.endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(())
    }

    pub fn set_token(&mut self, token: Option<&str>) -> Result<(), HubError> {
        let token = token.map(str::trim).filter(|t| !t.is_empty());
        let header = |token: &str| {
            let printable = token.bytes().all(|b| b.is_ascii_graphic());
            let value = HeaderValue::try_from(format!("Bearer {token}")).ok();
            value.filter(|_| printable).ok_or_else(|| HubError::Setting {
                name: "HF_TOKEN",
                problem: "a token is one word of ASCII letters, digits and signs".to_owned(),
            })
        };
        self.token = token.map(header).transpose()?;
        if let Some(token) = &mut self.token {
            token.set_sensitive(true);
        }
        Ok(())
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    pub fn set_wait(&mut self, wait: impl Fn(Duration) + Send + Sync + 'static) {
        self.wait = Arc::new(wait);
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A revision's commit and files.
    pub fn listing(&self, repo: &Repo) -> Result<Listing, HubError> {
        let url = format!("{}/api/{}", self.endpoint, repo.api_path());
        let info: RepoInfo = self.patience().until(|| {
            let mut response = self.ask(&Method::GET, &url, 0, repo, None)?;
            let body = response.body_mut().with_config().limit(LONGEST_JSON).read_to_vec();
            let body = body.map_err(|e| unreachable(&url, e))?;
            serde_json::from_slice(&body).map_err(|e| answer(&url, format!("not the JSON of a repository: {e}")).into())
        })?;
        if !is_commit(&info.sha) {
            return Err(answer(&url, format!("\"{}\" is no commit", info.sha)));
        }
        Ok(Listing {
            commit: info.sha,
            files: info.siblings.into_iter().map(|s| s.rfilename).collect(),
        })
    }

    /// Name of the blob and size of a file, from the headers alone.
    pub fn metadata(&self, repo: &Repo, commit: &str, file: &str) -> Result<FileMetadata, HubError> {
        let url = self.file_url(repo, commit, file);
        let response = self
            .patience()
            .until(|| self.ask(&Method::HEAD, &url, 0, repo, Some(file)))?;
        // Other headers of a redirect describe the redirect.
        let (etag, size) = match header(&response, "x-linked-etag") {
            Some(etag) => (Some(etag), header(&response, "x-linked-size")),
            None => (header(&response, "etag"), header(&response, "content-length")),
        };
        let etag = etag.ok_or_else(|| answer(&url, "no ETag in the answer".to_owned()))?;
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if etag.is_empty() || etag.starts_with('.') || !etag.bytes().all(plain) {
            return Err(answer(&url, format!("the ETag \"{etag}\" cannot be a file's name")));
        }
        let size = size.and_then(|s| s.parse().ok());
        Ok(FileMetadata {
            etag: etag.to_owned(),
            size: size.ok_or_else(|| answer(&url, "the answer does not say the file's size".to_owned()))?,
        })
    }

    /// One attempt at a file's bytes from `start` on.
    pub fn bytes(&self, repo: &Repo, commit: &str, file: &str, start: u64) -> Result<Response<Body>, Failure> {
        let url = self.file_url(repo, commit, file);
        self.ask(&Method::GET, &url, start, repo, Some(file))
    }

    pub fn patience(&self) -> Patience<'_> {
        Patience {
            client: self,
            failures: 0,
        }
    }

    fn file_url(&self, repo: &Repo, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{file}", self.endpoint, repo.url_path())
    }

    /// One request, redirects followed by hand: the token goes to the endpoint's own origin and nowhere else, and a
    /// connection that began as https stays so. HEAD stops where a redirect itself describes the file.
    fn ask(
        &self,
        method: &Method,
        url: &str,
        start: u64,
        repo: &Repo,
        file: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            let uri: Uri = url.parse().map_err(|e| answer(&url, format!("not an address: {e}")))?;
            let response = self.send(method, &uri, start)?;
            let described = *method == Method::HEAD && header(&response, "x-linked-etag").is_some();
            if !response.status().is_redirection() || described {
                return self.check(response, &uri, repo, file);
            }
            let location = header(&response, "location");
            let location = location.ok_or_else(|| answer(&url, "a redirect without Location".to_owned()))?;
            let next = join(&uri, location).ok_or_else(|| answer(&url, "a redirect to no address".to_owned()))?;
            if url.starts_with("https:") && !next.starts_with("https:") {
                return Err(answer(&url, "a redirect from https to http, which is not followed".to_owned()).into());
            }
            url = next;
        }
        Err(answer(&url, format!("more than {REDIRECTS} redirects")).into())
    }

    fn send(&self, method: &Method, uri: &Uri, start: u64) -> Result<Response<Body>, Failure> {
        // Compression would change size and ranges.
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("accept-encoding", "identity");
        if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(uri)) {
            request = request.header("authorization", token);
        }
        if start > 0 {
            request = request.header("range", format!("bytes={start}-"));
        }
        let url = uri.to_string();
        let request = request.body(()).map_err(|e| answer(&url, e.to_string()))?;
        self.agent.run(request).map_err(|e| unreachable(&url, e))
    }

    /// One attempt to send something: the answer's body. The token goes to the hub itself and to no other host, redirects are
    /// not followed, and what the hub has already (409) is as good as sent.
    pub fn send_body(&self, repo: &Repo, sent: &Outgoing, body: impl AsSendBody) -> Result<Vec<u8>, Failure> {
        let Outgoing { method, url, kind } = sent;
        let uri: Uri = url.parse().map_err(|e| answer(url, format!("not an address: {e}")))?;
        if origin(&uri).is_none() || self.endpoint.starts_with("https:") && uri.scheme_str() != Some("https") {
            return Err(answer(url, "no address that anything is sent to".to_owned()).into());
        }
        let mut request = Request::builder()
            .method(*method)
            .uri(&uri)
            .header("content-type", *kind);
        if *kind != "application/octet-stream" {
            request = request.header("accept", if kind.contains("lfs") { kind } else { "application/json" });
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(&uri)) {
            request = request.header("authorization", token);
        }
        let request = request.body(body).map_err(|e| answer(url, e.to_string()))?;
        let mut response = self.agent.run(request).map_err(|e| unreachable(url, e))?;
        let status = response.status().as_u16();
        match status {
            200..=299 | 409 => {}
            401 | 403 if self.is_hub(&uri) => {
                return Err(Failure::Final(HubError::Write {
                    repo: repo.to_string(),
                    problem: format!("the hub refuses the token (status {status})"),
                    endpoint: self.endpoint.clone(),
                }));
            }
            _ => {
                return self
                    .check(response, &uri, repo, None)
                    .and_then(|_| Err(answer(url, format!("status {status}")).into()));
            }
        }
        let read = response.body_mut().with_config().limit(LONGEST_JSON).read_to_vec();
        read.map_err(|e| unreachable(url, e))
    }

    fn is_hub(&self, uri: &Uri) -> bool {
        let hub = self.endpoint.parse::<Uri>().ok();
        hub.and_then(|h| origin(&h)) == origin(uri)
    }

    /// Turns refusals into errors.
    fn check(
        &self,
        response: Response<Body>,
        uri: &Uri,
        repo: &Repo,
        file: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let status = response.status().as_u16();
        let after = retry_after(&response);
        let url = shown(&uri.to_string());
        let with_token = self.has_token();
        let code = header(&response, "x-error-code");
        let attempts = 1;
        match status {
            // 416: the part that is there is no part of this file, which the caller handles.
            200..=399 | 416 => Ok(response),
            429 => Err(Failure::Passing(
                HubError::Busy {
                    url,
                    attempts,
                    with_token,
                },
                after,
            )),
            // The other host's address may have expired; the next attempt gets a fresh one from the hub.
            408 | 500.. => Err(Failure::Passing(HubError::Server { url, status, attempts }, after)),
            _ if !self.is_hub(uri) => Err(Failure::Passing(HubError::Server { url, status, attempts }, after)),
            401 | 403 | 404 => Err(self.refusal(status, code, repo, file).into()),
            _ => Err(answer(&url, format!("status {status}")).into()),
        }
    }

    fn refusal(&self, status: u16, code: Option<&str>, repo: &Repo, file: Option<&str>) -> HubError {
        let (name, endpoint) = (repo.to_string(), self.endpoint.clone());
        let page = format!("{endpoint}/{}", repo.url_path());
        let with_token = self.has_token();
        match (status, code, file) {
            (404, Some("RevisionNotFound"), _) => HubError::NoRevision {
                repo: name,
                revision: repo.revision().to_owned(),
                page,
            },
            (404, Some("EntryNotFound") | None, Some(file)) => HubError::NoFile {
                repo: name,
                revision: repo.revision().to_owned(),
                file: file.to_owned(),
            },
            (404, ..) => HubError::NoRepo { repo: name, endpoint },
            (403, ..) | (_, Some("GatedRepo"), _) => HubError::Forbidden {
                repo: name,
                page,
                with_token,
            },
            _ => HubError::Unauthorized {
                repo: name,
                endpoint,
                with_token,
            },
        }
    }
}

/// Counts failures in a row and waits between attempts.
pub(super) struct Patience<'a> {
    client: &'a Client,
    failures: u32,
}

impl Patience<'_> {
    /// The first success of `attempt`, or the failure after which there is no point in going on.
    pub fn until<T>(mut self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T, HubError> {
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => self.wait(failure)?,
            }
        }
    }

    /// Waits until the next attempt is due, or gives the error back.
    pub fn wait(&mut self, failure: Failure) -> Result<(), HubError> {
        let (error, asked) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing(error, asked) => (error, asked),
        };
        self.failures += 1;
        let pause = asked.unwrap_or(Duration::from_secs(1 << (self.failures - 1)));
        let error = error.tried(self.failures);
        if self.failures >= ATTEMPTS || pause > LONGEST_WAIT {
            return Err(error);
        }
        // Without the remedy, which is for the final error.
        let message = error.to_string();
        let problem = message.split("; ").next().unwrap_or_default();
        tracing::warn!("{problem}; trying again in {} s", pause.as_secs());
        (self.client.wait)(pause);
        Ok(())
    }

    /// Resets the count after progress.
    pub fn renew(&mut self) {
        self.failures = 0;
    }
}

pub(super) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Seconds from `Retry-After`, else from the hub's `RateLimit: "api";r=0;t=SECONDS`.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let own = header(response, "retry-after").and_then(|s| s.trim().parse().ok());
    let limit = || {
        let parts = header(response, "ratelimit").filter(|_| response.status() == 429)?;
        parts.split(';').find_map(|p| p.trim().strip_prefix("t=")?.parse().ok())
    };
    own.or_else(limit).map(Duration::from_secs)
}

/// Scheme, host and port, if it is an address of HTTP.
fn origin(uri: &Uri) -> Option<(String, String, u16)> {
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = match (uri.port_u16(), scheme.as_str()) {
        (Some(port), "http" | "https") => port,
        (None, "http") => 80,
        (None, "https") => 443,
        _ => return None,
    };
    Some((scheme, uri.host()?.to_ascii_lowercase(), port))
}

/// The address that a `Location` names. Paths relative to the page are not HTTP practice and refused.
fn join(base: &Uri, location: &str) -> Option<String> {
    let scheme = base.scheme_str()?;
    let next = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{}{location}", base.authority()?)
    } else {
        location.to_owned()
    };
    let uri: Uri = next.parse().ok()?;
    origin(&uri).map(|_| next)
}

/// Without the query, where other hosts' signatures are.
fn shown(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn answer(url: &str, problem: String) -> HubError {
    HubError::Answer {
        url: shown(url),
        problem,
    }
}

fn unreachable(url: &str, error: ureq::Error) -> Failure {
    let passing = matches!(
        error,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
    );
    let error = HubError::Unreachable {
        url: shown(url),
        problem: error.to_string(),
        attempts: 1,
    };
    if passing {
        Failure::Passing(error, None)
    } else {
        Failure::Final(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_differ_by_scheme_host_or_port() {
        let of = |url: &str| origin(&url.parse().unwrap());
        assert_eq!(of("https://Hub.co/a"), of("https://hub.co:443/b?c"));
        for other in [
            "http://hub.co",
            "https://hub.co:444",
            "https://cdn.hub.co",
            "https://hub.co.evil.org",
        ] {
            assert_ne!(of("https://hub.co"), of(other), "{other}");
        }
        assert_eq!(of("ftp://hub.co"), None);
    }

    #[test]
    fn locations_are_joined_as_http_does() {
        let to = |location| join(&"http://hub:8/a/b?c".parse().unwrap(), location);
        assert_eq!(to("/d?e").unwrap(), "http://hub:8/d?e");
        assert_eq!(to("//cdn/d").unwrap(), "http://cdn/d");
        assert_eq!(to("https://cdn/d").unwrap(), "https://cdn/d");
        assert_eq!(to("d"), None);
        assert_eq!(to("file:///etc/passwd"), None);
    }

    #[test]
    fn settings_are_checked_and_secrets_not_shown() {
        let mut client = Client::new();
        for bad in ["huggingface.co", "ftp://hub", "https://me:secret@hub.co", ""] {
            let message = client.set_endpoint(bad).unwrap_err().to_string();
            assert!(
                message.starts_with("HF_ENDPOINT") && !message.contains("secret"),
                "{message}"
            );
        }
        let message = client.set_token(Some("hf_se\ncret")).unwrap_err().to_string();
        assert!(!message.contains("cret"), "{message}");
        client.set_token(Some(" hf_secret\n")).unwrap();
        assert_eq!(format!("{:?}", client.token), "Some(Sensitive)");
        client.set_token(Some("")).unwrap();
        assert!(client.token.is_none());
    }
}
