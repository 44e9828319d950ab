//! Simple sets as configuration of Envoy's own filters: enough to see that the harness sends what
//! was sent when the cases were recorded, and that the Envoy at hand still answers so.
//!
//! Knows the plainest fields only; a set that uses anything else is left to Postern.

use serde_json::{Map, Value, json};

use crate::{cases::Set, envoy_config::filter};

/// The filters for the set; `None` where it says more than this module knows.
pub(crate) fn filters(set: &Set) -> Option<Vec<Value>> {
    if set.workload.trust_domain != "cluster.local" {
        return None;
    }
    let mut token_rules = Vec::new();
    let mut deny = Map::new();
    let mut allow = Map::new();
    for (number, policy) in set.policies.iter().enumerate() {
        let known = ["metadata", "apiVersion", "kind", "spec"];
        let spec = known_fields(&policy["spec"], &["action", "rules", "jwtRules"])?;
        known_fields(policy, &known)?;
        known_fields(&policy["metadata"], &["name", "namespace"])?;
        if policy["metadata"]["namespace"] != "foo" {
            return None;
        }
        match policy["kind"].as_str()? {
            "RequestAuthentication" => token_rules.extend(spec.get("jwtRules")?.as_array()?),
            "AuthorizationPolicy" => {
                let policies = match spec.get("action").and_then(Value::as_str) {
                    None | Some("ALLOW") => &mut allow,
                    Some("DENY") => &mut deny,
                    Some(_) => return None,
                };
                for (at, rule) in spec.get("rules")?.as_array()?.iter().enumerate() {
                    policies.insert(format!("{number}.{at}"), policy_from(rule)?);
                }
            }
            _ => return None,
        }
    }
    let mut filters = Vec::new();
    if !token_rules.is_empty() {
        filters.push(jwt_authn(token_rules)?);
    }
    for (action, policies) in [("DENY", deny), ("ALLOW", allow)] {
        if !policies.is_empty() {
            let fields = json!({"rules": {"action": action, "policies": policies}});
            filters.push(filter("rbac", "rbac.v3.RBAC", fields));
        }
    }
    (!filters.is_empty()).then_some(filters)
}

/// One provider for each rule: a token of any of them, or of each that finds one.
fn jwt_authn(mut rules: Vec<&Value>) -> Option<Value> {
    rules.sort_by_key(|rule| rule["issuer"].as_str());
    let mut providers = Map::new();
    let mut any = Vec::new();
    let mut all = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let name = format!("rule-{number}");
        let named = json!({ "provider_name": name });
        all.push(json!({"requires_any": {"requirements": [named, {"allow_missing": {}}]}}));
        any.push(named);
        providers.insert(name, provider(rule)?);
    }
    let requires = if all.len() == 1 {
        all.remove(0)
    } else {
        any.push(json!({"requires_all": {"requirements": all}}));
        json!({"requires_any": {"requirements": any}})
    };
    let fields = json!({
        "providers": providers,
        "rules": [{"match": {"prefix": "/"}, "requires": requires}],
        "bypass_cors_preflight": true,
    });
    Some(filter("jwt_authn", "jwt_authn.v3.JwtAuthentication", fields))
}

fn provider(rule: &Value) -> Option<Value> {
    let known = [
        "issuer",
        "audiences",
        "jwks",
        "jwksUri",
        "forwardOriginalToken",
        "outputPayloadToHeader",
        "outputClaimToHeaders",
        "fromHeaders",
        "fromParams",
        "fromCookies",
        "spaceDelimitedClaims",
    ];
    let rule = known_fields(rule, &known)?;
    let list = |name| rule.get(name).and_then(Value::as_array).into_iter().flatten();
    let mut space_delimited = vec![json!("scope"), json!("permission")];
    space_delimited.extend(list("spaceDelimitedClaims").cloned());
    let mut provider = json!({
        "issuer": rule.get("issuer")?,
        "local_jwks": {"inline_string": rule.get("jwks")?},
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": space_delimited},
        "forward": rule.get("forwardOriginalToken").is_some_and(|v| v == true),
    });
    let same = [
        ("audiences", "audiences"),
        ("outputPayloadToHeader", "forward_payload_header"),
        ("fromParams", "from_params"),
        ("fromCookies", "from_cookies"),
    ];
    for (field, envoy_field) in same {
        if let Some(value) = rule.get(field) {
            provider[envoy_field] = value.clone();
        }
    }
    let outputs = list("outputClaimToHeaders");
    provider["claim_to_headers"] =
        outputs.map(|o| json!({"header_name": o["header"], "claim_name": o["claim"]})).collect();
    let headers = list("fromHeaders");
    provider["from_headers"] = headers
        .map(|h| json!({"name": h["name"], "value_prefix": h.get("prefix").unwrap_or(&json!(""))}))
        .collect();
    Some(provider)
}

