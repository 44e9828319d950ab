//! Why a request that Postern sent has no answer.
//!
//! Messages name hosts and paths, never the credentials or the query of a URL, and nothing of an
//! answer's body.

use std::{io, net::IpAddr, net::SocketAddr, time::Duration};

/// No complete answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Relative, another scheme, or malformed. Not shown: what cannot be parsed cannot be redacted.
    #[error("not an absolute http or https URL")]
    Url,
    /// The name does not resolve.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The name resolves to addresses that keys are never fetched from.
    #[error("`{host}` is at {address}, where nothing is sent to")]
    Blocked {
        /// The name.
        host: String,
        /// The first of its addresses.
        address: IpAddr,
    },
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// No connection to a unix socket.
    #[error("cannot connect to `{path}`")]
    ConnectUnix {
        /// The socket.
        path: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// No TLS session, or a certificate that is not trusted.
    #[error("no TLS session with `{host}`")]
    Tls {
        /// The name that the certificate must have.
        host: String,
        /// What rustls says.
        #[source]
        error: io::Error,
    },
    /// No roots, so no server could be trusted.
    #[error("no trusted root certificates for https")]
    NoRoots,
    /// Not done in time.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    /// The server does not speak HTTP, or hung up.
    #[error("no HTTP answer from `{url}`")]
    Http {
        /// Asked.
        url: String,
        /// What hyper says.
        #[source]
        error: hyper::Error,
    },
    /// The body is larger than any that makes sense.
    #[error("`{url}` answered with more than {limit} bytes")]
    TooLarge {
        /// Asked.
        url: String,
        /// The limit.
        limit: usize,
    },
}
