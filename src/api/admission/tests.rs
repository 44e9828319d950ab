use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn target(resource: ResourceType, version: &'static str) -> Target<'static> {
    Target { resource, version, namespace: Some("shop"), name: Some("p") }
}

const AP: ResourceType = ResourceType::AUTHORIZATION_POLICY;
const RA: ResourceType = ResourceType::REQUEST_AUTHENTICATION;
const PA: ResourceType = ResourceType::PEER_AUTHENTICATION;

fn object(resource: ResourceType, version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": resource.api_version(version),
        "kind": resource.kind,
        "metadata": { "name": "p", "namespace": "shop" },
        "spec": spec,
    })
}

/// A create.
fn submit(
    resource: ResourceType,
    version: &'static str,
    spec: &Value,
) -> Result<Vec<String>, ApiError> {
    let mut new = object(resource, version, spec);
    let Pruned { unknown, mut warnings } = prune(resource, &mut new);
    assert_eq!(unknown, [] as [&str; 0]);
    warnings.extend(admit(target(resource, version), Endpoint::Main, None, &new)?);
    Ok(warnings)
}

/// The causes of a refusal: reason, field, message.
fn causes(error: &ApiError) -> Vec<(String, String, String)> {
    assert_eq!(error.code(), 422, "{error}");
    let status = error.to_json();
    assert_eq!(status["details"]["name"], "p");
    assert_eq!(status["details"]["group"], "security.istio.io");
    let text = |cause: &Value, name: &str| cause[name].as_str().unwrap_or_default().to_owned();
    let causes = status["details"]["causes"].as_array().unwrap();
    causes.iter().map(|it| (text(it, "reason"), text(it, "field"), text(it, "message"))).collect()
}

fn refused(resource: ResourceType, spec: &Value) -> Vec<(String, String, String)> {
    let v1 = causes(&submit(resource, "v1", spec).unwrap_err());
    assert_eq!(v1, causes(&submit(resource, "v1beta1", spec).unwrap_err()));
    v1
}

fn long(count: usize) -> String {
    "x".repeat(count)
}

fn labels(count: usize) -> Value {
    (0..count).map(|n| (format!("l{n}"), json!("v"))).collect()
}

fn service(name: &str) -> Value {
    json!({ "kind": "Service", "name": name })
}

fn source(source: &Value) -> Value {
    json!({ "rules": [{ "from": [{ "source": source }] }] })
}

fn operation(operation: &Value) -> Value {
    json!({ "rules": [{ "to": [{ "operation": operation }] }] })
}

fn jwt(rule: &Value) -> Value {
    json!({ "jwtRules": [rule] })
}

#[test]
fn the_answer_is_that_of_kubernetes() {
    let error = submit(AP, "v1", &json!({ "action": "BLOCK" })).unwrap_err();
    let expected = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "AuthorizationPolicy.security.istio.io \"p\" is invalid: [spec.action: Unsupported \
                    value: \"BLOCK\": supported values: \"ALLOW\", \"DENY\", \"AUDIT\", \"CUSTOM\", \
                    <nil>: Invalid value: \"null\": some validation rules were not checked because \
                    the object was invalid; correct the existing errors to complete validation]",
        "reason": "Invalid",
        "details": {
            "name": "p",
            "group": "security.istio.io",
            "kind": "AuthorizationPolicy",
            "causes": [
                {
                    "reason": "FieldValueNotSupported",
                    "message": "Unsupported value: \"BLOCK\": supported values: \"ALLOW\", \"DENY\", \
                                \"AUDIT\", \"CUSTOM\"",
                    "field": "spec.action",
                },
                {
                    "reason": "FieldValueInvalid",
                    "message": "Invalid value: \"null\": some validation rules were not checked \
                                because the object was invalid; correct the existing errors to \
                                complete validation",
                    "field": "<nil>",
                },
            ],
        },
        "code": 422,
    });
    assert_eq!(error.to_json(), expected);
}

/// Structure: every keyword that the schemas have. All of these keep rules from being checked.
#[rstest]
#[case::type_of_spec(AP, json!("x"), "TypeInvalid", "spec",
    "Invalid value: \"string\": spec in body must be of type object: \"string\"")]
#[case::integer_for_string(AP, operation(&json!({ "ports": [80] })), "TypeInvalid",
    "spec.rules[0].to[0].operation.ports[0]",
    "Invalid value: \"integer\": spec.rules[0].to[0].operation.ports[0] in body must be of type string: \"integer\"")]
#[case::number_for_string(AP, operation(&json!({ "hosts": [1.5] })), "TypeInvalid",
    "spec.rules[0].to[0].operation.hosts[0]",
    "Invalid value: \"number\": spec.rules[0].to[0].operation.hosts[0] in body must be of type string: \"number\"")]
#[case::string_for_list(AP, operation(&json!({ "methods": "GET" })), "TypeInvalid",
    "spec.rules[0].to[0].operation.methods",
    "Invalid value: \"string\": spec.rules[0].to[0].operation.methods in body must be of type array: \"string\"")]
