//! Models: what is fetched, where it lies, and what is not fetched again.

use std::sync::{Arc, Mutex};

use datasets::hub::HubError;

use crate::stand_in::{Host, git_hash, sha256};
use crate::{Bench, FIRST, ID, MODEL, REPO, SECOND, WEIGHTS, names};

#[test]
fn a_model_arrives_in_pythons_layout() {
    let bench = Bench::with_model();
    let model = bench.hub.model(ID, None).unwrap();
    assert_eq!((model.id.as_str(), model.commit.as_str()), (ID, FIRST));
    let root = bench.cache.path().join("models--owner--tiny");
    assert_eq!(model.dir, root.join("snapshots").join(FIRST));
    // No README and no pickle.
    let wanted = ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"];
    assert_eq!(names(&model.dir), wanted);
    for (file, bytes) in MODEL.iter().filter(|(f, _)| wanted.contains(f)) {
        assert_eq!(std::fs::read(model.dir.join(file)).unwrap(), *bytes, "{file}");
    }
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), FIRST);
    let mut blobs = vec![
        sha256(WEIGHTS),
        git_hash(b"{}"),
        git_hash(b"{\"model\": {}}"),
        git_hash(b"[PAD]\n"),
    ];
    blobs.sort();
    assert_eq!(bench.blobs(), blobs);
    if cfg!(unix) {
        let link = std::fs::read_link(model.dir.join("model.safetensors")).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("../../blobs/{}", sha256(WEIGHTS)));
    }
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let bench = Bench::with_model();
    let first = bench.hub.model(ID, None).unwrap();
    let before = bench.stand_in.seen().len();
    assert_eq!(bench.hub.model(ID, None).unwrap(), first);
    // The revision is asked for, and nothing else.
    assert_eq!(bench.stand_in.seen().len(), before + 1);

    // A new commit with the same weights brings what changed alone.
    let mut files = MODEL.to_vec();
    files[1] = ("config.json", b"{\"new\": 1}");
    bench.stand_in.commit(REPO, "main", SECOND, &files);
    let second = bench.hub.model(ID, None).unwrap();
    assert_eq!(second.commit, SECOND);
    assert_eq!(std::fs::read(second.dir.join("config.json")).unwrap(), b"{\"new\": 1}");
    assert_eq!(std::fs::read(first.dir.join("config.json")).unwrap(), b"{}");
    assert_eq!(bench.stand_in.count(Host::Cdn, "GET", "/blob/"), 1);
}

#[test]
fn a_file_that_was_deleted_is_fetched_anew() {
    let bench = Bench::with_model();
    let model = bench.hub.model(ID, None).unwrap();
    let blob = std::fs::canonicalize(model.dir.join("model.safetensors")).unwrap();
    std::fs::remove_file(blob).unwrap();
    let offline = bench.hub.clone().offline(true).model(ID, None).unwrap_err();
    assert!(
        matches!(&offline, HubError::NotCached { file, .. } if file == "model.safetensors"),
        "{offline}"
    );
    let model = bench.hub.model(ID, None).unwrap();
    assert_eq!(std::fs::read(model.dir.join("model.safetensors")).unwrap(), WEIGHTS);
}

#[test]
fn revisions_are_resolved_to_commits() {
    let bench = Bench::with_model();
    bench.stand_in.commit(REPO, "main", SECOND, MODEL);
    bench.stand_in.commit(REPO, "refs/pr/1", FIRST, MODEL);
    let commit = |revision| bench.hub.model(ID, revision).unwrap().commit;
    assert_eq!(commit(None), SECOND);
    assert_eq!(commit(Some(FIRST)), FIRST);
    assert_eq!(commit(Some("refs/pr/1")), FIRST);
    let refs = bench.cache.path().join("models--owner--tiny/refs");
    assert_eq!(std::fs::read_to_string(refs.join("refs/pr/1")).unwrap(), FIRST);
    // As in Python, a commit needs no name.
    assert_eq!(names(&refs), ["main", "refs"]);
    let offline = bench.hub.clone().offline(true);
    for (revision, commit) in [(None, SECOND), (Some(FIRST), FIRST), (Some("refs/pr/1"), FIRST)] {
        assert_eq!(offline.model(ID, revision).unwrap().commit, commit);
    }
}

