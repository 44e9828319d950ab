//! Policy sets to published snapshots.

pub mod publish;
