//! How APIRules are read: what Kyma has in its ConfigMap and its controller's flags.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Reader;
use super::values::{Parsed, boolean, text};
use crate::manifest::{ApiRuleOptions, JwtHandler};

/// Reads the settings.
pub(super) fn read(read: &mut Reader<'_>, extension_providers: &[String]) -> ApiRuleOptions {
    let domain = |value: &Value| domain(value).map(|domain| Some(Arc::from(domain)));
    ApiRuleOptions {
        default_domain: read.setting("apiRuleDefaultDomain", None, domain),
        domain_allow_list: read.setting("apiRuleDomains", Vec::new(), domains),
        jwt_handler: read.setting("apiRuleJwtHandler", None, |value| jwt_handler(value).map(Some)),
        strict_scopes: read.setting("apiRuleStrictScopes", false, boolean),
        extension_providers: Some(extension_providers.to_vec()),
    }
}

/// Adds those that are set to the settings as they are in effect.
pub(super) fn show(options: &ApiRuleOptions, settings: &mut Map<String, Value>) {
    let handler = options.jwt_handler.map(|handler| match handler {
        JwtHandler::Ory => "ory",
        JwtHandler::Istio => "istio",
    });
    let domains = (!options.domain_allow_list.is_empty()).then_some(&options.domain_allow_list);
    let shown = [
        ("apiRuleDefaultDomain", options.default_domain.as_ref().map(|domain| json!(&**domain))),
        ("apiRuleDomains", domains.map(|domains| json!(domains))),
        ("apiRuleJwtHandler", handler.map(|name| json!(name))),
        ("apiRuleStrictScopes", options.strict_scopes.then(|| json!(true))),
    ];
    let set = shown.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    settings.extend(set);
}

fn domain(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(is_label) {
        return Err(format!("`{text}` is not a domain: write it like `example.com`"));
    }
    Ok(text.to_ascii_lowercase())
}

/// A list, or a text with commas.
fn domains(value: &Value) -> Parsed<Vec<String>> {
    match value.as_array() {
        Some(list) => list.iter().map(domain).collect(),
        None => text(value)?
            .split(',')
            .map(|name| domain(&Value::String(name.trim().to_owned())))
            .collect(),
    }
}

fn jwt_handler(value: &Value) -> Parsed<JwtHandler> {
    match text(value)? {
        "ory" => Ok(JwtHandler::Ory),
        "istio" => Ok(JwtHandler::Istio),
        other => Err(format!("Unsupported JWT Handler: {other}; write `ory` or `istio`")),
    }
}
