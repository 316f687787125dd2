//! What the hub refuses, who gets the token, and what is refused here.

use datasets::hub::HubError;

use crate::stand_in::{Failure, Host};
use crate::{Bench, FIRST, ID, MODEL, REPO};

const TOKEN: &str = "hf_sesame";

/// The error's message, which must not hold the token or the signature of another host's address.
fn message(error: &HubError) -> String {
    let text = format!("{error} {error:?}");
    assert!(!text.contains("sesame"), "{text}");
    error.to_string()
}

#[test]
fn the_token_goes_to_the_hub_and_to_nobody_else() {
    let bench = Bench::with_model();
    bench.stand_in.restrict(REPO, TOKEN, false);
    bench.hub.clone().token(Some(TOKEN)).unwrap().model(ID, None).unwrap();
    let seen = bench.stand_in.seen();
    assert!(seen.iter().any(|s| s.host == Host::Cdn));
    for request in seen {
        let sent = request.headers.get("authorization").map(String::as_str);
        let wanted = (request.host == Host::Hub).then_some("Bearer hf_sesame");
        assert_eq!(sent, wanted, "{} {}", request.method, request.path);
    }
}

#[test]
fn without_a_token_none_is_sent() {
    let bench = Bench::with_model();
    bench.hub.model(ID, None).unwrap();
    assert!(
        bench
            .stand_in
            .seen()
            .iter()
            .all(|s| !s.headers.contains_key("authorization"))
    );
}

#[test]
fn a_private_repository_says_to_set_the_token_or_that_it_was_refused() {
    let bench = Bench::with_model();
    bench.stand_in.restrict(REPO, TOKEN, false);
    let without = bench.hub.model(ID, None).unwrap_err();
    assert!(
        matches!(without, HubError::Unauthorized { with_token: false, .. }),
        "{without}"
    );
    assert!(message(&without).contains("set HF_TOKEN"), "{without}");
    let wrong = bench.hub.clone().token(Some("hf_sesame_old")).unwrap();
    let refused = wrong.model(ID, None).unwrap_err();
    assert!(
        matches!(refused, HubError::Unauthorized { with_token: true, .. }),
        "{refused}"
    );
    assert!(message(&refused).contains("the token was refused"), "{refused}");
    // Refusals are not asked for again.
    assert!(bench.waits().is_empty());
    assert_eq!(bench.stand_in.seen().len(), 2);
}

#[test]
fn a_gated_repository_says_where_its_terms_are() {
    let bench = Bench::with_model();
    bench.stand_in.restrict(REPO, TOKEN, true);
    for (token, advice) in [(None, "set HF_TOKEN"), (Some("hf_sesame_other"), "check that HF_TOKEN")] {
        let error = bench.hub.clone().token(token).unwrap().model(ID, None).unwrap_err();
        assert!(matches!(error, HubError::Forbidden { .. }), "{error}");
        let message = message(&error);
        assert!(
            message.contains(&format!("{}/{ID}", bench.stand_in.endpoint())),
            "{message}"
        );
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn what_is_not_there_is_told_apart() {
    let bench = Bench::with_model();
    let with_token = bench.hub.clone().token(Some(TOKEN)).unwrap();
    // The hub answers 401 to strangers, and 404 to those it knows.
    let stranger = bench.hub.model("owner/none", None).unwrap_err();
    assert!(message(&stranger).contains("check the id"), "{stranger}");
    let repo = with_token.model("owner/none", None).unwrap_err();
    assert!(matches!(repo, HubError::NoRepo { .. }), "{repo}");
    assert!(message(&repo).contains("owner/none"), "{repo}");
    let revision = bench.hub.model(ID, Some("v9")).unwrap_err();
    assert!(matches!(revision, HubError::NoRevision { .. }), "{revision}");
    assert!(message(&revision).contains("\"v9\""), "{revision}");

    // Not in the listing.
    bench
        .stand_in
        .commit("models/owner/bare", "main", FIRST, &[("README.md", b"")]);
    let file = bench.hub.model("owner/bare", None).unwrap_err();
    assert!(
        matches!(&file, HubError::NoFile { file, .. } if file == "config.json"),
        "{file}"
    );
    // In the listing, and yet not there.
    let gone = Failure::Status(404, vec![("X-Error-Code", "EntryNotFound")]);
    bench.stand_in.fail(Host::Hub, "HEAD", "tokenizer.json", 1, gone);
    let file = bench.hub.model(ID, None).unwrap_err();
    assert!(
        matches!(&file, HubError::NoFile { file, .. } if file == "tokenizer.json"),
        "{file}"
    );
}

#[test]
fn names_that_could_leave_the_cache_are_refused_unasked() {
    let bench = Bench::with_model();
    for (id, revision) in [
        ("../evil", None),
        ("a/b/c", None),
        (ID, Some("../../evil")),
        (ID, Some("a b")),
    ] {
        let error = bench.hub.model(id, revision).unwrap_err();
        assert!(matches!(error, HubError::Name { .. }), "{error}");
    }
    assert!(bench.stand_in.seen().is_empty());
}

#[test]
fn answers_that_no_hub_gives_are_errors() {
    let bench = Bench::with_model();
    let odd = |etag| Failure::Status(200, vec![("ETag", etag)]);
    for (method, path, failure, part) in [
        (
            "GET",
            "/revision/",
            Failure::Truncate(20),
            "not the JSON of a repository",
        ),
        ("GET", "/revision/", Failure::Status(400, vec![]), "status 400"),
        ("GET", "/revision/", Failure::Status(302, vec![]), "without Location"),
        ("HEAD", "config.json", odd("\"../../x\""), "cannot be a file's name"),
        ("HEAD", "config.json", Failure::Status(200, vec![]), "no ETag"),
    ] {
        bench.stand_in.fail(Host::Hub, method, path, 1, failure);
        let error = bench.hub.model(ID, None).unwrap_err();
        assert!(matches!(error, HubError::Answer { .. }), "{error}");
        assert!(message(&error).contains(part), "{part}: {error}");
    }
    let around = Failure::Status(302, vec![("Location", "/api/models/owner/tiny/revision/main")]);
    bench.stand_in.fail(Host::Hub, "GET", "/revision/", usize::MAX, around);
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(message(&error).contains("redirects"), "{error}");
}

#[test]
fn a_renamed_repository_is_found() {
    let bench = Bench::new();
    bench.stand_in.commit(REPO, "main", FIRST, MODEL);
    let moved = Failure::Status(307, vec![("Location", "/api/models/owner/tiny/revision/main")]);
    bench
        .stand_in
        .fail(Host::Hub, "GET", "/api/models/old/revision/main", 1, moved);
    for (file, _) in MODEL {
        let to: &'static str = Box::leak(format!("/owner/tiny/resolve/{FIRST}/{file}").into_boxed_str());
        let moved = Failure::Status(307, vec![("Location", to)]);
        for method in ["HEAD", "GET"] {
            bench.stand_in.fail(
                Host::Hub,
                method,
                &format!("/old/resolve/{FIRST}/{file}"),
                1,
                moved.clone(),
            );
        }
    }
    let model = bench.hub.model("old", None).unwrap();
    assert_eq!((model.id.as_str(), model.commit.as_str()), ("old", FIRST));
}
