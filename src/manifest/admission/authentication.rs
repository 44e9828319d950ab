//! Rules on the specs of `RequestAuthentication` and `PeerAuthentication`.
//!
//! Whether a key of a key set is usable is for `authn` to find out.

use std::collections::HashSet;

use super::{at_most, no_empty};
use crate::manifest::{
    codes,
    cursor::At,
    node::Content,
    problem::{Problem, Report},
    text::quoted,
    time::parse_duration,
};

pub(super) fn check_request(spec: &At<'_>, report: &mut Report<'_>) {
    at_most(4096, spec, "jwtRules", report);
    for rule in spec.each("jwtRules") {
        jwt_rule(&rule, report);
    }
}

fn jwt_rule(rule: &At<'_>, report: &mut Report<'_>) {
    issuer_and_keys(rule, report);
    for name in ["audiences", "fromParams", "fromCookies", "spaceDelimitedClaims"] {
        no_empty(rule, name, report);
    }
    at_most(64, rule, "spaceDelimitedClaims", report);
    for header in rule.each("fromHeaders") {
        if let Some(name) = header.get("name") {
            // Envoy takes any other character here.
            let wrong = |c: char| matches!(c, '\0' | '\r' | '\n');
            header_name(&name, |text| !text.is_empty() && !text.contains(wrong), report);
        }
    }
    if let Some(name) = rule.get("outputPayloadToHeader") {
        header_name(&name, |text| !text.contains(['\0', '\r', '\n']), report);
    }
    claims_to_headers(rule, report);
    if let Some(timeout) = rule.get("timeout")
        && let Some(duration) = timeout.str().and_then(parse_duration)
        && (duration.as_millis() == 0 || duration.subsec_nanos() % 1_000_000 != 0)
    {
        let message = "a timeout is a whole number of milliseconds, at least one";
        report.add(Problem::error(codes::BAD_TIMEOUT, &timeout, message).help("write `5s`"));
    }
    if let Some(presence) = rule.get("presence")
        && presence.str() == Some("REQUIRED")
    {
        let message = "`presence: REQUIRED` is not enforced";
        report.add(Problem::error(codes::PRESENCE_REQUIRED, &presence, message).help(
            "require a token with an AuthorizationPolicy: DENY from `notRequestPrincipals: [\"*\"]`",
        ));
    }
}

fn issuer_and_keys(rule: &At<'_>, report: &mut Report<'_>) {
    if !matches!(rule.node.content, Content::Mapping(_)) {
        return;
    }
    let sources: Vec<_> =
        ["jwks", "jwksUri", "jwks_uri"].iter().filter_map(|name| rule.get(name)).collect();
    if let [_, second, ..] = sources.as_slice() {
        let message = "only one of `jwks` and `jwksUri` can be set";
        report.add(
            Problem::error(codes::TWO_KEY_SOURCES, second, message)
                .help("remove one; where both are present, `jwks` counts"),
        );
    }
    let uri = rule.get("jwksUri").or_else(|| rule.get("jwks_uri"));
    if let Some(uri) = &uri {
        jwks_uri(uri, report);
    }
    if let Some(jwks) = rule.get("jwks") {
        check_jwks(&jwks, report);
    }
    let issuer = rule.get("issuer");
    let at = issuer.as_ref().unwrap_or(rule);
    let message = match issuer.as_ref().map(At::str) {
        Some(Some("")) => "`issuer` cannot be empty",
        Some(_) => return,
        None if uri.is_some_and(|uri| uri.str() != Some("")) => return,
        None => "a rule needs `issuer` or `jwksUri`",
    };
    report.add(
        Problem::error(codes::BAD_ISSUER, at, message)
            .help("write the `iss` claim of the tokens; only with `jwksUri` it can be left out"),
    );
}