fn policy_from(rule: &Value) -> Option<Value> {
    known_fields(rule, &["from", "to", "when"])?;
    let mut identities = Vec::new();
    let mut operations = Vec::new();
    for condition in rule.get("when").and_then(Value::as_array).into_iter().flatten() {
        let fields = known_fields(condition, &["key", "values", "notValues"])?;
        let key = fields.get("key")?.as_str()?;
        let header = key.strip_prefix("request.headers[").and_then(|k| k.strip_suffix(']'));
        let values = |field| fields.get(field).map(|v| v.as_array().unwrap().as_slice());
        for (field, negated) in [("values", false), ("notValues", true)] {
            let Some(values) = values(field) else { continue };
            if let Some(name) = header {
                identities.push(any("ids", values, negated, |v| header_is(name, v, false))?);
            } else if let Some(claims) = key.strip_prefix("request.auth.claims[") {
                let path: Vec<_> = claims.strip_suffix(']')?.split("][").collect();
                identities.push(any("ids", values, negated, |v| claim_is(&path, v, true))?);
            } else if key == "connection.sni" {
                let sni = |v: &str| Some(json!({"requested_server_name": string_is(v, "")?}));
                operations.push(any("rules", values, negated, sni)?);
            } else {
                return None;
            }
        }
    }
    let sources = lists(rule.get("from"), "source", |field, negated, values| match field {
        "principals" => any("ids", values, negated, |v| {
            Some(json!({"authenticated": {"principal_name": string_is(v, "spiffe://")?}}))
        }),
        "namespaces" => any("ids", values, negated, |namespace| {
            let plain = namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            let regex = format!(".*/ns/{namespace}/.*");
            let name = json!({"safe_regex": {"regex": regex}});
            plain.then(|| json!({"authenticated": {"principal_name": name}}))
        }),
        "requestPrincipals" => any("ids", values, negated, request_principal_is),
        "ipBlocks" => any("ids", values, negated, |v| Some(json!({"direct_remote_ip": cidr(v)?}))),
        "remoteIpBlocks" => any("ids", values, negated, |v| Some(json!({"remote_ip": cidr(v)?}))),
        _ => None,
    })?;
    let targets = lists(rule.get("to"), "operation", |field, negated, values| match field {
        "paths" => any("rules", values, negated, |v| {
            Some(json!({"url_path": {"path": string_is(v, "")?}}))
        }),
        "methods" => any("rules", values, negated, |v| header_is(":method", v, false)),
        "hosts" => any("rules", values, negated, |v| header_is(":authority", v, true)),
        "ports" => any("rules", values, negated, |v| {
            Some(json!({"destination_port": v.parse::<u16>().ok()?}))
        }),
        _ => None,
    })?;
    let with = |kind: &str, sets: Vec<Vec<Value>>, more: &[Value]| -> Vec<Value> {
        let join = |mut all: Vec<Value>| {
            all.extend(more.iter().cloned());
            if all.is_empty() {
                json!({"any": true})
            } else {
                json!({ format!("and_{kind}"): {kind: all} })
            }
        };
        if sets.is_empty() { vec![join(Vec::new())] } else { sets.into_iter().map(join).collect() }
    };
    Some(json!({
        "principals": with("ids", sources, &identities),
        "permissions": with("rules", targets, &operations),
    }))
}

