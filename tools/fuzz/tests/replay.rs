//! Every input of the corpora is read again: no panic, and none takes longer than a second.

use std::time::{Duration, Instant};

#[test]
fn inputs_that_fuzzing_found_are_read_or_refused() {
    for reader in fuzz::readers() {
        let files = std::fs::read_dir(reader.corpus()).unwrap_or_else(|e| panic!("{}: {e}", reader.name));
        let mut inputs = 0;
        for file in files {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let since = Instant::now();
            reader.run(&bytes);
            if since.elapsed() > Duration::from_secs(1) {
                // The machine may have been busy.
                let since = Instant::now();
                reader.run(&bytes);
                assert!(since.elapsed() <= Duration::from_secs(1), "{}", path.display());
            }
            inputs += 1;
        }
        assert!(inputs > 0, "the corpus of {} is empty", reader.name);
    }
}

#[test]
fn each_corpus_has_a_reader() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in std::fs::read_dir(here.join("corpus")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(fuzz::find(&name).is_some(), "corpus/{name}");
    }
}
