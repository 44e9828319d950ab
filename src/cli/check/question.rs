//! What is asked: a request from flags, from a file, or a CheckRequest as it was recorded.

use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;

use crate::extauthz::{CertificateNames, Malformed, RequestSettings, from_check};
use crate::manifest::text::quoted;
use crate::manifest::time::parse_timestamp;
use crate::model::Attributes;
use crate::request_file::{RequestFile, Source, recorded};

use super::custom_answer::CustomAnswerFlags;
use super::{count, paragraph};

/// The request, in words like curl's.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "The request")]
pub(super) struct QuestionFlags {
    /// The method, if it is not GET, and the URL: https://shop.example.com/orders, or only its path
    #[arg(value_name = "[METHOD] URL", num_args = 0..=2, conflicts_with = "request")]
    target: Vec<String>,

    /// A file with the request, as shown above, or with a CheckRequest (JSON as of protobuf, or
    /// binary); `-` reads it from stdin
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,

    /// A header line; several times for several
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", conflicts_with = "request")]
    headers: Vec<String>,

    /// A token: short for -H 'authorization: Bearer TOKEN'
    #[arg(long, conflicts_with = "request")]
    token: Option<String>,

    /// A name in the certificate of the peer, such as spiffe://cluster.local/ns/shop/sa/web; several
    /// times for several
    #[arg(long, value_name = "PRINCIPAL", conflicts_with = "request")]
    from: Vec<String>,

    /// The address of the peer
    #[arg(long, value_name = "IP", conflicts_with = "request")]
    source_ip: Option<IpAddr>,

    /// The port at which Envoy was asked
    #[arg(long, value_name = "PORT", conflicts_with = "request")]
    port: Option<u16>,

    /// The server name of the TLS handshake
    #[arg(long, value_name = "NAME", conflicts_with = "request")]
    sni: Option<String>,

    /// There is no HTTP, only a connection
    #[arg(long, conflicts_with_all = ["request", "target", "headers", "token"])]
    connection: bool,

    #[command(flatten)]
    pub(super) custom: CustomAnswerFlags,

    /// The time of the request, for the times in tokens [default: the present]
    #[arg(long, value_name = "RFC 3339")]
    now: Option<String>,
}

/// A request that is to be decided.
#[derive(Debug)]
pub(super) enum Question {
    /// Said by a person, who knows what a filter would send.
    Request(Box<RequestFile>, CheckRequest),
    /// Said by Envoy.
    Recorded(CheckRequest),
}

impl QuestionFlags {
    /// Reads it, or says everything that is wrong with it.
    pub(super) fn question(&self, settings: &RequestSettings) -> Result<Question> {
        let mut question = match &self.request {
            Some(file) => read(file, settings)?,
            None => Question::of(self.request()?, settings),
        };
        if let (Some(now), Question::Request(request, _)) = (self.now()?, &mut question) {
            request.now = Some(now);
        }
        Ok(question)
    }

    /// The time that is said, in seconds since 1970.
    pub(super) fn now(&self) -> Result<Option<u64>> {
        let Some(text) = &self.now else { return Ok(None) };
        let seconds = parse_timestamp(text).and_then(|seconds| u64::try_from(seconds).ok());
        seconds.map(Some).with_context(|| {
            format!("--now {}: a time is needed, such as 2026-05-01T12:00:00Z", quoted(text))
        })
    }

