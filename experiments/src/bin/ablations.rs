//! `cargo run -p experiments --bin ablations`

fn main() -> std::process::ExitCode {
    experiments::ablations::ABLATIONS.program()
}
