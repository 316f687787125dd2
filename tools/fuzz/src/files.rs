//! Readers of files, which get them written into a folder.

use crate::read::Read;
use datasets::{Tokenizer, glue_parquet, rows, text};
use lora_core::interop::{Base, open_peft, read_torch};
use lora_core::model::{config_sha256, end_tokens, load_config};
use lora_core::weights::Weights;
use std::path::{Path, PathBuf};

/// Names, and what is done with the bytes.
pub const READERS: &[(&str, Read)] = &[
    ("csv", |dir, bytes| drop(rows::read(&put(dir, "a.csv", bytes)))),
    ("jsonl", |dir, bytes| drop(rows::read(&put(dir, "a.jsonl", bytes)))),
    ("parquet", parquet),
    ("glue_tsv", glue),
    ("e2e", |dir, bytes| texts("e2e", dir, "devset.csv", bytes)),
    ("dart", |dir, bytes| {
        texts("dart", dir, "dart-v1.1.1-full-dev.xml", bytes)
    }),
    ("webnlg", |dir, bytes| texts("webnlg", dir, "dev.json", bytes)),
    ("samsum", |dir, bytes| texts("samsum", dir, "val.json", bytes)),
    ("wikisql", wikisql),
    ("tokenizer_json", |dir, bytes| tokenizer(dir, "tokenizer.json", bytes)),
    ("spm", |dir, bytes| tokenizer(dir, "spm.model", bytes)),
    ("vocab", |dir, bytes| tokenizer(dir, "vocab.txt", bytes)),
    ("safetensors", safetensors),
    ("index", index),
    ("torch", torch),
    ("adapter_config", adapter),
    ("model_config", model),
];

/// Writes the file `name` of `dir`.
#[allow(clippy::expect_used)] // A folder that cannot be written is no finding about a reader.
fn put(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).expect("the temporary folder is writable");
    }
    std::fs::write(&path, bytes).expect("the temporary folder is writable");
    path
}

/// The file `name` of the golden files of lora-core's parity tests.
fn golden(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lora-core/tests/parity/golden");
    root.join(name)
}

fn parquet(dir: &Path, bytes: &[u8]) {
    let path = put(dir, "rte/train-00000-of-00001.parquet", bytes);
    drop(rows::read(&path));
    put(dir, "rte/validation-00000-of-00001.parquet", bytes);
    if let Ok(task) = datasets::find("rte") {
        drop(glue_parquet::load(task, dir));
    }
}

fn glue(dir: &Path, bytes: &[u8]) {
    for split in ["train", "dev"] {
        put(dir, &format!("RTE/{split}.tsv"), bytes);
    }
    if let Ok(task) = datasets::find("rte") {
        drop(datasets::load(task, dir));
    }
}

fn texts(id: &str, dir: &Path, file: &str, bytes: &[u8]) {
    put(dir, file, bytes);
    if let Ok(dataset) = text::find(id) {
        drop(dataset.load(dir, &["dev"], None));
    }
}

/// Questions and their tables, divided by the first line that begins with `=`.
fn wikisql(dir: &Path, bytes: &[u8]) {
    let split = bytes.windows(2).position(|pair| pair == b"\n=").unwrap_or(bytes.len());
    put(dir, "dev.jsonl", &bytes[..split]);
    put(dir, "dev.tables.jsonl", bytes.get(split + 2..).unwrap_or_default());
    texts("wikisql", dir, "unused", &[]);
}

fn tokenizer(dir: &Path, file: &str, bytes: &[u8]) {
    put(dir, file, bytes);
    let Ok(tokenizer) = Tokenizer::from_dir(dir) else {
        return;
    };
    let texts = ["The mill is a pub.", "naïve ▁ <s> [SEP] \u{1f600}", ""];
    drop(tokenizer.ids(&texts));
    drop(tokenizer.decode(&[0, 5, tokenizer.max_id(), u32::MAX]));
}

fn all_tensors(path: &Path) -> lora_core::Result<()> {
    let file = Weights::open(path)?;
    file.metadata()?;
    file.names().try_for_each(|name| file.tensor(name).map(drop))
}

fn safetensors(dir: &Path, bytes: &[u8]) {
    drop(all_tensors(&put(dir, "model.safetensors", bytes)));
}

/// An index of weights whose shards may be `part.safetensors`.
fn index(dir: &Path, bytes: &[u8]) {
    if !dir.join("part.safetensors").exists()
        && let Ok(sound) = std::fs::read(golden("roberta/adapter/adapter_model.safetensors"))
    {
        put(dir, "part.safetensors", &sound);
    }
    put(dir, "model.safetensors.index.json", bytes);
    drop(all_tensors(dir));
}

fn torch(dir: &Path, bytes: &[u8]) {
    let path = put(dir, "pytorch_model.bin", bytes);
    drop(read_torch(&path));
    drop(all_tensors(&path));
}

fn adapter(dir: &Path, bytes: &[u8]) {
    if !dir.join("adapter_model.safetensors").exists()
        && let Ok(sound) = std::fs::read(golden("roberta/adapter_all/adapter_model.safetensors"))
    {
        put(dir, "adapter_model.safetensors", &sound);
    }
    put(dir, "adapter_config.json", bytes);
    let fit = || open_peft(dir)?.fit(&Base::open(&golden("roberta"))?).map(drop);
    drop(fit());
}

fn model(dir: &Path, bytes: &[u8]) {
    put(dir, "config.json", bytes);
    drop(load_config(dir));
    drop(end_tokens(dir));
    drop(config_sha256(dir));
}
