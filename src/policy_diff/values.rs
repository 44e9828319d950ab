//! What of a request can be set, and to which values.
//!
//! Values that all tests take alike are one: the first, which is the simplest.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use super::question::{Place, Question, Token, json};
use super::side::{Side, TokenStatus};
use crate::authn::Signer;
use crate::extauthz::RequestSettings;
use crate::model::Value;
use crate::plan::ClaimHeader;
use crate::witness::{Input, Probe, Test, boundary};

/// Of how many values two are put together, where a request can have several.
pub(super) const MOST_PAIRED: usize = 40;

/// How many values of one thing are looked at.
pub(super) const MOST_VALUES: usize = 10_000;

/// What tells values apart: tests, what becomes of the token, and what else there is.
type Class = (Vec<bool>, Option<[TokenStatus; 2]>, u64);

/// What of a request is set as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    Peer,
    /// Issuer, subject, audiences, signature and place.
    Token,
    /// Another claim, with all that is in it.
    Claim(String),
    Method,
    Host,
    Path,
    Scheme,
    Header(String),
    SourceIp,
    Client,
    DestinationIp,
    DestinationPort,
    Sni,
    Metadata(String, String),
}

impl Part {
    /// What has to be set for an input to change.
    pub(super) fn of(input: &Input, settings: &RequestSettings, outputs: &Outputs) -> Self {
        let of_claim = |path: &[String]| match path.first().map(String::as_str) {
            Some("iss" | "sub" | "aud") | None => Self::Token,
            Some(name) => Self::Claim(name.to_owned()),
        };
        match input {
            Input::Peer => Self::Peer,
            Input::RequestPrincipal => Self::Token,
            Input::Claim(path) => of_claim(path),
            // What a client sends there is taken out.
            Input::Header(name) if outputs.contains_key(name) => {
                of_claim(outputs.get(name).map(Vec::as_slice).unwrap_or_default())
            }
            Input::Method => Self::Method,
            Input::Host => Self::Host,
            Input::Path => Self::Path,
            Input::Scheme => Self::Scheme,
            Input::Header(name) => Self::Header(name.clone()),
            Input::SourceIp => Self::SourceIp,
            Input::RemoteIp => {
                let address = settings.client_address;
                let is_peer = address.use_remote_address && address.trusted_hops == 0;
                if is_peer && settings.client_address_header.is_none() {
                    Self::SourceIp
                } else {
                    Self::Client
                }
            }
            Input::DestinationIp => Self::DestinationIp,
            Input::DestinationPort => Self::DestinationPort,
            Input::Sni => Self::Sni,
            Input::Metadata { filter, key } => Self::Metadata(filter.clone(), key.clone()),
        }
    }

    /// Whether only HTTP has it, as far as rules go.
    pub(super) fn is_http(&self) -> bool {
        match self {
            Self::Token
            | Self::Claim(_)
            | Self::Method
            | Self::Host
            | Self::Path
            | Self::Scheme
            | Self::Header(_) => true,
            Self::Peer
            | Self::SourceIp
            | Self::Client
            | Self::DestinationIp
            | Self::DestinationPort
            | Self::Sni
            | Self::Metadata(..) => false,
        }
    }
}

/// A part as it can be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Setting {
    Names(Vec<String>),
    Token(Option<Token>),
    Claim(Option<Value>),
    Text(String),
    Lines(Vec<String>),
    Ip(Option<IpAddr>),
    Port(Option<u16>),
    Metadata(Option<Value>),
}

