//! `cargo run -p experiments --bin text`

fn main() -> std::process::ExitCode {
    experiments::app::main("text")
}
