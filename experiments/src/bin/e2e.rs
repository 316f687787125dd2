//! `cargo run -p experiments --bin e2e`

fn main() -> std::process::ExitCode {
    experiments::app::main("e2e")
}
