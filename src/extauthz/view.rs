//! What is read of a CheckRequest, borrowed from it: from its bytes, or from prost's message.
//!
//! The bytes are what is served; the message is the slow twin, and has the last word on bytes that
//! are wrong or unusual. What the parts mean is `attributes`' job.

mod message;

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderValue, Metadata};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer as PeerMessage, Request as RequestMessage,
};

use super::Malformed;
use super::usual_names::usual_name;
use super::wire::{Aside, Field, each_field};
use crate::model::{Headers, Missing};

/// A CheckRequest.
#[derive(Debug, Default)]
pub(super) struct CheckView<'a> {
    pub(super) attributes: Option<ContextView<'a>>,
    /// What is wrong with it, where that was found out while it was read.
    pub(super) malformed: Option<Malformed>,
}

/// `attributes`
#[derive(Debug, Default)]
pub(super) struct ContextView<'a> {
    pub(super) source: Option<PeerView<'a>>,
    pub(super) destination: Option<PeerView<'a>>,
    pub(super) request: Option<RequestView<'a>>,
    pub(super) extensions: Extensions<'a>,
    pub(super) metadata: Option<&'a Metadata>,
    pub(super) sni: Option<&'a str>,
    /// `x-forwarded-for`, where it is not among the headers.
    pub(super) forwarded_for: Option<&'a str>,
    /// What could not be sent, beside what is seen to be missing.
    pub(super) missing: Missing,
}

/// `context_extensions`: of two with one name the last counts.
#[derive(Debug, Default)]
pub(super) struct Extensions<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Extensions<'a> {
    pub(super) fn set(&mut self, name: &'a str, value: &'a str) {
        self.0.push((name, value));
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }
}

/// `source`, `destination`
#[derive(Debug, Default)]
pub(super) struct PeerView<'a> {
    pub(super) address: AddressView<'a>,
    pub(super) principal: &'a str,
    pub(super) certificate: &'a str,
}

/// `address`
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum AddressView<'a> {
    #[default]
    Absent,
    Socket {
        address: &'a str,
        port: Option<u32>,
    },
    /// A pipe, or inside of Envoy.
    Other,
}

/// `request`
#[derive(Debug, Default)]
pub(super) struct RequestView<'a> {
    /// Seconds since 1970, and nanoseconds, as they came.
    pub(super) time: Option<(i64, i32)>,
    pub(super) http: Option<HttpView<'a>>,
}

/// `http`
#[derive(Debug, Default)]
pub(super) struct HttpView<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) host: &'a str,
    pub(super) scheme: &'a str,
    pub(super) protocol: &'a str,
    headers: HeadersView<'a>,
}

/// The two forms in which headers come.
#[derive(Debug, Default)]
struct HeadersView<'a> {
    /// `header_map`, without pseudo headers, which have fields of their own; names in lower case.
    lines: Vec<(Cow<'a, str>, Cow<'a, [u8]>)>,
    /// Whether there are any lines, pseudo headers included.
    has_lines: bool,
    /// Bytes of all lines.
    size_of_lines: usize,
    /// Whether they may be joined all the same.
    are_joined: bool,
    /// `headers`: lines of one name joined; of two entries with one name the last counts.
    entries: Vec<(&'a str, &'a str)>,
}

impl<'a> CheckView<'a> {
    /// The slow twin.
    pub(super) fn of_message(check: &'a CheckRequest) -> Self {
        let attributes = check.attributes.as_ref().map(|attributes| ContextView {
            source: attributes.source.as_ref().map(PeerView::of_message),
            destination: attributes.destination.as_ref().map(PeerView::of_message),
            request: attributes.request.as_ref().map(RequestView::of_message),
            extensions: Extensions(texts(&attributes.context_extensions).collect()),
            metadata: attributes.metadata_context.as_ref(),
            sni: attributes.tls_session.as_ref().map(|session| session.sni.as_str()),
            forwarded_for: None,
            missing: Missing::default(),
        });
        Self { attributes, malformed: None }
    }

    /// Reads bytes without copying any. What it reads is what prost reads of them.
    pub(super) fn read(message: &'a [u8]) -> Result<Self, Aside> {
        let mut check = Self::default();
        each_field(message, |number, field| match number {
            1 => check.attributes.get_or_insert_default().read(field),
            _ => Ok(()),
        })?;
        Ok(check)
    }
}

// A part that comes several times is one part in pieces, which `read` of each takes in turn.

