//! What the environment means, without setting it.

use super::*;

fn hub(vars: &[(&str, &str)]) -> Result<Hub, HubError> {
    let var = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
    Hub::from_vars(var, Some(PathBuf::from("/home/me")))
}

#[test]
fn the_cache_is_found_as_python_finds_it() {
    let cache = |vars| hub(vars).unwrap().cache;
    assert_eq!(cache(&[]), Path::new("/home/me/.cache/huggingface/hub"));
    assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
    assert_eq!(
        cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/hf")]),
        Path::new("/hf/hub")
    );
    assert_eq!(cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
    assert_eq!(cache(&[("HF_HOME", "~/x")]), Path::new("/home/me/x/hub"));
    assert_eq!(cache(&[("HF_HUB_CACHE", "~")]), Path::new("/home/me"));
    assert_eq!(
        cache(&[("XDG_CACHE_HOME", "~/c")]),
        Path::new("/home/me/c/huggingface/hub")
    );
    assert_eq!(cache(&[("HF_HOME", "/a/~/x")]), Path::new("/a/~/x/hub"));
    assert_eq!(cache(&[("HF_HOME", "")]), Path::new("/home/me/.cache/huggingface/hub"));
    assert!(matches!(Hub::from_vars(|_| None, None), Err(HubError::NoHome)));
}

#[test]
fn offline_and_endpoint() {
    for (value, offline) in [
        ("1", true),
        ("TRUE", true),
        ("on", true),
        ("0", false),
        ("", false),
        ("no", false),
    ] {
        assert_eq!(hub(&[("HF_HUB_OFFLINE", value)]).unwrap().offline, offline, "{value}");
    }
    assert_eq!(hub(&[]).unwrap().client.endpoint(), "https://huggingface.co");
    let mirror = hub(&[("HF_ENDPOINT", "http://mirror:8/")]).unwrap();
    assert_eq!(mirror.client.endpoint(), "http://mirror:8");
    assert!(matches!(
        hub(&[("HF_ENDPOINT", "mirror")]),
        Err(HubError::Setting { .. })
    ));
}

#[test]
fn a_token_is_never_printed() {
    let hub = hub(&[("HF_TOKEN", "hf_secret")]).unwrap();
    assert!(!format!("{hub:?}").contains("secret"));
}

#[test]
fn the_token_file_is_read_where_no_variable_is_set() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().to_str().unwrap();
    let has_token = |vars: &[(&str, &str)]| hub(vars).unwrap().client.has_token();
    assert!(!has_token(&[("HF_HOME", folder)]));
    std::fs::write(home.path().join("token"), "hf_secret\n").unwrap();
    assert!(has_token(&[("HF_HOME", folder)]));
    // The variable wins.
    std::fs::write(home.path().join("token"), "two words").unwrap();
    assert!(has_token(&[("HF_HOME", folder), ("HF_TOKEN", "hf_other")]));
    assert!(matches!(hub(&[("HF_HOME", folder)]), Err(HubError::Setting { .. })));
}

#[test]
fn a_shard_cannot_leave_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let index = dir.path().join(WEIGHTS[0][1]);
    let of = |text: &str| {
        std::fs::write(&index, text).unwrap();
        shards(&index)
    };
    let good = of(r#"{"weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors", "c": "m-2.safetensors"}}"#);
    assert_eq!(good.unwrap(), ["m-1.safetensors", "m-2.safetensors"]);
    for file in [
        "../a.safetensors",
        "/a.safetensors",
        "a/b.safetensors",
        "a\\\\b.safetensors",
        ".a.safetensors",
        "a.bin",
        "",
    ] {
        let message = of(&format!(r#"{{"weight_map": {{"t": "{file}"}}}}"#))
            .unwrap_err()
            .to_string();
        assert!(message.contains("\"t\"") && message.contains(file), "{message}");
    }
    for text in ["", "[]", "{}", r#"{"weight_map": {}}"#, r#"{"weight_map": {"t": 1}}"#] {
        assert!(matches!(of(text), Err(HubError::Index { .. })), "{text}");
    }
}
