//! `cargo run -p experiments --bin e2e`

fn main() -> std::process::ExitCode {
    experiments::app::main(&experiments::experiment::text::E2E)
}