impl Setting {
    /// Puts it into a request.
    pub(super) fn apply(&self, part: &Part, question: &mut Question) {
        let request = &mut question.request;
        match (part, self) {
            (Part::Peer, Self::Names(names)) => request.source.principals.clone_from(names),
            (Part::Token, Self::Token(token)) => question.token.clone_from(token),
            (Part::Claim(name), Self::Claim(value)) => {
                let Some(token) = &mut question.token else { return };
                token.claims.retain(|(known, _)| known != name);
                token.claims.extend(value.iter().map(|value| (name.clone(), value.clone())));
            }
            (Part::Method, Self::Text(text)) => request.method.clone_from(text),
            (Part::Host, Self::Text(text)) => request.host.clone_from(text),
            (Part::Path, Self::Text(text)) => request.path.clone_from(text),
            (Part::Scheme, Self::Text(text)) => request.scheme.clone_from(text),
            (Part::Sni, Self::Text(text)) => request.sni.clone_from(text),
            (Part::Header(name), Self::Lines(lines)) => {
                request.headers.retain(|(known, _)| known != name);
                request.headers.extend(lines.iter().map(|line| (name.clone(), line.clone())));
            }
            (Part::SourceIp, Self::Ip(ip)) => request.source.ip = *ip,
            (Part::Client, Self::Ip(ip)) => question.client = *ip,
            (Part::DestinationIp, Self::Ip(ip)) => request.destination.ip = *ip,
            (Part::DestinationPort, Self::Port(port)) => request.destination.port = *port,
            (Part::Metadata(filter, key), Self::Metadata(value)) => {
                set_metadata(&mut request.metadata, filter, key, value.as_ref());
            }
            // Each part has settings of its own kind only.
            (_, _) => {}
        }
    }
}

fn set_metadata(
    all: &mut Vec<(String, serde_json::Value)>,
    filter: &str,
    key: &str,
    value: Option<&Value>,
) {
    let at = all.iter().position(|(known, _)| known == filter);
    let mut members = match at.map(|at| all.remove(at).1) {
        Some(serde_json::Value::Object(members)) => members,
        Some(_) | None => serde_json::Map::new(),
    };
    match value {
        Some(value) => drop(members.insert(key.to_owned(), json(value))),
        None => drop(members.remove(key)),
    }
    if !members.is_empty() {
        all.push((filter.to_owned(), serde_json::Value::Object(members)));
    }
}

/// Headers that token rules set: by name, the path of the claim; empty for the whole payload.
pub(super) type Outputs = BTreeMap<String, Vec<String>>;

/// The headers that token rules of these sides set.
pub(super) fn outputs(sides: [&Side<'_>; 2]) -> Outputs {
    let rules = || sides.into_iter().flat_map(|side| &side.plan.jwt.rules);
    let payloads = rules().flat_map(|rule| &rule.payload_header);
    let claims = rules().flat_map(|rule| &rule.claim_headers);
    let path = |it: &ClaimHeader| it.claim.iter().map(ToString::to_string).collect();
    payloads
        .map(|name| (name.to_string(), Vec::new()))
        .chain(claims.map(|it| (it.header.to_string(), path(it))))
        .collect()
}

/// A part, its settings, and what they do to tests.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) part: Part,
    /// The first is how requests are without anything asked of them.
    pub(super) settings: Vec<Setting>,
    /// By setting, for each test of this part in order: whether it holds.
    pub(super) holds: Vec<Vec<bool>>,
    /// By setting, for the token only: what becomes of it on both sides.
    pub(super) statuses: Vec<[TokenStatus; 2]>,
}

/// What values are made with.
pub(super) struct Maker<'s> {
    pub(super) sides: [&'s Side<'s>; 2],
    pub(super) settings: &'s RequestSettings,
    pub(super) outputs: Outputs,
}