#[case::null_item(AP, json!({ "rules": [null] }), "TypeInvalid", "spec.rules[0]",
    "Invalid value: \"null\": spec.rules[0] in body must be of type object: \"null\"")]
#[case::header_as_text(RA, jwt(&json!({ "issuer": "i", "fromHeaders": ["x-jwt"] })), "TypeInvalid",
    "spec.jwtRules[0].fromHeaders[0]",
    "Invalid value: \"string\": spec.jwtRules[0].fromHeaders[0] in body must be of type object: \"string\"")]
#[case::text_for_boolean(RA, jwt(&json!({ "issuer": "i", "forwardOriginalToken": "true" })),
    "TypeInvalid", "spec.jwtRules[0].forwardOriginalToken",
    "Invalid value: \"string\": spec.jwtRules[0].forwardOriginalToken in body must be of type boolean: \"string\"")]
#[case::label_value(PA, json!({ "selector": { "matchLabels": { "app": true } } }), "TypeInvalid",
    "spec.selector.matchLabels.app",
    "Invalid value: \"boolean\": spec.selector.matchLabels.app in body must be of type string: \"boolean\"")]
#[case::list_for_map(PA, json!({ "portLevelMtls": [] }), "TypeInvalid", "spec.portLevelMtls",
    "Invalid value: \"array\": spec.portLevelMtls in body must be of type object: \"array\"")]
#[case::mode(PA, json!({ "mtls": { "mode": "strict" } }), "NotSupported", "spec.mtls.mode",
    "Unsupported value: \"strict\": supported values: \"UNSET\", \"DISABLE\", \"PERMISSIVE\", \"STRICT\"")]
#[case::mode_of_port(PA, json!({ "portLevelMtls": { "80": { "mode": "MAYBE" } } }), "NotSupported",
    "spec.portLevelMtls.80.mode",
    "Unsupported value: \"MAYBE\": supported values: \"UNSET\", \"DISABLE\", \"PERMISSIVE\", \"STRICT\"")]
#[case::key(AP, json!({ "rules": [{ "when": [{ "values": ["a"] }] }] }), "Required",
    "spec.rules[0].when[0].key", "Required value")]
#[case::header_name(RA, jwt(&json!({ "issuer": "i", "fromHeaders": [{ "prefix": "a" }] })),
    "Required", "spec.jwtRules[0].fromHeaders[0].name", "Required value")]
#[case::claim(RA, jwt(&json!({ "issuer": "i", "outputClaimToHeaders": [{ "header": "a" }] })),
    "Required", "spec.jwtRules[0].outputClaimToHeaders[0].claim", "Required value")]
#[case::target_kind(AP, json!({ "targetRefs": [{ "name": "a" }] }), "Required",
    "spec.targetRefs[0].kind", "Required value")]
#[case::target_name(RA, json!({ "targetRef": { "kind": "Service" } }), "Required",
    "spec.targetRef.name", "Required value")]
#[case::label_too_long(PA, json!({ "selector": { "matchLabels": { "app": long(64) } } }), "TooLong",
    "spec.selector.matchLabels.app", "Too long: may not be more than 63 bytes")]
#[case::uri_too_long(RA, jwt(&json!({ "issuer": "i", "jwksUri": format!("https://i/{}", long(2039)) })),
    "TooLong", "spec.jwtRules[0].jwksUri", "Too long: may not be more than 2048 bytes")]
#[case::account_too_long(AP, source(&json!({ "serviceAccounts": [long(321)] })), "TooLong",
    "spec.rules[0].from[0].source.serviceAccounts[0]", "Too long: may not be more than 320 bytes")]
#[case::target_name_too_long(AP, json!({ "targetRefs": [service(&long(254))] }), "TooLong",
    "spec.targetRefs[0].name", "Too long: may not be more than 253 bytes")]
#[case::rules(AP, json!({ "rules": vec![json!({}); 513] }), "TooMany", "spec.rules",
    "Too many: 513: must have at most 512 items")]
#[case::from(AP, json!({ "rules": [{ "from": vec![json!({ "source": { "namespaces": ["a"] } }); 513] }] }),
    "TooMany", "spec.rules[0].from", "Too many: 513: must have at most 512 items")]
#[case::targets(AP, json!({ "targetRefs": vec![service("a"); 17] }), "TooMany", "spec.targetRefs",
    "Too many: 17: must have at most 16 items")]
#[case::accounts(AP, source(&json!({ "serviceAccounts": vec!["a"; 17] })), "TooMany",
    "spec.rules[0].from[0].source.serviceAccounts", "Too many: 17: must have at most 16 items")]
#[case::labels(AP, json!({ "selector": { "matchLabels": labels(4097) } }), "TooMany",
    "spec.selector.matchLabels", "Too many: 4097: must have at most 4096 items")]