    fn request(&self) -> Result<RequestFile> {
        let mut request = RequestFile { connection: self.connection, ..RequestFile::default() };
        match self.target.as_slice() {
            [] if self.is_empty() => bail!(
                "there is no request: say METHOD and URL, or --request FILE; \
                 `postern check GET /` is the plainest"
            ),
            [] => {}
            [url] => target(url, &mut request)?,
            [method, url, ..] => {
                target(url, &mut request)?;
                request.method.clone_from(method);
            }
        }
        for line in &self.headers {
            let (name, value) = line
                .split_once(':')
                .with_context(|| format!("-H {}: a header is `name: value`", quoted(line)))?;
            ensure!(!name.trim().is_empty(), "-H {}: a header is `name: value`", quoted(line));
            let name = name.trim().to_ascii_lowercase();
            if name == "host" {
                request.host = value.trim().to_owned();
            } else {
                request.headers.push((name, value.trim().to_owned()));
            }
        }
        if let Some(token) = &self.token {
            request.headers.push(("authorization".into(), format!("Bearer {}", token.trim())));
        }
        ensure!(self.from.iter().all(|name| !name.is_empty()), "--from: a name is never empty");
        request.source = Source::new(self.source_ip, self.from.clone());
        request.destination.port = self.port;
        request.sni = self.sni.clone().unwrap_or_default().to_ascii_lowercase();
        Ok(request)
    }

    fn is_empty(&self) -> bool {
        let Self { headers, token, from, source_ip, port, sni, connection, .. } = self;
        headers.is_empty()
            && token.is_none()
            && from.is_empty()
            && source_ip.is_none()
            && port.is_none()
            && sni.is_none()
            && !connection
    }
}

impl Question {
    fn of(request: RequestFile, settings: &RequestSettings) -> Self {
        let check = request.check_request(settings.client_address);
        Self::Request(Box::new(request), check)
    }

    /// What a decision looks at.
    pub(super) fn attributes(
        &self,
        settings: &RequestSettings,
    ) -> Result<Attributes<'_>, Malformed> {
        match self {
            Self::Request(request, check) => request.attributes(check, settings),
            Self::Recorded(check) => from_check(check, settings, &CertificateNames::default()),
        }
    }

    /// Its time, where it says one.
    pub(super) fn now(&self) -> Option<u64> {
        match self {
            Self::Request(request, _) => request.now,
            Self::Recorded(check) => {
                let request = check.attributes.as_ref()?.request.as_ref()?;
                request.time.as_ref().and_then(|time| u64::try_from(time.seconds).ok())
            }
        }
    }
}

/// Host, scheme and path of a URL; everything from the path on is taken as it is.
fn target(url: &str, request: &mut RequestFile) -> Result<()> {
    let wrong = || {
        format!("{}: a URL begins with https:// or http://, and a path with a slash", quoted(url))
    };
    if url.starts_with('/') {
        url.clone_into(&mut request.path);
        return Ok(());
    }
    let (scheme, rest) = url.split_once("://").with_context(wrong)?;
    let scheme = scheme.to_ascii_lowercase();
    ensure!(scheme == "https" || scheme == "http", wrong());
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).with_context(wrong)?;
    ensure!(!host.is_empty() && !host.contains('@'), wrong());
    request.scheme = scheme;
    host.clone_into(&mut request.host);
    request.path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(())
}

fn read(path: &Path, settings: &RequestSettings) -> Result<Question> {
    let (bytes, name) = content(path)?;
    if let Some(check) = recorded::check_request(&bytes, &name)? {
        return Ok(Question::Recorded(check));
    }
    Ok(Question::of(request_file(bytes, &name)?, settings))
}

/// Reads a request file, or says everything that is wrong with it.
pub(in crate::cli) fn read_request(path: &Path) -> Result<RequestFile> {
    let (bytes, name) = content(path)?;
    request_file(bytes, &name)
}

fn content(path: &Path) -> Result<(Vec<u8>, String)> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read the request from stdin")?;
        return Ok((bytes, "stdin".to_owned()));
    }
    let name = path.display().to_string();
    let bytes = fs::read(path).with_context(|| format!("cannot read the request `{name}`"))?;
    Ok((bytes, name))
}

fn request_file(bytes: Vec<u8>, name: &str) -> Result<RequestFile> {
    let text = String::from_utf8(bytes)
        .with_context(|| format!("cannot read the request `{name}`: it is no text"))?;
    RequestFile::read(&text, Some(name)).map_err(|problems| {
        problems.iter().for_each(paragraph);
        anyhow::anyhow!("{} in the request", count(problems.len(), "problem"))
    })
}
