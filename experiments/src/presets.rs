//! The configurations that come with the program.

use anyhow::{Context, Result, bail};

/// What every experiment starts from.
pub const DEFAULTS: &str = include_str!("../configs/defaults.yaml");

/// Name and text of each preset. To add one: a file in `configs/`, and a line here.
pub static PRESETS: &[(&str, &str)] = &[
    ("demo", include_str!("../configs/demo.yaml")),
    ("minilm", include_str!("../configs/minilm.yaml")),
    ("roberta-base", include_str!("../configs/roberta-base.yaml")),
    ("roberta-large", include_str!("../configs/roberta-large.yaml")),
    (
        "roberta-large-dagger",
        include_str!("../configs/roberta-large-dagger.yaml"),
    ),
];

/// The preset's text.
///
/// # Errors
/// An unknown name; the known ones are listed.
pub fn find(name: &str) -> Result<&'static str> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, text)) => Ok(text),
        None => bail!("unknown preset `{name}`; known: {}", names().join(", ")),
    }
}

/// All names.
pub fn names() -> Vec<&'static str> {
    PRESETS.iter().map(|(name, _)| *name).collect()
}

/// A file of the user's own.
///
/// # Errors
/// What the system says of the path.
pub fn read(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading the configuration {}", path.display()))
}
