//! `cargo run -p experiments --bin ablations`

fn main() -> std::process::ExitCode {
    experiments::app::main("ablations")
}
