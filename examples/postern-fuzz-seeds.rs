//! Seeds of the fuzz corpora, from the recorded cases: `cargo run --example postern-fuzz-seeds`.
//!
//! Writes `fuzz/corpus/<target>/case-*`, the same each time; what stands there under other names
//! stays. `fuzz/README.md` tells what becomes of them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    dead_code,
    reason = "test support functions, of which the tests use more"
)]

#[path = "../tests/conformance/cases.rs"]
mod cases;
#[path = "../tests/conformance/check_request.rs"]
mod check_request;
#[path = "../tests/conformance/normalize.rs"]
mod normalize;
#[path = "../tests/conformance/pki.rs"]
mod pki;
#[path = "../tests/conformance/yaml.rs"]
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message as _;
use serde_json::{Map, Value, json};

use crate::cases::{Request, Set};
use crate::pki::Pki;

/// Of the policies that the targets have (`fuzz/targets/policies.yaml`).
const SECRET: &[u8] = b"fuzzing for a good secret, 32 byt";
/// What a seed is at most: long ones make a fuzzer slow.
const MOST: usize = 2_000;

type Seeds = BTreeMap<String, Vec<u8>>;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut targets: BTreeMap<&str, Seeds> = BTreeMap::new();
    let pki = Pki::new();
    for file in cases::files() {
        let stem = file.trim_end_matches(".yaml").to_owned();
        for (index, set) in cases::read(&file).iter().enumerate() {
            let name = format!("case-{stem}-{index}");
            let mut add = |target, seed: Option<Vec<u8>>| {
                let seed = seed.filter(|seed| !seed.is_empty() && seed.len() <= MOST);
                if let Some(seed) = seed {
                    targets.entry(target).or_default().insert(name.clone(), seed);
                }
            };
            add("manifest", Some(policies(set)));
            add("check_request", check(set, &pki));
            for (target, seeds) in [("jwt", claims(set)), ("path_template", templates(set))] {
                for (number, seed) in seeds.into_iter().enumerate() {
                    targets.entry(target).or_default().insert(format!("{name}-{number}"), seed);
                }
            }
        }
    }
    for path in yaml_files(&root.join("tests/cases")) {
        let text = fs::read_to_string(&path).unwrap();
        let name = format!("case-{}", path.file_stem().unwrap().to_str().unwrap());
        let seed = policies_as_written(&text).into_bytes();
        if !seed.is_empty() && seed.len() <= MOST {
            targets.entry("manifest").or_default().insert(name, seed);
        }
    }
    for (target, seeds) in targets {
        let folder = root.join("fuzz/corpus").join(target);
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with("case-") {
                fs::remove_file(path).unwrap();
            }
        }
        let (mut written, mut seen) = (0, BTreeSet::new());
        for (name, seed) in seeds {
            if seen.insert(seed.clone()) {
                fs::write(folder.join(name), &seed).unwrap();
                written += seed.len();
            }
        }
        println!("{target:14} {:4} seeds {written:7} bytes", seen.len());
    }
}

/// All policies of a set as one JSON list.
fn policies(set: &Set) -> Vec<u8> {
    let items: Vec<_> = set.policies.iter().map(|policy| filled(policy.clone())).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string().into_bytes()
}

fn filled(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("${JWKS:") || text.contains("${JWK:") => {
            let key = BASE64URL.encode(SECRET);
            format!(r#"{{"keys":[{{"kty":"oct","k":"{key}"}}]}}"#).into()
        }
        Value::String(text) if text.contains("${") => "https://issuer.example".into(),
        Value::Array(items) => items.into_iter().map(filled).collect(),
        Value::Object(map) => {
            Value::Object(map.into_iter().map(|(name, value)| (name, filled(value))).collect())
        }
        other => other,
    }
}

/// The request of a set that says most, as Envoy asks about it, without what differs each time.
fn check(set: &Set, pki: &Pki) -> Option<Vec<u8>> {
    let checks = set.requests.iter().filter_map(|request| {
        let request = with_tokens(request.clone());
        check_request::build(&request, &set.workload.listener, pki)
    });
    checks.map(without_certificate).map(|check| check.encode_to_vec()).max_by_key(Vec::len)
}

