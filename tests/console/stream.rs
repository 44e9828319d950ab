//! Decisions as they are made.
