//! What a change of the policies costs: reading the text, compiling the resources, and the memory
//! that deciding takes afterwards.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a bench may fail, and prints"
)]

mod scenarios;

use std::fmt;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use postern::compile::compile;
use postern::manifest;

use scenarios::Shape;

const RULES: [usize; 4] = [10, 100, 1_000, 10_000];

fn main() {
    scenarios::assert_sound();
    divan::main();
    print_sizes();
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

/// Resources to a snapshot.
#[divan::bench(args = sets(), sample_count = 20)]
fn resources_to_plan(bencher: Bencher<'_, '_>, set: Set) {
    let resources = scenarios::resources(&set.shape.manifest(set.rules));
    let settings = scenarios::settings();
    bencher
        .counter(ItemsCount::new(set.rules))
        .bench_local(|| compile(1, black_box(&resources), &[], &settings));
}

/// Text to resources, for scale.
#[divan::bench(args = sets(), sample_count = 20)]
fn text_to_resources(bencher: Bencher<'_, '_>, set: Set) {
    let text = set.shape.manifest(set.rules);
    bencher
        .counter(ItemsCount::new(set.rules))
        .bench_local(|| manifest::decode(black_box(&text), None, &manifest::Options::default()));
}

fn print_sizes() {
    println!("\nbytes a rule, compiled");
    for Set { shape, rules } in sets() {
        let size = scenarios::snapshot(&shape.manifest(rules)).compiled_size();
        println!("{shape:?} {rules}: {}", size.bytes_per_rule().unwrap());
    }
}