impl Maker<'_> {
    /// The values of a part that these tests, which are all about it, tell apart.
    pub(super) fn values(&self, part: Part, tests: &[&Test]) -> Values {
        let mut values =
            Values { part, settings: Vec::new(), holds: Vec::new(), statuses: Vec::new() };
        let mut seen = HashSet::new();
        let candidates = self.candidates(&values.part, tests);
        self.add(candidates, tests, &mut values, &mut seen);
        let pairs = pairs(&values.settings);
        self.add(pairs, tests, &mut values, &mut seen);
        values
    }

    fn add(
        &self,
        candidates: Vec<Setting>,
        tests: &[&Test],
        values: &mut Values,
        seen: &mut HashSet<Class>,
    ) {
        let mut statuses: BTreeMap<String, [TokenStatus; 2]> = BTreeMap::new();
        for setting in candidates.into_iter().take(MOST_VALUES) {
            let mut question = Question::default();
            if matches!(values.part, Part::Claim(_)) {
                question.token = Some(a_token(Vec::new()));
            }
            setting.apply(&values.part, &mut question);
            let Some(probe) = self.probe(&question) else { continue };
            let holds: Vec<bool> = tests.iter().map(|test| test.holds(&probe)).collect();
            let status = (values.part == Part::Token).then(|| {
                // Whom it is about makes no difference.
                let mut known = question.token.clone();
                if let Some(token) = &mut known {
                    token.claims.retain(|(name, _)| name != "sub");
                }
                let ask = || self.sides.map(|side| side.token_status(&question));
                *statuses.entry(format!("{known:?}")).or_insert_with(ask)
            });
            let class = self.class(&setting, &values.part);
            if seen.insert((holds.clone(), status, class)) {
                values.settings.push(setting);
                values.holds.push(holds);
                values.statuses.extend(status);
            }
        }
    }

    /// What else than tests tells values apart: the mutual TLS modes of ports, peers with names.
    fn class(&self, setting: &Setting, part: &Part) -> u64 {
        match (part, setting) {
            (Part::DestinationPort, Setting::Port(port)) => {
                let [old, new] = self.sides.map(|side| mode_number(side.plan.peer.mode_of(*port)));
                old * 8 + new
            }
            (Part::Peer, Setting::Names(names)) => u64::from(!names.is_empty()),
            (_, _) => 0,
        }
    }

    /// What tests see of a request that has one thing set, its token taken for accepted.
    pub(super) fn probe(&self, question: &Question) -> Option<Probe> {
        let plain = Question { token: None, ..question.clone() };
        let file = plain.file(self.settings, None);
        let check = file.check_request(self.settings.client_address);
        let mut attributes = file.attributes(&check, self.settings).ok()?.into_owned();
        let claims = question.token.as_ref().map(|token| self.claims(token));
        if let (Some(http), Some(token)) = (&mut attributes.http, &question.token) {
            for (name, path) in &self.outputs {
                if let Some(text) = claim_text(&token.claims, path) {
                    let value = Cow::Owned(text.to_owned().into_bytes());
                    http.headers.append(Cow::Owned(name.clone()), value);
                }
            }
        }
        Some(Probe { attributes, claims })
    }

    /// As rules see them: some are lists, split at blanks.
    fn claims(&self, token: &Token) -> Value {
        let rules = self.sides.iter().flat_map(|side| &side.plan.jwt.rules);
        let split: BTreeSet<&str> = rules
            .flat_map(|rule| rule.space_delimited.iter().map(AsRef::as_ref))
            .chain(["scope", "permission"])
            .collect();
        let members = token.claims.iter().map(|(name, value)| {
            let words = value.as_str().filter(|_| split.contains(name.as_str())).map(|text| {
                Value::List(text.split(' ').map(|word| Value::String(word.into())).collect())
            });
            (name.clone(), words.unwrap_or_else(|| value.clone()))
        });
        Value::Object(members.collect())
    }

    fn candidates(&self, part: &Part, tests: &[&Test]) -> Vec<Setting> {
        let text = |usual: &[&str], more: Vec<String>| -> Vec<Setting> {
            let usual = usual.iter().map(ToString::to_string);
            usual.chain(more).map(Setting::Text).collect()
        };
        match part {
            Part::Peer => {
                let names = boundary::peers(tests).into_iter().map(|name| vec![name]);
                [Vec::new()].into_iter().chain(names).map(Setting::Names).collect()
            }
            Part::Token => self.tokens(tests),
            Part::Claim(_) => self.claim_values(tests),
            Part::Method => {
                let mut all = text(&["GET", "POST", "PUT", "DELETE"], boundary::texts(tests));
                all.retain(|it| *it != Setting::Text(String::new()));
                all
            }
            Part::Host => text(&[""], boundary::texts(tests)),
            Part::Path => text(&["/"], boundary::paths(tests)),
            Part::Scheme => text(&["http", "https"], boundary::texts(tests)),
            Part::Sni => {
                let names = boundary::texts(tests);
                text(&[""], names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
            }
            Part::Header(_) => {
                let lines = boundary::texts(tests).into_iter().map(|line| vec![line]);
                [Vec::new()].into_iter().chain(lines).map(Setting::Lines).collect()
            }
            Part::SourceIp | Part::Client | Part::DestinationIp => {
                let addresses = boundary::addresses(tests).into_iter().map(Some);
                [None].into_iter().chain(addresses).map(Setting::Ip).collect()
            }
            Part::DestinationPort => {
                let modes = self.sides.iter().flat_map(|side| side.plan.peer.ports.keys().copied());
                let ports = boundary::ports(tests).into_iter().chain(modes).map(Some);
                [None].into_iter().chain(ports).map(Setting::Port).collect()
            }
            Part::Metadata(..) => {
                let texts = boundary::metadata(tests);
                let one = texts.iter().map(|text| Value::String(text.clone()));
                let list = texts.iter().map(|text| Value::List(vec![Value::String(text.clone())]));
                let all = one.chain(list).chain([Value::Number(1.0)]).map(Some);
                [None].into_iter().chain(all).map(Setting::Metadata).collect()
            }
        }
    }
}

