//! What `postern demo` needs beside Postern: an Envoy binary.
//!
//! Nothing here is used when serving.

pub mod envoy_binary;
