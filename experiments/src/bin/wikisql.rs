//! `cargo run -p experiments --bin wikisql`

fn main() -> std::process::ExitCode {
    experiments::app::main("wikisql")
}
