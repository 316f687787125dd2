//! `cargo run -p experiments --bin dart`

fn main() -> std::process::ExitCode {
    experiments::experiment::text::DART.program()
}
