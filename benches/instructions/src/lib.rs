//! Nothing: the bench is `src/main.rs`.
