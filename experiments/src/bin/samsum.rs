//! `cargo run -p experiments --bin samsum`

fn main() -> std::process::ExitCode {
    experiments::app::main("samsum")
}
