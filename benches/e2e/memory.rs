//! Resident memory of the process.

use std::time::Duration;

use postern::load::{self, Until};

use crate::policies::{Asked, Policies};
use crate::postern_process::{Postern, assert_answers, load};
use crate::process::resident;

pub(crate) fn table() {
    println!("resident memory, MB                     now   at most   target");
    let few = Policies::new(10);
    let idle = Postern::start(&few);
    ask(&idle, &few, 1, 1, 1);
    print("10 rules, idle", resident(idle.id()), 12.0);
    let many = Policies::new(10_000);
    let full = Postern::start(&many);
    ask(&full, &many, 1, 1, 1);
    // What compiling has left is given back, or not, in some time.
    std::thread::sleep(Duration::from_secs(2));
    print("10,000 rules", resident(full.id()), 20.0);
    ask(&idle, &few, 200, 16, 300_000);
    let (after, most) = resident(idle.id());
    print("200 connections x 16 streams", (after, most), 45.0);
}

/// The target is for what it is now in the first rows, at most in the last.
fn print(row: &str, (now, most): (f64, f64), target: f64) {
    println!("{row:<34} {now:>8.1} {most:>9.1} {target:>8.0}");
}

fn ask(postern: &Postern, policies: &Policies, connections: usize, streams: usize, calls: u64) {
    let mut load = load(postern.grpc.clone(), policies, Asked::Allowed);
    (load.connections, load.streams, load.until) = (connections, streams, Until::Calls(calls));
    let outcome = load::run(&load, |_| {}).unwrap();
    assert_answers(&outcome, Asked::Allowed);
}