#[case::jwt_rules(RA, json!({ "jwtRules": vec![json!({ "issuer": "i" }); 4097] }), "TooMany",
    "spec.jwtRules", "Too many: 4097: must have at most 4096 items")]
#[case::space_delimited(RA, jwt(&json!({ "issuer": "i", "spaceDelimitedClaims": vec!["a"; 65] })),
    "TooMany", "spec.jwtRules[0].spaceDelimitedClaims", "Too many: 65: must have at most 64 items")]
fn structure_that_blocks_rules(
    #[case] resource: ResourceType,
    #[case] spec: Value,
    #[case] reason: &str,
    #[case] field: &str,
    #[case] message: &str,
) {
    let found = refused(resource, &spec);
    let expected = (format!("FieldValue{reason}"), field.to_owned(), message.to_owned());
    assert_eq!(found.first(), Some(&expected), "{found:#?}");
    assert_eq!(found.last().unwrap().1, "<nil>");
    assert_eq!(found.len(), 2, "{found:#?}");
}

/// Structure: what does not keep rules from being checked.
#[rstest]
#[case(RA, jwt(&json!({ "issuer": "" })), "spec.jwtRules[0].issuer",
    "Invalid value: \"\": spec.jwtRules[0].issuer in body should be at least 1 chars long")]
#[case(RA, jwt(&json!({ "issuer": "i", "audiences": [""] })), "spec.jwtRules[0].audiences[0]",
    "Invalid value: \"\": spec.jwtRules[0].audiences[0] in body should be at least 1 chars long")]
#[case(RA, jwt(&json!({ "issuer": "i", "fromParams": [""] })), "spec.jwtRules[0].fromParams[0]",
    "Invalid value: \"\": spec.jwtRules[0].fromParams[0] in body should be at least 1 chars long")]
#[case(RA, jwt(&json!({ "issuer": "i", "fromCookies": [""] })), "spec.jwtRules[0].fromCookies[0]",
    "Invalid value: \"\": spec.jwtRules[0].fromCookies[0] in body should be at least 1 chars long")]
#[case(RA, jwt(&json!({ "issuer": "i", "fromHeaders": [{ "name": "" }] })),
    "spec.jwtRules[0].fromHeaders[0].name",
    "Invalid value: \"\": spec.jwtRules[0].fromHeaders[0].name in body should be at least 1 chars long")]
#[case(RA, jwt(&json!({ "issuer": "i", "outputClaimToHeaders": [{ "header": "a b", "claim": "c" }] })),
    "spec.jwtRules[0].outputClaimToHeaders[0].header",
    "Invalid value: \"a b\": spec.jwtRules[0].outputClaimToHeaders[0].header in body should match '^[-_A-Za-z0-9]+$'")]
#[case(AP, json!({ "targetRef": { "group": "Apps!", "kind": "Service", "name": "a" } }),
    "spec.targetRef.group",
    "Invalid value: \"Apps!\": spec.targetRef.group in body should match '^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'")]
#[case(AP, json!({ "targetRef": { "kind": "9", "name": "a" } }), "spec.targetRef.kind",
    "Invalid value: \"9\": spec.targetRef.kind in body should match '^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$'")]
#[case(PA, json!({ "selector": { "matchLabels": { "a": "b" } }, "portLevelMtls": {} }), "spec.portLevelMtls",
    "Invalid value: 0: spec.portLevelMtls in body should have at least 1 properties")]
fn structure_that_does_not(
    #[case] resource: ResourceType,
    #[case] spec: Value,
    #[case] field: &str,
    #[case] message: &str,
) {
    let expected = ("FieldValueInvalid".to_owned(), field.to_owned(), message.to_owned());
    assert_eq!(refused(resource, &spec), [expected]);
}

/// Every rule of the CRDs. Their value is the name of its type, as Kubernetes 1.32 has it.
#[rstest]
#[case::two_attachments(AP, json!({ "selector": { "matchLabels": { "a": "b" } }, "targetRefs": [service("s")] }),
    "spec", "object", "only one of `selector`, `targetRef` and `targetRefs` can be set")]
#[case::even_an_empty_one(RA, json!({ "targetRef": service("s"), "targetRefs": [] }),
    "spec", "object", "only one of `selector`, `targetRef` and `targetRefs` can be set")]
#[case::other_namespace(AP, json!({ "targetRefs": [{ "kind": "Service", "name": "s", "namespace": "x" }] }),
    "spec.targetRefs[0].namespace", "string",
    "a target is in the namespace of the policy, leave `namespace` out")]
#[case::star_in_value(PA, json!({ "selector": { "matchLabels": { "a.b/c": "x*" } } }),
    "spec.selector.matchLabels[a.b/c]", "string",
    "the value of a label is matched exactly, it cannot have a `*`")]
#[case::star_in_key(PA, json!({ "selector": { "matchLabels": { "a*": "x" } } }),
    "spec.selector.matchLabels", "object",
    "the name of a label is matched exactly, it cannot have a `*`")]
