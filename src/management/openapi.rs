//! What the API is, in OpenAPI 3.1.

use std::sync::LazyLock;

use serde_json::Value;

use super::parameters::KUBECONFIG;
use crate::manifest::node::{Node, parse_documents};

/// As it is written.
pub const YAML: &str = include_str!("openapi.yaml");

/// As it is served: with the ways to send a kubeconfig only where they are of use.
pub fn json(inline_kubeconfig: bool) -> &'static str {
    static WITH: LazyLock<String> = LazyLock::new(|| text(true));
    static WITHOUT: LazyLock<String> = LazyLock::new(|| text(false));
    if inline_kubeconfig { &WITH } else { &WITHOUT }
}

fn text(inline_kubeconfig: bool) -> String {
    let document = parse_documents(YAML, Some("openapi.yaml")).unwrap_or_default();
    let mut document = document.first().map(Node::to_json).unwrap_or_default();
    if !inline_kubeconfig {
        leave_out_kubeconfig(&mut document);
    }
    format!("{document:#}\n")
}

/// Members of that name, and references to them.
fn leave_out_kubeconfig(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.shift_remove(KUBECONFIG);
            members.values_mut().for_each(leave_out_kubeconfig);
        }
        Value::Array(items) => {
            let reference = format!("#/components/parameters/{KUBECONFIG}");
            items.retain(|item| item.get("$ref").and_then(Value::as_str) != Some(&*reference));
            items.iter_mut().for_each(leave_out_kubeconfig);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::route::{BASE, ROUTES};

    #[test]
    fn routes_and_paths_are_the_same() {
        let document: Value = serde_json::from_str(json(true)).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|it| *it != "parameters") {
                described.push((method.to_uppercase(), path.clone()));
            }
        }
        let mut routes: Vec<_> = ROUTES
            .iter()
            .map(|(method, path, _)| ((*method).to_owned(), format!("{BASE}{path}")))
            .collect();
        described.sort();
        routes.sort();
        assert_eq!(described, routes);
    }

    #[test]
    fn a_kubeconfig_is_described_where_it_is_read() {
        assert_eq!(json(true).matches(r#""name": "kubeconfig""#).count(), 1);
        assert_eq!(
            json(true).matches(r##""$ref": "#/components/parameters/kubeconfig""##).count(),
            6
        );
        assert!(!json(false).contains("kubeconfig\""), "{}", json(false));
    }

    /// Each reference leads to something.
    #[test]
    fn references_lead_somewhere() {
        let document: Value = serde_json::from_str(json(true)).unwrap();
        let mut references = 0;
        for part in json(true).split(r##""$ref": "#"##).skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            references += 1;
        }
        assert!(references > 50, "{references}");
    }
}
