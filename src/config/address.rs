//! Where to listen.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// A TCP address or the path of a unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:9191`, `[::1]:9191`; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// `unix:/run/postern.sock`
    Unix(PathBuf),
}

impl Default for Address {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], 9191)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is no address. Says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// An address alone.
    #[error("`{0}` needs a port, such as `{1}`")]
    NoPort(String, String),
    /// A port alone.
    #[error("`{0}` needs an address, such as `127.0.0.1:{1}`")]
    NoAddress(String, u16),
    /// A name.
    #[error(
        "`{0}` is not an IP address and a port, such as `127.0.0.1:9191`; names are not looked up"
    )]
    Name(String),
    /// `unix:` and nothing.
    #[error("`unix:` needs a path, such as `unix:/run/postern.sock`")]
    NoPath,
    /// An abstract socket.
    #[error("`{0}` is an abstract socket, which has no permissions; give it a path")]
    Abstract(String),
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            None => socket_address(text).map(Self::Tcp),
            Some("") => Err(InvalidAddress::NoPath),
            Some(path) if path.starts_with('@') => Err(InvalidAddress::Abstract(text.into())),
            Some(path) => Ok(Self::Unix(path.into())),
        }
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, InvalidAddress> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
        let example = SocketAddr::new(ip, 9191).to_string();
        return Err(InvalidAddress::NoPort(text.into(), example));
    }
    if let Ok(port) = text.trim_start_matches(':').parse() {
        return Err(InvalidAddress::NoAddress(text.into(), port));
    }
    if text == "localhost" {
        return Err(InvalidAddress::NoPort(text.into(), "127.0.0.1:9191".into()));
    }
    Err(InvalidAddress::Name(text.into()))
}
