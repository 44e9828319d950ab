//! In the place of `otlp` where Postern is built without it: there are no spans.

use super::timeline::Timeline;
use crate::model::Verdict;

/// There is none.
#[derive(Debug, Clone)]
pub enum Spans {}

impl Spans {
    /// Never called.
    pub fn record(&self, _: &Timeline, _: &Verdict, _: u64) {
        match *self {}
    }
}
