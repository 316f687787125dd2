//! Gives libFuzzer's bytes to the reader whose name the program has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

static READER: LazyLock<fuzz::Reader> = LazyLock::new(|| {
    let program = std::env::current_exe().expect("the program has a path");
    let name = program.file_name().and_then(|name| name.to_str()).expect("and a name");
    fuzz::find(name).unwrap_or_else(|| panic!("no reader is called {name}"))
});

fuzz_target!(
    // libFuzzer's hook would end the process on panics that the readers catch and turn into errors.
    init: std::panic::set_hook(Box::new(|info| eprintln!("{info}"))),
    |bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| READER.run(bytes))).is_err() {
            std::process::abort();
        }
    }
);