fn jwks_uri(at: &At<'_>, report: &mut Report<'_>) {
    let Some(text) = at.str() else { return };
    let wrong = if text.is_empty() {
        "it is empty"
    } else if text.chars().count() > 2048 {
        "it has more than 2048 characters"
    } else {
        match text.parse::<http::Uri>() {
            Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
                "its scheme is neither `http` nor `https`"
            }
            Ok(uri) if uri.host().is_none_or(str::is_empty) => "it names no host",
            Ok(_) => return,
            Err(_) => "it is not a URL",
        }
    };
    let message = format!("{} cannot be fetched: {wrong}", quoted(text));
    report.add(
        Problem::error(codes::BAD_JWKS_URI, at, message)
            .help("write a URL such as `https://example.com/.well-known/jwks.json`"),
    );
}

fn check_jwks(at: &At<'_>, report: &mut Report<'_>) {
    let Some(text) = at.str().filter(|text| !text.is_empty()) else { return };
    // Messages never show the text: it may hold private keys.
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    let keys = parsed.as_ref().ok().and_then(|value| value.get("keys")).and_then(|v| v.as_array());
    let Some(keys) = keys else {
        let message = match parsed {
            Err(error) => {
                format!(
                    "`jwks` is not valid JSON, at line {} column {} of its text",
                    error.line(),
                    error.column()
                )
            }
            Ok(_) => "`jwks` is not an object with a list `keys`".to_owned(),
        };
        report.add(
            Problem::error(codes::BAD_JWKS, at, message)
                .help("write a whole key set: `{\"keys\": [..]}`"),
        );
        return;
    };
    for (index, key) in keys.iter().enumerate() {
        if key.get("d").is_some() || key.get("kty").is_some_and(|kty| kty == "oct") {
            let message = format!("key {index} of `jwks` holds private or symmetric key material");
            report.add(
                Problem::warning(codes::PRIVATE_KEY, at, message)
                    .help("only public keys are needed to verify tokens; take the others out"),
            );
        }
    }
}

fn header_name(at: &At<'_>, is_valid: impl Fn(&str) -> bool, report: &mut Report<'_>) {
    let Some(text) = at.str() else { return };
    if !is_valid(text) {
        let message = if text.is_empty() {
            "a header name cannot be empty".to_owned()
        } else {
            format!("{} is not a usable header name", quoted(text))
        };
        report.add(
            Problem::error(codes::BAD_HEADER_NAME, at, message)
                .help("write a name such as `x-jwt-payload`"),
        );
    }
}

fn claims_to_headers(rule: &At<'_>, report: &mut Report<'_>) {
    let mut seen = HashSet::new();
    for pair in rule.each("outputClaimToHeaders") {
        if let Some(claim) = pair.get("claim")
            && claim.str() == Some("")
        {
            let message = "`claim` cannot be empty";
            report.add(Problem::error(codes::EMPTY_VALUE, &claim, message));
        }
        let Some(header) = pair.get("header") else { continue };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        header_name(&header, |text| !text.is_empty() && text.chars().all(allowed), report);
        if !seen.insert(header.str().unwrap_or_default().to_ascii_lowercase()) {
            let message = "two claims are written to the same header";
            report.add(Problem::warning(codes::DUPLICATE_HEADER, &header, message));
        }
    }
}

pub(super) fn check_peer(spec: &At<'_>, report: &mut Report<'_>) {
    let Some(ports) = spec.get("portLevelMtls") else { return };
    if matches!(&ports.node.content, Content::Mapping(entries) if entries.is_empty()) {
        let message = "`portLevelMtls` has no entry";
        report.add(
            Problem::error(codes::BAD_PORT_LEVEL_MTLS, &ports, message)
                .help("name a port, or remove the field"),
        );
    }
    let labels = spec.get("selector").and_then(|selector| selector.get("matchLabels"));
    if labels.is_none_or(|labels| labels.node.entries().is_empty()) {
        let message = "`portLevelMtls` needs a `selector` with labels";
        report.add(
            Problem::error(codes::BAD_PORT_LEVEL_MTLS, &ports, message)
                .help("ports belong to workloads: select some, or remove the field"),
        );
    }
}