#[test]
fn shards_follow_their_index() {
    let bench = Bench::new();
    let index = br#"{"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-1.safetensors"}}"#;
    let mut files: Vec<(&str, &[u8])> = vec![
        ("config.json", b"{}"),
        ("generation_config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
        ("other.safetensors", b"other"),
    ];
    bench.stand_in.commit(REPO, "main", FIRST, &files);
    let model = bench.hub.model(ID, None).unwrap();
    let wanted = [
        "config.json",
        "generation_config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
    ];
    assert_eq!(names(&model.dir), wanted);
    assert_eq!(std::fs::read(model.dir.join("model-2.safetensors")).unwrap(), b"two");

    let offline = bench.hub.clone().offline(true);
    assert_eq!(offline.model(ID, None).unwrap(), model);
    std::fs::remove_file(model.dir.join("model-2.safetensors")).unwrap();
    let lacking = offline.model(ID, None).unwrap_err().to_string();
    assert!(lacking.contains("model-2.safetensors"), "{lacking}");

    files.remove(4);
    bench.stand_in.commit(REPO, "main", SECOND, &files);
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(
        matches!(&error, HubError::NoFile { file, .. } if file == "model-2.safetensors"),
        "{error}"
    );
}

#[test]
fn pickles_are_fetched_where_there_is_nothing_else() {
    let bench = Bench::new();
    let index = br#"{"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}"#;
    let mut files: Vec<(&str, &[u8])> = vec![
        ("config.json", b"{}"),
        ("pytorch_model.bin.index.json", index),
        ("pytorch_model-1.bin", b"one"),
        ("pytorch_model-2.bin", b"two"),
        ("tf_model.h5", b"other"),
    ];
    bench.stand_in.commit(REPO, "main", FIRST, &files);
    let model = bench.hub.model(ID, None).unwrap();
    let wanted = [
        "config.json",
        "pytorch_model-1.bin",
        "pytorch_model-2.bin",
        "pytorch_model.bin.index.json",
    ];
    assert_eq!(names(&model.dir), wanted);
    let offline = bench.hub.clone().offline(true);
    assert_eq!(offline.model(ID, None).unwrap(), model);
    std::fs::remove_file(model.dir.join("pytorch_model-2.bin")).unwrap();
    let lacking = offline.model(ID, None).unwrap_err().to_string();
    assert!(lacking.contains("pytorch_model-2.bin"), "{lacking}");

    // One file is taken before several, and shards of the other format are none.
    files.push(("pytorch_model.bin", b"whole"));
    bench.stand_in.commit(REPO, "main", SECOND, &files);
    let model = bench.hub.model(ID, None).unwrap();
    assert_eq!(names(&model.dir), ["config.json", "pytorch_model.bin"]);
    assert_eq!(offline.model(ID, None).unwrap(), model);
    let strange = br#"{"weight_map": {"a": "pytorch_model-1.safetensors"}}"#;
    let files: [(&str, &[u8]); 2] = [("config.json", b"{}"), ("pytorch_model.bin.index.json", strange)];
    bench
        .stand_in
        .commit(REPO, "main", "3333333333333333333333333333333333333333", &files);
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(matches!(error, HubError::Index { .. }), "{error}");
}

#[test]
fn an_index_cannot_lead_out_of_the_folder() {
    let bench = Bench::new();
    let index = br#"{"weight_map": {"a": "../../../escaped.safetensors"}}"#;
    let files: [(&str, &[u8]); 3] = [
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("../../../escaped.safetensors", b"out"),
    ];
    bench.stand_in.commit(REPO, "main", FIRST, &files);
    let error = bench.hub.model(ID, None).unwrap_err();
    assert!(matches!(error, HubError::Index { .. }), "{error}");
    assert!(error.to_string().contains("../../../escaped.safetensors"), "{error}");
    assert_eq!(bench.stand_in.count(Host::Hub, "HEAD", "escaped"), 0);
}

#[test]
fn offline_takes_a_warm_cache_and_names_what_a_cold_one_lacks() {
    let bench = Bench::with_model();
    let offline = bench.hub.clone().offline(true);
    let message = offline.model(ID, Some("main")).unwrap_err().to_string();
    for part in [ID, "\"main\"", "HF_HUB_OFFLINE", bench.cache.path().to_str().unwrap()] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(bench.stand_in.seen().is_empty());

    let model = bench.hub.model(ID, None).unwrap();
    let asked = bench.stand_in.seen().len();
    assert_eq!(offline.model(ID, None).unwrap(), model);
    assert_eq!(bench.stand_in.seen().len(), asked);
    let other = offline.model(ID, Some("v2")).unwrap_err().to_string();
    assert!(other.contains("\"v2\""), "{other}");
}

#[test]
fn an_unfinished_snapshot_is_not_taken_offline() {
    let bench = Bench::with_model();
    bench.hub.model(ID, None).unwrap();
    let mut files = MODEL.to_vec();
    files[4] = ("model.safetensors", b"other weights");
    bench.stand_in.commit(REPO, "main", SECOND, &files);
    bench.stand_in.fail(
        Host::Cdn,
        "GET",
        "",
        usize::MAX,
        crate::stand_in::Failure::Status(500, vec![]),
    );
    bench.hub.model(ID, None).unwrap_err();
    let offline = bench.hub.clone().offline(true);
    assert_eq!(offline.model(ID, None).unwrap().commit, FIRST);
    let error = offline.model(ID, Some(SECOND)).unwrap_err();
    assert!(
        matches!(&error, HubError::NotCached { file, .. } if file == "model.safetensors"),
        "{error}"
    );
}

#[test]
fn progress_is_reported_from_nothing_to_all() {
    let bench = Bench::with_model();
    let reports = Arc::<Mutex<Vec<(String, u64, u64)>>>::default();
    let note = reports.clone();
    let hub = bench.hub.clone().progress(move |p| {
        assert_eq!(p.repo, "model owner/tiny");
        note.lock().unwrap().push((p.file.to_owned(), p.done, p.total));
    });
    hub.model(ID, None).unwrap();
    let reports = reports.lock().unwrap();
    let weights: Vec<(u64, u64)> = reports
        .iter()
        .filter(|(file, ..)| file == "model.safetensors")
        .map(|(_, done, total)| (*done, *total))
        .collect();
    assert_eq!(weights.first(), Some(&(0, 300_000)));
    assert_eq!(weights.last(), Some(&(300_000, 300_000)));
    assert!(weights.is_sorted());
    let finished = reports.iter().filter(|(_, done, total)| done == total).count();
    assert_eq!(finished, 4);
}

#[test]
fn an_empty_file_is_a_file() {
    let bench = Bench::new();
    let mut files = MODEL.to_vec();
    files.push(("merges.txt", b""));
    bench.stand_in.commit(REPO, "main", FIRST, &files);
    let model = bench.hub.model(ID, None).unwrap();
    assert_eq!(std::fs::read(model.dir.join("merges.txt")).unwrap(), b"");
}

#[test]
fn two_at_once_fetch_a_file_once() {
    let bench = Bench::with_model();
    let models: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| bench.hub.model(ID, None).unwrap()))
            .collect();
        runs.into_iter().map(|r| r.join().unwrap()).collect()
    });
    assert!(models.iter().all(|m| m == &models[0]));
    assert_eq!(bench.stand_in.count(Host::Cdn, "GET", "/blob/"), 1);
    assert_eq!(std::fs::read(models[0].dir.join("model.safetensors")).unwrap(), WEIGHTS);
}

#[test]
fn an_adapter_arrives_without_the_rest_of_its_repository() {
    let bench = Bench::with_model();
    let files: [(&str, &[u8]); 4] = [
        ("README.md", b"# Card\n"),
        ("adapter_config.json", b"{\"peft_type\": \"LORA\"}"),
        ("adapter_model.safetensors", WEIGHTS),
        ("optimizer.pt", b"no"),
    ];
    bench.stand_in.commit(REPO, "main", SECOND, &files);
    let adapter = bench.hub.adapter(ID, None).unwrap();
    assert_eq!(adapter.commit, SECOND);
    assert_eq!(
        names(&adapter.dir),
        ["adapter_config.json", "adapter_model.safetensors"]
    );
    let offline = bench.hub.clone().offline(true);
    assert_eq!(offline.adapter(ID, None).unwrap(), adapter);

    // A repository without an adapter is refused by the file that it lacks.
    bench.stand_in.commit(REPO, "main", FIRST, MODEL);
    let error = bench.hub.adapter(ID, None).unwrap_err();
    assert!(error.to_string().contains("adapter_model.safetensors"), "{error}");
}