#[case::empty_key(PA, json!({ "selector": { "matchLabels": { "": "x" } } }),
    "spec.selector.matchLabels", "object", "a label needs a name")]
#[case::accounts_and_principals(AP, source(&json!({ "serviceAccounts": ["a"], "notPrincipals": ["b"] })),
    "spec.rules[0].from[0].source", "object",
    "`serviceAccounts` cannot stand beside `principals` or `namespaces`")]
#[case::ports_without_selector(PA, json!({ "portLevelMtls": { "80": {} } }), "spec", "object",
    "`portLevelMtls` needs a `selector` with labels")]
#[case::port_too_high(PA, json!({ "selector": { "matchLabels": { "a": "b" } }, "portLevelMtls": { "65536": {} } }),
    "spec.portLevelMtls", "object", "a port is a number from 1 to 65535")]
#[case::jwks_and_uri(RA, jwt(&json!({ "issuer": "i", "jwks": "{\"keys\":[]}", "jwksUri": "https://i/k" })),
    "spec.jwtRules[0]", "object", "only one of `jwks` and `jwksUri` can be set")]
#[case::jwks_and_other_uri(RA, jwt(&json!({ "issuer": "i", "jwks": "{\"keys\":[]}", "jwks_uri": "https://i/k" })),
    "spec.jwtRules[0]", "object", "only one of `jwks` and `jwksUri` can be set")]
#[case::both_uris(RA, jwt(&json!({ "issuer": "i", "jwksUri": "https://i/k", "jwks_uri": "https://i/k" })),
    "spec.jwtRules[0]", "object", "only one of `jwks` and `jwksUri` can be set")]
#[case::scheme(RA, jwt(&json!({ "issuer": "i", "jwksUri": "ftp://i/k" })),
    "spec.jwtRules[0].jwksUri", "string", "a URL with the scheme `http` or `https` is needed")]
#[case::scheme_of_other_uri(RA, jwt(&json!({ "issuer": "i", "jwks_uri": "file:///k" })),
    "spec.jwtRules[0].jwks_uri", "string", "a URL with the scheme `http` or `https` is needed")]
#[case::timeout(RA, jwt(&json!({ "issuer": "i", "timeout": "0.5ms" })),
    "spec.jwtRules[0].timeout", "string", "a duration of 1ms at least is needed")]
fn rules(
    #[case] resource: ResourceType,
    #[case] spec: Value,
    #[case] field: &str,
    #[case] value: &str,
    #[case] why: &str,
) {
    let message = format!("Invalid value: \"{value}\": {why}");
    let expected = ("FieldValueInvalid".to_owned(), field.to_owned(), message);
    assert_eq!(refused(resource, &spec), [expected]);
}

#[test]
fn a_rule_that_cannot_be_evaluated_does_not_hold() {
    let spec =
        json!({ "selector": { "matchLabels": { "a": "b" } }, "portLevelMtls": { "http": {} } });
    let found = refused(PA, &spec);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, "spec.portLevelMtls");
    assert!(
        found[0].2.ends_with(" evaluating rule: a port is a number from 1 to 65535"),
        "{found:?}"
    );
    let spec = jwt(&json!({ "issuer": "i", "timeout": "soon" }));
    let found = refused(RA, &spec);
    assert_eq!((found.len(), found[0].1.as_str()), (1, "spec.jwtRules[0].timeout"));
}

/// Istio's webhook: what the schemas do not say. The code is that of `postern check`.
#[rstest]
#[case::custom_without_rules(AP, json!({ "action": "CUSTOM", "provider": { "name": "p" } }), "spec", "0206")]
#[case::deny_without_rules(AP, json!({ "action": "DENY" }), "spec", "0206")]
#[case::custom_without_provider(AP, json!({ "action": "CUSTOM", "rules": [{}] }), "spec", "0207")]
#[case::custom_without_name(AP, json!({ "action": "CUSTOM", "provider": { "name": "" }, "rules": [{}] }),
    "spec.provider", "0207")]
#[case::provider_of_deny(AP, json!({ "action": "DENY", "provider": { "name": "p" }, "rules": [{}] }),
    "spec.provider", "0207")]
#[case::empty_from(AP, json!({ "rules": [{ "from": [] }] }), "spec.rules[0].from", "0209")]
#[case::null_source(AP, json!({ "rules": [{ "from": [{ "source": null }] }] }), "spec.rules[0].from[0]", "0209")]
#[case::empty_source(AP, source(&json!({ "namespaces": [] })), "spec.rules[0].from[0].source", "0209")]
#[case::empty_principal(AP, source(&json!({ "principals": [""] })), "spec.rules[0].from[0].source.principals[0]", "0205")]
#[case::empty_request_principal(AP, source(&json!({ "notRequestPrincipals": [""] })),
    "spec.rules[0].from[0].source.notRequestPrincipals[0]", "0205")]
