//! `cargo run -p experiments --bin e2e`

fn main() -> std::process::ExitCode {
    experiments::experiment::text::E2E.program()
}
