//! Recorded requests through other policies: what would change.
//!
//! Reads logs one line at a time and forgets each; what is shown of the result is `cli`'s job. A
//! record that lacks something the policies look at is said to lack it, never guessed.

mod check_requests;
mod judge;
mod lines;
mod record;
mod tally;
mod value;

use std::borrow::Cow;

pub use check_requests::{CheckJudge, Checked, Delimited, NotAMessage, message_of_json};
pub use judge::{After, Judge, Lacking, NoWorkload};
pub use lines::{LineTooLong, Lines};
pub use record::{Authentication, Before, Record, Schema, Unreadable};
pub use tally::{Cause, Change, Example, Examples, Group, Outcomes, PolicyName, Said, Tally, Told};

pub use value::Texts;

/// A text, borrowed from its line where it has no escapes.
pub type Text<'a> = Cow<'a, str>;

#[cfg(test)]
mod tests;
