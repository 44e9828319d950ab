//! The port for proxies that ask over HTTP, as configured.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderName;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::key_sources::cidrs;
use super::values::{self, text};
use super::{Address, Reader};
use crate::extauthz::Flavour;
use crate::normalize::PathNormalization;

/// Everything about asking over HTTP that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where it listens.
    pub listen: Address,
    /// Who asks.
    pub flavour: Flavour,
    /// What Envoy puts before the original path; empty for nothing.
    pub path_prefix: Arc<str>,
    /// The header in which the proxy says what else it knows.
    pub proxy_header: Option<HeaderName>,
    /// Whose requests are believed.
    pub trusted_proxies: Arc<[IpNet]>,
}

/// Settings that mean nothing without `httpListen`.
const OTHERS: [&str; 4] =
    ["httpFlavour", "httpPathPrefix", "httpProxyHeader", "httpTrustedProxies"];

impl HttpConfig {
    /// Where it listens unless told otherwise.
    const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9192);

    pub(super) fn read(
        read: &mut Reader<'_>,
        normalization: PathNormalization,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        let listen = read.setting("httpListen", Some(Address::Tcp(Self::DEFAULT)), listen);
        let found =
            |name: &'static str| read.layers.find(name).map(|(origin, _)| origin.subject(name));
        let Some(listen) = listen else {
            let others: Vec<_> = OTHERS.into_iter().filter_map(found).collect();
            for subject in others {
                read.problems.add(subject, "is for --http-listen, which is `off`");
            }
            return None;
        };
        let flavour = read.setting("httpFlavour", Flavour::default(), flavour);
        let path_prefix = read.setting("httpPathPrefix", "".into(), path_prefix);
        if flavour.path().is_some() && !path_prefix.is_empty() {
            let problem =
                "only Envoy puts something before the path: --http-flavour is not `envoy`";
            read.problems.add("--http-path-prefix", problem);
        }
        let loopback: [IpNet; 2] = [
            IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
            IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
        ];
        let config = Self {
            flavour,
            path_prefix,
            proxy_header: read.setting("httpProxyHeader", None, proxy_header),
            trusted_proxies: read.setting("httpTrustedProxies", loopback.to_vec(), cidrs).into(),
            listen,
        };
        config.warn(normalization, &loopback, warnings);
        Some(config)
    }

    fn warn(
        &self,
        normalization: PathNormalization,
        loopback: &[IpNet],
        warnings: &mut Vec<String>,
    ) {
        if let Address::Tcp(address) = self.listen
            && !address.ip().is_loopback()
        {
            if *self.trusted_proxies == *loopback {
                warnings.push(format!(
                    "HTTP on {address} answers nobody but this machine: name the proxies with \
                     --http-trusted-proxies"
                ));
            } else {
                warnings.push(format!(
                    "HTTP on {address} believes what --http-trusted-proxies say about requests, by \
                     their addresses alone: let nobody else use these"
                ));
            }
        }
        if self.flavour != Flavour::Envoy && normalization == PathNormalization::None {
            warnings.push(format!(
                "{} sends paths as clients write them: `/a/../b` is not `/b` to policies unless \
                 --path-normalization says so",
                self.flavour
            ));
        }
    }

    /// Adds the settings as they are in effect.
    pub(super) fn show(&self, settings: &mut Map<String, Value>) {
        let trusted: Vec<_> = self.trusted_proxies.iter().map(IpNet::to_string).collect();
        let shown = [
            ("httpListen", json!(self.listen.to_string())),
            ("httpFlavour", json!(self.flavour.as_str())),
            ("httpPathPrefix", json!(*self.path_prefix)),
            ("httpProxyHeader", json!(self.proxy_header.as_ref().map(HeaderName::as_str))),
            ("httpTrustedProxies", json!(trusted)),
        ];
        settings.extend(shown.map(|(name, value)| (name.to_owned(), value)));
    }
}

/// `None` is nowhere.
fn listen(value: &Value) -> Result<Option<Address>, String> {
    // YAML 1.1 reads `off` as false.
    if *value == Value::Bool(false) || value.as_str() == Some("off") {
        return Ok(None);
    }
    values::address(value).map(Some)
}

fn flavour(value: &Value) -> Result<Flavour, String> {
    let text = text(value)?;
    let found = Flavour::ALL.into_iter().find(|flavour| flavour.as_str() == text);
    found.ok_or_else(|| format!("`{text}` is not `envoy`, `nginx` or `traefik`"))
}

fn path_prefix(value: &Value) -> Result<Arc<str>, String> {
    let text = text(value)?;
    let is_path = text.starts_with('/')
        && !text.ends_with('/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b));
    if !is_path {
        return Err(format!("`{text}` is not the beginning of a path, such as `/postern/envoy`"));
    }
    Ok(text.into())
}

/// One that nobody else uses.
fn proxy_header(value: &Value) -> Result<Option<HeaderName>, String> {
    let name = values::address_header(value)?;
    name.map(|name| name.parse().map_err(|_| format!("`{name}` is not a header name"))).transpose()
}
