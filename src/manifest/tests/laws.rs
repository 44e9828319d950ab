use proptest::prelude::*;

use super::*;

/// Pieces of manifests, so that arbitrary texts get further than the first line.
const PIECES: &[&str] = &[
    "apiVersion: security.istio.io/v1\n",
    "kind: AuthorizationPolicy\n",
    "kind: RequestAuthentication\n",
    "kind: PeerAuthentication\n",
    "kind: List\n",
    "metadata: {name: a}\n",
    "metadata:\n  name: b\n  annotations: {istio.io/dry-run: yes}\n",
    "spec:\n",
    "spec: {rules: [{}]}\n",
    "  rules:\n",
    "  - from:\n",
    "    - source: {ipBlocks: [1.2.3.4/33, 1.2.3.4], principals: ['']}\n",
    "    - source:\n",
    "    to: [{operation: {ports: [80], paths: ['/{**}/{*}']}}]\n",
    "    when: [{key: 'request.headers[x]', values: [a]}]\n",
    "  jwtRules: [{issuer: i, jwks: '{\"keys\":[{\"d\":1}]}', timeout: 1h}]\n",
    "  portLevelMtls: {80: {mode: STRICT}, a: 1}\n",
    "  selector: {matchLabels: {a: b}}\n",
    "items:\n",
    "- &a {b: *a}\n",
    "- *a\n",
    "- &b [x, y]\n",
    "<<: *b\n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "? [a]\n",
    ": b\n",
    "\"un\\",
    "'",
    "|\n",
    "\t",
    "\u{FEFF}",
    "\0",
    "\u{85}",
    "!!int x\n",
    "!a b\n",
    "中: ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\r",
    "\r\n",
    "# c\n",
];

fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|all| all.concat())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![pieces(), any::<String>(), "[-:{}\\[\\]\"'&*!|>%#@,? \n\ta-c0-9]{0,60}"]
}

proptest! {
    /// Whatever is written, it is read or refused, and what is found can be shown.
    #[test]
    fn no_text_panics(text in text(), file in prop::sample::select(vec!["a.yaml", "a.json", "a"])) {
        let decoded = decode(&text, Some(file), &Options::default());
        let _ = rendered(&decoded);
        for document in &decoded.documents {
            prop_assert!(!document.admitted || document.resource.is_some());
            prop_assert!(document.resource.is_none() || document.id.is_some());
        }
        if decoded.documents.iter().any(|document| !document.admitted) {
            prop_assert!(decoded.has_errors());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
        let _ = rendered(&decode_files([("a", bytes.as_slice())], &Options::default()));
    }

    /// JSON is read as YAML to the same tree, places aside.
    #[test]
    fn json_is_yaml(value in json(3)) {
        let text = serde_json::to_string_pretty(&value).expect("serialises");
        for file in ["a.json", "a.yaml"] {
            let nodes = node::parse_documents(&text, Some(file));
            let nodes = nodes.map_err(|found| TestCaseError::fail(found.iter().map(ToString::to_string).collect::<String>()))?;
            let read: Vec<_> = nodes.iter().map(node::Node::to_json).collect();
            prop_assert_eq!(&read, std::slice::from_ref(&value));
        }
    }
}

fn json(depth: u32) -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "[a-z \"\\\\:#中-丯\n\t]{0,8}".prop_map(serde_json::Value::from),
    ];
    let tree = leaf.prop_recursive(depth, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect()),
        ]
    });
    prop::collection::btree_map("[a-e]", tree, 1..4).prop_map(|map| map.into_iter().collect())
}