fn mode_number(mode: crate::model::MutualTlsMode) -> u64 {
    use crate::model::MutualTlsMode::{Disable, Permissive, Strict, Unset};
    match mode {
        Unset => 0,
        Disable => 1,
        Permissive => 2,
        Strict => 3,
    }
}

/// What a header says of a claim, where that is a text; of the whole payload, something.
fn claim_text<'t>(claims: &'t [(String, Value)], path: &[String]) -> Option<&'t str> {
    let Some((name, rest)) = path.split_first() else { return Some("payload") };
    let value = claims.iter().find(|(known, _)| known == name).map(|(_, value)| value)?;
    rest.iter().try_fold(value, |value, name| value.get(name))?.as_str()
}

fn a_token(claims: Vec<(String, Value)>) -> Token {
    Token { signer: Signer::Stranger, place: Place::Param(String::new()), claims }
}

/// Two values at once, where a request can have several.
fn pairs(settings: &[Setting]) -> Vec<Setting> {
    let mut all = Vec::new();
    let few = || settings.iter().take(MOST_PAIRED);
    for (at, first) in few().enumerate() {
        for second in few().skip(at + 1) {
            all.extend(pair(first, second));
        }
    }
    all
}

fn pair(first: &Setting, second: &Setting) -> Option<Setting> {
    let strings = |value: &Value| match value {
        Value::String(text) => vec![Value::String(text.clone())],
        Value::List(items) => items.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    let list = |a: &Value, b: &Value| {
        let (a, b) = (strings(a), strings(b));
        (!a.is_empty() && !b.is_empty()).then(|| Value::List([a, b].concat()))
    };
    match (first, second) {
        (Setting::Names(a), Setting::Names(b)) if !a.is_empty() && !b.is_empty() => {
            let mut names = [a.as_slice(), b].concat();
            names.sort_by_key(|name| (!name.contains("://"), name.contains('=')));
            Some(Setting::Names(names))
        }
        (Setting::Lines(a), Setting::Lines(b)) if !a.is_empty() && !b.is_empty() => {
            Some(Setting::Lines([a.as_slice(), b].concat()))
        }
        (Setting::Claim(Some(a)), Setting::Claim(Some(b))) => {
            list(a, b).map(|both| Setting::Claim(Some(both)))
        }
        (
            Setting::Metadata(Some(a @ Value::List(_))),
            Setting::Metadata(Some(b @ Value::List(_))),
        ) => list(a, b).map(|both| Setting::Metadata(Some(both))),
        (_, _) => None,
    }
}
