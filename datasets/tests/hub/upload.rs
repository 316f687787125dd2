//! A folder becomes a commit, and comes back the same.

use std::path::Path;

use datasets::hub::{Hub, HubError};

use crate::stand_in::{Failure, Host};
use crate::{Bench, FIRST, MODEL, REPO};

const TOKEN: &str = "hf_sesame";
const NEW: &str = "owner/new";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in MODEL.iter().filter(|(n, _)| *n != "pytorch_model.bin") {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    std::fs::write(dir.path().join("merges.txt"), b"").unwrap();
    std::fs::write(dir.path().join(".hidden"), b"no").unwrap();
    std::fs::create_dir(dir.path().join("below")).unwrap();
    dir
}

fn with_token(bench: &Bench) -> Hub {
    bench.hub.clone().token(Some(TOKEN)).unwrap()
}

fn upload(hub: &Hub, id: &str, dir: &Path) -> Result<String, HubError> {
    hub.upload(id, dir, "A commit")
}

#[test]
fn what_is_uploaded_comes_back() {
    let bench = Bench::new();
    let dir = folder();
    let url = upload(&with_token(&bench), NEW, dir.path()).unwrap();
    assert!(
        url.starts_with(&format!("{}/{NEW}/commit/", bench.stand_in.endpoint())),
        "{url}"
    );
    let back = bench.hub.model(NEW, None).unwrap();
    assert!(url.ends_with(&back.commit));
    for file in [
        "config.json",
        "tokenizer.json",
        "vocab.txt",
        "merges.txt",
        "model.safetensors",
    ] {
        let same = std::fs::read(back.dir.join(file)).unwrap() == std::fs::read(dir.path().join(file)).unwrap();
        assert!(same, "{file}");
    }
    // Again: the repository is there, and so is the large file.
    let sent = bench.stand_in.count(Host::Cdn, "PUT", "/upload/");
    upload(&with_token(&bench), NEW, dir.path()).unwrap();
    assert_eq!((sent, bench.stand_in.count(Host::Cdn, "PUT", "/upload/")), (1, 1));
}

#[test]
fn files_that_the_folder_lacks_stay() {
    let bench = Bench::with_model();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("README.md"), b"# Another").unwrap();
    upload(&with_token(&bench), "owner/tiny", dir.path()).unwrap();
    let back = bench.hub.model("owner/tiny", None).unwrap();
    assert_ne!(back.commit, FIRST);
    assert!(back.dir.join("config.json").is_file());
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let bench = Bench::new();
    upload(&with_token(&bench), NEW, folder().path()).unwrap();
    let seen = bench.stand_in.seen();
    assert!(seen.iter().any(|s| s.host == Host::Cdn && s.method == "PUT"));
    for request in seen {
        let sent = request.headers.get("authorization").map(String::as_str);
        let wanted = (request.host == Host::Hub).then_some("Bearer hf_sesame");
        assert_eq!(sent, wanted, "{} {}", request.method, request.path);
    }
}

#[test]
fn refusals_say_what_to_do_and_never_the_token() {
    let bench = Bench::with_model();
    let dir = folder();
    let message = |error: HubError| {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("sesame"), "{text}");
        assert!(matches!(error, HubError::Write { .. }), "{text}");
        error.to_string()
    };
    let without = message(upload(&bench.hub, NEW, dir.path()).unwrap_err());
    assert!(
        without.contains("no token is set") && without.contains("HF_TOKEN"),
        "{without}"
    );
    let offline = with_token(&bench).offline(true);
    assert!(message(upload(&offline, NEW, dir.path()).unwrap_err()).contains("HF_HUB_OFFLINE"));
    assert!(bench.stand_in.seen().is_empty());
    bench.stand_in.restrict(REPO, "hf_other", false);
    let refused = message(upload(&with_token(&bench), "owner/tiny", dir.path()).unwrap_err());
    assert!(refused.contains("status 403"), "{refused}");
    let bad = upload(&with_token(&bench), "../x", dir.path()).unwrap_err();
    assert!(matches!(bad, HubError::Name { .. }), "{bad}");
}

#[test]
fn a_server_that_fails_is_tried_again() {
    let bench = Bench::new();
    for (host, method, path) in [
        (Host::Hub, "POST", "/create"),
        (Host::Hub, "POST", "/preupload"),
        (Host::Hub, "POST", "/batch"),
        (Host::Cdn, "PUT", "/upload/"),
        (Host::Hub, "POST", "/verify"),
        (Host::Hub, "POST", "/commit/"),
    ] {
        bench.stand_in.fail(host, method, path, 1, Failure::Status(503, vec![]));
    }
    upload(&with_token(&bench), NEW, folder().path()).unwrap();
    assert_eq!(bench.waits(), [1; 6]);
    bench.hub.model(NEW, None).unwrap();
}

#[test]
fn a_commit_that_never_comes_is_an_error_and_nothing_is_seen_of_it() {
    let bench = Bench::new();
    bench
        .stand_in
        .fail(Host::Hub, "POST", "/commit/", usize::MAX, Failure::Status(500, vec![]));
    let error = upload(&with_token(&bench), NEW, folder().path()).unwrap_err();
    assert!(matches!(error, HubError::Server { .. }), "{error}");
    assert!(matches!(
        with_token(&bench).model(NEW, None),
        Err(HubError::NoRevision { .. })
    ));
}
