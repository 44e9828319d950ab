use super::*;

#[test]
fn everything_wrong_with_a_document_is_said_at_once() {
    let text = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: frontend
  namespace: shop
spec:
  selector:
    matchLabels:
      app: yes
  action: deny
  rules:
  - from:
    - source:
        ip_blocks: [10.1.0.0/16]
        ipBlocks:
        - 10.1.0.0/33
        - 10.1.2.3/16
    - principals: [a]
    to:
    - operation:
        ports: [8080]
        methods: GET
        paths: [\"/a/{id}\"]
    when:
    - key: request.header[x]
      values: [a]
";
    insta::assert_snapshot!(rendered(&decode_yaml(text)), @r#"
    p.yaml:9:12: error[PST0103]: expected a string, found the boolean `yes`
       |
     9 |       app: yes
       |            ^^^
       = in AuthorizationPolicy/shop/frontend at spec.selector.matchLabels.app
       = help: quote it: `"yes"`

    p.yaml:10:11: error[PST0104]: `deny` is not a value of this field
       |
    10 |   action: deny
       |           ^^^^
       = in AuthorizationPolicy/shop/frontend at spec.action
       = help: did you mean `DENY`?

    p.yaml:14:9: error[PST0102]: unknown field `ip_blocks`
       |
    14 |         ip_blocks: [10.1.0.0/16]
       |         ^^^^^^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].from[0].source.ip_blocks
       = help: did you mean `ipBlocks`?

    p.yaml:16:11: error[PST0107]: `10.1.0.0/33` is not a usable ip block: the prefix length must be a number from 0 to 32, without leading zeros
       |
    16 |         - 10.1.0.0/33
       |           ^^^^^^^^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].from[0].source.ipBlocks[0]
       = help: write a range such as `10.1.0.0/16`, or a single address without `/`

    p.yaml:17:11: warning[PST0302]: `10.1.2.3/16` has bits set after its prefix
       |
    17 |         - 10.1.2.3/16
       |           ^^^^^^^^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].from[0].source.ipBlocks[1]
       = help: it means `10.1.0.0/16`

    p.yaml:18:7: error[PST0102]: unknown field `principals`
       |
    18 |     - principals: [a]
       |       ^^^^^^^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].from[1].principals
       = help: put it into `source`

    p.yaml:21:17: error[PST0103]: expected a string, found the number `8080`
       |
    21 |         ports: [8080]
       |                 ^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].to[0].operation.ports[0]
       = help: quote it: `"8080"`

    p.yaml:22:18: error[PST0103]: expected a list, found the string `GET`
       |
    22 |         methods: GET
       |                  ^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].to[0].operation.methods
       = help: put it into a list: `[".."]`

    p.yaml:23:17: error[PST0213]: `/a/{id}` has a brace that is not of a whole segment `{*}` or `{**}`
       |
    23 |         paths: ["/a/{id}"]
       |                 ^^^^^^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].to[0].operation.paths[0]
       = help: write templates like `/users/{*}/orders` or `/files/{**}`

    p.yaml:25:12: error[PST0109]: `request.header[x]` is not a condition key
       |
    25 |     - key: request.header[x]
       |            ^^^^^^^^^^^^^^^^^
       = in AuthorizationPolicy/shop/frontend at spec.rules[0].when[0].key
       = help: did you mean `request.headers[..]`?
    "#);
}

