//! The project's readers of files from outside, as functions of bytes.
//!
//! A reader may refuse its bytes or take them; a panic, a hang and unbounded memory are faults. `corpus/NAME` holds inputs of the
//! reader NAME, which `cargo test` reads again; `tools/fuzz/run` looks for more of them with cargo-fuzz.

mod files;
mod memory;
mod read;

use read::Read;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A reader, which gets a folder of its own to write files to.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    read: Read,
}

impl Reader {
    /// Reads `bytes`.
    ///
    /// # Panics
    /// If the reader panics, or the temporary folder cannot be written.
    pub fn run(&self, bytes: &[u8]) {
        thread_local! {
            static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
        }
        let folder = FOLDER.with_borrow_mut(|folder| {
            let folder = folder.get_or_insert_with(new_folder);
            folder.path().to_path_buf()
        });
        (self.read)(&folder.join(self.name), bytes);
    }

    /// The folder of its corpus in the sources.
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }
}

/// A folder with one for each reader, in memory where the system has a place for that.
#[allow(clippy::expect_used)] // Without a temporary folder nothing can be tested.
fn new_folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let folder = made.expect("a temporary folder");
    for reader in readers() {
        std::fs::create_dir(folder.path().join(reader.name)).expect("a temporary folder");
    }
    folder
}

/// All readers.
pub fn readers() -> impl Iterator<Item = Reader> {
    let all = files::READERS.iter().chain(memory::READERS);
    all.map(|&(name, read)| Reader { name, read })
}

/// The reader called `name`.
pub fn find(name: &str) -> Option<Reader> {
    readers().find(|reader| reader.name == name)
}
