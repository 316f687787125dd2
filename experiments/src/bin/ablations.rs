//! `cargo run -p experiments --bin ablations`

fn main() -> std::process::ExitCode {
    experiments::experiment::ablations::ABLATIONS.program()
}
