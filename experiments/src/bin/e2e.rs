//! `cargo run -p experiments --bin e2e`

fn main() -> std::process::ExitCode {
    experiments::text::E2E.program()
}