/// The conditions of each entry of `from` or `to`.
fn lists(
    entries: Option<&Value>,
    inner: &str,
    matcher: impl Fn(&str, bool, &[Value]) -> Option<Value>,
) -> Option<Vec<Vec<Value>>> {
    let mut sets = Vec::new();
    for entry in entries.and_then(Value::as_array).into_iter().flatten() {
        let mut all = Vec::new();
        for (name, values) in entry.get(inner)?.as_object()? {
            let plain = name.strip_prefix("not").map(|rest| rest[..1].to_lowercase() + &rest[1..]);
            let values = values.as_array()?;
            all.push(matcher(plain.as_deref().unwrap_or(name), plain.is_some(), values)?);
        }
        sets.push(all);
    }
    Some(sets)
}

fn any(
    kind: &str,
    values: &[Value],
    negated: bool,
    matcher: impl Fn(&str) -> Option<Value>,
) -> Option<Value> {
    let values: Option<Vec<_>> = values.iter().map(|v| matcher(v.as_str()?)).collect();
    let or = json!({ format!("or_{kind}"): {kind: values?} });
    let not = if kind == "ids" { "not_id" } else { "not_rule" };
    Some(if negated { json!({ not: or }) } else { or })
}

/// Issuer and subject, told apart by the last slash; stars in one of them are not known here.
fn request_principal_is(pattern: &str) -> Option<Value> {
    let (issuer, subject) = match pattern.rsplit_once('/') {
        _ if pattern == "*" => ("*", "*"),
        Some((issuer, subject)) if !issuer.contains('*') => (issuer, subject),
        Some(_) => return None,
        None if pattern.contains('*') => return None,
        None => (pattern, ""),
    };
    let both = [claim_is(&["iss"], issuer, false)?, claim_is(&["sub"], subject, false)?];
    Some(json!({"and_ids": {"ids": both}}))
}

/// A claim that is such a string or, where lists count, a list with one.
fn claim_is(path: &[&str], pattern: &str, lists: bool) -> Option<Value> {
    let string = json!({"string_match": string_is(pattern, "")?});
    let value = if lists {
        json!({"or_match": {"value_matchers": [{"list_match": {"one_of": string}}, string]}})
    } else {
        string
    };
    let keys = ["payload"].iter().chain(path).map(|key| json!({ "key": key }));
    Some(json!({"metadata": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": keys.collect::<Vec<_>>(),
        "value": value,
    }}))
}

fn header_is(name: &str, value: &str, ignore_case: bool) -> Option<Value> {
    if value == "*" {
        return Some(json!({"header": {"name": name, "present_match": true}}));
    }
    let mut matcher = string_is(value, "")?;
    matcher["ignore_case"] = ignore_case.into();
    Some(json!({"header": {"name": name, "string_match": matcher}}))
}

/// A pattern with its stars; templates are not known here.
fn string_is(pattern: &str, start: &str) -> Option<Value> {
    if pattern.contains('{') {
        return None;
    }
    let matcher = if pattern == "*" {
        json!({"safe_regex": {"regex": ".+"}})
    } else if let Some(end) = pattern.strip_prefix('*') {
        if start.is_empty() {
            json!({ "suffix": end })
        } else if end.chars().all(|c| c.is_ascii_alphanumeric() || c == '/') {
            json!({"safe_regex": {"regex": format!("{start}.*{end}")}})
        } else {
            return None;
        }
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        json!({"prefix": format!("{start}{prefix}")})
    } else {
        json!({"exact": format!("{start}{pattern}")})
    };
    Some(matcher)
}

fn cidr(text: &str) -> Option<Value> {
    let (address, length) = text.split_once('/').unwrap_or((text, "32"));
    Some(json!({"address_prefix": address, "prefix_len": length.parse::<u32>().ok()?}))
}

/// The map, if it has no other fields.
fn known_fields<'v>(value: &'v Value, known: &[&str]) -> Option<&'v Map<String, Value>> {
    let map = value.as_object()?;
    map.keys().all(|key| known.contains(&key.as_str())).then_some(map)
}
