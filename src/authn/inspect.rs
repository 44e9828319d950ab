//! A token as people look at it: what it says, believed or not.
//!
//! Reads as `token` does, but shows what it can of a bad one too. Verifies nothing.

use super::token::{Token, decode, sections};
use crate::model::JwtError;

/// What stands in a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The first section, if it is base64url.
    pub header: Option<Vec<u8>>,
    /// The second one, likewise.
    pub payload: Option<Vec<u8>>,
    /// The third one, likewise.
    pub signature: Option<Vec<u8>>,
    /// Why the form alone is a reason to refuse it, whatever the policies.
    pub error: Option<JwtError>,
}

/// Takes a token apart. Of one over `max_token_size` bytes nothing is read.
pub fn inspect(token: &str, max_token_size: usize) -> Inspection {
    let readable = token.len() <= max_token_size;
    let mut sections = sections(token).filter(|_| readable);
    let mut next = || sections.next().and_then(decode);
    Inspection {
        header: next(),
        payload: next(),
        signature: next(),
        error: Token::parse(token, max_token_size).err(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_tokens_are_shown() {
        let good = inspect("eyJhbGciOiJIUzI1NiJ9.e30.AA", 100);
        assert_eq!(good.header.as_deref(), Some(&br#"{"alg":"HS256"}"#[..]));
        assert_eq!(good.payload.as_deref(), Some(&b"{}"[..]));
        assert_eq!((good.signature, good.error), (Some(vec![0]), None));

        let bad = inspect("eyJhbGciOiJub25lIn0.e30.", 100);
        assert_eq!(bad.header.as_deref(), Some(&br#"{"alg":"none"}"#[..]));
        assert_eq!((bad.signature, bad.error), (None, Some(JwtError::BadFormat)));

        let large = inspect("eyJhbGciOiJIUzI1NiJ9.e30.AA", 10);
        assert_eq!((large.header, large.error), (None, Some(JwtError::TooLarge)));
    }
}
