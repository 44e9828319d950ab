//! What the policies of a workload look at, and which of it a record lacks.

use std::borrow::Cow;

use super::Lacking;
use crate::model::Value;
use crate::plan::WorkloadPlan;
use crate::plan::vocabulary::Attribute;
use crate::replay::record::Record;

/// Of one plan, looked up once.
#[derive(Debug)]
pub(super) struct Needs {
    /// Headers that are no pseudo headers.
    headers: Vec<Box<str>>,
    /// Whether a condition sees the path with its query.
    query: bool,
    claims: Vec<Box<[Box<str>]>>,
    metadata: Vec<(Box<str>, Box<str>)>,
    /// Rules that see a request as it was before tokens were dealt with.
    has_custom: bool,
    /// Headers that conditions look at and token rules set or take out.
    token_headers: Vec<Box<str>>,
}

/// What a record lacks.
#[derive(Debug, Default)]
pub(super) struct Wanting<'n> {
    /// Names of headers, `:path` among them.
    pub(super) headers: Vec<&'n str>,
    /// Whether tokens cannot be known: what they say, and whether they are good.
    pub(super) tokens: bool,
    pub(super) claims: Vec<&'n [Box<str>]>,
    pub(super) metadata: Vec<(&'n str, &'n str)>,
}

impl<'n> Wanting<'n> {
    pub(super) fn is_empty(&self) -> bool {
        let Self { headers, tokens, claims, metadata } = self;
        headers.is_empty() && !tokens && claims.is_empty() && metadata.is_empty()
    }

    pub(super) fn header(&mut self, name: &'n str) {
        if !self.headers.contains(&name) {
            self.headers.push(name);
        }
    }

    /// Tokens cannot be known, and neither can what they would change.
    pub(super) fn tokens(&mut self, needs: &'n Needs) {
        self.tokens = true;
        for name in &needs.token_headers {
            self.header(name);
        }
    }

    /// One of them, for people.
    pub(super) fn name(&self) -> Lacking {
        let name: Cow<'static, str> = if self.tokens {
            "postern.authentication".into()
        } else if let Some(name) = self.headers.first() {
            if *name == ":path" {
                "url.query".into()
            } else {
                format!("http.request.header.{name}").into()
            }
        } else if let Some(path) = self.claims.first() {
            format!("postern.claims.{}", path.join(".")).into()
        } else if let Some((filter, key)) = self.metadata.first() {
            format!("postern.metadata.{filter}.{key}").into()
        } else {
            "nothing".into()
        };
        Lacking(name)
    }
}

impl Needs {
    pub(super) fn of(plan: &WorkloadPlan) -> Self {
        let mut needs = Self {
            headers: Vec::new(),
            query: false,
            claims: Vec::new(),
            metadata: Vec::new(),
            has_custom: plan.trees(true).any(|trees| !trees.custom.is_empty()),
            token_headers: Vec::new(),
        };
        for attribute in plan.attributes() {
            if let Attribute::Header(name) = attribute {
                match &**name {
                    ":path" => needs.query = true,
                    ":method" | ":scheme" | ":authority" | "host" => {}
                    _ => needs.headers.push(name.clone()),
                }
            } else if let Attribute::Claim(path) = attribute {
                needs.claims.push(path.clone());
            } else if let Attribute::Metadata { filter, key } = attribute {
                needs.metadata.push((filter.clone(), key.clone()));
            }
        }
        let touched = plan.jwt.rules.iter().flat_map(|rule| {
            let places = rule.places.headers.iter().map(|(name, _)| &**name);
            let outputs = rule.claim_headers.iter().map(|output| &*output.header);
            places.chain(outputs).chain(rule.payload_header.as_deref())
        });
        for name in touched {
            if let Some(name) = needs.headers.iter().find(|known| ***known == *name)
                && !needs.token_headers.contains(name)
            {
                needs.token_headers.push(name.clone());
            }
        }
        needs
    }

    /// Notes what a record of an HTTP request lacks of the request itself.
    pub(super) fn check<'n>(&'n self, record: &Record<'_>, wanting: &mut Wanting<'n>) {
        for name in &self.headers {
            if !record.headers.iter().any(|(known, _)| **known == **name) {
                wanting.header(name);
            }
        }
        if self.query && record.redacted.iter().any(|field| field == "url.query") {
            wanting.header(":path");
        }
        if self.has_custom
            && let Some(authentication) = &record.authentication
        {
            // These rules see the headers as the client sent them.
            for changed in &authentication.changed_headers {
                if let Some(name) = self.headers.iter().find(|known| ***known == **changed) {
                    wanting.header(name);
                }
            }
        }
    }

    pub(super) fn check_metadata<'n>(&'n self, record: &Record<'_>, wanting: &mut Wanting<'n>) {
        for (filter, key) in &self.metadata {
            let recorded = record.metadata.as_ref().and_then(|all| all.get(filter));
            if recorded.and_then(|keys| keys.get(key)).is_none() {
                wanting.metadata.push((filter, key));
            }
        }
    }

    /// Notes claims that the record may lack: those that it does not even say are not there.
    pub(super) fn check_claims<'n>(&'n self, claims: &Value, wanting: &mut Wanting<'n>) {
        for path in &self.claims {
            if !is_known(claims, path) {
                wanting.claims.push(path);
            }
        }
    }
}

/// Whether the claim at that path is recorded, or that there is none.
fn is_known(claims: &Value, path: &[Box<str>]) -> bool {
    let mut value = claims;
    for name in path {
        match value {
            Value::Object(_) => match value.get(name) {
                Some(member) => value = member,
                None => return false,
            },
            // Nothing is within.
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::List(_) => {
                return true;
            }
        }
    }
    true
}
