//! The `hitlog` command; see `hitlog --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(hitlog::cli::main(std::env::args_os()))
}
