//! One rule as a policy of Envoy's RBAC: who (principals) and what (permissions).

use serde_json::{Value, json};

use super::{
    Layer,
    matchers::{any_value, cidr, header, list_with, metadata, quote, regex, string, string_after},
    trust_domain::{expand_domains, expand_principals},
};

const JWT: &str = "envoy.filters.http.jwt_authn";

/// What is needed beside the rule.
pub(super) struct Context<'a> {
    pub(super) namespace: &'a str,
    pub(super) trust_domains: &'a [String],
    pub(super) layer: Layer,
    /// An ALLOW rule with a condition that connections cannot meet is left out; other rules lose
    /// the condition.
    pub(super) is_allow: bool,
}

/// The rule is left out.
pub(super) struct LeftOut;

/// Which half of a policy a condition belongs to, and what it matches.
enum Matcher {
    Principal(Value),
    Permission(Value),
}

/// Conditions that must all hold.
#[derive(Clone, Default)]
struct Conditions {
    principals: Vec<Value>,
    permissions: Vec<Value>,
}

/// The rule as Envoy's `Policy`.
pub(super) fn policy(rule: &Value, context: &Context<'_>) -> Result<Value, LeftOut> {
    let mut base = Conditions::default();
    for condition in entries(&rule["when"]) {
        let key = condition["key"].as_str().expect("a key");
        base.add(key, condition, ["values", "notValues"], context)?;
    }
    let mut principals = Vec::new();
    for from in entries(&rule["from"]) {
        let mut all = base.clone();
        for (key, field) in SOURCE_FIELDS {
            all.add(key, &from["source"], [field, &negated(field)], context)?;
        }
        principals.push(and("ids", all.principals));
    }
    if principals.is_empty() {
        principals.push(and("ids", base.principals.clone()));
    }
    let mut permissions = Vec::new();
    for to in entries(&rule["to"]) {
        let mut all = base.clone();
        for field in ["hosts", "methods", "paths", "ports"] {
            all.add(field, &to["operation"], [field, &negated(field)], context)?;
        }
        permissions.push(and("rules", all.permissions));
    }
    if permissions.is_empty() {
        permissions.push(and("rules", base.permissions));
    }
    Ok(json!({"principals": principals, "permissions": permissions}))
}

/// The fields of a source are conditions by other names.
const SOURCE_FIELDS: [(&str, &str); 7] = [
    ("source.principal", "principals"),
    ("request.auth.principal", "requestPrincipals"),
    ("source.namespace", "namespaces"),
    ("source.serviceAccount", "serviceAccounts"),
    ("source.trustDomain", "trustDomains"),
    ("source.ip", "ipBlocks"),
    ("remote.ip", "remoteIpBlocks"),
];

fn negated(field: &str) -> String {
    let (first, rest) = field.split_at(1);
    format!("not{}{rest}", first.to_uppercase())
}

impl Conditions {
    /// Adds the positive and the negative list of a field, each where it has entries.
    fn add(
        &mut self,
        key: &str,
        map: &Value,
        fields: [&str; 2],
        context: &Context<'_>,
    ) -> Result<(), LeftOut> {
        for (field, is_negated) in [(fields[0], false), (fields[1], true)] {
            let values: Vec<String> = entries(&map[field]).iter().map(text).collect();
            if values.is_empty() {
                continue;
            }
            if context.layer == Layer::L4 && is_http_only(key) {
                if context.is_allow {
                    return Err(LeftOut);
                }
                continue;
            }
            match any_of(key, &values, context) {
                Matcher::Principal(ids) => {
                    self.principals.push(if is_negated { json!({"not_id": ids}) } else { ids });
                }
                Matcher::Permission(rules) => self.permissions.push(if is_negated {
                    json!({"not_rule": rules})
                } else {
                    rules
                }),
            }
        }
        Ok(())
    }
}

fn is_http_only(key: &str) -> bool {
    key.starts_with("request.") || ["hosts", "methods", "paths"].contains(&key)
}

