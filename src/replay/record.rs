//! One line of a decision log, or of an access log in the form that docs/decision-log.md gives.
//!
//! Reads what a decision needs and skips the rest; deciding is `judge`'s job.

use std::fmt;
use std::net::IpAddr;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Text;
use super::value::{
    Any, HeaderLists, Name, OptionalAddress, OptionalNumber, OptionalText, TextList, Texts, skip,
};
use crate::model::Value;

/// What a line is, by its `postern.schema`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// `decision/1`: an event of the decision log.
    Decision,
    /// `access_log/1`: an entry of Envoy's access log, which does not know all that an event does.
    AccessLog,
}

/// What was decided, as the line says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before<'a> {
    /// `allow` or `deny`; `None` where the line does not say.
    pub outcome: Option<Text<'a>>,
    /// Why.
    pub reason: Option<Text<'a>>,
    /// `namespace/name` of the policy that decided.
    pub policy: Option<Text<'a>>,
    /// Its rule, from 0.
    pub rule: Option<u32>,
}

/// What became of tokens, as the line says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authentication<'a> {
    /// `none`, `verified`, `refused`
    pub result: Text<'a>,
    /// The fingerprint of the token rules, in hexadecimal digits.
    pub rules: Text<'a>,
    /// Headers that were set or taken out.
    pub changed_headers: Texts<'a>,
}

/// A request, and what was decided about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record<'a> {
    /// What the line is; `None` where it does not say.
    pub schema: Option<Schema>,
    /// When, as written.
    pub time: Option<Text<'a>>,
    /// What was decided.
    pub before: Before<'a>,
    /// The workload, as it is written.
    pub workload: Option<&'a str>,
    /// `source.ip`
    pub peer_address: Option<IpAddr>,
    /// `remote.ip`
    pub client_address: Option<IpAddr>,
    /// `destination.ip`
    pub local_address: Option<IpAddr>,
    /// `destination.port`
    pub local_port: Option<u32>,
    /// `connection.sni`
    pub sni: Option<Text<'a>>,
    /// Names of the peer.
    pub peer_names: Texts<'a>,
    /// Inputs that Envoy did not send.
    pub missing_inputs: Texts<'a>,
    /// `None` for a connection without HTTP.
    pub method: Option<Text<'a>>,
    /// `http`, `https`
    pub scheme: Option<Text<'a>>,
    /// The host, or the part of it before the port.
    pub server_address: Option<Text<'a>>,
    /// The host's port.
    pub server_port: Option<u32>,
    /// Without query.
    pub path: Option<Text<'a>>,
    /// Headers that are known: no lines where they were not there.
    pub headers: Vec<(Text<'a>, Texts<'a>)>,
    /// Dynamic metadata that is known, each value in a list.
    pub metadata: Option<Value>,
    /// What became of tokens.
    pub authentication: Option<Authentication<'a>>,
    /// What extension providers said, by their names, where any was asked.
    pub custom: Option<Value>,
    /// Claims that are known.
    pub claims: Option<Value>,
    /// Fields that were left out.
    pub redacted: Texts<'a>,
}

/// Why a line cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    Text,
    /// Not the JSON of a record.
    #[error("{0}")]
    Json(String),
    /// Without `postern.schema`.
    #[error(
        "not a record: `postern.schema` is missing (docs/decision-log.md says what access logs need)"
    )]
    NoSchema,
}

impl<'a> Record<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// Says what is wrong, without anything that stands in the line.
    pub fn read(line: &'a [u8]) -> Result<Self, Unreadable> {
        let text = str::from_utf8(line).map_err(|_| Unreadable::Text)?;
        let record: Self = serde_json::from_str(text).map_err(|error| {
            // serde's own words may quote what it found.
            Unreadable::Json(describe(&error))
        })?;
        if record.schema.is_none() { Err(Unreadable::NoSchema) } else { Ok(record) }
    }
}

fn describe(error: &serde_json::Error) -> String {
    let what = if error.is_eof() {
        "ends in the middle"
    } else if error.is_syntax() {
        "not JSON"
    } else {
        let text = error.to_string();
        let known = KNOWN.iter().find(|known| text.starts_with(**known));
        return known.map_or_else(
            || format!("a value of the wrong type at column {}", error.column()),
            |known| format!("{known} at column {}", error.column()),
        );
    };
    format!("{what} at column {}", error.column())
}

/// What our own readers say; none of it is from the line.
const KNOWN: [&str; 8] = [
    "not an IP address",
    "not a whole number",
    "the number is too large",
    "a header is there twice",
    "a name is there twice",
    "a field is there twice",
    "a record of a schema that this version does not know",
    "neither `allow` nor `deny`",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Schema,
    Time,
    Outcome,
    Reason,
    Policy,
    Rule,
    Workload,
    PeerAddress,
    ClientAddress,
    LocalAddress,
    LocalPort,
    Sni,
    PeerNames,
    MissingInputs,
    Method,
    Scheme,
    ServerAddress,
    ServerPort,
    Path,
    Headers,
    Metadata,
    Authentication,
    Claims,
    Custom,
    Redacted,
}

