//! The `hitlog` command.
fn main() {}
