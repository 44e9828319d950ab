//! Native filters and Postern against each other, over sets that chance has made.
//!
//! A run is its seed: set `n` of a seed is always the same, whatever is run beside it.

mod compare;
mod minimize;
mod patterns;
mod policies;
pub(crate) mod random;
mod replay;
mod requests;
mod scenario;
mod tokens;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::cases::Set;

use self::{
    compare::Comparison,
    random::Chance,
    replay::{Answered, Bench},
    scenario::Scenario,
};

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The number of the first set.
    pub(crate) first: u64,
    /// How many sets.
    pub(crate) count: u64,
    pub(crate) requests_per_set: usize,
    /// Sets that share one Envoy.
    pub(crate) batch: u64,
    /// How many differences are made smaller before they are shown.
    pub(crate) minimized: usize,
    /// Ends when a batch of this run or of another one of this program has shown a difference.
    pub(crate) stops_early: bool,
}

impl Plan {
    pub(crate) fn new(seed: u64, count: u64) -> Self {
        Self {
            seed,
            first: 0,
            count,
            requests_per_set: 10,
            batch: 50,
            minimized: 5,
            stops_early: false,
        }
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) agree: usize,
    pub(crate) all: usize,
    /// Each told in full.
    pub(crate) differences: Vec<String>,
    /// Sets that could not be asked, and why.
    pub(crate) not_run: Vec<String>,
    /// How often each kind of answer came.
    pub(crate) distribution: BTreeMap<String, usize>,
    pub(crate) took: Duration,
}

/// Whether any run has found a difference.
static FOUND: AtomicBool = AtomicBool::new(false);

/// Runs it all. `told` gets each difference when it is found.
pub(crate) async fn run(plan: &Plan, told: &mut dyn FnMut(&str)) -> Outcome {
    let started = Instant::now();
    let bench = Bench::new().await;
    let mut outcome = Outcome::default();
    let mut next = plan.first;
    let end = plan.first + plan.count;
    while next < end && !(plan.stops_early && FOUND.load(Ordering::Relaxed)) {
        let numbers: Vec<u64> = (next..end.min(next + plan.batch)).collect();
        next += plan.batch;
        let sets: Vec<Set> =
            numbers.iter().map(|&n| generate(plan.seed, n, plan.requests_per_set)).collect();
        for (set, answered) in sets.iter().zip(bench.ask(&sets).await) {
            match answered {
                Err(reason) => outcome.not_run.push(format!("{}: {reason}", set.name)),
                Ok(answers) => add(plan, &bench, &mut outcome, set, &answers, told).await,
            }
        }
        FOUND.fetch_or(outcome.has_found(), Ordering::Relaxed);
    }
    outcome.took = started.elapsed();
    outcome
}

async fn add(
    plan: &Plan,
    bench: &Bench,
    outcome: &mut Outcome,
    set: &Set,
    answers: &[Answered],
    told: &mut dyn FnMut(&str),
) {
    for (index, answered) in answers.iter().enumerate() {
        let comparison = compare::compare(&set.requests[index], answered);
        for kind in [&comparison.kind].into_iter().chain(&comparison.also) {
            *outcome.distribution.entry(kind.clone()).or_default() += 1;
        }
        if comparison.is_beyond_comparison {
            continue;
        }
        outcome.all += 1;
        if comparison.differences.is_empty() {
            outcome.agree += 1;
            continue;
        }
        let smallest = if outcome.differences.len() < plan.minimized {
            minimize::minimize(bench, set, index, &comparison).await
        } else {
            (only(set, index), comparison.clone())
        };
        let text = describe(set, index, &comparison, &smallest);
        told(&text);
        outcome.differences.push(text);
    }
}

/// Set `number` of a seed.
pub(crate) fn generate(seed: u64, number: u64, requests: usize) -> Set {
    let chance = &mut Chance::new(seed, number);
    let mut scenario = Scenario::new(chance);
    let policies = policies::resources(chance, &mut scenario);
    let mut tokens = BTreeMap::new();
    let requests = (0..requests)
        .map(|_| requests::request(chance, &scenario, &policies, &mut tokens))
        .collect();
    Set {
        name: format!("seed {seed} set {number}"),
        skip: None,
        workload: scenario.workload,
        policies,
        tokens,
        requests,
    }
}

/// The set with one request.
fn only(set: &Set, index: usize) -> Set {
    Set { requests: vec![set.requests[index].clone()], ..set.clone() }
}

fn describe(
    set: &Set,
    index: usize,
    found: &Comparison,
    (smallest, comparison): &(Set, Comparison),
) -> String {
    let mut out = format!("DIFFERENCE {} request {index}\n", set.name);
    for difference in &found.differences {
        writeln!(out, "  {difference}").unwrap();
    }
    writeln!(out, "the smallest that differs:").unwrap();
    for difference in &comparison.differences {
        writeln!(out, "  {difference}").unwrap();
    }
    writeln!(out, "{}", minimize::as_text(smallest)).unwrap();
    out
}

impl Outcome {
    /// For people; the last line is `agree A/B`.
    pub(crate) fn summary(&self) -> String {
        let mut out = String::new();
        for (kind, number) in &self.distribution {
            writeln!(out, "{number:7} {kind}").unwrap();
        }
        for line in &self.not_run {
            writeln!(out, "NOT RUN {line}").unwrap();
        }
        writeln!(out, "{:.1} s", self.took.as_secs_f64()).unwrap();
        write!(out, "agree {}/{}", self.agree, self.all).unwrap();
        out
    }

    fn has_found(&self) -> bool {
        self.agree < self.all || !self.not_run.is_empty()
    }

    /// Whether everything was asked and agreed.
    pub(crate) fn passed(&self) -> bool {
        self.all > 0 && !self.has_found()
    }
}
