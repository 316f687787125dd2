//! `cargo run -p experiments --bin glue`

fn main() -> std::process::ExitCode {
    experiments::task::glue::GLUE.program()
}