#[case::empty_namespace(AP, source(&json!({ "namespaces": [""] })), "spec.rules[0].from[0].source.namespaces[0]", "0205")]
#[case::ip_block(AP, source(&json!({ "ipBlocks": ["10.0.0.0/33"] })), "spec.rules[0].from[0].source.ipBlocks[0]", "0107")]
#[case::remote_ip_block(AP, source(&json!({ "notRemoteIpBlocks": ["x"] })),
    "spec.rules[0].from[0].source.notRemoteIpBlocks[0]", "0107")]
#[case::account_star(AP, source(&json!({ "serviceAccounts": ["a/*"] })), "spec.rules[0].from[0].source.serviceAccounts[0]", "0210")]
#[case::account_slashes(AP, source(&json!({ "serviceAccounts": ["a/b/c"] })), "spec.rules[0].from[0].source.serviceAccounts[0]", "0210")]
#[case::account_half(AP, source(&json!({ "notServiceAccounts": ["a/"] })), "spec.rules[0].from[0].source.notServiceAccounts[0]", "0210")]
#[case::trust_domain(AP, source(&json!({ "trustDomains": ["a*b"] })), "spec.rules[0].from[0].source.trustDomains[0]", "0212")]
#[case::trust_domain_slash(AP, source(&json!({ "notTrustDomains": ["a/b"] })), "spec.rules[0].from[0].source.notTrustDomains[0]", "0212")]
#[case::empty_to(AP, json!({ "rules": [{ "to": [] }] }), "spec.rules[0].to", "0209")]
#[case::empty_operation(AP, operation(&json!({})), "spec.rules[0].to[0].operation", "0209")]
#[case::empty_host(AP, operation(&json!({ "hosts": [""] })), "spec.rules[0].to[0].operation.hosts[0]", "0205")]
#[case::empty_method(AP, operation(&json!({ "notMethods": [""] })), "spec.rules[0].to[0].operation.notMethods[0]", "0205")]
#[case::port(AP, operation(&json!({ "ports": ["65536"] })), "spec.rules[0].to[0].operation.ports[0]", "0108")]
#[case::port_name(AP, operation(&json!({ "notPorts": ["http"] })), "spec.rules[0].to[0].operation.notPorts[0]", "0108")]
#[case::template(AP, operation(&json!({ "paths": ["/a/{x}"] })), "spec.rules[0].to[0].operation.paths[0]", "0213")]
#[case::template_end(AP, operation(&json!({ "paths": ["/{**}/{*}"] })), "spec.rules[0].to[0].operation.paths[0]", "0213")]
#[case::condition_key(AP, json!({ "rules": [{ "when": [{ "key": "destination.namespace", "values": ["a"] }] }] }),
    "spec.rules[0].when[0].key", "0109")]
#[case::condition_empty_key(AP, json!({ "rules": [{ "when": [{ "key": "request.headers[]", "values": ["a"] }] }] }),
    "spec.rules[0].when[0].key", "0109")]
#[case::no_values(AP, json!({ "rules": [{ "when": [{ "key": "source.ip" }] }] }), "spec.rules[0].when[0]", "0214")]
#[case::empty_value(AP, json!({ "rules": [{ "when": [{ "key": "source.namespace", "values": [""] }] }] }),
    "spec.rules[0].when[0].values[0]", "0205")]
#[case::custom_identity(AP, json!({
    "action": "CUSTOM", "provider": { "name": "p" },
    "rules": [{ "from": [{ "source": { "principals": ["a"] } }] }],
}), "spec.rules[0].from[0].source.principals", "0208")]
#[case::custom_claims(AP, json!({
    "action": "CUSTOM", "provider": { "name": "p" },
    "rules": [{ "when": [{ "key": "request.auth.claims[a]", "values": ["a"] }] }],
}), "spec.rules[0].when[0].key", "0208")]
#[case::target_kind(AP, json!({ "targetRefs": [{ "group": "apps", "kind": "Deployment", "name": "a" }] }),
    "spec.targetRefs[0].kind", "0203")]
#[case::no_issuer(RA, jwt(&json!({})), "spec.jwtRules[0]", "0217")]
#[case::jwks(RA, jwt(&json!({ "issuer": "i", "jwks": "{}" })), "spec.jwtRules[0].jwks", "0219")]
#[case::fraction_of_a_millisecond(RA, jwt(&json!({ "issuer": "i", "timeout": "1.5ms" })), "spec.jwtRules[0].timeout", "0222")]
fn webhook(
    #[case] resource: ResourceType,
    #[case] spec: Value,
    #[case] field: &str,
    #[case] code: &str,
) {
    let found = refused(resource, &spec);
    let hit = found.iter().find(|(_, at, _)| at == field);
    let (reason, _, message) = hit.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(reason, "FieldValueInvalid");
    assert!(message.contains(&format!("(PST{code})")), "{message}");
}

