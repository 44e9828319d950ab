use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn yaml(text: &str) -> Result<Vec<Value>, Vec<u16>> {
    parse(text, "a.yaml")
}

fn parse(text: &str, file: &str) -> Result<Vec<Value>, Vec<u16>> {
    parse_documents(text, Some(file))
        .map(|nodes| nodes.iter().map(Node::to_json).collect())
        .map_err(|found| found.iter().map(|found| found.code.0).collect())
}

#[rstest]
#[case::core("[true, False, null, ~, 1, -2, 0x10, 0o10, 1.5, 1e3]", json!([true, false, null, null, 1, -2, 16, 8, 1.5, 1000.0]))]
#[case::old_words_are_text("[yes, no, on, off, y, n]", json!(["yes", "no", "on", "off", "y", "n"]))]
#[case::underscores("[1_000]", json!([1000]))]
#[case::text("[1.2.3.4, 10s, 1970-01-01, .., -a, 0x, '1', \"true\", '']", json!(["1.2.3.4", "10s", "1970-01-01", "..", "-a", "0x", "1", "true", ""]))]
#[case::no_json_number("[.inf, .nan]", json!([".inf", ".nan"]))]
#[case::big("[18446744073709551615, 99999999999999999999]", json!([18_446_744_073_709_551_615_u64, 1e20]))]
#[case::tags("[!!str 1, ! 2, !!int 3, !!bool yes, !!seq [], !!map {}]", json!(["1", "2", 3, "yes", [], {}]))]
#[case::keys("{1: a, y: b, 'true': c}", json!({"1": "a", "y": "b", "true": "c"}))]
#[case::alias_as_key("{a: &k x, *k : b}", json!({"a": "x", "x": "b"}))]
#[case::merge("{base: &b {x: 1, y: 2}, all: {<<: *b, y: 3}}", json!({"base": {"x": 1, "y": 2}, "all": {"y": 3, "x": 1}}))]
#[case::merges("[&a {x: 1}, &b {x: 2, z: 3}, {<<: [*a, *b]}]", json!([{"x": 1}, {"x": 2, "z": 3}, {"x": 1, "z": 3}]))]
#[case::quoted_merge("{'<<': 1}", json!({"<<": 1}))]
#[case::blocks("a: |\n  x\n  y\nb: >-\n  x\n  y\n", json!({"a": "x\ny\n", "b": "x y"}))]
#[case::empty_values("a:\nb:\n", json!({"a": null, "b": null}))]
#[case::bom("\u{FEFF}a: 1\n", json!({"a": 1}))]
fn values(#[case] text: &str, #[case] expected: Value) {
    assert_eq!(yaml(text), Ok(vec![expected]));
}

#[rstest]
#[case::markers("a\n---\nb\n--- c\n...\n---\n- d\n", json!(["a", "b", "c", ["d"]]))]
#[case::ends("a\n...\nb\n...\n", json!(["a", "b"]))]
#[case::directives("%YAML 1.2\n---\na\n...\n# c\n%YAML 1.2\n\n---\nb\n", json!(["a", "b"]))]
#[case::empty("---\n---\n# c\n---\n~\n---\na", json!(["a"]))]
#[case::carriage_returns("a\r\n---\r\nb\r---\rc", json!(["a", "b", "c"]))]
#[case::no_marker_inside("a: |\n  ---\n  x\nb: '\n  ---'", json!([{"a": "---\nx\n", "b": " ---"}]))]
fn documents(#[case] text: &str, #[case] expected: Value) {
    assert_eq!(yaml(text).map(Value::from), Ok(expected));
}

#[rstest]
#[case::duplicate("{a: 1, b: 2, a: 3}", &[5])]
#[case::duplicate_of_another_form("{a: 1, \"a\": 3}", &[5])]
#[case::duplicates_everywhere("x: {a: 1, a: 3}\ny: [{b: 1, b: 3}]", &[5, 5])]
#[case::self_alias("&a [*a]", &[8])]
#[case::unknown_alias("[*a]", &[3])]
#[case::alias_of_another_document("&a x\n---\n*a", &[3])]
#[case::null_key("{~: 1}", &[9])]
#[case::boolean_key("{true: 1}", &[9])]
#[case::hex_key("{0x10: 1}", &[9])]
#[case::list_key("{[a]: 1}", &[9])]
#[case::mapping_key("? {a: 1}\n: 2", &[9])]
#[case::alias_of_a_list_as_key("[&a [x], {*a : 1}]", &[9])]
#[case::tag("!foo a", &[10])]
#[case::tag_of_a_mapping("!foo {a: 1}", &[10])]
#[case::wrong_core_tag("[!!int a, !!binary aGk=]", &[10, 10])]
#[case::bad_merge("{<<: 1}", &[11])]
#[case::bad_merges("{<<: [{a: 1}, 2]}", &[11])]
#[case::nul("a: \"\0\"", &[2])]
#[case::escape("a: \u{1b}[31m", &[2])]
#[case::tab("a:\n\tb: 1", &[3])]
#[case::unfinished_list("a: [b", &[3])]
#[case::unfinished_string("a: 'b", &[3])]
#[case::indentation("a:\n   b: 1\n  c: 2", &[3])]
#[case::colon("a: b: c", &[3])]
#[case::two_broken_documents("[\n---\na: 1\n---\n{", &[3, 3])]
fn faults(#[case] text: &str, #[case] expected: &[u16]) {
    assert_eq!(yaml(text), Err(expected.to_vec()));
}

