//! `cargo run -p experiments --bin dart`

fn main() -> std::process::ExitCode {
    experiments::app::main("dart")
}
