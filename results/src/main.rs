//! `cargo run --bin results`

fn main() -> std::process::ExitCode {
    results::program::main()
}
