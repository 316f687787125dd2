//! The models inside the program, so that the first command needs no files and no network.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// A Hugging Face model folder inside the program.
#[derive(Debug)]
pub struct Embedded {
    /// Its name after [`PREFIX`].
    pub name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

/// The prefix of the names of embedded models.
pub const PREFIX: &str = "embedded:";

/// All embedded models, made with the binary `pretrain`.
pub static EMBEDDED: &[Embedded] = &[
    Embedded {
        name: "roberta",
        files: &[
            ("config.json", include_bytes!("../../embedded/roberta/config.json")),
            (
                "tokenizer.json",
                include_bytes!("../../embedded/roberta/tokenizer.json"),
            ),
            (
                "model.safetensors",
                include_bytes!("../../embedded/roberta/model.safetensors"),
            ),
        ],
    },
    Embedded {
        name: "deberta",
        files: &[
            ("config.json", include_bytes!("../../embedded/deberta/config.json")),
            (
                "tokenizer.json",
                include_bytes!("../../embedded/deberta/tokenizer.json"),
            ),
            (
                "model.safetensors",
                include_bytes!("../../embedded/deberta/model.safetensors"),
            ),
        ],
    },
    Embedded {
        name: "gpt2",
        files: &[
            ("config.json", include_bytes!("../../embedded/gpt2/config.json")),
            ("tokenizer.json", include_bytes!("../../embedded/gpt2/tokenizer.json")),
            (
                "model.safetensors",
                include_bytes!("../../embedded/gpt2/model.safetensors"),
            ),
        ],
    },
];

impl Embedded {
    /// A folder with the model's files in the user's cache (or the system's temporary folder); missing files are written. It is
    /// named by its content: another build of the program, with other weights, has a folder of its own, so that neither replaces
    /// files under the runs of the other.
    ///
    /// # Errors
    /// A cache that cannot be written.
    pub fn folder(&self) -> Result<PathBuf> {
        let root = datasets::cache::user_folder().unwrap_or_else(|| std::env::temp_dir().join("lora"));
        let dir = root.join("embedded").join(format!("{}-{}", self.name, self.digest()));
        for (name, bytes) in self.files {
            let path = dir.join(name);
            // Compared in full: a damaged file is replaced.
            if std::fs::read(&path).is_ok_and(|found| found == *bytes) {
                continue;
            }
            support::write_atomic(&path, bytes).with_context(|| {
                format!(
                    "unpacking the embedded model; LORA_CACHE names another folder than {}",
                    root.display()
                )
            })?;
        }
        Ok(dir)
    }

    /// 16 hex digits that differ where names or bytes of the files do.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (name, bytes) in self.files {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_weights_have_another_folder() {
        let model = |files| Embedded { name: "roberta", files }.digest();
        let one = model(&[("config.json", b"{}"), ("model.safetensors", b"12")]);
        assert_eq!(one.len(), 16);
        assert_eq!(one, model(&[("config.json", b"{}"), ("model.safetensors", b"12")]));
        assert_ne!(one, model(&[("config.json", b"{}"), ("model.safetensors", b"13")]));
        assert_ne!(one, model(&[("config.json", b"{}1"), ("model.safetensors", b"2")]));
    }
}
