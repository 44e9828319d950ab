//! See `../targets/plan_equals_reference.rs`.

#![no_main]

#[path = "../targets/plan_equals_reference.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
