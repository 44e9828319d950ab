//! What became of a token, for people and for programs.

use std::fmt;

use serde_json::{Map, Value as Json, json};

use crate::authn::{Authentication, CLOCK_SKEW_SECONDS, Inspection};
use crate::manifest::text::quoted;
use crate::manifest::time::format_timestamp;
use crate::model::{JwtError, Value};

use super::claims;

/// Below the word that says the outcome.
const INDENT: &str = "         ";

/// What became of a token.
pub(super) struct Verdict {
    pub(super) inspection: Inspection,
    /// Where the token was put.
    pub(super) place: Option<Place>,
    /// What all rules together made of it there.
    pub(super) answer: Authentication,
    /// What each rule says.
    pub(super) rules: Vec<RuleVerdict>,
    pub(super) now: u64,
}

/// Where a rule looks for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Header { name: String, prefix: String },
    Param(String),
    Cookie(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, .. } => write!(f, "the header {}", quoted(name)),
            Self::Param(name) => write!(f, "the query parameter {}", quoted(name)),
            Self::Cookie(name) => write!(f, "the cookie {}", quoted(name)),
        }
    }
}

/// What one rule says.
pub(super) struct RuleVerdict {
    pub(super) policy: String,
    pub(super) rule: usize,
    pub(super) file: Option<String>,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    /// `None` where the keys could not be had.
    pub(super) keys: Option<Vec<Option<String>>>,
    /// The `kid` of the key that signed the token, or why it is refused.
    pub(super) outcome: Result<Option<Box<str>>, JwtError>,
}

impl Verdict {
    /// Whether a request with the token is let on.
    pub(super) fn is_valid(&self) -> bool {
        self.answer.error.is_none() && self.answer.claims.is_some()
    }

    /// The rule that takes it.
    fn taker(&self) -> Option<&RuleVerdict> {
        self.rules.iter().find(|rule| self.is_valid() && rule.outcome.is_ok())
    }

    fn claim(&self, name: &str) -> Option<&str> {
        self.answer.claims.as_ref().and_then(|claims| claims.get(name)).and_then(Value::as_str)
    }

    /// `request.auth.principal` of a request with it.
    fn principal(&self) -> Option<String> {
        Some(format!("{}/{}", self.claim("iss")?, self.claim("sub")?))
    }

    fn member(&self, section: Option<&[u8]>, name: &str) -> Option<Json> {
        claims::members(section).and_then(|mut members| members.remove(name))
    }

    fn payload(&self, name: &str) -> Option<Json> {
        self.member(self.inspection.payload.as_deref(), name)
    }

    fn time(&self, name: &str) -> Option<u64> {
        let members = claims::members(self.inspection.payload.as_deref())?;
        claims::times(&members).find(|(time, _)| *time == name).map(|(_, at)| at)
    }

    /// What a rule has against the token: the claim or part, and more about it.
    fn objection(&self, rule: &RuleVerdict, error: JwtError) -> (&'static str, String) {
        let skew = format!("clocks may differ by {CLOCK_SKEW_SECONDS} s");
        let when = |name| {
            let at = self.time(name).map(|at| claims::when(at, self.now));
            at.unwrap_or_else(|| "out of reach".to_owned())
        };
        match error {
            JwtError::UnknownIssuer => {
                let wanted = quoted(&rule.issuer);
                ("iss", format!("is {}, the rule is for {wanted}", shown(self.payload("iss"))))
            }
            JwtError::Expired => ("exp", format!("is {}; {skew}", when("exp"))),
            JwtError::NotYetValid => ("nbf", format!("is {}; {skew}", when("nbf"))),
            JwtError::AudienceNotAllowed => {
                let wanted: Vec<_> = rule.audiences.iter().map(|a| quoted(a)).collect();
                let wanted = wanted.join(" or ");
                ("aud", format!("is {}, the rule wants {wanted}", shown(self.payload("aud"))))
            }
            JwtError::KidAlgMismatch => {
                let header = self.inspection.header.as_deref();
                let (kid, alg) = (self.member(header, "kid"), self.member(header, "alg"));
                let asked = format!("{} with `alg` {}", shown(kid), shown(alg));
                ("kid", format!("is {asked}; {}", key_list(rule)))
            }
            JwtError::VerificationFails => match &rule.keys {
                None => ("signature", "cannot be checked: there are no keys".to_owned()),
                Some(_) => ("signature", format!("is by none of them; {}", key_list(rule))),
            },
            JwtError::Ed25519WrongLength => {
                let found = self.inspection.signature.as_ref().map_or(0, Vec::len);
                ("signature", format!("has {found} bytes, and one by the Ed25519 key has 64"))
            }
            JwtError::NoValidKeys => ("keys", "are all of no use".to_owned()),
            JwtError::TooLarge
            | JwtError::BadFormat
            | JwtError::HeaderBase64
            | JwtError::HeaderJson
            | JwtError::HeaderAlg
            | JwtError::AlgUnsupported
            | JwtError::HeaderKid
            | JwtError::CritUnsupported
            | JwtError::ZipUnsupported
            | JwtError::B64Unsupported
            | JwtError::PayloadBase64
            | JwtError::PayloadJson
            | JwtError::IssNotString
            | JwtError::SubNotString
            | JwtError::JtiNotString
            | JwtError::IatNotInteger
            | JwtError::IatOutOfRange
            | JwtError::NbfNotInteger
            | JwtError::NbfOutOfRange
            | JwtError::ExpNotInteger
            | JwtError::ExpOutOfRange
            | JwtError::AudNotStrings
            | JwtError::SignatureBase64 => ("form", error.to_string()),
        }
    }
}

