//! Who sends to whom, as the routes of VirtualServices say.
//!
//! What is really sent is for Prometheus to say.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::shown::list;

/// One service that sends to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// Who sends: an `app` where a match names one, else a host of the VirtualService.
    pub source: String,
    /// Where to.
    pub destination: String,
    /// The share of what matches the same, in percent; 0 for copies.
    pub weight: u64,
}

/// The edges of the VirtualServices of one namespace, in order.
///
/// Subsets of a destination count together; where several routes lead to it, the greatest share
/// counts. A route that is delegated leads where the delegate's routes lead.
pub fn edges(virtual_services: &[Value], namespace: &str) -> Vec<Edge> {
    let mut found = BTreeMap::new();
    let names = Names { namespace };
    for object in virtual_services {
        let hosts: Vec<_> = list(object, "/spec/hosts")
            .iter()
            .filter_map(Value::as_str)
            .map(|host| names.short(host))
            .collect();
        for protocol in ["/spec/http", "/spec/tls", "/spec/tcp"] {
            for rule in list(object, protocol) {
                let sources = names.sources(rule, &hosts);
                add(&names, rule, &sources, &mut found);
                for rule in names.delegated(rule, virtual_services) {
                    add(&names, rule, &sources, &mut found);
                }
            }
        }
    }
    let edge = |((source, destination), weight)| Edge { source, destination, weight };
    found.into_iter().map(edge).collect()
}

/// The destinations of one rule.
fn add(
    names: &Names<'_>,
    rule: &Value,
    sources: &[String],
    into: &mut BTreeMap<(String, String), u64>,
) {
    let route = list(rule, "/route");
    let mut shares: BTreeMap<String, u64> = BTreeMap::new();
    for entry in route {
        let Some(host) = entry.pointer("/destination/host").and_then(Value::as_str) else {
            continue;
        };
        let unset = if route.len() == 1 { 100 } else { 0 };
        let weight = entry.get("weight").and_then(Value::as_u64).unwrap_or(unset);
        let share = shares.entry(names.short(host)).or_default();
        *share = share.saturating_add(weight);
    }
    let mirrors = list(rule, "/mirrors").iter().map(|mirror| mirror.pointer("/destination/host"));
    for host in mirrors.chain([rule.pointer("/mirror/host")]).flatten().filter_map(Value::as_str) {
        shares.entry(names.short(host)).or_default();
    }
    for (destination, share) in shares {
        for source in sources.iter().filter(|source| **source != destination) {
            let weight = into.entry((source.clone(), destination.clone())).or_default();
            *weight = share.max(*weight);
        }
    }
}

/// How services are called in a namespace.
#[derive(Debug, Clone, Copy)]
struct Names<'n> {
    namespace: &'n str,
}

