//! `cargo run -p experiments --bin webnlg`

fn main() -> std::process::ExitCode {
    experiments::app::main("webnlg")
}
