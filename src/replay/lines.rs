//! Lines of any length up to a limit, in one buffer that is used again.
//!
//! What is in them is `record`'s job.

use std::io::{self, BufRead};

/// Reads lines one by one.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    read: u64,
}

/// A line that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line is longer than {} MiB", Lines::<()>::MOST >> 20)]
pub struct LineTooLong;

impl<R> Lines<R> {
    /// The longest line, in bytes. A CheckRequest has at most the headers that Envoy takes.
    pub const MOST: usize = 16 << 20;

    /// From the beginning.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, read: 0 }
    }

    /// The number of the line that was read last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes were read.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end, or that it is too long; `None` after the last.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Result<&[u8], LineTooLong>>> {
        self.line.clear();
        let mut is_too_long = false;
        let before = self.read;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = find_newline(available);
            let (piece, used) = match end {
                Some(end) => (available.get(..end).unwrap_or_default(), end + 1),
                None => (available, available.len()),
            };
            is_too_long |= self.line.len() + piece.len() > Self::MOST;
            if !is_too_long {
                self.line.extend_from_slice(piece);
            }
            self.input.consume(used);
            self.read += u64::try_from(used).unwrap_or(u64::MAX);
            if end.is_some() || used == 0 {
                break;
            }
        }
        if self.read == before {
            return Ok(None);
        }
        self.number += 1;
        if is_too_long {
            return Ok(Some(Err(LineTooLong)));
        }
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        Ok(Some(Ok(line)))
    }
}

fn find_newline(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However small the pieces in which they come.
        #[test]
        fn the_same_as_split(text in "[a\n\r]{0,12}", capacity in 1_usize..4) {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, text.as_bytes()));
            let mut found = Vec::new();
            while let Some(line) = lines.next_line().unwrap() {
                found.push(String::from_utf8(line.unwrap().to_vec()).unwrap());
            }
            let mut expected: Vec<_> = text.split('\n').collect();
            // What ends with a newline has no line after it.
            expected.pop_if(|last| last.is_empty());
            let expected: Vec<_> =
                expected.into_iter().map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(lines.number(), u64::try_from(found.len()).unwrap());
            prop_assert_eq!(lines.bytes_read(), u64::try_from(text.len()).unwrap());
        }
    }

    #[test]
    fn what_is_too_long_is_skipped_and_said() {
        let long = vec![b'x'; Lines::<()>::MOST + 1];
        let text = [&long[..], b"\nshort"].concat();
        let mut lines = Lines::new(&text[..]);
        assert_eq!(lines.next_line().unwrap().unwrap(), Err(LineTooLong));
        assert_eq!(lines.next_line().unwrap().unwrap(), Ok(&b"short"[..]));
        assert!(lines.next_line().unwrap().is_none());
        assert!(lines.line.capacity() < Lines::<()>::MOST * 2);
    }
}
