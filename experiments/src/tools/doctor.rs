//! `lora doctor`: versions, devices and caches, and remedies where something is missing.

use crate::inputs::environment;
use crate::task::generation::scorers::{METEOR_DATA, PUNKT_DATA, named};
use datasets::Hub;
use datasets::metric::meteor::Meteor;
use datasets::metric::nltk::Nltk;
use std::path::PathBuf;

/// The report.
pub fn report() -> String {
    let cuda = lora_core::device::open_cuda();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let host = environment::host();
    let mut lines = vec![
        ("libtorch".to_string(), libtorch()),
        (
            "tch".into(),
            format!("{} (made for libtorch {})", environment::TCH, environment::LIBTORCH),
        ),
        (
            "machine".into(),
            format!("{} {}, {}, {threads} threads", host.os, host.arch, host.cpu),
        ),
        ("CUDA".into(), if cuda { "can be used".into() } else { no_cuda() }),
    ];
    for index in 0..if cuda { tch::Cuda::device_count() } else { 0 } {
        lines.push((format!("cuda:{index}"), "found; use --device".into()));
    }
    let cache = datasets::cache::Cache::of_user();
    let cache = cache.map_or("none: set LORA_CACHE or HOME to keep tokenised data".into(), |c| {
        c.dir().display().to_string()
    });
    lines.push(("token cache".into(), cache));
    let hub = Hub::from_env().map_or_else(|error| format!("{error:#}"), |hub| hub.folder().display().to_string());
    lines.push(("hub cache".into(), hub));
    lines.push((
        "METEOR".into(),
        scorer(
            METEOR_DATA,
            Meteor::cached(),
            "METEOR is left out of scores: `lora score fetch-meteor-data` fetches its data",
        ),
    ));
    lines.push((
        "Punkt".into(),
        scorer(
            PUNKT_DATA,
            Nltk::cached(),
            "scores on NLTK's words are left out: `lora score fetch-punkt-data` fetches its parameters",
        ),
    ));
    let (commit, dirty) = environment::commit();
    let state = if dirty { " with changes" } else { "" };
    let commit = commit.map_or("no git repository: records will lack their commit".into(), |c| {
        format!("{c}{state}")
    });
    lines.push(("commit".into(), commit));
    lines
        .into_iter()
        .map(|(key, value)| format!("{key:<12} {value}\n"))
        .collect()
}

/// Where the data of a scorer are, by a variable or in the cache, or what to do without.
fn scorer(variable: &str, cached: Option<PathBuf>, missing: &str) -> String {
    match (cached.filter(|path| path.exists()), named(None, variable)) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(path)) if path.exists() => format!("{} (${variable})", path.display()),
        (None, Some(path)) => format!("${variable} is {}, which is not there; {missing}", path.display()),
        (None, None) => format!("not here; {missing}"),
    }
}

fn libtorch() -> String {
    let loaded = loaded_library();
    let folder = loaded.as_ref().and_then(|p| p.parent()?.parent()).map(PathBuf::from);
    let version = folder
        .as_ref()
        .and_then(|f| std::fs::read_to_string(f.join("build-version")).ok());
    let shown = folder.map_or("in use, from an unknown folder".into(), |f| f.display().to_string());
    match version.map(|v| v.trim().to_string()) {
        Some(v) if v.split('+').next() == Some(environment::LIBTORCH) => format!("{v} at {shown}"),
        Some(v) => format!(
            "{v} at {shown}: tch needs {}; unset LIBTORCH to have it fetched, then build again",
            environment::LIBTORCH
        ),
        None => format!(
            "{shown} (no build-version file there; {} is expected)",
            environment::LIBTORCH
        ),
    }
}

/// Where the dynamic linker found libtorch.
fn loaded_library() -> Option<PathBuf> {
    // libtorch is linked, so naming any of its functions loads it.
    let _ = tch::get_num_threads();
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps
        .lines()
        .find(|l| l.contains("libtorch_cpu.so"))?
        .split_whitespace()
        .last()?;
    Some(PathBuf::from(path))
}

fn no_cuda() -> String {
    let driver = std::path::Path::new("/proc/driver/nvidia/version").exists();
    let advice = if driver {
        "an NVIDIA driver is here, but libtorch has no CUDA: remove the folder .libtorch and build again (the CUDA libraries are then fetched too), or set LIBTORCH to a CUDA build"
    } else {
        "no NVIDIA driver here; everything runs on the CPU"
    };
    format!("cannot be used: {advice}")
}
