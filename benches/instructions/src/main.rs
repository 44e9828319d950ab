//! Instructions of one decision, which no other work on the machine can change.
//!
//!     cargo install gungraun-runner --version 0.20.0
//!     cargo bench --manifest-path benches/instructions/Cargo.toml
//!
//! Needs valgrind. A second run shows the difference to the first.

#![allow(missing_docs, reason = "what gungraun makes has none")]

#[path = "../../scenarios/mod.rs"]
#[expect(dead_code, reason = "other benches use all of it")]
mod scenarios;

use std::hint::black_box;
use std::sync::Arc;

use gungraun::{library_benchmark, library_benchmark_group, main};
use postern::decide::decide;
use postern::model::{Attributes, Identity, Outcome};
use postern::plan::WorkloadPlan;

use scenarios::{Call, Shape};

/// A plan, a request, and what is to come of it.
struct Asked {
    plan: Arc<WorkloadPlan>,
    attributes: Attributes<'static>,
    outcome: Outcome,
}

fn asked(manifest: &str, call: Call, outcome: Outcome) -> Asked {
    let snapshot = scenarios::snapshot(manifest);
    // The process ends with the bench.
    let call: &'static Call = Box::leak(Box::new(call));
    Asked { plan: snapshot.workloads[0].clone(), attributes: call.attributes(), outcome }
}

fn hit(shape: Shape, rules: usize) -> Asked {
    asked(&shape.manifest(rules), shape.hit(rules), Outcome::Allow)
}

fn miss(shape: Shape, rules: usize) -> Asked {
    asked(&shape.manifest(rules), shape.miss(rules), Outcome::Deny)
}

fn denial(shape: Shape, rules: usize) -> Asked {
    let (manifest, call) = shape.denial(rules);
    asked(&manifest, call, Outcome::Deny)
}

#[library_benchmark]
#[benches::sparse(args = [(Shape::Sparse, 10), (Shape::Sparse, 10_000)], setup = hit)]
#[benches::exact(args = [(Shape::ExactPath, 10), (Shape::ExactPath, 10_000)], setup = hit)]
#[benches::dense(args = [(Shape::Dense, 10), (Shape::Dense, 10_000)], setup = hit)]
#[benches::several(args = [(Shape::MultiValued, 10), (Shape::MultiValued, 10_000)], setup = hit)]
#[benches::mix(args = [(Shape::Mix, 10), (Shape::Mix, 10_000)], setup = hit)]
#[benches::sparse_miss(args = [(Shape::Sparse, 10), (Shape::Sparse, 10_000)], setup = miss)]
#[benches::mix_miss(args = [(Shape::Mix, 10), (Shape::Mix, 10_000)], setup = miss)]
#[benches::sparse_denial(args = [(Shape::Sparse, 10), (Shape::Sparse, 10_000)], setup = denial)]
#[benches::mix_denial(args = [(Shape::Mix, 10), (Shape::Mix, 10_000)], setup = denial)]
fn decision(asked: Asked) -> Asked {
    let verdict = decide(&asked.plan, black_box(&asked.attributes), &Identity::default());
    assert_eq!(verdict.outcome(), asked.outcome);
    asked
}

library_benchmark_group!(name = decisions, benchmarks = decision);

main!(library_benchmark_groups = decisions);
