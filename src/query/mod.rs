//! Questions to a compacted file. Everything here reads the SQLite file only, and knows nothing of logs.
//!
//! * [`affected`]: which tests must run for the present state of the tree.

pub mod affected;
