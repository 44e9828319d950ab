//! RequestAuthentications as one `jwt_authn` filter.

use serde_json::{Map, Value, json};

/// All token rules that hold, by issuer: a token of any of them, or of each that finds one.
pub(super) fn filter(resources: &[&Value], fetch: &dyn Fn(&str) -> String) -> Option<Value> {
    let mut rules: Vec<&Value> =
        resources.iter().flat_map(|r| r["spec"]["jwtRules"].as_array()).flatten().collect();
    rules.sort_by_key(|rule| rule["issuer"].as_str().unwrap_or_default());

    let mut providers = Map::new();
    let mut any = Vec::new();
    let mut all = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let name = format!("origins-{number}");
        let named = json!({ "provider_name": name });
        all.push(json!({"requires_any": {"requirements": [named, {"allow_missing": {}}]}}));
        any.push(named);
        providers.insert(name, provider(rule, fetch));
    }
    let requires = match all.len() {
        0 => return None,
        1 => all.remove(0),
        _ => {
            any.push(json!({"requires_all": {"requirements": all}}));
            json!({"requires_any": {"requirements": any}})
        }
    };
    Some(json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{"match": {"prefix": "/"}, "requires": requires}],
            "bypass_cors_preflight": true,
        },
    }))
}

fn provider(rule: &Value, fetch: &dyn Fn(&str) -> String) -> Value {
    let list = |name: &str| rule[name].as_array().cloned().unwrap_or_default();
    let mut space_delimited = list("spaceDelimitedClaims");
    for always in ["permission", "scope"] {
        if !space_delimited.iter().any(|claim| claim == always) {
            space_delimited.push(always.into());
        }
    }
    let from_headers: Vec<_> = list("fromHeaders")
        .iter()
        .map(|h| json!({"name": h["name"], "value_prefix": h["prefix"].as_str().unwrap_or("")}))
        .collect();
    let claims: Vec<_> = list("outputClaimToHeaders")
        .iter()
        .map(|o| json!({"header_name": o["header"], "claim_name": o["claim"]}))
        .collect();
    json!({
        "issuer": rule["issuer"].as_str().unwrap_or_default(),
        "audiences": list("audiences"),
        "local_jwks": {"inline_string": key_set(rule, fetch)},
        "forward": rule["forwardOriginalToken"] == true,
        "from_headers": from_headers,
        "from_params": list("fromParams"),
        "from_cookies": list("fromCookies"),
        "forward_payload_header": rule["outputPayloadToHeader"].as_str().unwrap_or_default(),
        "claim_to_headers": claims,
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": space_delimited},
    })
}

fn key_set(rule: &Value, fetch: &dyn Fn(&str) -> String) -> String {
    let field = |name: &str| rule[name].as_str().filter(|text| !text.is_empty());
    let inline = field("jwks").map(str::to_owned);
    inline
        .unwrap_or_else(|| fetch(field("jwksUri").or_else(|| field("issuer")).unwrap_or_default()))
}
