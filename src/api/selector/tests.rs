use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

#[rstest]
#[case("", true)]
#[case("  ", true)]
#[case("app", true)]
#[case("missing", false)]
#[case("!app", false)]
#[case("!missing", true)]
#[case("! missing", true)]
#[case("app=web", true)]
#[case("app==web", true)]
#[case("app = web", true)]
#[case("app=db", false)]
#[case("app!=db", true)]
#[case("app!=web", false)]
#[case("missing!=web", true)]
#[case("app in (db,web)", true)]
#[case("app in (db)", false)]
#[case("app notin (db)", true)]
#[case("app notin (web, db)", false)]
#[case("missing notin (web)", true)]
#[case("missing in (web)", false)]
#[case("app in(web),tier,!x", true)]
#[case("app=web,tier=back", false)]
#[case("empty=", true)]
#[case("empty=,app", true)]
#[case("empty in (,a)", true)]
#[case("missing=", false)]
#[case("n>9", true)]
#[case("n>10", false)]
#[case("n < 11", true)]
#[case("app>1", false)]
#[case("missing<1", false)]
#[case("in in (in)", true)]
#[case("example.com/x=y", true)]
fn labels(#[case] selector: &str, #[case] expect: bool) {
    let object = json!({"metadata": {"labels": {
        "app": "web", "tier": "front", "empty": "", "n": "10", "in": "in", "example.com/x": "y",
    }}});
    assert_eq!(LabelSelector::parse(selector).unwrap().matches(&object), expect);
}

#[rstest]
#[case("app=web=x", "unable to parse requirement: found '=', expected: ',' or 'end of string'")]
#[case("app,", "unable to parse requirement: found '', expected: identifier after ','")]
#[case(
    ",app",
    "unable to parse requirement: found ',', expected: !, identifier, or 'end of string'"
)]
#[case("app in", "unable to parse requirement: found '', expected: '('")]
#[case("app in (a", "unable to parse requirement: found '', expected: ',' or ')'")]
#[case("app in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'")]
#[case(
    "app in ()",
    "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty"
)]
#[case(
    "app like x",
    "unable to parse requirement: found 'like', expected: in, notin, =, ==, !=, gt, lt"
)]
#[case("app=(", "unable to parse requirement: found '(', expected: identifier")]
#[case("!app=x", "unable to parse requirement: found '=', expected: ',' or 'end of string'")]
#[case(
    "n>x",
    "unable to parse requirement: values[0][n]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"
)]
#[case(
    "a/b/c",
    "unable to parse requirement: key: Invalid value: \"a/b/c\": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)]
#[case(
    "app=-x",
    "unable to parse requirement: values[0][app]: Invalid value: \"-x\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)]
fn label_errors(#[case] selector: &str, #[case] expect: &str) {
    let error = LabelSelector::parse(selector).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (400, expect));
}

#[rstest]
#[case("", true)]
#[case("metadata.name=a", true)]
#[case("metadata.name==a", true)]
#[case("metadata.name!=a", false)]
#[case("metadata.name=b", false)]
#[case("metadata.name=a,metadata.namespace=ns", true)]
#[case("metadata.name=a,metadata.namespace!=ns", false)]
#[case("metadata.name=a,,", true)]
#[case("metadata.name=", false)]
#[case(r"metadata.name!=\,\=\\", true)]
fn fields(#[case] selector: &str, #[case] expect: bool) {
    let object = json!({"metadata": {"name": "a", "namespace": "ns"}});
    assert_eq!(FieldSelector::parse(selector).unwrap().matches(&object), expect);
}

#[rstest]
#[case("spec.action=ALLOW", "field label not supported: spec.action")]
#[case("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'")]
#[case(
    "metadata.name=a=b",
    "invalid selector: 'metadata.name=a=b'; can't understand 'metadata.name=a=b'"
)]
#[case(
    r"metadata.name=\x",
    r"invalid selector: 'metadata.name=\x'; can't understand 'metadata.name=\x'"
)]
fn field_errors(#[case] selector: &str, #[case] expect: &str) {
    let error = FieldSelector::parse(selector).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (400, expect));
}

#[test]
fn the_only_name() {
    let selector = FieldSelector::parse("metadata.namespace!=x,metadata.name=a").unwrap();
    assert_eq!((selector.name(), selector.namespace()), (Some("a"), None));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z=!(), <>\\\\.é]{0,20}") {
        drop(LabelSelector::parse(&text));
        drop(FieldSelector::parse(&text));
    }

    #[test]
    fn not_equal_is_the_opposite_of_equal(key in "[ab]", value in "[ab]", label in "[ab]") {
        let object = json!({"metadata": {"labels": {"a": label}}});
        let matches = |text: String| LabelSelector::parse(&text).unwrap().matches(&object);
        prop_assert_ne!(matches(format!("{key}={value}")), matches(format!("{key}!={value}")));
        prop_assert_ne!(
            matches(format!("{key} in ({value},x)")),
            matches(format!("{key} notin (x,{value})"))
        );
        prop_assert_ne!(matches(key.clone()), matches(format!("!{key}")));
    }
}
