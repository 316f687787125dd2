//! A small world for the programs' tests: a tiny model, a task of its own, and the programs run in it.

#![allow(dead_code)] // each test program uses what it needs

use lora_core::nn::{BaseInit, Build};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const WORDS: [&str; 12] = [
    "the", "cat", "dog", "sees", "likes", "a", "red", "green", "house", "tree", "not", "big",
];

/// A tiny random BERT and an RTE folder of its own, in a temporary place.
pub struct World {
    pub dir: tempfile::TempDir,
}

pub fn config() -> serde_json::Value {
    serde_json::json!({
        "model_type": "bert", "vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 32, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    })
}

impl World {
    pub fn new() -> World {
        World::of(&config())
    }

    /// With a model of this config.json.
    pub fn of(config: &serde_json::Value) -> World {
        let world = World {
            dir: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(world.path("model")).unwrap();
        world.write("model/config.json", config.to_string());
        let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        world.write(
            "model/vocab.txt",
            specials
                .iter()
                .chain(&WORDS)
                .map(|w| format!("{w}\n"))
                .collect::<String>(),
        );
        let method = lora_core::method::from_yaml("{kind: full}").unwrap();
        let build = Build::new(method.as_ref(), 1).base_init(BaseInit::Random);
        lora_core::model::from_dir(&world.path("model"), 2, &build).unwrap();
        let params = build.finish().unwrap().params;
        let base: Vec<_> = params
            .iter()
            .filter(|e| e.param.owner == lora_core::nn::Owner::Base)
            .collect();
        let tensors: Vec<_> = base.iter().map(|e| (e.param.name.clone(), e.tensor.detach())).collect();
        lora_core::weights::save(&world.path("model/model.safetensors"), &tensors, Default::default()).unwrap();
        world.rte("train", 40);
        world.rte("dev", 12);
        world
    }

    pub fn rte(&self, split: &str, rows: usize) {
        let sentence = |i: usize| {
            (0..5)
                .map(|k| WORDS[(i * (k + 3) + k) % WORDS.len()])
                .collect::<Vec<_>>()
                .join(" ")
        };
        let label = |i: usize| {
            if i.is_multiple_of(2) {
                "entailment"
            } else {
                "not_entailment"
            }
        };
        let lines = (0..rows).map(|i| format!("{i}\t{}\t{}\t{}\n", sentence(i), sentence(i + 1), label(i)));
        let text = std::iter::once("index\tsentence1\tsentence2\tlabel\n".to_string())
            .chain(lines)
            .collect::<String>();
        self.write(&format!("data/RTE/{split}.tsv"), text);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn glue(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// `glue` in this world, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut all = vec!["--model", "model", "--data", "data", "--out", "out"];
        all.extend(["--device", "cpu", "--threads", "1", "--set", "train.epochs=1"]);
        if !args.contains(&"--tasks") {
            all.extend(["--tasks", "rte"]);
        }
        all.extend(args);
        command(env!("CARGO_BIN_EXE_glue"), &all, self.dir.path())
    }

    pub fn records(&self, folder: &str) -> Vec<PathBuf> {
        let read = std::fs::read_dir(self.path("out").join(folder));
        let mut paths: Vec<PathBuf> = read.map(|r| r.map(|e| e.unwrap().path()).collect()).unwrap_or_default();
        paths.sort();
        paths
    }
}

pub fn run(program: &str, args: &[&str], dir: &Path) -> Output {
    command(program, args, dir).output().unwrap()
}

pub fn command(program: &str, args: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).env("LORA_CACHE", dir.join("cache"));
    // What is shown must not hang on where the tests run.
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CARGO_PKG_NAME"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color");
    command
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a command with stdout and stderr on a terminal of 120 columns, and gives all that it wrote there.
#[cfg(unix)]
pub fn on_a_terminal(mut command: Command) -> String {
    use nix::pty::{Winsize, openpty};
    use std::io::Read;

    let size = Winsize {
        ws_row: 40,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let pty = openpty(Some(&size), None).unwrap();
    let mut child = command
        .stdout(pty.slave.try_clone().unwrap())
        .stderr(pty.slave)
        .spawn()
        .unwrap();
    drop(command); // its copies of the terminal's other end
    let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
    let mut master = std::fs::File::from(pty.master);
    // Once nobody has the other end open, Linux says EIO instead of an end.
    while let Ok(n @ 1..) = master.read(&mut bytes) {
        seen.extend_from_slice(&bytes[..n]);
    }
    child.wait().unwrap();
    String::from_utf8(seen).unwrap()
}

/// One clear line, a non-zero exit, no panic.
pub fn refused(output: &Output, expected: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    for part in expected {
        assert!(text.contains(part), "expected `{part}` in: {text}");
    }
}
