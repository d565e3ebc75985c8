//! The `hitlog` command: one verb, one file.

pub mod check;
pub mod dump;
mod wording;
