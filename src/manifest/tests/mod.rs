//! Tests of whole documents, by stage. Single parsers have theirs beside them.

mod admission;
mod api_rule;
mod files;
mod laws;
mod rendering;
mod schema;
mod structure;

use super::*;

/// No code.
const NOTHING: &[u16] = &[];

/// A resource named `r` with that spec, in one line of YAML.
fn resource(kind: &str, spec: &str) -> String {
    let api = "apiVersion: security.istio.io/v1";
    format!("{api}\nkind: {kind}\nmetadata: {{name: r, namespace: shop}}\nspec: {spec}\n")
}

fn decode_yaml(text: &str) -> Decoded {
    decode(text, Some("p.yaml"), &Options::default())
}

/// The codes of everything found, in the order of their places.
fn codes_of(decoded: &Decoded) -> Vec<u16> {
    decoded.diagnostics.iter().map(|found| found.code.0).collect()
}

/// What the first resource is and what was found.
fn spec(kind: &str, spec: &str) -> Vec<u16> {
    codes_of(&decode_yaml(&resource(kind, spec)))
}

/// The only resource of a text that has nothing wrong with it.
fn only(text: &str) -> Resource {
    let decoded = decode_yaml(text);
    assert!(decoded.diagnostics.is_empty(), "{:#?}", decoded.diagnostics);
    assert_eq!(decoded.documents.len(), 1);
    decoded.accepted().next().expect("admitted").clone()
}

/// Everything found, as people read it.
fn rendered(decoded: &Decoded) -> String {
    let found: Vec<_> = decoded.diagnostics.iter().map(ToString::to_string).collect();
    found.join("\n\n")
}
