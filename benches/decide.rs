//! The decision alone: what a rule costs, that nothing is allocated, and what a scan would cost.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a bench may fail"
)]

#[path = "scenarios/linear_scan.rs"]
mod linear_scan;
mod scenarios;

use std::fmt;

use divan::{AllocProfiler, Bencher, black_box};
use postern::decide::{decide, reference};
use postern::model::{Identity, Outcome};

use linear_scan::LinearScan;
use scenarios::{Call, Shape};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const RULES: [usize; 4] = [10, 100, 1_000, 10_000];

fn main() {
    scenarios::assert_sound();
    divan::main();
}

/// A set of rules.
#[derive(Clone, Copy)]
struct Set {
    shape: Shape,
    rules: usize,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.shape, self.rules)
    }
}

fn sets() -> impl Iterator<Item = Set> {
    Shape::ALL.into_iter().flat_map(|shape| RULES.map(|rules| Set { shape, rules }))
}

/// Decides these calls in turn.
fn bench(bencher: Bencher<'_, '_>, manifest: &str, calls: &[Call], outcome: Outcome) {
    let snapshot = scenarios::snapshot(manifest);
    let plan = &snapshot.workloads[0];
    let calls: Vec<_> = calls.iter().map(Call::attributes).collect();
    let mut turn = calls.iter().cycle();
    bencher.bench_local(|| {
        let attributes = turn.next().unwrap();
        let verdict = decide(black_box(plan), black_box(attributes), &Identity::default());
        assert_eq!(verdict.outcome(), outcome);
        verdict
    });
}

/// What only the last rule allows, again and again.
#[divan::bench(args = sets(), sample_size = 1_000)]
fn hit(bencher: Bencher<'_, '_>, set: Set) {
    bench(bencher, &set.shape.manifest(set.rules), &[set.shape.hit(set.rules)], Outcome::Allow);
}

/// What different rules allow, in turn.
#[divan::bench(args = sets(), sample_size = 1_000)]
fn spread(bencher: Bencher<'_, '_>, set: Set) {
    bench(bencher, &set.shape.manifest(set.rules), &set.shape.spread(set.rules), Outcome::Allow);
}

/// What no rule allows.
#[divan::bench(args = sets(), sample_size = 1_000)]
fn miss(bencher: Bencher<'_, '_>, set: Set) {
    bench(bencher, &set.shape.manifest(set.rules), &[set.shape.miss(set.rules)], Outcome::Deny);
}

/// What the last DENY rule denies.
#[divan::bench(args = sets(), sample_size = 1_000)]
fn deny(bencher: Bencher<'_, '_>, set: Set) {
    let (manifest, call) = set.shape.denial(set.rules);
    bench(bencher, &manifest, &[call], Outcome::Deny);
}

/// The yardstick, on `hit`.
#[divan::bench(args = sets(), sample_size = 1)]
fn scan_hit(bencher: Bencher<'_, '_>, set: Set) {
    scan(bencher, set, &set.shape.hit(set.rules), Outcome::Allow);
}

/// The yardstick, on `miss`.
#[divan::bench(args = sets(), sample_size = 1)]
fn scan_miss(bencher: Bencher<'_, '_>, set: Set) {
    scan(bencher, set, &set.shape.miss(set.rules), Outcome::Deny);
}

fn scan(bencher: Bencher<'_, '_>, set: Set, call: &Call, outcome: Outcome) {
    let resources = scenarios::resources(&set.shape.manifest(set.rules));
    let scan = LinearScan::new(&resources);
    let attributes = call.attributes();
    bencher.bench_local(|| {
        let found = black_box(&scan).decide(black_box(&attributes));
        assert_eq!(found, outcome);
        found
    });
}

/// The slow twin, for scale.
#[divan::bench(args = [10, 100, 1_000], sample_size = 10)]
fn reference_sparse_hit(bencher: Bencher<'_, '_>, rules: usize) {
    let snapshot = scenarios::snapshot(&Shape::Sparse.manifest(rules));
    let call = Shape::Sparse.hit(rules);
    let (plan, attributes) = (&snapshot.workloads[0], call.attributes());
    bencher.bench_local(|| {
        reference::decide(black_box(plan), black_box(&attributes), black_box(&Identity::default()))
    });
}