fn with_tokens(mut request: Request) -> Request {
    let header = BASE64URL.encode(r#"{"alg":"HS256"}"#);
    let input = format!("{header}.{}", BASE64URL.encode(r#"{"iss":"issuer","sub":"a"}"#));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), input.as_bytes());
    let token = format!("{input}.{}", BASE64URL.encode(signature));
    let texts = request.headers.iter_mut().map(|(_, value)| value).chain([&mut request.path]);
    for text in texts {
        while let Some(start) = text.find("${") {
            let end = start + text[start..].find('}').unwrap();
            text.replace_range(start..=end, &token);
        }
    }
    request
}

/// Keys are made anew each time.
fn without_certificate(mut check: CheckRequest) -> CheckRequest {
    let attributes = check.attributes.as_mut().unwrap();
    attributes.source.as_mut().unwrap().certificate.clear();
    if let Some(http) = attributes.request.as_mut().and_then(|request| request.http.as_mut()) {
        http.headers.clear();
        let map = http.header_map.as_mut().unwrap();
        map.headers.retain(|header| header.key != "x-forwarded-client-cert");
    }
    // A map has no order.
    if let Some(context) = &mut attributes.metadata_context {
        context.filter_metadata.clear();
    }
    check
}

/// Each template of a set, and the paths that the set asks about.
fn templates(set: &Set) -> Vec<Vec<u8>> {
    let text = Value::from(set.policies.clone()).to_string();
    let templates: BTreeSet<_> = text.split('"').filter(|word| word.contains("{*")).collect();
    let paths: BTreeSet<_> = set.requests.iter().map(|request| request.path.as_str()).collect();
    let seed = |template: &str| {
        let lines: Vec<_> = std::iter::once(template).chain(paths.iter().copied()).collect();
        lines.join("\n").into_bytes()
    };
    templates.into_iter().filter(|t| t.starts_with('/')).map(seed).collect()
}

/// What the tokens of a set say; the target signs it.
fn claims(set: &Set) -> Vec<Vec<u8>> {
    let of = |recipe: &Value| -> Option<Vec<u8>> {
        if let Some(raw) = recipe["payload_raw"].as_str().or(recipe["raw"].as_str()) {
            return Some(raw.replace("issuer-a", "issuer").into_bytes());
        }
        let mut claims: Map<String, Value> = [("iss", json!("issuer")), ("sub", json!("alice"))]
            .map(|(n, v)| (n.into(), v))
            .into_iter()
            .collect();
        for (name, value) in recipe["claims"].as_object()? {
            let value = match value.as_str() {
                Some(text) if text.starts_with('+') => json!(1_800_000_000),
                Some(text) if text.starts_with('-') => json!(1_600_000_000),
                Some("issuer-a") => "issuer".into(),
                Some("issuer-b") => "other".into(),
                _ => value.clone(),
            };
            claims.insert(name.clone(), value);
        }
        Some(Value::Object(claims).to_string().into_bytes())
    };
    let claims: BTreeSet<_> = set.tokens.values().filter_map(of).collect();
    claims.into_iter().filter(|claims| !claims.is_empty() && claims.len() <= MOST).collect()
}

fn yaml_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("policies") {
            all.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// The `policies` of a file as documents, in the words of the file: comments, anchors, quotes.
fn policies_as_written(text: &str) -> String {
    let block = text.lines().skip_while(|line| *line != "policies:").skip(1);
    let mut out = String::new();
    for line in block.take_while(|line| line.starts_with([' ', '-', '#'])) {
        if let Some(first) = line.strip_prefix("- ") {
            out.push_str("---\n");
            out.push_str(first);
        } else {
            out.push_str(line.strip_prefix("  ").unwrap_or(line));
        }
        out.push('\n');
    }
    // Names of files are no policies.
    if out.contains("kind:") { out } else { String::new() }
}
