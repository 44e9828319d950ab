//! Compiles `proto/` to a descriptor set for gRPC reflection, without `protoc`.

use std::error::Error;
use std::path::Path;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(
        ["envoy/service/auth/v3/external_auth.proto", "postern/v1/decision.proto"],
        ["proto"],
    )?;
    let out = std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    std::fs::write(Path::new(&out).join("descriptors.bin"), descriptors.encode_to_vec())?;
    Ok(())
}