impl<'a> ContextView<'a> {
    fn read(&mut self, context: Field<'a>) -> Result<(), Aside> {
        each_field(context.bytes()?, |number, field| match number {
            1 => self.source.get_or_insert_default().read(field),
            2 => self.destination.get_or_insert_default().read(field),
            4 => self.request.get_or_insert_default().read(field),
            10 => {
                self.extensions.0.push(entry(field)?);
                Ok(())
            }
            // Envoy sends both, empty unless it is told to send more.
            11 | 13 => {
                if field.bytes()?.is_empty() {
                    Ok(())
                } else {
                    Err(Aside)
                }
            }
            12 => {
                let sni = self.sni.get_or_insert_default();
                each_field(field.bytes()?, |number, field| match number {
                    1 => set(sni, field),
                    _ => Ok(()),
                })
            }
            _ => Ok(()),
        })
    }
}

impl<'a> PeerView<'a> {
    fn of_message(peer: &'a PeerMessage) -> Self {
        let address = match peer.address.as_ref() {
            None | Some(Address { address: None }) => AddressView::Absent,
            Some(Address { address: Some(AddressKind::SocketAddress(socket)) }) => {
                let port = match &socket.port_specifier {
                    Some(PortSpecifier::PortValue(port)) => Some(*port),
                    Some(PortSpecifier::NamedPort(_)) | None => None,
                };
                AddressView::Socket { address: &socket.address, port }
            }
            Some(Address {
                address: Some(AddressKind::Pipe(_) | AddressKind::EnvoyInternalAddress(_)),
            }) => AddressView::Other,
        };
        Self { address, principal: &peer.principal, certificate: &peer.certificate }
    }

    fn read(&mut self, peer: Field<'a>) -> Result<(), Aside> {
        each_field(peer.bytes()?, |number, field| match number {
            1 => self.address.read(field),
            2 => field.text().map(drop),
            3 => entry(field).map(drop),
            4 => set(&mut self.principal, field),
            5 => set(&mut self.certificate, field),
            _ => Ok(()),
        })
    }
}

impl<'a> AddressView<'a> {
    fn read(&mut self, address: Field<'a>) -> Result<(), Aside> {
        each_field(address.bytes()?, |number, field| match number {
            1 => self.read_socket(field),
            2 => {
                *self = Self::Other;
                each_field(field.bytes()?, |number, field| match number {
                    1 => field.text().map(drop),
                    2 => field.varint().map(drop),
                    _ => Ok(()),
                })
            }
            3 => Err(Aside),
            _ => Ok(()),
        })
    }

    fn read_socket(&mut self, socket: Field<'a>) -> Result<(), Aside> {
        // Another kind of address before this one is gone; a piece of a socket's is not.
        let (mut address, mut port) = match *self {
            Self::Absent | Self::Other => ("", None),
            Self::Socket { address, port } => (address, port),
        };
        each_field(socket.bytes()?, |number, field| match number {
            1 | 6 => field.varint().map(drop),
            2 => set(&mut address, field),
            3 => {
                // prost takes the lower half of a larger one.
                port = Some(u32::try_from(field.varint()?).map_err(|_| Aside)?);
                Ok(())
            }
            4 => {
                port = None;
                field.text().map(drop)
            }
            5 | 7 => field.text().map(drop),
            _ => Ok(()),
        })?;
        *self = Self::Socket { address, port };
        Ok(())
    }
}

impl<'a> RequestView<'a> {
    fn of_message(request: &'a RequestMessage) -> Self {
        let time = request.time.as_ref().map(|time| (time.seconds, time.nanos));
        Self { time, http: request.http.as_ref().map(HttpView::of_message) }
    }

    fn read(&mut self, request: Field<'a>) -> Result<(), Aside> {
        each_field(request.bytes()?, |number, field| match number {
            // When: seconds and nanoseconds.
            1 => {
                let time = self.time.get_or_insert_default();
                each_field(field.bytes()?, |number, field| match number {
                    1 => {
                        time.0 = field.varint()?.cast_signed();
                        Ok(())
                    }
                    2 => {
                        // prost takes the lower half of a larger one.
                        let nanos = u32::try_from(field.varint()?).map_err(|_| Aside)?;
                        time.1 = nanos.cast_signed();
                        Ok(())
                    }
                    _ => Ok(()),
                })
            }
            2 => self.http.get_or_insert_default().read(field),
            _ => Ok(()),
        })
    }
}

