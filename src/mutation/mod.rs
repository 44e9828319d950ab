//! Values of headers with Envoy's command operators, such as `%REQ(X-User?X-Guest):20%`.
//!
//! Says what a value means and what it comes to for one request, as Envoy's own formatter does.
//! Setting it is up to others.
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/advanced/substitution_formatter>

mod parse;
mod time;
mod value;

pub use value::Context;

use time::TimeFormat;

/// A compiled value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pieces: Box<[Piece]>,
    /// Whether it is the value of a `cookie` header, in which `;` ends a cookie.
    is_cookies: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Operator {
        operator: Operator,
        /// The most bytes of it.
        length: Option<usize>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operator {
    Request { header: Box<str>, or: Option<Box<str>>, with_query: bool },
    Path { source: PathSource, with_query: bool },
    QueryParameter(Box<str>),
    Protocol,
    StartTime(TimeFormat),
    RemoteAddress(AddressPart),
    DirectRemoteAddress(AddressPart),
    LocalAddress(AddressPart),
    PeerUriSan,
    RequestedServerName,
    DynamicMetadata { filter: Box<str>, path: Box<[Box<str>]> },
    Hostname,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressPart {
    Whole,
    WithoutPort,
    Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathSource {
    Original,
    Path,
    OriginalOrPath,
}

/// Why a value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A `%` that begins no operator.
    #[error("`%` at character {0} begins no command operator; a percent sign is written `%%`")]
    Percent(usize),
    /// There is none of that name.
    #[error("`%{0}%` is not a command operator of Envoy that is known here")]
    Unknown(String),
    /// It is known only later.
    #[error(
        "`%{0}%` is about the upstream or the response, which there is not yet when a request is decided"
    )]
    TooLate(String),
    /// Envoy keeps it for itself.
    #[error("`%{0}%` is not among what Envoy tells when it asks about a request")]
    NotTold(String),
    /// It would show what is nobody's business.
    #[error("`%{0}%` would show the environment of the server")]
    Environment(String),
    /// What stands in parentheses or behind the colon.
    #[error("`%{operator}%`: {problem}")]
    Arguments {
        /// The operator's name.
        operator: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Format {
    /// Compiles a value.
    pub fn parse(text: &str) -> Result<Self, Unsupported> {
        parse::pieces(text).map(|pieces| Self { pieces: pieces.into(), is_cookies: false })
    }

    /// Compiles the value of a `cookie` header. What operators come to is without `;` there: a client
    /// must not add cookies to those that are set.
    pub fn parse_cookies(text: &str) -> Result<Self, Unsupported> {
        Self::parse(text).map(|format| Self { is_cookies: true, ..format })
    }

    /// What it comes to for a request: without line breaks and zero bytes, which no header can hold.
    /// Where that is nothing, the header is not to be set.
    pub fn value(&self, context: &Context<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend(text.bytes()),
                Piece::Operator { operator, length } => {
                    let start = out.len();
                    context.write(operator, &mut out);
                    if let Some(length) = length {
                        out.truncate(start.saturating_add(*length));
                    }
                    if self.is_cookies {
                        let own = out.split_off(start);
                        out.extend(own.into_iter().filter(|byte| *byte != b';'));
                    }
                }
            }
        }
        out.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        (!out.is_empty()).then_some(out)
    }

    /// Whether it is the same for every request.
    pub fn is_constant(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }
}

/// Headers that say how the message is sent, and so are the proxy's own (RFC 9110, section 7.6.1, and RFC
/// 9112, section 6): set here, what follows could be read as another request.
const OF_CONNECTION: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// Why a header of this name, in lower case, cannot be set; `None` where it can.
pub fn unsettable(name: &str) -> Option<&'static str> {
    if name.starts_with(':') || name == "host" {
        Some("may not be set")
    } else if OF_CONNECTION.contains(&name) {
        Some("may not be set: it says how the message is sent")
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
