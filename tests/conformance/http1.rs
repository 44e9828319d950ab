//! HTTP/1.1 in its plainest form: what was sent is seen byte for byte, nothing is refused for
//! being odd. For the client that sends odd requests and the upstream that must take them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A request or response as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) first_line: Vec<u8>,
    /// Header lines in order, names in lower case.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// Whether a response answers a request that has no response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// As the headers say; without a length it is empty.
    Request,
    /// As the headers say; without a length it runs to the end of the connection.
    Response,
    /// None, whatever the headers say.
    Never,
}

/// The next message; `None` when the connection ends before one starts.
pub(crate) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    body: Body,
) -> io::Result<Option<Message>> {
    let mut buffer = Vec::new();
    let head_end = loop {
        if let Some(at) = find(&buffer, b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            if buffer.is_empty() {
                return Ok(None);
            }
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "end within a head"));
        }
    };
    let mut message = parse_head(&buffer[..head_end])?;
    let mut rest = buffer.split_off(head_end + 4);

    let header = |name| message.header(name).map(|v| String::from_utf8_lossy(v).into_owned());
    if body == Body::Never {
        rest.clear();
    } else if header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        message.body = read_chunks(stream, rest).await?;
        return Ok(Some(message));
    } else if let Some(length) = header("content-length") {
        let length: usize = length.parse().map_err(|_| bad("content-length"))?;
        while rest.len() < length {
            if stream.read_buf(&mut rest).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "end within a body"));
            }
        }
        rest.truncate(length);
    } else if body == Body::Response {
        while stream.read_buf(&mut rest).await? != 0 {}
    } else {
        rest.clear();
    }
    message.body = rest;
    Ok(Some(message))
}

impl Message {
    /// The first line of that name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice())
    }
}

fn parse_head(head: &[u8]) -> io::Result<Message> {
    let mut message = Message::default();
    let mut rest = head;
    let mut lines = std::iter::from_fn(|| {
        if rest.is_empty() {
            return None;
        }
        let end = find(rest, b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        Some(line)
    });
    message.first_line = lines.next().ok_or_else(|| bad("first line"))?.to_vec();
    for line in lines {
        let colon = find(line, b":").ok_or_else(|| bad("header line"))?;
        let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
        message.headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
    Ok(message)
}

async fn read_chunks<S: AsyncRead + Unpin>(stream: &mut S, start: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut buffer = start;
    let mut body = Vec::new();
    loop {
        let line_end = loop {
            if let Some(at) = find(&buffer, b"\r\n") {
                break at;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "end within chunks"));
            }
        };
        let size = str::from_utf8(&buffer[..line_end])
            .ok()
            .and_then(|line| usize::from_str_radix(line.split(';').next()?.trim(), 16).ok())
            .ok_or_else(|| bad("chunk size"))?;
        let end = line_end + 2 + size + 2;
        while buffer.len() < end {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "end within a chunk"));
            }
        }
        if size == 0 {
            return Ok(body);
        }
        body.extend(&buffer[line_end + 2..line_end + 2 + size]);
        buffer.drain(..end);
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad {what}"))
}
