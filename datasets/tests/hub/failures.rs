//! Servers that are busy, fail, cut short or lie, and networks that are down.

use std::net::TcpListener;

use datasets::hub::HubError;

use crate::stand_in::{Failure, Host, sha256};
use crate::{Bench, ID, WEIGHTS};

const FOR_EVER: usize = usize::MAX;

fn status(status: u16) -> Failure {
    Failure::Status(status, vec![])
}

fn weights(bench: &Bench) -> Vec<u8> {
    let model = bench.hub.model(ID, None).unwrap();
    std::fs::read(model.dir.join("model.safetensors")).unwrap()
}

fn part() -> String {
    format!("{}.incomplete", sha256(WEIGHTS))
}

/// Ranges that the CDN was asked for, in order.
fn ranges(bench: &Bench) -> Vec<Option<String>> {
    let seen = bench.stand_in.seen();
    let cdn = seen.into_iter().filter(|s| s.host == Host::Cdn);
    cdn.map(|s| s.headers.get("range").cloned()).collect()
}

#[test]
fn a_busy_hub_is_waited_for_as_long_as_it_asks() {
    let bench = Bench::with_model();
    let busy = |headers| Failure::Status(429, headers);
    bench
        .stand_in
        .fail(Host::Hub, "GET", "/api/", 1, busy(vec![("Retry-After", "7")]));
    bench.stand_in.fail(
        Host::Hub,
        "GET",
        "/api/",
        1,
        busy(vec![("RateLimit", "\"api\";r=0;t=55")]),
    );
    bench.stand_in.fail(Host::Hub, "GET", "/api/", 1, busy(vec![]));
    bench
        .stand_in
        .fail(Host::Hub, "HEAD", "config.json", 1, busy(vec![("Retry-After", "3")]));
    assert_eq!(weights(&bench), WEIGHTS);
    assert_eq!(bench.waits(), [7, 55, 4, 3]);
}

#[test]
fn patience_with_a_busy_hub_ends() {
    let bench = Bench::with_model();
    bench.stand_in.fail(Host::Hub, "GET", "/api/", FOR_EVER, status(429));
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(matches!(error, HubError::Busy { attempts: 5, .. }), "{error}");
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    assert_eq!(bench.waits(), [1, 2, 4, 8]);

    let bench = Bench::with_model();
    let long = Failure::Status(429, vec![("Retry-After", "3600")]);
    bench.stand_in.fail(Host::Hub, "GET", "/api/", FOR_EVER, long);
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(matches!(error, HubError::Busy { attempts: 1, .. }), "{error}");
    assert!(bench.waits().is_empty());
}

