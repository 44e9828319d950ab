# Every recipe is one plain cargo line, since a plain machine has no `just`.

# What a change must pass.
check: fmt lint test

fmt:
    cargo fmt --all --check

lint:
    cargo clippy --all-targets -- -D warnings

test:
    cargo test

# The recorded answers of native Envoy, in process and through a real Envoy.
conformance:
    cargo test --test conformance

bench:
    cargo bench

demo:
    cargo run --release -- demo

# Needs cargo-deny.
deny:
    cargo deny check

# Needs cargo-fuzz and a nightly toolchain.
fuzz target:
    cargo +nightly fuzz run {{target}}