#[test]
fn a_tab_is_pointed_at() {
    let text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspec:\n\tmtls: {}\n";
    insta::assert_snapshot!(rendered(&decode_yaml(text)), @r#"
    p.yaml:5:2: error[PST0003]: not valid YAML: tabs disallowed within this context (block indentation)
       |
     5 |  mtls: {}
       |  ^
       = in PeerAuthentication/default/a
       = help: indent with spaces; YAML does not allow tabs there
    "#);
}

#[test]
fn an_unfinished_string_is_pointed_at() {
    let text =
        "apiVersion: security.istio.io/v1\nkind: \"PeerAuthentication\nmetadata: {name: a}\n";
    insta::assert_snapshot!(rendered(&decode_yaml(text)), @r#"
    p.yaml:2:7: error[PST0003]: not valid YAML: invalid indentation in quoted scalar
       |
     2 | kind: "PeerAuthentication
       |       ^
    "#);
}

#[test]
fn a_long_line_is_cut_around_the_place() {
    let paths = vec!["\"/some/path\""; 60].join(", ");
    let text = format!(
        "{{\"apiVersion\": \"security.istio.io/v1\", \"kind\": \"AuthorizationPolicy\", \"metadata\": {{\"name\": \"a\"}}, \"spec\": {{\"rules\": [{{\"to\": [{{\"operation\": {{\"paths\": [{paths}], \"port\": [\"1\"], \"methods\": [{paths}]}}}}]}}]}}}}"
    );
    insta::assert_snapshot!(rendered(&decode(&text, Some("p.json"), &Options::default())), @r#"
    p.json:1:991: error[PST0102]: unknown field `port`
       |
     1 | ...ome/path", "/some/path", "/some/path"], "port": ["1"], "methods": ["/some/path", "/some/path", "/som...
       |                                            ^^^^^^
       = in AuthorizationPolicy/default/a at spec.rules[0].to[0].operation.port
       = help: did you mean `ports`?
    "#);
}

#[test]
fn wide_and_control_characters_keep_the_carets_in_place() {
    let text = resource(
        "AuthorizationPolicy",
        "{rules: [{when: [{key: \"中文\\e\", values: ['中文']}, {key: a\u{301}\u{85}b, values: [中文], 中文: x}]}]}",
    );
    insta::assert_snapshot!(rendered(&decode_yaml(&text)), @r#"
    p.yaml:4:30: error[PST0109]: `中文�` is not a condition key
       |
     4 | spec: {rules: [{when: [{key: "中文\e", values: ['中文']}, {key: á b, values: [中文], 中文: x}]}]}
       |                              ^^^^^^^^
       = in AuthorizationPolicy/shop/r at spec.rules[0].when[0].key

    p.yaml:4:61: error[PST0109]: `á�b` is not a condition key
       |
     4 | spec: {rules: [{when: [{key: "中文\e", values: ['中文']}, {key: á b, values: [中文], 中文: x}]}]}
       |                                                                 ^^^
       = in AuthorizationPolicy/shop/r at spec.rules[0].when[1].key

    p.yaml:4:81: error[PST0102]: unknown field `中文`
       |
     4 | spec: {rules: [{when: [{key: "中文\e", values: ['中文']}, {key: á b, values: [中文], 中文: x}]}]}
       |                                                                                      ^^^^
       = in AuthorizationPolicy/shop/r at spec.rules[0].when[1].中文
       = help: the fields here are `key`, `notValues`, `values`
    "#);
}

#[test]
fn keys_are_never_shown() {
    let jwks = r#"{"keys":[{"kty":"RSA","n":"secret-n","d":"secret-d"}], "x"}"#;
    let text = resource(
        "RequestAuthentication",
        &format!("{{jwtRules: [{{issuer: i, jwk: 1, jwks: '{jwks}'}}]}}"),
    );
    let shown = rendered(&decode_yaml(&text));
    let misplaced = resource("RequestAuthentication", &format!("{{jwtRules: '{jwks}'}}"));
    for shown in [&shown, &rendered(&decode_yaml(&misplaced))] {
        assert!(!shown.contains("secret"), "{shown}");
    }
    insta::assert_snapshot!(shown, @r#"
    p.yaml:4:31: error[PST0102]: unknown field `jwk`
       = in RequestAuthentication/shop/r at spec.jwtRules[0].jwk
       = help: did you mean `jwks`?

    p.yaml:4:45: error[PST0219]: `jwks` is not valid JSON, at line 1 column 59 of its text
       = in RequestAuthentication/shop/r at spec.jwtRules[0].jwks
       = help: write a whole key set: `{"keys": [..]}`
    "#);
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    insta::assert_snapshot!(rendered(&decode_yaml(&text)), @r#"
    p.yaml:6:5: error[PST0007]: more than 1000000 nodes, counting aliases as often as they stand
       |
     6 | a5: &a5 [*a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4]
       |     ^
    "#);
}

#[test]
fn every_code_is_documented() {
    let documented: Vec<_> = include_str!("../../../docs/diagnostics.md")
        .lines()
        // What begins with PST05 is said of whole sets; tests/lint holds it against its pages.
        .filter(|line| line.starts_with("| PST") && !line.starts_with("| PST05"))
        .map(ToOwned::to_owned)
        .collect();
    let known: Vec<_> =
        codes::ALL.iter().map(|(code, meaning)| format!("| {code} | {meaning} |")).collect();
    assert_eq!(documented, known);
    assert!(codes::ALL.is_sorted_by(|(a, _), (b, _)| a < b));
}
