//! Compiles `native/`: autograd nodes against the libtorch that torch-sys found, and plain loops once for each
//! instruction set. Hands on where that libtorch lies: to this crate's own programs as a run path, to the build scripts of
//! crates that depend on this one as `DEP_LORA_NATIVE_LIBTORCH_LIB`.
#![allow(clippy::print_stdout)] // cargo reads what a build script prints.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Files that know of libtorch.
const NODES: &[&str] = &[
    "native.cpp",
    "blocks.cpp",
    "profile.cpp",
    "attention.cpp",
    "disentangled.cpp",
    "linear.cpp",
    "layers.cpp",
    "optim.cpp",
    "packed.cpp",
    "decode.cpp",
];

/// Namespace of the loops, and the compiler's flags.
const X86: &[(&str, &[&str])] = &[
    ("plain", &[]),
    ("avx2", &["-march=x86-64-v3"]),
    ("avx512", &["-march=x86-64-v4", "-mprefer-vector-width=512"]),
];

fn main() -> Result<(), &'static str> {
    println!("cargo:rerun-if-changed=native");
    let target = env::var("TARGET").unwrap_or_default();
    let x86 = target.starts_with("x86_64");
    let sets = if x86 { X86 } else { &X86[..1] };
    for (name, flags) in sets {
        let mut build = compiler(x86);
        build.file("native/kernels.cpp").define("LORA_ISA", *name);
        for flag in ["-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
            .iter()
            .chain(*flags)
        {
            build.flag(flag);
        }
        build.compile(&format!("lora_kernels_{name}"));
    }
    let lib = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    let lib = lib.ok_or("torch-sys did not say where libtorch lies")?;
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:libtorch_lib={}", lib.display());
    let mut build = compiler(x86);
    for folder in include_folders(&lib) {
        // As a system folder: the warnings of its headers are not ours.
        build.flag("-isystem").flag(folder);
    }
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    build.define("_GLIBCXX_USE_CXX11_ABI", abi.as_str());
    if !target.contains("apple") {
        build.flag("-fopenmp"); // torch-sys links libgomp
    }
    build.file("native/dispatch.cpp");
    build.files(NODES.iter().map(|file| Path::new("native").join(file)));
    build.compile("lora_native");
    Ok(())
}

fn compiler(x86: bool) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .debug(false)
        .pic(true)
        .warnings(true);
    // As libtorch is compiled: some of its classes have other members without it.
    build.define("NDEBUG", None);
    build.flag_if_supported("-Wno-unused-parameter");
    if x86 {
        build.define("LORA_X86", None);
    }
    build
}

/// The headers' folders: beside the library's folder, unless `LIBTORCH_INCLUDE` names another, as for torch-sys.
fn include_folders(lib: &Path) -> [PathBuf; 2] {
    let named = env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from);
    let home = named.unwrap_or_else(|| lib.parent().unwrap_or(lib).to_path_buf());
    let include = fs::canonicalize(&home).unwrap_or(home).join("include");
    [include.join("torch/csrc/api/include"), include]
}
