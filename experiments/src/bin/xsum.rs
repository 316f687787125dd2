//! `cargo run -p experiments --bin xsum`

fn main() -> std::process::ExitCode {
    experiments::app::main("xsum")
}
