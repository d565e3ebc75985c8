//! `hitlog completions`: what a shell needs to complete hitlog's verbs and options.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, DONE, Error};

const EXAMPLES: &str = "\
Examples:
  hitlog completions bash > ~/.local/share/bash-completion/completions/hitlog
  hitlog completions zsh > ~/.zfunc/_hitlog
  hitlog completions fish > ~/.config/fish/completions/hitlog.fish";

/// Print a script that lets a shell complete hitlog's verbs and options
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The shell to write for
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "hitlog", &mut script);
    io::stdout().write_all(&script).map_err(|source| Error::Stdout { source })?;
    Ok(DONE)
}