#[rstest]
#[case(AP, json!({ "istio.io/dry-run": "maybe" }), "metadata.annotations.istio.io/dry-run",
    "Invalid value: \"maybe\": `maybe` is not a boolean; the policy would be enforced (PST0215): write `\"true\"` or `\"false\"`")]
#[case(PA, json!({ "istio.io/dry-run": "true" }), "metadata.annotations.istio.io/dry-run",
    "Invalid value: \"true\": `istio.io/dry-run` is for AuthorizationPolicy only, not PeerAuthentication (PST0215): remove it")]
#[case(AP, json!({ "internal.istio.io/parents": "a" }), "metadata.annotations.internal.istio.io/parents",
    "Invalid value: \"a\": the annotation `internal.istio.io/parents` may not be set (PST0216): remove it")]
fn annotations(
    #[case] resource: ResourceType,
    #[case] set: Value,
    #[case] field: &str,
    #[case] message: &str,
) {
    let mut new = object(resource, "v1", &json!({}));
    new["metadata"]["annotations"] = set;
    let error = admit(target(resource, "v1"), Endpoint::Main, None, &new).unwrap_err();
    let expected = ("FieldValueInvalid".to_owned(), field.to_owned(), message.to_owned());
    assert_eq!(causes(&error), [expected]);
}

#[rstest]
#[case(AP, json!({}), &[])]
#[case(AP, json!({ "action": "AUDIT", "rules": [{}] }), &[])]
#[case(AP, json!({ "selector": {} }), &[
    "spec.selector: the selector has no labels and selects every workload of its namespace (PST0300)",
])]
#[case(AP, json!({ "action": "DENY", "rules": [{ "to": [{ "operation": { "methods": ["GET"] } }] }] }), &[
    "spec.rules[0]: this DENY rule uses HTTP attributes only, so it denies all plain TCP traffic (PST0301)",
])]
#[case(AP, json!({ "rules": [{ "from": null }] }), &["spec.rules[0].from: null, which counts as absent"])]
#[case(RA, jwt(&json!({ "issuer": "i", "jwks": "{\"keys\":[{\"kty\":\"oct\",\"k\":\"secret\"}]}" })), &[
    "spec.jwtRules[0].jwks: key 0 of `jwks` holds private or symmetric key material (PST0303)",
])]
#[case(RA, jwt(&json!({
    "issuer": "https://i", "jwks_uri": "http://i.istio-system.svc:8080/keys?a=b", "timeout": "1m0.5s",
    "fromHeaders": [{ "name": "x-jwt", "prefix": "Token " }], "fromCookies": ["c"],
})), &[])]
#[case(PA, json!({
    "selector": { "matchLabels": { "app.kubernetes.io/name": "web" } },
    "mtls": { "mode": "STRICT" }, "portLevelMtls": { "1": { "mode": "DISABLE" }, "65535": {} },
}), &[])]
fn taken(#[case] resource: ResourceType, #[case] spec: Value, #[case] warnings: &[&str]) {
    for version in schema::VERSIONS {
        assert_eq!(submit(resource, version, &spec).unwrap(), warnings);
    }
}

#[test]
fn keys_are_not_shown() {
    let secret = "{\"d\":\"secret\"}";
    for rule in [
        json!({ "issuer": "i", "jwks": secret }),
        json!({ "issuer": "i", "jwks": secret, "jwksUri": "https://i/k" }),
        json!({ "jwks": secret }),
    ] {
        let error = submit(RA, "v1", &jwt(&rule)).unwrap_err();
        assert!(!error.to_json().to_string().contains("secret"), "{error}");
    }
}

#[test]
fn what_the_kind_does_not_have_is_dropped() {
    let spec = json!({
        "acton": "DENY",
        "selector": { "matchLabels": { "a": null, "b": "c" }, "matchExpressions": [] },
        "rules": [{ "from": null, "to": [{ "operation": { "paths": ["/"], "path": "/" } }] }],
    });
    let mut new = object(AP, "v1", &spec);
    new["other"] = json!(1);
    let Pruned { unknown, warnings } = prune(AP, &mut new);
    let expected = [
        "other",
        "spec.acton",
        "spec.rules[0].to[0].operation.path",
        "spec.selector.matchExpressions",
    ];
    assert_eq!(unknown, expected);
    let expected = [
        "spec.selector.matchLabels.a: null, which counts as absent",
        "spec.rules[0].from: null, which counts as absent",
    ];
    assert_eq!(warnings, expected);
    let spec = json!({
        "selector": { "matchLabels": { "b": "c" } },
        "rules": [{ "to": [{ "operation": { "paths": ["/"] } }] }],
    });
    assert_eq!(new, object(AP, "v1", &spec));
    let mut namespace = json!({ "spec": { "finalizers": null } });
    assert_eq!(prune(ResourceType::NAMESPACE, &mut namespace), Pruned::default());
}

