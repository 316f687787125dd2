//! Gives the tests a run path to libtorch.
#![allow(clippy::print_stdout)] // cargo reads what a build script prints.

fn main() {
    if let Ok(lib) = std::env::var("DEP_LORA_NATIVE_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
