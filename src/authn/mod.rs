//! Who is asking: tokens, the keys that verify them, the peer's certificate.
//!
//! Establishes identities; what they may do is `decide`'s job.

pub mod clock;
pub mod jwks;
pub mod key_set;
