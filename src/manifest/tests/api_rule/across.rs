//! What several documents say together.

use super::*;

/// An APIRule with that host, made at that time, in the form of `jwt`.
fn with_host(name: &str, host: &str, made: &str, config: &str) -> String {
    let spec = with_jwt(config).replace("foo.bar", host);
    document("v1beta1", name, &spec)
        .replace("namespace: shop", &format!("namespace: shop, creationTimestamp: {made}"))
}

const OLD: &str = "2024-01-01T00:00:00Z";
const NEW: &str = "2024-01-02T00:00:00Z";
const ORY: &str = "{jwks_urls: ['https://i/k']}";

fn accepted_names(text: &str) -> (Vec<String>, Vec<String>) {
    let decoded = decode(text, Some("p.yaml"), &Options::default());
    let names = decoded.accepted().map(|resource| resource.metadata().name.to_string()).collect();
    let messages = decoded.diagnostics.iter().map(|found| found.message.clone()).collect();
    (names, messages)
}

#[rstest]
#[case::older(OLD, NEW, &["a"])]
#[case::younger(NEW, OLD, &["b"])]
#[case::as_old(OLD, OLD, &[])]
#[case::unknown("null", "null", &[])]
fn a_host_is_that_of_the_oldest(#[case] a: &str, #[case] b: &str, #[case] expected: &[&str]) {
    for (one, other) in [("a", "b"), ("b", "a")] {
        let made = |name: &str| if name == "a" { a } else { b };
        let rule = |name: &str, host: &str| with_host(name, host, made(name), ISTIO);
        let text = [rule(one, "foo.bar"), rule(other, "FOO.bar")].join("---\n");
        let (names, messages) = accepted_names(&text);
        assert_eq!(names, expected);
        assert_eq!(messages.len(), 2 - expected.len());
        assert!(messages.iter().all(|it| it == "This host is occupied by another Virtual Service"));
    }
}

#[rstest]
#[case::older(OLD, NEW, &["a"], &["Configuration for jwks_urls is not supported with Istio handler"])]
#[case::younger(NEW, OLD, &["b"], &["Configuration for authentications is not supported with Ory handler"])]
#[case::as_old(OLD, OLD, &[], &[
    "Configuration for authentications is not supported with Ory handler",
    "Configuration for jwks_urls is not supported with Istio handler",
])]
fn one_form_of_jwt_for_all(
    #[case] istio: &str,
    #[case] ory: &str,
    #[case] expected: &[&str],
    #[case] said: &[&str],
) {
    let text = [with_host("a", "a.b", istio, ISTIO), with_host("b", "b.b", ory, ORY)].join("---\n");
    let (names, mut messages) = accepted_names(&text);
    messages.sort();
    assert_eq!(names, expected);
    assert_eq!(messages, said);
}

#[test]
fn a_service_without_selector_takes_no_jwt() {
    let service = |selector: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: foo, namespace: shop}}\nspec: \
             {{selector: {selector}, ports: [{{port: 80}}]}}\n"
        )
    };
    let with = |strategies: &str, selector: &str| {
        document("v1beta1", "r", &with_strategies(strategies)) + &service(selector)
    };
    let jwt = format!("[{{handler: jwt, config: {ISTIO}}}]");
    assert_eq!(
        problems(&with(&jwt, "{}"), &Options::default()),
        [
            "spec.rules[0].service: Service cannot have empty label selectors when the API Rule strategy is JWT"
        ]
    );
    assert_eq!(problems(&with(&jwt, "{app: foo}"), &Options::default()), Vec::<String>::new());
    assert_eq!(
        problems(&with("[{handler: allow}]", "{}"), &Options::default()),
        Vec::<String>::new()
    );
}

#[test]
fn services_are_read() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}, \
                spec: {selector: {app: a}}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n";
    let decoded = decode_yaml(list);
    let found = Service {
        namespace: "default".into(),
        name: "a".into(),
        selector: [("app".to_owned(), "a".to_owned())].into(),
    };
    assert_eq!(decoded.services, std::slice::from_ref(&found));
    assert_eq!(codes_of(&decoded), [codes::IGNORED_KINDS.0]);
    let mut workload =
        Workload { namespace: "default".into(), labels: found.selector, ..Workload::default() };
    workload.found_by(&decoded.services);
    assert_eq!(workload.services.into_iter().collect::<Vec<_>>(), ["a"]);
    for bad in [
        "metadata: {}",
        "metadata: {name: a}\nspec: {selector: [a]}",
        "metadata: {name: a}\nspec: {selector: {a: 1}}",
    ] {
        let decoded = decode_yaml(&format!("apiVersion: v1\nkind: Service\n{bad}\n"));
        assert!(decoded.has_errors() && decoded.services.is_empty(), "{bad}");
    }
}
