//! Stand-in until the reader lands.

use super::{DONE, Error};

const EXAMPLES: &str = "\
Examples:
  hitlog check x
  hitlog check y";

/// Stand-in
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments) -> Result<u8, Error> {
    Ok(DONE)
}