#[test]
fn a_failing_hub_is_asked_again() {
    let bench = Bench::with_model();
    bench.stand_in.fail(Host::Hub, "GET", "/api/", 1, status(500));
    bench
        .stand_in
        .fail(Host::Hub, "HEAD", "model.safetensors", 2, status(503));
    bench.stand_in.fail(Host::Cdn, "GET", "", 1, status(502));
    // An expired signature: the next attempt gets a fresh address from the hub.
    bench.stand_in.fail(Host::Cdn, "GET", "", 1, status(403));
    assert_eq!(weights(&bench), WEIGHTS);
    assert_eq!(bench.waits(), [1, 1, 2, 1, 2]);
    assert_eq!(bench.stand_in.count(Host::Hub, "GET", "model.safetensors"), 3);

    let bench = Bench::with_model();
    bench.stand_in.fail(Host::Hub, "GET", "/api/", FOR_EVER, status(500));
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(
        matches!(
            error,
            HubError::Server {
                status: 500,
                attempts: 5,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_dropped_connection_is_resumed() {
    let bench = Bench::with_model();
    bench.stand_in.fail(Host::Cdn, "GET", "", 1, Failure::Drop(100_000));
    bench.stand_in.fail(Host::Cdn, "GET", "", 1, Failure::Drop(50_000));
    assert_eq!(weights(&bench), WEIGHTS);
    let ranges = ranges(&bench);
    assert_eq!(ranges.len(), 3);
    assert_eq!(ranges[0], None);
    // How much of what was sent arrived before the end is the system's affair.
    assert!(ranges[1].is_some() && ranges[1] < ranges[2], "{ranges:?}");
    // Each attempt got further, so none was the second failure in a row.
    assert_eq!(bench.waits(), [1, 1]);
}

#[test]
fn a_later_run_goes_on_where_the_first_stopped() {
    let bench = Bench::with_model();
    bench.stand_in.fail(Host::Cdn, "GET", "", 1, Failure::Drop(100_000));
    bench.stand_in.fail(Host::Cdn, "GET", "", 5, Failure::Drop(0));
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(
        matches!(
            error,
            HubError::Interrupted {
                got: 100_000,
                size: 300_000,
                ..
            }
        ),
        "{error}"
    );
    // The part is there, and not under the name of the whole.
    let blobs = bench.blobs();
    assert!(
        blobs.contains(&part()) && !blobs.contains(&sha256(WEIGHTS)),
        "{blobs:?}"
    );
    assert_eq!(weights(&bench), WEIGHTS);
    assert_eq!(ranges(&bench).last().unwrap().as_deref(), Some("bytes=100000-"));
    assert!(!bench.blobs().contains(&part()));
}

#[test]
fn a_short_body_is_not_the_file() {
    let bench = Bench::with_model();
    bench.stand_in.fail(Host::Cdn, "GET", "", 1, Failure::Truncate(1000));
    bench.stand_in.fail(
        Host::Hub,
        "GET",
        "resolve-cache/models/owner/tiny/at",
        1,
        Failure::Truncate(1),
    );
    assert_eq!(weights(&bench), WEIGHTS);
    assert_eq!(ranges(&bench), [None, Some("bytes=1000-".to_owned())]);

    let bench = Bench::with_model();
    bench
        .stand_in
        .fail(Host::Cdn, "GET", "", FOR_EVER, Failure::Truncate(1000));
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(matches!(error, HubError::Interrupted { got: 0 | 1000, .. }), "{error}");
    assert!(!bench.blobs().contains(&sha256(WEIGHTS)));
}

#[test]
fn other_bytes_than_promised_are_deleted() {
    let bench = Bench::with_model();
    bench.stand_in.fail(Host::Cdn, "GET", "", FOR_EVER, Failure::Flip);
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(
        matches!(&error, HubError::Hash { wanted, .. } if *wanted == sha256(WEIGHTS)),
        "{error}"
    );
    assert!(!bench.blobs().iter().any(|b| b.starts_with(&sha256(WEIGHTS))));
    assert_eq!(bench.stand_in.count(Host::Cdn, "GET", ""), 1);
}

#[test]
fn a_broken_part_of_an_earlier_download_is_replaced() {
    let bench = Bench::with_model();
    let blobs = bench.cache.path().join("models--owner--tiny/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    for (left_over, requests) in [
        (vec![8; 1000], 2),
        (vec![7; 300_001], 1),
        (vec![8; 300_000], 1),
        (WEIGHTS.to_vec(), 0),
    ] {
        let before = bench.stand_in.count(Host::Cdn, "GET", "");
        let _ = std::fs::remove_file(blobs.join(sha256(WEIGHTS)));
        std::fs::write(blobs.join(part()), &left_over).unwrap();
        assert_eq!(weights(&bench), WEIGHTS);
        let asked = bench.stand_in.count(Host::Cdn, "GET", "") - before;
        assert_eq!(asked, requests, "{} bytes left over", left_over.len());
    }
    assert!(bench.waits().is_empty());
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let bench = Bench::with_model();
    bench.stand_in.fail(Host::Cdn, "GET", "", 1, Failure::Drop(1000));
    bench.stand_in.fail(Host::Cdn, "GET", "", 1, Failure::Whole);
    assert_eq!(weights(&bench), WEIGHTS);
    assert_eq!(ranges(&bench).len(), 2);
}

#[test]
fn without_network_a_warm_cache_serves() {
    let bench = Bench::with_model();
    // A port that nobody listens on.
    let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let cut_off = bench.hub.clone().endpoint(&format!("http://{closed}")).unwrap();
    let error = cut_off.model(ID, None).unwrap_err();
    assert!(matches!(error, HubError::Unreachable { attempts: 5, .. }), "{error}");
    assert!(error.to_string().contains(&closed.to_string()), "{error}");
    assert_eq!(bench.waits(), [1, 2, 4, 8]);

    let model = bench.hub.model(ID, None).unwrap();
    assert_eq!(cut_off.model(ID, None).unwrap(), model);
    // So does it when the hub is there and fails, but not when it refuses.
    bench.stand_in.fail(Host::Hub, "GET", "/api/", 5, status(500));
    assert_eq!(bench.hub.model(ID, None).unwrap(), model);
    bench.stand_in.fail(Host::Hub, "GET", "/api/", 1, status(401));
    bench.hub.model(ID, None).unwrap_err();
}
