//! The simplest sets as configuration of Envoy's own filters: one token rule with inline keys, and
//! nothing else. Enough to see that the harness makes the tokens that the recordings were made with.

use serde_json::{Value, json};

use crate::{cases::Set, envoy_config::filter};

/// `jwt_authn` as Istio configures it for the set; `None` where the set says more than it can.
pub(crate) fn filters(set: &Set) -> Option<Vec<Value>> {
    let [policy] = set.policies.as_slice() else { return None };
    if policy["kind"] != "RequestAuthentication" || policy["spec"].get("selector").is_some() {
        return None;
    }
    let [rule] = policy["spec"]["jwtRules"].as_array()?.as_slice() else { return None };
    let fields = rule.as_object()?;
    let known = [
        "issuer",
        "audiences",
        "jwks",
        "jwksUri",
        "forwardOriginalToken",
        "outputPayloadToHeader",
        "outputClaimToHeaders",
    ];
    if !fields.keys().all(|key| known.contains(&key.as_str())) {
        return None;
    }
    let mut provider = json!({
        "issuer": rule["issuer"],
        "local_jwks": {"inline_string": rule.get("jwks")?},
        "payload_in_metadata": "payload",
        "forward": rule.get("forwardOriginalToken").is_some_and(|v| v == true),
    });
    if let Some(audiences) = rule.get("audiences") {
        provider["audiences"] = audiences.clone();
    }
    if let Some(header) = rule.get("outputPayloadToHeader") {
        provider["forward_payload_header"] = header.clone();
    }
    if let Some(outputs) = rule.get("outputClaimToHeaders").and_then(Value::as_array) {
        let outputs: Vec<_> = outputs
            .iter()
            .map(|o| json!({"header_name": o["header"], "claim_name": o["claim"]}))
            .collect();
        provider["claim_to_headers"] = outputs.into();
    }
    let requires = json!({
        "requires_any": {"requirements": [{"provider_name": "p"}, {"allow_missing": {}}]},
    });
    let fields = json!({
        "providers": {"p": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": requires}],
        "bypass_cors_preflight": true,
    });
    Some(vec![filter("jwt_authn", "jwt_authn.v3.JwtAuthentication", fields)])
}