#[rstest]
#[case::nothing("", Ok(json!([])))]
#[case::null("null", Ok(json!([])))]
#[case::object(r#"{"a": [1, -0.5e3, true, null, "A\n😀"]}"#, Ok(json!([{"a": [1, -500.0, true, null, "A\n😀"]}])))]
#[case::yaml_words(r#"["yes"]"#, Ok(json!([["yes"]])))]
#[case::comment("{} // x", Err(4))]
#[case::trailing_comma("[1,]", Err(4))]
#[case::missing_comma("[1 2]", Err(4))]
#[case::bare_key("{a: 1}", Err(4))]
#[case::single_quotes("{'a': 1}", Err(4))]
#[case::two_values("{} {}", Err(4))]
#[case::hexadecimal("[0x10]", Err(4))]
#[case::leading_zero("[010]", Err(4))]
#[case::not_a_number("[NaN]", Err(4))]
#[case::unfinished("{\"a\": ", Err(4))]
#[case::unfinished_string("[\"a]", Err(4))]
#[case::line_break_in_a_string("[\"a\nb\"]", Err(4))]
#[case::tab_in_a_string("[\"a\tb\"]", Err(4))]
#[case::no_break_space("[1,\u{a0}2]", Err(4))]
#[case::lone_surrogate(r#"["\ud800"]"#, Err(4))]
#[case::nul("[\"\0\"]", Err(2))]
#[case::duplicate(r#"{"a": 1, "a": 2}"#, Err(5))]
#[case::duplicate_by_escape(r#"{"a": 1, "\u0061": 2}"#, Err(5))]
fn json_text(#[case] text: &str, #[case] expected: Result<Value, u16>) {
    assert_eq!(parse(text, "a.json").map(Value::from), expected.map_err(|code| vec![code]),);
}

#[rstest]
#[case::deep_enough(MAX_DEPTH, None)]
#[case::too_deep(MAX_DEPTH + 1, Some(6))]
fn depth(#[case] levels: usize, #[case] expected: Option<u16>) {
    let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(yaml(&text).err(), expected.map(|code| vec![code]));
    assert_eq!(parse(&text, "a.json").err(), expected.map(|code| vec![code]));
}

#[test]
fn no_depth_overflows_the_stack() {
    let brackets = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(yaml(&brackets).is_err());
    assert!(parse(&brackets, "a.json").is_err());
    let blocks: String = (0..1_000).map(|level| format!("{}-\n", " ".repeat(level))).collect();
    assert_eq!(yaml(&blocks), Err(vec![6]));
    assert_eq!(yaml(&"- ".repeat(50_000)), Err(vec![6]));
}

#[test]
fn depth_counts_what_aliases_stand_for() {
    let half = MAX_DEPTH / 2;
    let anchored = format!("a: &a {}x{}\n", "[".repeat(half), "]".repeat(half));
    let alias =
        |levels: usize| format!("{anchored}b: {}*a{}", "[".repeat(levels), "]".repeat(levels));
    assert!(yaml(&alias(half - 2)).is_ok());
    assert_eq!(yaml(&alias(half - 1)), Err(vec![6]));
}

#[test]
fn anchors_within_anchors_cost_no_more_than_they_may() {
    // Each anchor keeps a copy of all below it.
    let big = vec!["x"; 20_000].join(",");
    let open: String = (0..100).map(|n| format!("&a{n} [")).collect();
    assert_eq!(yaml(&format!("{open}{big}{}", "]".repeat(100))), Err(vec![7]));
}

#[test]
fn places_are_lines_and_columns_of_characters() {
    let places = |text: &str, file: &str| {
        let nodes = parse_documents(text, Some(file)).expect("parses");
        let mut found = Vec::new();
        let mut rest: Vec<&Node> = nodes.iter().collect();
        while let Some(node) = rest.pop() {
            found.push((node.position.line, node.position.column, node.width));
            for entry in node.entries() {
                found.push((entry.key_position.line, entry.key_position.column, entry.key_width));
                rest.push(&entry.value);
            }
            rest.extend(node.items());
        }
        found.sort_unstable();
        found
    };
    let yaml = "中: \"é\"\r\n# c\nb:\n- x y\n-\n---\nc: |\n  text\n";
    assert_eq!(
        places(yaml, "a.yaml"),
        [
            (1, 1, 1),
            (1, 1, 1),
            (1, 4, 3),
            (3, 1, 1),
            (4, 3, 1),
            (4, 3, 3),
            (5, 2, 1),
            (7, 1, 1),
            (7, 1, 1),
            (8, 3, 1),
        ]
    );
    let json = "{\"中\": \"é\",\r\n \"b\": [1,\n  22]}";
    assert_eq!(
        places(json, "a.json"),
        [(1, 1, 1), (1, 2, 3), (1, 7, 3), (2, 2, 3), (2, 7, 1), (2, 8, 1), (3, 3, 2)]
    );
}
