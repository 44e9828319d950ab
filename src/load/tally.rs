//! What is counted of calls.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Answer;

/// Three digits of a time.
const DIGITS: u8 = 3;
/// More kinds of errors than this are not told apart.
const MOST_KINDS: usize = 20;

/// Calls that were counted.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Nanoseconds from question to answer, of those that were answered.
    latency: Histogram<u64>,
    /// By question.
    answers: Vec<BTreeMap<Answer, u64>>,
    /// Calls that had no answer.
    errors: Errors,
}

/// How often which error happened.
pub type Errors = BTreeMap<String, u64>;

impl Tally {
    pub(super) fn new(questions: usize) -> Self {
        let most = Duration::from_secs(60).as_nanos().try_into().unwrap_or(u64::MAX);
        let latency = Histogram::new_with_bounds(1, most, DIGITS)
            .or_else(|_| Histogram::new(DIGITS))
            .unwrap_or_else(|_| unreachable!("the bounds are constants"));
        Self { latency, answers: vec![BTreeMap::new(); questions], errors: Errors::new() }
    }

    pub(super) fn answered(&mut self, question: usize, answer: Answer, latency: Duration) {
        self.latency.saturating_record(latency.as_nanos().try_into().unwrap_or(u64::MAX));
        if let Some(answers) = self.answers.get_mut(question) {
            *answers.entry(answer).or_default() += 1;
        }
    }

    pub(super) fn failed(&mut self, error: String) {
        self.failed_times(error, 1);
    }

    pub(super) fn failed_times(&mut self, error: String, times: u64) {
        let known = self.errors.len() < MOST_KINDS || self.errors.contains_key(&error);
        let error = if known { error } else { "other errors".to_owned() };
        *self.errors.entry(error).or_default() += times;
    }

    pub(super) fn add(&mut self, other: &Self) {
        let added = self.latency.add(&other.latency);
        debug_assert!(added.is_ok(), "both have the same bounds");
        for (answers, others) in self.answers.iter_mut().zip(&other.answers) {
            for (answer, count) in others {
                *answers.entry(*answer).or_default() += count;
            }
        }
        for (error, count) in &other.errors {
            self.failed_times(error.clone(), *count);
        }
    }

    /// How many calls were answered.
    pub fn answers(&self) -> u64 {
        self.latency.len()
    }

    /// How often a question had which answer.
    pub fn answers_to(&self, question: usize) -> impl Iterator<Item = (Answer, u64)> + '_ {
        self.answers.get(question).into_iter().flatten().map(|(answer, count)| (*answer, *count))
    }

    /// Calls without an answer, by why.
    pub fn errors(&self) -> &Errors {
        &self.errors
    }

    /// What this share of answers did not take longer than; 1 is all of them.
    pub fn latency(&self, share: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(share))
    }
}
