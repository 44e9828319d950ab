use super::*;

const PEER: &str =
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: NAME}\n";

fn peer(name: &str) -> String {
    PEER.replace("NAME", name)
}

fn files(files: &[(&str, &str)]) -> Decoded {
    decode_files(files.iter().map(|(path, text)| (*path, text.as_bytes())), &Options::default())
}

fn names(decoded: &Decoded) -> Vec<String> {
    let all = decoded.documents.iter();
    all.map(|d| d.id.as_ref().map(|id| id.name.to_string()).unwrap_or_default()).collect()
}

#[test]
fn files_come_in_the_order_of_their_names() {
    let decoded = files(&[("b.yaml", &peer("b")), ("a.yml", &peer("a")), ("c.json", "{\"a\": 1}")]);
    assert_eq!(names(&decoded), ["a", "b"]);
    assert_eq!(codes_of(&decoded), [101, 101]);
    assert_eq!(decoded.broken_files(), ["c.json".into()]);
}

#[test]
fn the_same_resource_twice_is_refused_twice() {
    let decoded =
        files(&[("b.yaml", &peer("x")), ("a.yaml", &format!("{}---\n{}", peer("w"), peer("x")))]);
    insta::assert_snapshot!(rendered(&decoded), @r#"
    b.yaml:1:1: error[PST0114]: `PeerAuthentication/default/x` is defined twice
       |
     1 | apiVersion: security.istio.io/v1
       | ^
       = in PeerAuthentication/default/x
       = help: rename or remove one of the two; the first is at a.yaml:5:1
    "#);
    let admitted: Vec<_> = decoded.documents.iter().map(|d| d.admitted).collect();
    assert_eq!(admitted, [true, false, false]);
}

#[test]
fn other_groups_get_one_note() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\n";
    let text = format!("{deployment}---\n{deployment}---\napiVersion: v1\nkind: ConfigMap\n");
    let decoded = files(&[("a.yaml", &text), ("b.yaml", deployment)]);
    insta::assert_snapshot!(rendered(&decoded), @r#"note[PST0390]: ignored 4 documents of other groups: 1 ConfigMap, 3 Deployment"#);
    assert!(decoded.documents.is_empty() && !decoded.has_errors());
}

#[test]
fn lists_are_taken_apart() {
    let text = r"
apiVersion: v1
kind: List
metadata: {resourceVersion: ''}
items:
- {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}}
- {apiVersion: v1, kind: ConfigMap}
- apiVersion: v1
  kind: List
  items:
  - {apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: b}, x: 1}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicyList
items:
- metadata: {name: c}
- {kind: AuthorizationPolicy, metadata: {name: d}}
- null
";
    let decoded = decode_yaml(text);
    assert_eq!(names(&decoded), ["a", "b", "c", "d"]);
    assert_eq!(codes_of(&decoded), [102, 100, 390]);
    assert_eq!(decoded.diagnostics[0].path, "items[2].items[0].x");
    assert_eq!(decoded.documents[2].position, Position { line: 16, column: 3 });
}

#[test]
fn a_file_that_is_not_utf8_is_named_with_its_place() {
    let bytes: &[u8] = b"a: b\nxy\xff\xfe";
    let decoded = decode_files([("latin.yaml", bytes)], &Options::default());
    insta::assert_snapshot!(rendered(&decoded), @r#"
    latin.yaml:2:3: error[PST0001]: the file is not UTF-8 text
       = help: save it as UTF-8
    "#);
}

#[test]
fn a_broken_document_hides_no_other() {
    let text = format!(
        "{}spec: [\n---\n{}spec: {{x: 1}}\n---\n\0\n---\n{}spec: {{a: b: c}}\n---\n{}",
        peer("a"),
        peer("b"),
        peer("c"),
        peer("d")
    );
    let decoded = decode_yaml(&text);
    assert_eq!(names(&decoded), ["a", "b", "c", "d"]);
    let admitted: Vec<_> = decoded.documents.iter().map(|d| d.admitted).collect();
    assert_eq!(admitted, [false, false, false, true]);
    assert_eq!(codes_of(&decoded), [3, 102, 2, 3]);
    // The document with the NUL could have been anything.
    assert_eq!(decoded.broken_files(), ["p.yaml".into()]);
}

#[test]
fn who_a_broken_document_is_about_is_only_said_when_it_is_certain() {
    let broken =
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: a\n  \"x";
    let decoded = decode_yaml(broken);
    assert!(decoded.documents.is_empty());
    assert_eq!(decoded.broken_files(), ["p.yaml".into()]);
}

#[test]
fn json_without_an_extension_is_known_by_its_brace() {
    let text = "\n {\"apiVersion\": \"security.istio.io/v1\", \"kind\": \"PeerAuthentication\",}";
    assert_eq!(codes_of(&decode(text, None, &Options::default())), [4]);
    let text = text.replace(",}", ", \"metadata\": {\"name\": \"a\"}}");
    assert_eq!(codes_of(&decode(&text, Some("<stdin>"), &Options::default())), NOTHING);
}

#[test]
fn an_alias_counts_where_it_stands() {
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
        metadata: {name: a}\nspec:\n  rules:\n  - from: &f\n    - source: &s {principals: [x]}\n\
        \x20 - from: *f\n  - from:\n    - source: {<<: *s, namespaces: [ns]}\n";
    let Resource::AuthorizationPolicy(policy) = only(text) else { panic!("wrong kind") };
    assert_eq!(policy.rules[0].from, policy.rules[1].from);
    let merged = &policy.rules[2].from[0];
    assert_eq!((merged.principals.len(), merged.namespaces.len()), (1, 1));
}
