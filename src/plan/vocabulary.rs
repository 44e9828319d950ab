//! The words that rules are written in: attributes and patterns, each kept once for a workload.
//!
//! A pattern in a rule is one [`Word`] (or two): what kind it is, and where its text stands here.
//! What a pattern is held against is `decide`'s business.

use ipnet::IpNet;

use super::at;
use crate::matcher::{
    MetadataMatch, NamespaceMatch, PathTemplate, PrincipalMatch, RequestPrincipalMatch,
    ServiceAccountMatch, StringMatch, TrustDomainMatch,
};

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// `principals`, `source.principal`
    Principal,
    /// `namespaces`, `source.namespace`
    Namespace,
    /// `serviceAccounts`, `source.serviceAccount`
    ServiceAccount,
    /// `trustDomains`, `source.trustDomain`
    TrustDomain,
    /// `requestPrincipals`, `request.auth.principal`
    RequestPrincipal,
    /// `ipBlocks`, `source.ip`
    SourceIp,
    /// `remoteIpBlocks`, `remote.ip`
    RemoteIp,
    /// `destination.ip`
    DestinationIp,
    /// `ports`, `destination.port`
    DestinationPort,
    /// `hosts`
    Host,
    /// `methods`
    Method,
    /// `paths`
    Path,
    /// `request.headers[name]`, the name in lower case.
    Header(Box<str>),
    /// `request.auth.claims[..]`, `request.auth.audiences`, `request.auth.presenter`; outermost
    /// first.
    Claim(Box<[Box<str>]>),
    /// `connection.sni`
    Sni,
    /// `experimental.envoy.filters.<f>[key]`
    Metadata {
        /// The filter.
        filter: Box<str>,
        /// The key.
        key: Box<str>,
    },
    /// Nothing that a request has: an entry that Envoy would refuse (admission lets none through).
    /// Its conditions are unknown, whatever the request.
    Unknowable,
}

impl Attribute {
    /// How many words a pattern of it takes.
    pub fn words_per_pattern(&self) -> usize {
        match self {
            Self::ServiceAccount | Self::TrustDomain | Self::RequestPrincipal => 2,
            Self::Principal
            | Self::Namespace
            | Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationIp
            | Self::DestinationPort
            | Self::Host
            | Self::Method
            | Self::Path
            | Self::Header(_)
            | Self::Claim(_)
            | Self::Sni
            | Self::Metadata { .. }
            | Self::Unknowable => 1,
        }
    }

    /// The name of a header, which may be a pseudo header.
    pub fn header_name(&self) -> Option<&str> {
        if let Self::Header(name) = self { Some(name) } else { None }
    }

    fn heap_size(&self) -> usize {
        match self {
            Self::Header(name) => name.len(),
            Self::Claim(path) => {
                size_of_val(&**path) + path.iter().map(|name| name.len()).sum::<usize>()
            }
            Self::Metadata { filter, key } => filter.len() + key.len(),
            Self::Principal
            | Self::Namespace
            | Self::ServiceAccount
            | Self::TrustDomain
            | Self::RequestPrincipal
            | Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationIp
            | Self::DestinationPort
            | Self::Host
            | Self::Method
            | Self::Path
            | Self::Sni
            | Self::Unknowable => 0,
        }
    }
}

/// What the text of a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Form {
    /// Any value; no text.
    Present = 0,
    /// One or more characters; no text.
    OneOrMore = 1,
    /// The whole value.
    Exact = 2,
    /// What values begin with.
    Prefix = 3,
    /// What values end with.
    Suffix = 4,
    /// A number instead of a text: a port, or the place of a template or an address block.
    Number = 5,
}

/// Part of a pattern: its form, and the number of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word(u32);

impl Word {
    const NUMBER_BITS: u32 = 28;
    const LIST: u32 = 1 << 31;
    /// Numbers are below this.
    pub const NUMBERS: u32 = 1 << Self::NUMBER_BITS;

    /// `None` for a number that is too high.
    pub fn new(form: Form, number: u32) -> Option<Self> {
        let form = match form {
            Form::Present => 0,
            Form::OneOrMore => 1,
            Form::Exact => 2,
            Form::Prefix => 3,
            Form::Suffix => 4,
            Form::Number => 5,
        };
        (number < Self::NUMBERS).then_some(Self(form << Self::NUMBER_BITS | number))
    }

    /// The same, of the strings in a list.
    #[must_use]
    pub fn of_list(self) -> Self {
        Self(self.0 | Self::LIST)
    }

    /// As rules keep it.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// What [`Word::bits`] gave.
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    fn form(self) -> Form {
        match self.0 >> Self::NUMBER_BITS & 7 {
            0 => Form::Present,
            1 => Form::OneOrMore,
            2 => Form::Exact,
            3 => Form::Prefix,
            4 => Form::Suffix,
            _ => Form::Number,
        }
    }

    /// The port, or the place of something that is not text.
    pub fn number(self) -> u32 {
        self.0 & (Self::NUMBERS - 1)
    }

    fn is_of_list(self) -> bool {
        self.0 & Self::LIST != 0
    }
}

