//! One decision by Postern, by a scan of compiled rules, and by Cedar, in one run.
//!
//! `cargo run --release --manifest-path benches/yardsticks/Cargo.toml -- --bench`

#[path = "../../scenarios/linear_scan.rs"]
mod linear_scan;
#[path = "../../scenarios/mod.rs"]
mod scenarios;

use std::fmt;
use std::fmt::Write as _;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityTypeName, EntityUid, PolicySet, Request,
    RestrictedExpression,
};
use divan::{Bencher, black_box};
use postern::decide::decide;
use postern::model::{Identity, Outcome};

use linear_scan::LinearScan;
use scenarios::{Call, Shape};

fn main() {
    scenarios::assert_sound();
    divan::main();
}

/// A set of rules and what it is asked.
#[derive(Clone, Copy)]
struct Case {
    shape: Shape,
    rules: usize,
    hit: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, rules, hit } = self;
        write!(f, "{shape:?} {} {rules}", if *hit { "hit" } else { "miss" })
    }
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        [Shape::Sparse, Shape::Dense].into_iter().flat_map(|shape| {
            [true, false].into_iter().flat_map(move |hit| {
                [10, 100, 1_000, 10_000].map(|rules| Self { shape, rules, hit })
            })
        })
    }

    fn call(self) -> Call {
        if self.hit { self.shape.hit(self.rules) } else { self.shape.miss(self.rules) }
    }

    fn outcome(self) -> Outcome {
        if self.hit { Outcome::Allow } else { Outcome::Deny }
    }
}

#[divan::bench(args = Case::all(), sample_size = 1_000)]
fn postern_decides(bencher: Bencher<'_, '_>, case: Case) {
    let snapshot = scenarios::snapshot(&case.shape.manifest(case.rules));
    let call = case.call();
    let (plan, attributes) = (&snapshot.workloads[0], call.attributes());
    bencher.bench_local(|| {
        let verdict = decide(black_box(plan), black_box(&attributes), &Identity::default());
        assert_eq!(verdict.outcome(), case.outcome());
    });
}

#[divan::bench(args = Case::all(), sample_size = 10)]
fn scan_decides(bencher: Bencher<'_, '_>, case: Case) {
    let scan = LinearScan::new(&scenarios::resources(&case.shape.manifest(case.rules)));
    let call = case.call();
    let attributes = call.attributes();
    bencher.bench_local(|| {
        assert_eq!(black_box(&scan).decide(black_box(&attributes)), case.outcome());
    });
}

#[divan::bench(args = Case::all(), sample_size = 1, sample_count = 30)]
fn cedar_decides(bencher: Bencher<'_, '_>, case: Case) {
    let policies: PolicySet = cedar_policies(case).parse().unwrap();
    let (authorizer, entities) = (Authorizer::new(), Entities::empty());
    let call = case.call();
    bencher.bench_local(|| {
        // As a server would: the request is made for each decision.
        let request = cedar_request(&call);
        let answer =
            authorizer.is_authorized(black_box(&request), black_box(&policies), &entities);
        assert_eq!(answer.decision() == Decision::Allow, case.hit);
    });
}

/// What the rules of a shape say: the method as the action, path and header in the context.
fn cedar_policies(case: Case) -> String {
    let mut text = String::new();
    for i in 0..case.rules {
        let Call { principal, path, tenant, .. } = case.shape.call(i);
        let path = path.replace("list", "*");
        writeln!(
            text,
            "permit(principal == Peer::\"{principal}\", action == Action::\"GET\", resource) \
             when {{ context.path like \"{path}\" && context.tenant == \"{tenant}\" }};"
        )
        .unwrap();
    }
    text
}

fn cedar_request(call: &Call) -> Request {
    let entity = |kind: &str, id: &str| {
        let kind: EntityTypeName = kind.parse().unwrap();
        EntityUid::from_type_name_and_id(kind, cedar_policy::EntityId::new(id))
    };
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let context = [("path", text(&call.path)), ("tenant", text(&call.tenant))];
    let context = Context::from_pairs(context.map(|(name, v)| (name.to_owned(), v))).unwrap();
    let peer = entity("Peer", &call.principal);
    let (action, resource) = (entity("Action", "GET"), entity("Service", "shop"));
    Request::new(peer, action, resource, context, None).unwrap()
}