impl Names<'_> {
    /// `reviews` for `reviews`, `reviews.shop` and `reviews.shop.svc.cluster.local` in `shop`;
    /// `reviews.shop` elsewhere. Other hosts as they are.
    fn short(self, host: &str) -> String {
        let mut labels = host.split('.');
        let (service, namespace, svc) = (labels.next(), labels.next(), labels.next());
        match (service, namespace, svc) {
            (Some(service), Some(namespace), None | Some("svc")) => self.of(service, namespace),
            _ => host.to_owned(),
        }
    }

    fn of(self, service: &str, namespace: &str) -> String {
        if namespace == self.namespace {
            service.to_owned()
        } else {
            format!("{service}.{namespace}")
        }
    }

    /// Who a rule is for: the apps that its matches name, and everybody who asks for the hosts where
    /// a match names none.
    fn sources(self, rule: &Value, hosts: &[String]) -> Vec<String> {
        let matches = list(rule, "/match");
        if matches.is_empty() {
            return hosts.to_vec();
        }
        let mut sources = Vec::new();
        for found in matches {
            let app = found.pointer("/sourceLabels/app").and_then(Value::as_str);
            let namespace = found.get("sourceNamespace").and_then(Value::as_str);
            match app {
                Some(app) => sources.push(self.of(app, namespace.unwrap_or(self.namespace))),
                None => sources.extend_from_slice(hosts),
            }
        }
        sources
    }

    /// The rules of the VirtualService that a rule is delegated to, where it is in this namespace.
    fn delegated<'v>(self, rule: &Value, virtual_services: &'v [Value]) -> &'v [Value] {
        let Some(delegate) = rule.get("delegate") else { return &[] };
        let text = |name: &str| delegate.get(name).and_then(Value::as_str);
        if text("namespace").is_some_and(|namespace| namespace != self.namespace) {
            return &[];
        }
        let found = virtual_services
            .iter()
            .find(|it| it.pointer("/metadata/name").and_then(Value::as_str) == text("name"));
        found.map_or(&[], |object| list(object, "/spec/http"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn virtual_service(name: &str, hosts: &[&str], http: &Value) -> Value {
        json!({ "metadata": { "name": name }, "spec": { "hosts": hosts, "http": http } })
    }

    fn shown(objects: &[Value]) -> Vec<String> {
        let show = |it: Edge| format!("{} -> {} {}", it.source, it.destination, it.weight);
        edges(objects, "payments").into_iter().map(show).collect()
    }

    fn to(host: &str) -> Value {
        json!({ "destination": { "host": host } })
    }

    fn split(host: &str, subset: &str, weight: u32) -> Value {
        json!({ "destination": { "host": host, "subset": subset }, "weight": weight })
    }

    #[test]
    fn the_documented_example() {
        let from = json!([{ "sourceLabels": { "app": "frontend" } }]);
        let objects = [
            virtual_service(
                "pay",
                &["payment-service"],
                &json!([{ "match": from, "route": [
                    split("payment-service", "stable", 90),
                    split("payment-service", "canary", 10),
                ] }]),
            ),
            virtual_service("db", &["payment-service"], &json!([{ "route": [to("database")] }])),
        ];
        assert_eq!(
            shown(&objects),
            ["frontend -> payment-service 100", "payment-service -> database 100"]
        );
    }

    #[rstest]
    #[case("pay", "pay")]
    #[case("pay.payments", "pay")]
    #[case("pay.payments.svc", "pay")]
    #[case("pay.payments.svc.cluster.local", "pay")]
    #[case("pay.shop", "pay.shop")]
    #[case("pay.shop.svc.cluster.local", "pay.shop")]
    #[case("www.example.com", "www.example.com")]
    #[case("*.example.com", "*.example.com")]
    #[case("", "")]
    fn names(#[case] host: &str, #[case] expected: &str) {
        assert_eq!(Names { namespace: "payments" }.short(host), expected);
    }

    #[test]
    fn a_service_is_not_its_own_neighbour() {
        let http = json!([{ "route": [split("pay.payments", "a", 50), to("other")] }]);
        assert_eq!(shown(&[virtual_service("a", &["pay"], &http)]), ["pay -> other 0"]);
    }

    #[test]
    fn the_greatest_share_of_several_routes_counts() {
        let http = json!([
            { "match": [{ "uri": { "prefix": "/a" } }], "route": [split("b", "x", 10), split("b", "y", 20), split("c", "x", 70)] },
            { "route": [split("b", "x", 50), split("c", "x", 50)] },
        ]);
        assert_eq!(shown(&[virtual_service("a", &["a"], &http)]), ["a -> b 50", "a -> c 70"]);
    }

    #[test]
    fn copies_weigh_nothing() {
        let http = json!([{
            "route": [to("b")],
            "mirror": { "host": "c" },
            "mirrors": [{ "destination": { "host": "d" } }, { "destination": { "host": "b" } }],
        }]);
        assert_eq!(
            shown(&[virtual_service("a", &["a"], &http)]),
            ["a -> b 100", "a -> c 0", "a -> d 0"]
        );
    }

    #[test]
    fn delegates_lead_on() {
        let http = json!([
            { "delegate": { "name": "inner", "namespace": "payments" } },
            { "delegate": { "name": "inner", "namespace": "elsewhere" } },
        ]);
        let objects = [
            virtual_service("outer", &["a"], &http),
            virtual_service("inner", &[], &json!([{ "route": [to("b")] }])),
        ];
        assert_eq!(shown(&objects), ["a -> b 100"]);
    }

    #[test]
    fn matches_say_who() {
        let from = json!([
            { "sourceLabels": { "app": "x" }, "sourceNamespace": "shop" },
            { "sourceLabels": { "version": "v1" } },
        ]);
        let http = json!([{ "match": from, "route": [to("b")] }]);
        assert_eq!(
            shown(&[virtual_service("a", &["a"], &http)]),
            ["a -> b 100", "x.shop -> b 100"]
        );
    }

    #[test]
    fn tcp_and_tls_count() {
        let object = json!({ "spec": {
            "hosts": ["a"],
            "tcp": [{ "route": [to("b")] }],
            "tls": [{ "match": [{ "sniHosts": ["a"] }], "route": [to("c")] }],
        } });
        assert_eq!(shown(&[object]), ["a -> b 100", "a -> c 100"]);
    }

    proptest! {
        #[test]
        fn edges_are_few_and_never_loops(
            objects in prop::collection::vec(
                (
                    prop::collection::vec("[ab]", 0..3),
                    prop::collection::vec(prop::collection::vec(("[abc]", 0_u32..3), 0..3), 0..3),
                ),
                0..4,
            ),
        ) {
            let objects: Vec<_> = objects
                .iter()
                .map(|(hosts, http)| {
                    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
                    let rule = |route: &Vec<(String, u32)>| {
                        let route = route.iter().map(|(host, weight)| split(host, "x", *weight));
                        json!({ "route": route.collect::<Vec<_>>() })
                    };
                    virtual_service("v", &hosts, &http.iter().map(rule).collect())
                })
                .collect();
            let edges = edges(&objects, "n");
            let mut seen = std::collections::BTreeSet::new();
            for edge in &edges {
                prop_assert_ne!(&edge.source, &edge.destination);
                prop_assert!(seen.insert((edge.source.clone(), edge.destination.clone())));
            }
        }
    }
}