/// What one pattern matches.
#[derive(Debug, Clone, Copy)]
pub enum Pattern<'v> {
    /// Of a peer's name.
    Principal(PrincipalMatch<'v>),
    /// Of a peer's name.
    Namespace(NamespaceMatch<'v>),
    /// Of a peer's name.
    ServiceAccount(ServiceAccountMatch<'v>),
    /// Of a peer's name.
    TrustDomain(TrustDomainMatch<'v>),
    /// Of a token.
    RequestPrincipal(RequestPrincipalMatch<'v>),
    /// Of an address.
    Block(&'v IpNet),
    /// Of a port.
    Port(u32),
    /// Of a text.
    Text(StringMatch<'v>),
    /// Of a path.
    Template(&'v PathTemplate),
    /// Of a metadata value.
    Metadata(MetadataMatch<'v>),
    /// Of nothing.
    Nothing,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Vocabulary {
    attributes: Box<[Attribute]>,
    /// All texts, one behind the other.
    text: Box<str>,
    /// Where each begins, and where the last ends.
    starts: Box<[u32]>,
    blocks: Box<[IpNet]>,
    templates: Box<[PathTemplate]>,
}

impl Vocabulary {
    /// From its parts; `starts` has one more entry than there are texts.
    pub fn new(
        attributes: Vec<Attribute>,
        text: String,
        starts: Vec<u32>,
        blocks: Vec<IpNet>,
        templates: Vec<PathTemplate>,
    ) -> Self {
        Self {
            attributes: attributes.into(),
            text: text.into(),
            starts: starts.into(),
            blocks: blocks.into(),
            templates: templates.into(),
        }
    }

    /// An attribute by its number.
    pub fn attribute(&self, number: u32) -> &Attribute {
        self.attributes.get(at(number)).unwrap_or(&Attribute::Unknowable)
    }

    /// Every attribute that some rule looks at.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter()
    }

    /// The pattern of one or two words.
    #[inline]
    pub fn pattern(&self, attribute: &Attribute, first: Word, second: Word) -> Pattern<'_> {
        match attribute {
            Attribute::Principal => Pattern::Principal(match self.string(first) {
                StringMatch::Present | StringMatch::OneOrMore => PrincipalMatch::Any,
                StringMatch::Exact(text) => PrincipalMatch::Exact(text),
                StringMatch::Prefix(text) => PrincipalMatch::Prefix(text),
                StringMatch::Suffix(text) => PrincipalMatch::Suffix(text),
            }),
            Attribute::Namespace => {
                Pattern::Namespace(NamespaceMatch::framed(self.text(first.number())))
            }
            Attribute::ServiceAccount => Pattern::ServiceAccount(ServiceAccountMatch::framed(
                self.text(first.number()),
                self.text(second.number()),
            )),
            Attribute::TrustDomain => Pattern::TrustDomain(match self.string(first) {
                StringMatch::Present | StringMatch::OneOrMore => TrustDomainMatch::Any,
                StringMatch::Exact(text) => TrustDomainMatch::Exact(text),
                StringMatch::Prefix(text) | StringMatch::Suffix(text) => {
                    TrustDomainMatch::Glob(text, self.text(second.number()))
                }
            }),
            Attribute::RequestPrincipal => Pattern::RequestPrincipal(RequestPrincipalMatch {
                issuer: self.string(first),
                subject: self.string(second),
            }),
            Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp => {
                self.blocks.get(at(first.number())).map_or(Pattern::Nothing, Pattern::Block)
            }
            Attribute::DestinationPort => Pattern::Port(first.number()),
            Attribute::Host
            | Attribute::Method
            | Attribute::Path
            | Attribute::Header(_)
            | Attribute::Claim(_)
            | Attribute::Sni => self.text_pattern(first),
            Attribute::Metadata { .. } => {
                let string = self.string(first);
                Pattern::Metadata(if first.is_of_list() {
                    MetadataMatch::OneOf(string)
                } else {
                    MetadataMatch::String(string)
                })
            }
            Attribute::Unknowable => Pattern::Nothing,
        }
    }

    /// The pattern of one word of an attribute whose values are texts.
    #[inline]
    pub fn text_pattern(&self, word: Word) -> Pattern<'_> {
        // Only paths have templates.
        if word.form() == Form::Number {
            self.templates.get(at(word.number())).map_or(Pattern::Nothing, Pattern::Template)
        } else {
            Pattern::Text(self.string(word))
        }
    }

    /// The text of that number.
    fn text(&self, number: u32) -> &str {
        let place = at(number);
        let bounds = self.starts.get(place).zip(self.starts.get(place + 1));
        bounds.and_then(|(from, to)| self.text.get(at(*from)..at(*to))).unwrap_or_default()
    }

    #[inline]
    fn string(&self, word: Word) -> StringMatch<'_> {
        match word.form() {
            Form::Present => StringMatch::Present,
            Form::OneOrMore => StringMatch::OneOrMore,
            Form::Exact => StringMatch::Exact(self.text(word.number())),
            Form::Prefix => StringMatch::Prefix(self.text(word.number())),
            Form::Suffix | Form::Number => StringMatch::Suffix(self.text(word.number())),
        }
    }

    /// What it holds on the heap, in bytes.
    pub fn heap_size(&self) -> usize {
        size_of_val(&*self.attributes)
            + self.attributes.iter().map(Attribute::heap_size).sum::<usize>()
            + self.text.len()
            + size_of_val(&*self.starts)
            + size_of_val(&*self.blocks)
            + size_of_val(&*self.templates)
            + self.templates.iter().map(PathTemplate::heap_size).sum::<usize>()
    }
}
