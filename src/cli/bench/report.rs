//! The figures, for people and as JSON.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::load::{Load, Outcome, Until};

use super::stages::Stages;

pub(super) struct Report {
    pub(super) load: Load,
    pub(super) outcome: Outcome,
    /// Of a server of our own.
    pub(super) server: Option<ServerFigures>,
}

#[derive(Debug)]
pub(super) struct ServerFigures {
    pub(super) workers: usize,
    /// Not to be had on every system.
    pub(super) cpu_per_check: Option<Duration>,
    pub(super) stages: Stages,
}

const SHARES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

impl Report {
    /// Whether every request was answered, and there was one.
    pub(super) fn is_complete(&self) -> bool {
        self.outcome.tally.errors().is_empty() && self.outcome.tally.answers() > 0
    }

    fn per_second(&self) -> f64 {
        let seconds = self.outcome.elapsed.as_secs_f64();
        if seconds > 0.0 { self.outcome.tally.answers() as f64 / seconds } else { 0.0 }
    }

    pub(super) fn json(&self) -> Value {
        let Outcome { tally, elapsed } = &self.outcome;
        let latency: Map<_, _> = SHARES
            .iter()
            .map(|(name, share)| ((*name).to_owned(), json!(tally.latency(*share).as_secs_f64())))
            .collect();
        let requests: Vec<_> = self
            .load
            .mix
            .questions()
            .iter()
            .enumerate()
            .map(|(number, question)| {
                let answers: Map<_, _> = tally
                    .answers_to(number)
                    .map(|(answer, count)| (answer.to_string(), json!(count)))
                    .collect();
                json!({"file": question.name, "weight": question.weight, "answers": answers})
            })
            .collect();
        let server = self.server.as_ref().map(|server| {
            let stages: Map<_, _> = server
                .stages
                .named()
                .iter()
                .map(|(name, time)| ((*name).to_owned(), json!(time.as_secs_f64())))
                .collect();
            json!({
                "workers": server.workers,
                "cpuSecondsPerRequest": server.cpu_per_check.map(|cpu| cpu.as_secs_f64()),
                "stageSeconds": stages,
            })
        });
        json!({
            "target": self.load.target.to_string(),
            "connections": self.load.connections,
            "streams": self.load.streams,
            "rate": self.load.rate,
            "seconds": elapsed.as_secs_f64(),
            "answered": tally.answers(),
            "answeredPerSecond": self.per_second(),
            "latencySeconds": latency,
            "requests": requests,
            "errors": tally.errors(),
            "server": server,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { load, outcome, server } = self;
        let tally = &outcome.tally;
        match server {
            Some(server) => {
                let s = if server.workers == 1 { "" } else { "s" };
                writeln!(f, "server     our own, {} worker{s}", server.workers)?;
            }
            None => writeln!(f, "server     {}", load.target)?,
        }
        write!(f, "load       {} connections x {} streams", load.connections, load.streams)?;
        if let Some(rate) = load.rate {
            write!(f, ", {} requests a second", grouped(rate))?;
        }
        match load.until {
            Until::Elapsed(time) => write!(f, ", {} s", time.as_secs_f64())?,
            Until::Calls(calls) => write!(f, ", {} requests", grouped(calls))?,
        }
        writeln!(f, " after {} s of warm-up", load.warm_up.as_secs_f64())?;
        let (answers, seconds) = (grouped(tally.answers()), outcome.elapsed.as_secs_f64());
        let per_second = grouped(self.per_second().round());
        writeln!(f, "answered   {answers} in {seconds:.2} s, {per_second} a second")?;
        if tally.answers() > 0 {
            let latency =
                SHARES.map(|(name, share)| format!("{name} {}", time(tally.latency(share))));
            writeln!(f, "latency    {}", latency.join("   "))?;
        }
        self.answers(f)?;
        if tally.errors().is_empty() {
            write!(f, "errors     none")?;
        } else {
            let all: u64 = tally.errors().values().sum();
            write!(f, "errors     {}", grouped(all))?;
            for (error, count) in tally.errors() {
                write!(f, "\n  {:>9}  {error}", grouped(*count))?;
            }
        }
        server.as_ref().map_or(Ok(()), |server| server.fmt(f))
    }
}

impl Report {
    fn answers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let questions = self.load.mix.questions();
        let width = questions.iter().map(|question| question.name.chars().count()).max();
        let width = width.unwrap_or_default();
        writeln!(f, "answers")?;
        for (number, question) in questions.iter().enumerate() {
            let answers: Vec<_> = self
                .outcome
                .tally
                .answers_to(number)
                .map(|(answer, count)| format!("{answer} {}", grouped(count)))
                .collect();
            let answers = if answers.is_empty() { "none".to_owned() } else { answers.join("   ") };
            let (name, weight) = (&question.name, question.weight);
            writeln!(f, "  {name:width$}  weight {weight}   {answers}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ServerFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_per_check, stages, .. } = self;
        let share = |time: Duration| {
            cpu_per_check.filter(|cpu| !cpu.is_zero()).map_or_else(String::new, |cpu| {
                format!("{:>5.0} %", 100.0 * time.div_duration_f64(cpu))
            })
        };
        match cpu_per_check {
            Some(cpu) => write!(f, "\nthe server's time for a request: {}", time(*cpu))?,
            None => write!(f, "\nthe server's time for a request, without the network")?,
        }
        for (name, taken) in stages.named() {
            write!(f, "\n  {name:<10} {:>9}{}", time(taken), share(taken))?;
        }
        if let Some(cpu) = cpu_per_check {
            let rest = cpu.saturating_sub(stages.sum());
            write!(f, "\n  {:<10} {:>9}{}", "gRPC", time(rest), share(rest))?;
        }
        Ok(())
    }
}

/// In the unit that leaves the fewest digits.
fn time(time: Duration) -> String {
    let nanoseconds = time.as_secs_f64() * 1e9;
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.0} ns"),
        1e3..1e6 => format!("{:.1} µs", nanoseconds / 1e3),
        1e6..1e9 => format!("{:.2} ms", nanoseconds / 1e6),
        _ => format!("{:.2} s", nanoseconds / 1e9),
    }
}

/// A whole number with its thousands apart.
pub(in crate::cli) fn grouped(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0")]
    #[case(999, "999")]
    #[case(1_000, "1,000")]
    #[case(12_345_678, "12,345,678")]
    fn thousands_are_apart(#[case] number: u64, #[case] expected: &str) {
        assert_eq!(grouped(number), expected);
    }

    #[rstest]
    #[case(12, "12 ns")]
    #[case(1_234, "1.2 µs")]
    #[case(1_500_000, "1.50 ms")]
    #[case(2_000_000_000, "2.00 s")]
    fn times_have_their_unit(#[case] nanoseconds: u64, #[case] expected: &str) {
        assert_eq!(time(Duration::from_nanos(nanoseconds)), expected);
    }
}