/// What matches if any of the values does.
fn any_of(key: &str, values: &[String], context: &Context<'_>) -> Matcher {
    let ids = |matcher: &dyn Fn(&str) -> Value| {
        let ids: Vec<_> = values.iter().map(|v| matcher(v)).collect();
        Matcher::Principal(json!({"or_ids": {"ids": ids}}))
    };
    let rules = |matcher: &dyn Fn(&str) -> Value| {
        let rules: Vec<_> = values.iter().map(|v| matcher(v)).collect();
        Matcher::Permission(json!({"or_rules": {"rules": rules}}))
    };
    let strings = || any_value(values.iter().map(|v| json!({"string_match": string(v)})).collect());
    let names = |values: &[String], matcher: &dyn Fn(&str) -> Value| {
        let ids: Vec<_> = values.iter().map(|v| peer(&matcher(v))).collect();
        Matcher::Principal(json!({"or_ids": {"ids": ids}}))
    };
    match key {
        "source.principal" => {
            let values = expand_principals(values, context.trust_domains);
            names(&values, &|v| string_after("spiffe://", v))
        }
        "source.trustDomain" => {
            names(&expand_domains(values, context.trust_domains), &trust_domain)
        }
        "source.namespace" => names(values, &|v| {
            let parts: Vec<_> = v.split('*').map(quote).collect();
            regex(&format!(".*/ns/{}/.*", parts.join(".*")))
        }),
        "source.serviceAccount" => names(values, &|v| {
            let (namespace, name) = v.split_once('/').unwrap_or((context.namespace, v));
            let (namespace, name) = (quote(namespace), quote(name));
            regex(&format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{name}(/.+)?"))
        }),
        "source.ip" => ids(&|v| json!({"direct_remote_ip": cidr(v)})),
        "remote.ip" => ids(&|v| json!({"remote_ip": cidr(v)})),
        "request.auth.principal" => ids(&request_principal),
        "request.auth.audiences" => claim(&["aud"], &strings()),
        "request.auth.presenter" => claim(&["azp"], &strings()),
        "hosts" => rules(&|v| json!({"header": header(":authority", v, true)})),
        "methods" => rules(&|v| json!({"header": header(":method", v, false)})),
        "paths" => rules(&path),
        "ports" | "destination.port" => {
            rules(&|v| json!({"destination_port": v.parse::<u16>().expect("a port")}))
        }
        "destination.ip" => rules(&|v| json!({"destination_ip": cidr(v)})),
        "connection.sni" => rules(&|v| json!({"requested_server_name": string(v)})),
        _ => {
            if let Some(name) = brackets(key, "request.headers") {
                ids(&|v| json!({"header": header(name, v, false)}))
            } else if let Some(names) = brackets(key, "request.auth.claims") {
                claim(&nested(names), &strings())
            } else if let Some(rest) = key.strip_prefix("experimental.") {
                let (filter, name) = rest.split_once('[').expect("a key in brackets");
                let name = name.strip_suffix(']').unwrap_or(name);
                let value = any_value(values.iter().map(|v| listed_or_not(v)).collect());
                Matcher::Permission(metadata(filter, &[name], &value))
            } else {
                panic!("condition key `{key}`")
            }
        }
    }
}

fn peer(name: &Value) -> Value {
    json!({"authenticated": {"principal_name": name}})
}

fn trust_domain(pattern: &str) -> Value {
    match pattern.split_once('*') {
        _ if pattern == "*" => json!({"prefix": "spiffe://"}),
        None => json!({"prefix": format!("spiffe://{pattern}/")}),
        Some((before, after)) => {
            regex(&format!("spiffe://{}[^/]*{}/.*", quote(before), quote(after)))
        }
    }
}

/// Issuer and subject, told apart by the last slash. A star is one of the issuer when it comes
/// first, and one of the subject when it comes last; without a slash it is the other way round for
/// what is not written.
fn request_principal(pattern: &str) -> Value {
    let anything = || regex(".+");
    let exact = |text: &str| json!({ "exact": text });
    let (issuer, subject) = match pattern.rsplit_once('/') {
        _ if pattern == "*" => (anything(), anything()),
        Some((issuer, subject)) => {
            if let Some(end) = issuer.strip_prefix('*') {
                let issuer = if end.is_empty() { anything() } else { json!({ "suffix": end }) };
                (issuer, exact(subject))
            } else if let Some(start) = subject.strip_suffix('*') {
                let subject =
                    if start.is_empty() { anything() } else { json!({ "prefix": start }) };
                (exact(issuer), subject)
            } else {
                (exact(issuer), exact(subject))
            }
        }
        None => match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => (anything(), json!({ "suffix": end })),
            (None, Some(start)) => (json!({ "prefix": start }), anything()),
            (None, None) => (exact(pattern), exact("")),
        },
    };
    let claim_is = |name, value| metadata(JWT, &["payload", name], &json!({"string_match": value}));
    json!({"and_ids": {"ids": [claim_is("iss", issuer), claim_is("sub", subject)]}})
}

/// A claim that matches, or a list with an element that does.
fn claim(path: &[&str], value: &Value) -> Matcher {
    let path: Vec<&str> = ["payload"].iter().chain(path).copied().collect();
    let either = json!({"or_match": {"value_matchers": [list_with(value), value]}});
    Matcher::Principal(metadata(JWT, &path, &either))
}

fn path(pattern: &str) -> Value {
    if pattern.contains("{*}") || pattern.contains("{**}") {
        let template = pattern.replace("{*}", "*").replace("{**}", "**");
        return json!({"uri_template": {
            "name": "uri-template",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
                "path_template": template,
            },
        }});
    }
    json!({"url_path": {"path": string(pattern)}})
}

/// `[v]` is a list with `v` in it.
fn listed_or_not(pattern: &str) -> Value {
    if pattern.starts_with('[') && pattern.ends_with(']') {
        let inner = string(pattern.trim_matches(['[', ']']));
        list_with(&json!({ "string_match": inner }))
    } else {
        json!({"string_match": string(pattern)})
    }
}

fn brackets<'k>(key: &'k str, start: &str) -> Option<&'k str> {
    key.strip_prefix(start)?.strip_prefix('[')?.strip_suffix(']')
}

/// `a][b` is two names, one in the other; where brackets do not pair up, all of it is one name.
fn nested(names: &str) -> Vec<&str> {
    let parts: Vec<_> = names.split("][").collect();
    if parts.iter().any(|part| part.contains(['[', ']'])) { vec![names] } else { parts }
}

fn and(kind: &str, all: Vec<Value>) -> Value {
    let all = if all.is_empty() { vec![json!({"any": true})] } else { all };
    json!({ format!("and_{kind}"): {kind: all} })
}

fn entries(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Ports may be written as numbers.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