impl Field {
    /// By length first, so that most names are told apart by one number.
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "time" => Self::Time,
            "url.path" => Self::Path,
            "url.scheme" => Self::Scheme,
            "server.port" => Self::ServerPort,
            "postern.rule" => Self::Rule,
            "postern.schema" => Self::Schema,
            "postern.reason" => Self::Reason,
            "postern.policy" => Self::Policy,
            "postern.claims" => Self::Claims,
            "postern.custom" => Self::Custom,
            "client.address" => Self::ClientAddress,
            "server.address" => Self::ServerAddress,
            "postern.outcome" => Self::Outcome,
            "postern.workload" => Self::Workload,
            "postern.redacted" => Self::Redacted,
            "postern.metadata" => Self::Metadata,
            "postern.peer.names" => Self::PeerNames,
            "network.local.port" => Self::LocalPort,
            "http.request.method" => Self::Method,
            "http.request.header" => Self::Headers,
            "network.peer.address" => Self::PeerAddress,
            "network.local.address" => Self::LocalAddress,
            "postern.missing_inputs" => Self::MissingInputs,
            "tls.client.server_name" => Self::Sni,
            "postern.authentication" => Self::Authentication,
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut record = Record::default();
        let mut seen = 0_u32;
        while let Some(Name(name)) = map.next_key()? {
            let Some(field) = Field::of(&name) else {
                skip(&mut map)?;
                continue;
            };
            // Of two, each reader would take another.
            let bit = 1 << field as u32;
            if seen & bit != 0 {
                return Err(A::Error::custom("a field is there twice"));
            }
            seen |= bit;
            match field {
                Field::Schema => {
                    let text = map.next_value_seed(OptionalText)?;
                    record.schema = Some(match text.as_deref() {
                        Some("decision/1") => Schema::Decision,
                        Some("access_log/1") => Schema::AccessLog,
                        Some(_) | None => {
                            return Err(A::Error::custom(
                                "a record of a schema that this version does not know",
                            ));
                        }
                    });
                }
                Field::Time => record.time = map.next_value_seed(OptionalText)?,
                Field::Outcome => {
                    record.before.outcome = map.next_value_seed(OptionalText)?;
                    if !matches!(record.before.outcome.as_deref(), None | Some("allow" | "deny")) {
                        return Err(A::Error::custom("neither `allow` nor `deny`"));
                    }
                }
                Field::Reason => record.before.reason = map.next_value_seed(OptionalText)?,
                Field::Policy => record.before.policy = map.next_value_seed(OptionalText)?,
                Field::Rule => record.before.rule = map.next_value_seed(OptionalNumber)?,
                Field::Workload => {
                    record.workload = map.next_value::<Option<&RawValue>>()?.map(RawValue::get);
                }
                Field::PeerAddress => {
                    record.peer_address = map.next_value_seed(OptionalAddress)?;
                }
                Field::ClientAddress => {
                    record.client_address = map.next_value_seed(OptionalAddress)?;
                }
                Field::LocalAddress => {
                    record.local_address = map.next_value_seed(OptionalAddress)?;
                }
                Field::LocalPort => record.local_port = map.next_value_seed(OptionalNumber)?,
                Field::Sni => record.sni = map.next_value_seed(OptionalText)?,
                Field::PeerNames => record.peer_names = map.next_value_seed(TextList)?,
                Field::MissingInputs => record.missing_inputs = map.next_value_seed(TextList)?,
                Field::Method => record.method = map.next_value_seed(OptionalText)?,
                Field::Scheme => record.scheme = map.next_value_seed(OptionalText)?,
                Field::ServerAddress => {
                    record.server_address = map.next_value_seed(OptionalText)?;
                }
                Field::ServerPort => record.server_port = map.next_value_seed(OptionalNumber)?,
                Field::Path => record.path = map.next_value_seed(OptionalText)?,
                Field::Headers => record.headers = map.next_value_seed(HeaderLists)?,
                Field::Metadata => record.metadata = Some(map.next_value_seed(Any)?),
                Field::Authentication => {
                    record.authentication = Some(map.next_value::<Authentication<'de>>()?);
                }
                Field::Custom => record.custom = Some(map.next_value_seed(Any)?),
                Field::Claims => record.claims = Some(map.next_value_seed(Any)?),
                Field::Redacted => record.redacted = map.next_value_seed(TextList)?,
            }
        }
        Ok(record)
    }
}

impl<'de> Deserialize<'de> for Authentication<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AuthenticationVisitor;
        impl<'de> Visitor<'de> for AuthenticationVisitor {
            type Value = Authentication<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("what became of tokens")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut authentication = Authentication::default();
                while let Some(Name(name)) = map.next_key()? {
                    match &*name {
                        "result" => authentication.result = map.next_value::<Name<'de>>()?.0,
                        "rules" => authentication.rules = map.next_value::<Name<'de>>()?.0,
                        "changed_headers" => {
                            authentication.changed_headers = map.next_value_seed(TextList)?;
                        }
                        _ => skip(&mut map)?,
                    }
                }
                Ok(authentication)
            }
        }
        from.deserialize_map(AuthenticationVisitor)
    }
}