impl<'a> HttpView<'a> {
    /// From its parts; names of lines are in lower case, and `are_joined` says that repeated lines may
    /// be one.
    pub(super) fn new(
        [method, path, host, scheme]: [&'a str; 4],
        lines: impl Iterator<Item = (&'a str, &'a [u8])>,
        are_joined: bool,
    ) -> Self {
        let mut headers = HeadersView { has_lines: true, are_joined, ..HeadersView::default() };
        for (name, value) in lines {
            let size = size(name, value.len());
            headers.size_of_lines = headers.size_of_lines.saturating_add(size);
            headers.lines.push((Cow::Borrowed(name), Cow::Borrowed(value)));
        }
        Self { method, path, host, scheme, protocol: "", headers }
    }

    fn of_message(http: &'a HttpRequest) -> Self {
        let mut headers =
            HeadersView { entries: texts(&http.headers).collect(), ..HeadersView::default() };
        for HeaderValue { key, value, raw_value } in
            http.header_map.iter().flat_map(|map| &map.headers)
        {
            headers.push_line(lower(key), value, raw_value);
        }
        let HttpRequest { method, path, host, scheme, protocol, .. } = http;
        Self { method, path, host, scheme, protocol, headers }
    }

    fn read(&mut self, http: Field<'a>) -> Result<(), Aside> {
        each_field(http.bytes()?, |number, field| match number {
            2 => set(&mut self.method, field),
            3 => {
                self.headers.entries.push(entry(field)?);
                Ok(())
            }
            4 => set(&mut self.path, field),
            5 => set(&mut self.host, field),
            6 => set(&mut self.scheme, field),
            10 => set(&mut self.protocol, field),
            1 | 7 | 8 | 11 => field.text().map(drop),
            9 => field.varint().map(drop),
            12 => field.bytes().map(drop),
            13 => each_field(field.bytes()?, |number, field| match number {
                1 => self.headers.read_line(field),
                _ => Ok(()),
            }),
            _ => Ok(()),
        })
    }

    /// The headers, and their bytes in both of their forms; the path is one of them.
    pub(super) fn take_headers(&mut self) -> (Headers<'a>, usize) {
        let HeadersView { lines, has_lines, size_of_lines, are_joined, mut entries } =
            mem::take(&mut self.headers);
        keep_last_of_each_name(&mut entries);
        let sizes = entries.iter().map(|(name, value)| size(name, value.len()));
        let size = sizes.fold(self.path.len() + size_of_lines, usize::saturating_add);
        let headers = if has_lines {
            Headers::new(lines, are_joined)
        } else {
            let own = entries.into_iter().filter(|(name, _)| !name.starts_with(':'));
            let lines = own.map(|(name, value)| (lower(name), Cow::Borrowed(value.as_bytes())));
            Headers::new(lines.collect(), true)
        };
        (headers, size)
    }
}

impl<'a> HeadersView<'a> {
    fn read_line(&mut self, line: Field<'a>) -> Result<(), Aside> {
        let (mut name, mut value, mut raw_value) = (Cow::Borrowed(""), "", &[][..]);
        each_field(line.bytes()?, |number, field| match number {
            1 => {
                name = match usual_name(field.bytes()?) {
                    Some(usual) => Cow::Borrowed(usual),
                    None => lower(field.text()?),
                };
                Ok(())
            }
            2 => set(&mut value, field),
            3 => {
                raw_value = field.bytes()?;
                Ok(())
            }
            _ => Ok(()),
        })?;
        self.push_line(name, value, raw_value);
        Ok(())
    }

    fn push_line(&mut self, name: Cow<'a, str>, value: &'a str, raw_value: &'a [u8]) {
        // Envoy sends about twenty; room for a few more costs nothing.
        const USUAL: usize = 28;
        if !self.has_lines {
            self.has_lines = true;
            self.lines.reserve(USUAL);
        }
        let size = size(&name, value.len().max(raw_value.len()));
        self.size_of_lines = self.size_of_lines.saturating_add(size);
        if !name.starts_with(':') {
            let value = if raw_value.is_empty() { value.as_bytes() } else { raw_value };
            self.lines.push((name, Cow::Borrowed(value)));
        }
    }
}

/// Of a header, without looking into it.
fn size(name: &str, value: usize) -> usize {
    // RFC 9113 section 10.5.1: so that empty lines have a size too.
    const LINE_OVERHEAD: usize = 32;
    name.len() + value + LINE_OVERHEAD
}

fn keep_last_of_each_name(entries: &mut Vec<(&str, &str)>) {
    entries.reverse();
    entries.sort_by_key(|(name, _)| *name);
    entries.dedup_by_key(|(name, _)| *name);
}

/// An entry of a map of texts.
fn entry(field: Field<'_>) -> Result<(&str, &str), Aside> {
    let (mut key, mut value) = ("", "");
    each_field(field.bytes()?, |number, field| match number {
        1 => set(&mut key, field),
        2 => set(&mut value, field),
        _ => Ok(()),
    })?;
    Ok((key, value))
}

fn set<'a>(text: &mut &'a str, field: Field<'a>) -> Result<(), Aside> {
    *text = field.text()?;
    Ok(())
}

fn texts(map: &HashMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// In lower case.
pub(super) fn lower(text: &str) -> Cow<'_, str> {
    // All bytes, without leaving off at the first: many at a time.
    if text.bytes().fold(false, |found, b| found | b.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests;
