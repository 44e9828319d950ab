//! Latency while all of 10,000 rules are replaced, again and again, against the same load without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postern::load::{self, Outcome, Until};

use crate::policies::{Asked, Policies};
use crate::postern_process::{Postern, assert_answers, load, revision};
use crate::{Effort, median};

/// From one change to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// Checks a second: less than the machine can take, so that waiting for a core is not what is
/// measured in both.
const RATE: f64 = 2_000.0;

pub(crate) fn table(effort: Effort) {
    let policies = Arc::new(Policies::new(10_000));
    let postern = Postern::start(&policies);
    println!(
        "checks while 10,000 rules are replaced every {} s, {RATE} checks a second, ms",
        PAUSE.as_secs()
    );
    println!("                    p50      p99    p99.9      max   swaps");
    let mut ratios = Vec::new();
    for round in 0..effort.rounds {
        let calm = measure(&postern, &policies, effort);
        print("without", &calm, 0);
        let over = Arc::new(AtomicBool::new(false));
        let before = revision(&postern);
        let changing = thread::spawn({
            let (policies, over) = (policies.clone(), over.clone());
            move || {
                let mut turn = 0;
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    turn += 1;
                    policies.change(round * 1_000 + turn);
                    thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
                }
            }
        });
        let swapping = measure(&postern, &policies, effort);
        over.store(true, Ordering::Relaxed);
        let swaps = revision(&postern) - before;
        changing.join().unwrap();
        print("with swaps", &swapping, swaps);
        assert!(swaps > 0, "nothing was swapped");
        let of = |outcome: &Outcome| outcome.tally.latency(0.99).as_secs_f64();
        ratios.push(of(&swapping) / of(&calm));
        // The last change is not part of the next round.
        thread::sleep(Duration::from_secs(3));
    }
    println!("p99 with swaps against without: {:.2}, target 1.2; no check failed", median(ratios));
}

fn measure(postern: &Postern, policies: &Policies, effort: Effort) -> Outcome {
    let mut load = load(postern.grpc.clone(), policies, Asked::Allowed);
    load.rate = Some(RATE);
    load.warm_up = Duration::from_secs(1);
    load.until = Until::Elapsed(effort.time);
    let outcome = load::run(&load, |_| {}).unwrap();
    assert_answers(&outcome, Asked::Allowed);
    outcome
}

fn print(row: &str, outcome: &Outcome, swaps: u64) {
    let shares = [0.5, 0.99, 0.999, 1.0];
    let ms = shares.map(|share| outcome.tally.latency(share).as_secs_f64() * 1e3);
    println!("{row:<14} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {swaps:>7}", ms[0], ms[1], ms[2], ms[3]);
}
