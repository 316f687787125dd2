//! Answers of the hub with damaged bytes are refused by their address, or name files that lie inside the cache.

use testing::mutate::survives;

use crate::stand_in::{Failure, Host};
use crate::{Bench, FIRST, REPO};

#[test]
fn damaged_listings_are_refused_or_stay_inside_the_cache() {
    let bench = Bench::new();
    bench.stand_in.commit(
        REPO,
        "main",
        FIRST,
        &[("config.json", b"{}"), ("model.safetensors", b"12345678")],
    );
    let listing = format!(
        r#"{{"id": "{REPO}", "sha": "{FIRST}", "siblings": [{{"rfilename": "config.json"}}, {{"rfilename": "../../model.safetensors"}},
            {{"rfilename": "model.safetensors"}}, {{"rfilename": "/etc/tokenizer.json"}}], "private": false}}"#
    );
    let outcomes = survives("owner/tiny", listing.as_bytes(), |bytes| {
        let failure = Failure::Body(bytes.to_vec());
        bench.stand_in.fail(Host::Hub, "GET", "/revision/", 1, failure);
        match bench.hub.model("owner/tiny", None) {
            Ok(snapshot) => {
                assert!(snapshot.dir.starts_with(bench.cache.path()));
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    });
    assert!(outcomes.refused > 0, "{outcomes:?}");
    let outside = bench.cache.path().parent().unwrap().join("model.safetensors");
    assert!(!outside.exists());
    let above = bench.cache.path().join("models--owner--tiny");
    for stray in ["model.safetensors", "snapshots/model.safetensors"] {
        assert!(!above.join(stray).exists(), "{stray}");
    }
}
