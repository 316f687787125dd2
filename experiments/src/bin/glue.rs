//! `cargo run -p experiments --bin glue`

fn main() -> std::process::ExitCode {
    experiments::glue::GLUE.program()
}
