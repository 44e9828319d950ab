//! Which questions are asked, and in which order.

use bytes::{BufMut as _, Bytes, BytesMut};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message as _;

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    /// What people call it.
    pub name: String,
    /// What is asked.
    pub check: CheckRequest,
    /// How often, beside the others.
    pub weight: u16,
}

/// Questions by weight.
#[derive(Debug, Clone)]
pub struct Mix {
    questions: Vec<Question>,
    /// gRPC messages: prefix and CheckRequest.
    messages: Vec<Bytes>,
    /// One round: indices of questions.
    round: Vec<usize>,
}

impl Mix {
    /// `None` where there is no question, or none with a weight.
    pub fn new(questions: Vec<Question>) -> Option<Self> {
        let round = round(&questions);
        let messages = questions.iter().map(|question| frame(&question.check)).collect();
        (!round.is_empty()).then_some(Self { questions, messages, round })
    }

    /// As they were given.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The question with this number, in endless rounds, and its message.
    pub(super) fn at(&self, number: usize) -> (usize, Bytes) {
        let question = self.round.get(number % self.round.len()).copied().unwrap_or_default();
        (question, self.messages.get(question).cloned().unwrap_or_default())
    }

    /// How many questions a round has.
    pub(super) fn round(&self) -> usize {
        self.round.len()
    }
}

/// Spread evenly: `a` with weight 3 and `b` with 1 are a, a, b, a.
fn round(questions: &[Question]) -> Vec<usize> {
    let common = questions.iter().fold(0, |common, q| divisor(common, i64::from(q.weight)));
    if common == 0 {
        return Vec::new();
    }
    let weights: Vec<i64> = questions.iter().map(|q| i64::from(q.weight) / common).collect();
    let total: i64 = weights.iter().sum();
    let mut credit = vec![0; weights.len()];
    let mut round = Vec::new();
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += weight;
        }
        // The first of the richest.
        let richest = (0..weights.len()).rev().max_by_key(|&at| credit.get(at)).unwrap_or_default();
        if let Some(credit) = credit.get_mut(richest) {
            *credit -= total;
        }
        round.push(richest);
    }
    round
}

fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

fn frame(check: &CheckRequest) -> Bytes {
    let message = check.encode_to_vec();
    let mut frame = BytesMut::with_capacity(5 + message.len());
    // Not compressed.
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[1], &[0])]
    #[case(&[3, 1], &[0, 0, 1, 0])]
    #[case(&[90, 10], &[0, 0, 0, 0, 0, 1, 0, 0, 0, 0])]
    #[case(&[2, 2, 2], &[0, 1, 2])]
    #[case(&[0, 5], &[1])]
    #[case(&[0], &[])]
    #[case(&[], &[])]
    fn a_round_is_spread_evenly(#[case] weights: &[u16], #[case] expected: &[usize]) {
        let question =
            |&weight| Question { name: String::new(), check: CheckRequest::default(), weight };
        let questions = weights.iter().map(question).collect();
        let round = Mix::new(questions).map(|mix| mix.round).unwrap_or_default();
        assert_eq!(round, expected);
    }
}
