//! From the start of the process to its first answer.

use crate::policies::Policies;
use crate::postern_process::Postern;
use crate::{Effort, median};

pub(crate) fn table(effort: Effort) {
    println!("start to first answer, ms   median   fastest   target");
    for (rules, target, times) in [(10, 15.0, 7), (10_000, 250.0, 3)] {
        let policies = Policies::new(rules);
        let mut figures: Vec<f64> = (0..times * effort.rounds)
            .map(|_| Postern::first_answer(&policies).as_secs_f64() * 1e3)
            .collect();
        figures.sort_by(f64::total_cmp);
        let fastest = figures[0];
        println!("{rules:>6} rules {:>21.1} {fastest:>9.1} {target:>8.0}", median(figures));
    }
}