fn shown(value: Option<Json>) -> String {
    match value {
        None => "not there".to_owned(),
        Some(Json::String(text)) => quoted(&text),
        Some(value) => quoted(&value.to_string()),
    }
}

fn key_list(rule: &RuleVerdict) -> String {
    const SHOWN: usize = 5;
    let keys = rule.keys.as_deref().unwrap_or_default();
    let mut names: Vec<_> = keys
        .iter()
        .take(SHOWN)
        .map(|kid| kid.as_deref().map_or_else(|| "one without `kid`".to_owned(), quoted))
        .collect();
    if keys.len() > SHOWN {
        names.push(format!("{} more", keys.len() - SHOWN));
    }
    format!("the keys are {}", names.join(", "))
}

impl RuleVerdict {
    fn name(&self) -> String {
        format!("{} jwtRules[{}]", self.policy, self.rule)
    }

    /// Where the rule stands: an editor can jump there.
    fn place(&self) -> String {
        match &self.file {
            Some(file) if self.line > 0 => format!("{file}:{}:{}: ", self.line, self.column),
            Some(_) | None => String::new(),
        }
    }
}

/// For people: one line that says it, then why.
pub(super) fn human(verdict: &Verdict) -> String {
    let mut lines = Vec::new();
    if let Some(rule) = verdict.taker() {
        let key = match &rule.outcome {
            Ok(Some(kid)) => format!("the key {}", quoted(kid)),
            Ok(None) | Err(_) => "a key without `kid`".to_owned(),
        };
        lines.push(format!("VALID    {}", rule.name()));
        let issuer = quoted(&rule.issuer);
        lines.push(format!("{INDENT}{}issuer {issuer}, signed by {key}", rule.place()));
        lines.push(match verdict.time("exp").filter(|at| *at > 0) {
            Some(at) => format!("{INDENT}exp is {}", claims::when(at, verdict.now)),
            None => format!("{INDENT}there is no exp, so that it never expires"),
        });
        lines.push(match verdict.principal() {
            Some(principal) => format!("{INDENT}request.auth.principal is {}", quoted(&principal)),
            None => format!("{INDENT}there is no sub, and so no request.auth.principal"),
        });
        if let Some(place) = &verdict.place {
            lines.push(format!("{INDENT}looked for in {place}"));
        }
        lines.push(format!("{INDENT}what it may do is up to the AuthorizationPolicies"));
        return lines.join("\n");
    }
    lines.push(match verdict.answer.error {
        Some(error) => format!("INVALID  {} {error}", error.status()),
        None => "INVALID  the token is not looked at where it is looked for".to_owned(),
    });
    if let Some(error) = verdict.inspection.error {
        // So says every rule.
        lines.push(format!("{INDENT}form: {error}, whatever the policies"));
        return lines.join("\n");
    }
    for rule in &verdict.rules {
        lines.push(format!("{INDENT}{}", rule.name()));
        let objection = match &rule.outcome {
            Ok(_) => "takes it".to_owned(),
            Err(error) => {
                let (part, why) = verdict.objection(rule, *error);
                format!("{part} {why}")
            }
        };
        lines.push(format!("{INDENT}  {}{objection}", rule.place()));
    }
    lines.join("\n")
}

/// For programs. `version` changes when a field changes its meaning or goes.
pub(super) fn json(verdict: &Verdict) -> Json {
    let mut object = Map::new();
    let mut set = |name: &str, value: Json| object.insert(name.to_owned(), value);
    set("version", json!(1));
    set("valid", json!(verdict.is_valid()));
    if let Some(error) = verdict.answer.error {
        set("error", json!(error.to_string()));
        set("status", json!(error.status()));
    }
    if let Some(rule) = verdict.taker() {
        set("policy", json!(rule.policy));
        set("rule", json!(rule.rule));
        set("kid", json!(rule.outcome.as_ref().ok().and_then(Option::as_deref)));
        set("expires", json!(verdict.time("exp").and_then(format_timestamp)));
        set("principal", json!(verdict.principal()));
        set("place", json!(verdict.place.as_ref().map(json_place)));
    }
    let rules = verdict.rules.iter().map(|rule| {
        let mut object = json!({
            "policy": rule.policy,
            "rule": rule.rule,
            "file": rule.file,
            "line": rule.line,
            "column": rule.column,
            "issuer": rule.issuer,
            "valid": rule.outcome.is_ok(),
        });
        if let (Err(error), Some(members)) = (&rule.outcome, object.as_object_mut()) {
            let (part, why) = verdict.objection(rule, *error);
            members.insert("error".to_owned(), json!(error.to_string()));
            members.insert("part".to_owned(), json!(part));
            members.insert("why".to_owned(), json!(format!("{part} {why}")));
        }
        object
    });
    set("rules", rules.collect());
    Json::Object(object)
}

fn json_place(place: &Place) -> Json {
    match place {
        Place::Header { name, .. } => json!({ "header": name }),
        Place::Param(name) => json!({ "param": name }),
        Place::Cookie(name) => json!({ "cookie": name }),
    }
}