#[test]
fn what_an_update_leaves_alone_is_not_refused() {
    let bad = object(AP, "v1", &json!({ "action": "DENY" }));
    let mut labelled = bad.clone();
    labelled["metadata"]["labels"] = json!({ "a": "b" });
    let update = |old: &Value, new: &Value| admit(target(AP, "v1"), Endpoint::Main, Some(old), new);
    assert_eq!(update(&bad, &labelled).unwrap(), [] as [&str; 0]);
    labelled["metadata"]["annotations"] = json!({ "a": "b" });
    assert_eq!(update(&bad, &labelled).unwrap_err().code(), 422);
    let good = object(AP, "v1", &json!({}));
    assert_eq!(update(&good, &bad).unwrap_err().code(), 422);
}

#[test]
fn a_status_is_held_against_its_own_schema() {
    let old = object(AP, "v1", &json!({ "action": "DENY" }));
    let write = |status: &Value| {
        let mut new = old.clone();
        new["status"] = status.clone();
        admit(target(AP, "v1"), Endpoint::Status, Some(&old), &new)
    };
    let condition = json!({
        "type": "Accepted", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": "2", "other": {},
    });
    assert!(write(&json!({ "conditions": [condition], "observedGeneration": 2 })).is_ok());
    for (status, message) in [
        (
            json!({ "conditions": [{ "lastTransitionTime": "today" }] }),
            "Invalid value: \"today\": status.conditions[0].lastTransitionTime in body must be of type \
             date-time: \"today\"",
        ),
        (
            json!({ "observedGeneration": true }),
            "Invalid value: \"boolean\": status.observedGeneration in body must be of type \
             integer,string: \"boolean\"",
        ),
        (
            json!({ "validationMessages": [{ "level": "FATAL" }] }),
            "Unsupported value: \"FATAL\": supported values: \"UNKNOWN\", \"ERROR\", \"WARNING\", \"INFO\"",
        ),
    ] {
        assert_eq!(causes(&write(&status).unwrap_err())[0].2, message);
    }
}

#[test]
fn answers_have_an_end() {
    let rule = json!({ "from": [], "to": [], "when": [{ "key": 1 }] });
    let found = refused(AP, &json!({ "rules": vec![rule; 500] }));
    assert_eq!(found.len(), MAX_FINDINGS);
    let rule = json!({ "from": [], "to": [] });
    let found = refused(AP, &json!({ "rules": vec![rule; 500] }));
    assert_eq!(found.len(), MAX_FINDINGS);
    let rule = json!({ "to": [{ "operation": { "methods": ["GET"] } }] });
    let warnings = submit(AP, "v1", &json!({ "action": "DENY", "rules": vec![rule; 30] })).unwrap();
    assert_eq!((warnings.len(), warnings[20].as_str()), (21, "and 10 more warnings"));
}

#[rstest]
#[case(AP)]
#[case(RA)]
#[case(PA)]
#[case(ResourceType::VIRTUAL_SERVICE)]
fn schemas_can_be_read(#[case] resource: ResourceType) {
    let structure = structure_of(resource, &json!({})).unwrap();
    assert!(structure.is_sound());
    assert_eq!(structure.check("spec", &object(resource, "v1", &json!(1))).len(), 1);
}

const RULE: ResourceType = ResourceType::API_RULE;

/// An APIRule in a version.
fn api_rule(version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("gateway.kyma-project.io/{version}"),
        "kind": "APIRule",
        "metadata": { "name": "r", "namespace": "shop" },
        "spec": spec,
    })
}

/// Prunes and admits it, as a write does.
fn submit_rule(version: &'static str, spec: &Value) -> Result<(Value, Vec<String>), ApiError> {
    let mut object = api_rule(version, spec);
    let pruned = prune(RULE, &mut object);
    assert_eq!(pruned, Pruned::default());
    let target = Target { resource: RULE, version, namespace: Some("shop"), name: Some("r") };
    let warnings = admit(target, Endpoint::Main, None, &object)?;
    Ok((object["spec"].clone(), warnings))
}

#[test]
fn the_schemas_of_api_rules_can_be_read() {
    for spec in [json!({ "host": "a.b" }), json!({ "hosts": ["a.b"] })] {
        assert!(structure_of(RULE, &json!({ "spec": spec })).unwrap().is_sound());
    }
    assert!(Structure::read(&schema::of_version(Kind::ApiRule, "v1alpha1").schema).is_sound());
}

