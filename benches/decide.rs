//! The decision alone: what a rule costs, and that nothing is allocated.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a bench may fail"
)]

mod scenarios;

use divan::{AllocProfiler, Bencher, black_box};
use postern::decide::{decide, reference};
use postern::model::Identity;

use scenarios::{Call, Shape};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const RULES: [usize; 4] = [10, 100, 1_000, 10_000];

fn main() {
    scenarios::assert_sound();
    divan::main();
}

fn bench(bencher: Bencher<'_, '_>, shape: Shape, rules: usize, call: &Call) {
    let snapshot = scenarios::snapshot(&shape.manifest(rules));
    let (plan, attributes) = (&snapshot.workloads[0], call.attributes());
    bencher.bench_local(|| {
        decide(black_box(plan), black_box(&attributes), black_box(&Identity::default()))
    });
}

#[divan::bench(args = RULES, sample_size = 100)]
fn sparse_hit(bencher: Bencher<'_, '_>, rules: usize) {
    bench(bencher, Shape::Sparse, rules, &Shape::Sparse.hit(rules));
}

#[divan::bench(args = RULES, sample_size = 100)]
fn sparse_miss(bencher: Bencher<'_, '_>, rules: usize) {
    bench(bencher, Shape::Sparse, rules, &Shape::Sparse.miss(rules));
}

#[divan::bench(args = RULES, sample_size = 100)]
fn exact_path_hit(bencher: Bencher<'_, '_>, rules: usize) {
    bench(bencher, Shape::ExactPath, rules, &Shape::ExactPath.hit(rules));
}

#[divan::bench(args = RULES, sample_size = 100)]
fn dense_hit(bencher: Bencher<'_, '_>, rules: usize) {
    bench(bencher, Shape::Dense, rules, &Shape::Dense.hit(rules));
}

#[divan::bench(args = RULES, sample_size = 100)]
fn multi_valued_hit(bencher: Bencher<'_, '_>, rules: usize) {
    bench(bencher, Shape::MultiValued, rules, &Shape::MultiValued.hit(rules));
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
