//! Policy sets to published snapshots: the only writer of what requests are decided by.
//!
//! Reading files is `source`'s job, their meaning `manifest`'s and `compile`'s.

pub mod acceptance;
mod controller;
mod decoding;
mod inventory;
mod overlaps;
pub mod publish;
mod status;

pub use controller::{Controller, NotStarted, Parts, SyncKeys};
pub use decoding::{Decode, Decoded, Document};
pub use status::{ControlStatus, Problem, Rejection, Subject};