#[test]
fn api_rules_are_taken_in_each_version() {
    let rules = json!([{
        "path": "/.*", "methods": ["GET"], "mutators": [],
        "accessStrategies": [{ "handler": "jwt", "config": {
            "authentications": [{ "issuer": "i", "jwksUri": "https://i/k" }],
            "authorizations": [{ "requiredScopes": ["a"] }],
        } }],
    }]);
    let gateway = "kyma-system/kyma-gateway";
    let new = json!({
        "gateway": gateway, "service": { "name": "a", "port": 1 }, "rules": rules, "host": "a.b",
    });
    assert_eq!(submit_rule("v1beta1", &new).unwrap(), (new.clone(), vec![]));
    let old = json!({
        "gateway": gateway, "service": { "name": "a", "port": 1, "host": "a.b" }, "rules": rules,
    });
    assert_eq!(submit_rule("v1alpha1", &old).unwrap(), (new, vec![]));
    let v2 = json!({
        "gateway": gateway, "hosts": ["orders"], "service": { "name": "a", "port": 1 },
        "rules": [{ "path": "/*", "methods": ["GET"], "noAuth": true }],
    });
    // Whatever version is asked, an object keeps the form in which it was written.
    for version in ["v2", "v2alpha1", "v1beta1"] {
        assert_eq!(submit_rule(version, &v2).unwrap(), (v2.clone(), vec![]), "{version}");
    }
}

#[test]
fn what_kyma_refuses_is_refused() {
    let spec = |path: &str, config: &Value| {
        json!({
            "gateway": "a/b", "host": "a.b", "service": { "name": "a", "port": 1 },
            "rules": [{ "path": path, "methods": ["GET"],
                "accessStrategies": [{ "handler": "jwt", "config": config }] }],
        })
    };
    let message = |spec: &Value| submit_rule("v1beta1", spec).unwrap_err().to_string();
    let good = json!({ "authentications": [{ "issuer": "i", "jwksUri": "https://i/k" }] });
    let none = message(&spec("/", &json!({ "authorizations": [] })));
    assert!(none.contains("Authentications are required when using JWT access handler"), "{none}");
    let ahead = message(&spec("/(?!a)", &good));
    assert!(ahead.contains("it looks around"), "{ahead}");
    let mut port = spec("/", &good);
    port["service"]["port"] = json!(0);
    assert!(message(&port).contains("spec.service.port"));
}

pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
        "[0-9.]{0,6}(h|m|s|ms)".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,4}", inner), 0..3)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// One value of a good object replaced by anything at all.
pub(super) fn broken(value: &Value, at: &mut usize, with: &Value) -> Value {
    if *at == 0 {
        *at = usize::MAX;
        return with.clone();
    }
    *at = at.wrapping_sub(1);
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), broken(value, at, with))).collect()
        }
        Value::Array(items) => items.iter().map(|item| broken(item, at, with)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn full(resource: ResourceType) -> Value {
    let spec = match discovery::kind(resource).unwrap() {
        Kind::AuthorizationPolicy => json!({
            "selector": { "matchLabels": { "app": "web" } },
            "action": "DENY",
            "rules": [{
                "from": [{ "source": { "principals": ["a"], "ipBlocks": ["10.0.0.0/8"] } }],
                "to": [{ "operation": { "paths": ["/a/{*}"], "ports": ["80"] } }],
                "when": [{ "key": "request.auth.claims[a]", "values": ["b"] }],
            }],
        }),
        Kind::RequestAuthentication => json!({
            "targetRefs": [{ "kind": "Service", "name": "web" }],
            "jwtRules": [{
                "issuer": "i", "jwksUri": "https://i/k", "timeout": "5s", "audiences": ["a"],
                "outputClaimToHeaders": [{ "header": "h", "claim": "c" }],
            }],
        }),
        Kind::ApiRule => {
            return api_rule(
                "v1beta1",
                &json!({
                    "gateway": "a/b", "host": "a.b",
                    "service": { "name": "a", "namespace": "b", "port": 1 },
                    "rules": [{
                        "path": "/.*", "methods": ["GET"], "timeout": 5,
                        "accessStrategies": [{ "handler": "jwt", "config": {
                            "authentications": [{ "issuer": "i", "jwksUri": "https://i/k" }],
                            "authorizations": [{ "requiredScopes": ["a"] }],
                        } }],
                        "mutators": [{ "handler": "header", "config": { "headers": { "a": "%REQ(b)%" } } }],
                    }],
                }),
            );
        }
        Kind::PeerAuthentication => json!({
            "selector": { "matchLabels": { "app": "web" } },
            "mtls": { "mode": "STRICT" },
            "portLevelMtls": { "80": { "mode": "DISABLE" } },
        }),
    };
    object(resource, "v1", &spec)
}

proptest! {
    /// Nothing panics, and what is taken is enforced: the decoders accept it.
    #[test]
    fn anything_can_be_written(
        resource in prop::sample::select(&[AP, RA, PA, RULE][..]),
        at in 0_usize..40,
        with in any_json(),
    ) {
        let good = full(resource);
        let version = if resource == RULE { "v1beta1" } else { "v1" };
        prop_assert!(admit(target(resource, version), Endpoint::Main, None, &good).is_ok());
        let mut new = good.clone();
        new["spec"] = broken(&good["spec"], &mut at.clone(), &with);
        prune(resource, &mut new);
        if let Err(error) = admit(target(resource, version), Endpoint::Main, None, &new) {
            prop_assert_eq!(error.code(), 422);
        }
    }
}
