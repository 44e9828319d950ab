//! Requests a second through Envoy, native filters and Postern in turns.

use std::time::Duration;

use crate::envoy::{Envoy, ext_authz};
use crate::h2load::{self, Seen};
use crate::native::translate;
use crate::policies::{Asked, Policies};
use crate::postern_process::Postern;
use crate::process::cpu;
use crate::{Effort, median};

/// Of every round of one figure.
#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    p99: Vec<f64>,
    envoy: Vec<f64>,
    postern: Vec<f64>,
}

pub(crate) fn table(rules: &[usize], effort: Effort) {
    println!(
        "through Envoy (1 thread), h2load -t 1 -c 4 -m 8, {} s a figure, medians of {} rounds",
        effort.time.as_secs(),
        effort.rounds
    );
    println!("                  native jwt_authn + rbac          ext_authz to Postern");
    println!(
        "                  req/s     p99  Envoy CPU    req/s     p99  Envoy CPU  Postern CPU   ratio   target"
    );
    for &rules in rules {
        of_rules(rules, effort);
    }
}

fn of_rules(rules: usize, effort: Effort) {
    let policies = Policies::new(rules);
    let native = translate(&policies.set(), &|url| panic!("nothing is fetched, and not {url}"));
    let postern = Postern::start(&policies);
    let listeners = [("none", Vec::new()), ("native", native.http), ("postern", vec![ext_authz()])];
    let envoy = Envoy::start(&listeners, &postern.grpc);
    if rules == 10 {
        let Seen { per_second, .. } =
            h2load::run(envoy.listener("none"), &policies, Asked::Allowed, effort.time);
        println!("without any authorization: {per_second:.0} req/s");
    }
    for asked in Asked::ALL {
        let mut all = [Rounds::default(), Rounds::default()];
        for name in ["native", "postern"] {
            h2load::warm_up(envoy.listener(name), &policies, asked);
        }
        for _ in 0..effort.rounds {
            for (name, rounds) in ["native", "postern"].into_iter().zip(&mut all) {
                let before = (cpu(envoy.id()), cpu(postern.id()));
                let seen = h2load::run(envoy.listener(name), &policies, asked, effort.time);
                let each = |now: Duration, before: Duration| {
                    (now - before).as_secs_f64() * 1e6 / seen.requests as f64
                };
                rounds.envoy.push(each(cpu(envoy.id()), before.0));
                rounds.postern.push(each(cpu(postern.id()), before.1));
                rounds.per_second.push(seen.per_second);
                rounds.p99.push(seen.p99.as_secs_f64() * 1e3);
            }
        }
        let [native, postern] = all.map(|rounds| {
            let Rounds { per_second, p99, envoy, postern } = rounds;
            (median(per_second), median(p99), median(envoy), median(postern))
        });
        let ratio = postern.0 / native.0;
        let target = match (asked, rules) {
            (Asked::Denied, 1_000) => "1.5",
            (Asked::Denied, 10_000) => "25",
            _ => "",
        };
        println!(
            "{rules:>6} {:<8} {:>8.0} {:>5.1} ms {:>7.0} µs {:>8.0} {:>5.1} ms {:>7.0} µs {:>9.1} µs {ratio:>7.2} {target:>8}",
            asked.name(),
            native.0,
            native.1,
            native.2,
            postern.0,
            postern.1,
            postern.2,
            postern.3
        );
    }
}
