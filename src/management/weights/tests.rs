//! Bodies, the choice of a route, and what a patch does.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

#[rstest]
#[case::text("", "the body is no JSON")]
#[case::list("[]", "the body must be an object")]
#[case::trailing(r#"{"weights":[]}x"#, "the body is no JSON")]
#[case::none("{}", "`weights` must be a list")]
#[case::null(r#"{"weights":null}"#, "`weights` must be a list")]
#[case::empty(r#"{"weights":[]}"#, "`weights` must have 1 to 100 entries")]
#[case::unknown(r#"{"weights":[{"destination":"a","weight":100}],"Route":"x"}"#, "nothing else")]
#[case::twice(r#"{"weights":[],"weights":[{"destination":"a","weight":100}]}"#, "there twice")]
#[case::entry(r#"{"weights":["a"]}"#, "must hold `destination` and `weight`")]
#[case::unknown_inside(r#"{"weights":[{"destination":"a","weight":100,"x":1}]}"#, "nothing else")]
#[case::no_destination(r#"{"weights":[{"weight":100}]}"#, "`destination` must be a text")]
#[case::empty_destination(r#"{"weights":[{"destination":"","weight":100}]}"#, "not empty")]
#[case::odd_destination(r#"{"weights":[{"destination":1,"weight":100}]}"#, "must be a text")]
#[case::no_weight(r#"{"weights":[{"destination":"a"}]}"#, "whole number from 0 to 100")]
#[case::half(r#"{"weights":[{"destination":"a","weight":12.5}]}"#, "whole number")]
#[case::nearly(r#"{"weights":[{"destination":"a","weight":100.00001}]}"#, "whole number")]
#[case::large_exponent(r#"{"weights":[{"destination":"a","weight":1e300}]}"#, "whole number")]
#[case::quoted(r#"{"weights":[{"destination":"a","weight":"80"}]}"#, "whole number")]
#[case::negative(r#"{"weights":[{"destination":"a","weight":-1}]}"#, "whole number")]
#[case::much(r#"{"weights":[{"destination":"a","weight":101}]}"#, "whole number")]
#[case::huge(r#"{"weights":[{"destination":"a","weight":18446744073709551616}]}"#, "whole")]
#[case::bool(r#"{"weights":[{"destination":"a","weight":true}]}"#, "whole number")]
#[case::sum(r#"{"weights":[{"destination":"a","weight":99}]}"#, "sum to 100, and sum to 99")]
#[case::duplicate(
    r#"{"weights":[{"destination":"a","weight":50},{"destination":"a","weight":50}]}"#,
    "`destination` is there twice"
)]
#[case::route(r#"{"weights":[{"destination":"a","weight":100}],"route":-1}"#, "`route` must be")]
#[case::no_route(r#"{"weights":[{"destination":"a","weight":100}],"route":null}"#, "`route`")]
#[case::kubeconfig(r#"{"weights":[{"destination":"a","weight":100}],"kubeconfig":1}"#, "text")]
fn bodies_that_are_refused(#[case] body: &str, #[case] expected: &str) {
    let error = Asked::read(body.as_bytes()).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

/// One number in JSON, and an integer to its schema, however it is written.
#[rstest]
#[case("100")]
#[case("100.0")]
#[case("1e2")]
fn whole_numbers(#[case] weight: &str) {
    let body = format!(r#"{{"weights":[{{"destination":"a","weight":{weight}}}]}}"#);
    let asked = Asked::read(body.as_bytes()).unwrap();
    assert_eq!(asked.weights[0].weight, 100);
}

#[test]
fn too_many_entries() {
    let entry = |it: u32| json!({ "destination": it.to_string(), "weight": 0 });
    let entries: Vec<_> = (0..101).map(entry).collect();
    let error = Asked::read(json!({ "weights": entries }).to_string().as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "`weights` must have 1 to 100 entries");
}

#[test]
fn a_kubeconfig_is_never_shown() {
    let body = r#"{"weights":[{"destination":"a","weight":100}],"kubeconfig":"secret","route":1}"#;
    let asked = Asked::read(body.as_bytes()).unwrap();
    assert_eq!(asked.kubeconfig.as_deref(), Some("secret"));
    assert_eq!(asked.route, Some(RouteRef::Place(1)));
    assert!(!format!("{asked:?}").contains("secret"));
}

fn asked(weights: &[(&str, u64)], route: Option<RouteRef>) -> Asked {
    let weights = weights.iter().map(|(destination, weight)| Wanted {
        destination: (*destination).to_owned(),
        weight: *weight,
    });
    Asked { weights: weights.collect(), route, kubeconfig: None }
}

fn route(destinations: &[(&str, &str)]) -> Value {
    let to = |(host, subset): &(&str, &str)| match *subset {
        "" => json!({ "destination": { "host": host } }),
        subset => json!({ "destination": { "host": host, "subset": subset } }),
    };
    json!({ "route": destinations.iter().map(to).collect::<Vec<_>>() })
}

const SPLIT: [(&str, u64); 2] = [("stable", 80), ("canary", 20)];

#[test]
fn the_one_route_with_these_destinations_is_meant() {
    let http = [
        route(&[("pay", "stable")]),
        route(&[("pay", "canary"), ("pay", "stable")]),
        json!({ "redirect": {} }),
    ];
    assert_eq!(choose(&http, &asked(&SPLIT, None)), Ok((1, vec![20, 80])));
    let both = [("pay/stable", 1), ("canary", 99)];
    assert_eq!(choose(&http, &asked(&both, None)), Ok((1, vec![99, 1])));
    assert_eq!(choose(&http, &asked(&[("stable", 100)], None)), Ok((0, vec![100])));
}

#[test]
fn hosts_without_subsets_are_meant_by_their_names() {
    let http = [route(&[("old", ""), ("new", "")])];
    assert_eq!(choose(&http, &asked(&[("new", 30), ("old", 70)], None)), Ok((0, vec![70, 30])));
    // A host does not mean its subsets.
    let http = [route(&[("pay", "stable")])];
    let error = choose(&http, &asked(&[("pay", 100)], None)).unwrap_err();
    assert_eq!(error.to_string(), "no HTTP route has just these destinations");
}

#[rstest]
#[case::missing(&[("stable", 100)])]
#[case::extra(&[("stable", 50), ("canary", 25), ("other", 25)])]
#[case::other(&[("stable", 50), ("Canary", 50)])]
#[case::twice_by_two_names(&[("stable", 50), ("pay/stable", 50)])]
fn no_host_is_ever_invented(#[case] weights: &[(&str, u64)]) {
    let http = [route(&[("pay", "stable"), ("pay", "canary")])];
    let error = choose(&http, &asked(weights, None)).unwrap_err().to_string();
    assert_eq!(error, "no HTTP route has just these destinations; there are `stable`, `canary`");
}

#[test]
fn one_of_several_routes_must_be_named() {
    let mut http =
        [route(&[("a", "stable"), ("a", "canary")]), route(&[("b", "canary"), ("b", "stable")])];
    http[1]["name"] = json!("second");
    let with = |route| choose(&http, &asked(&SPLIT, route));
    assert_eq!(with(None), Err(NoRoute::Several));
    assert_eq!(with(Some(RouteRef::Place(1))), Ok((1, vec![20, 80])));
    assert_eq!(with(Some(RouteRef::Name("second".into()))), Ok((1, vec![20, 80])));
    assert_eq!(with(Some(RouteRef::Place(2))), Err(NoRoute::Unknown));
    assert_eq!(with(Some(RouteRef::Name("third".into()))), Err(NoRoute::Unknown));
    let by_host = asked(&[("b/stable", 80), ("b/canary", 20)], None);
    assert_eq!(choose(&http, &by_host), Ok((1, vec![20, 80])));
    let other = asked(&[("b/stable", 80), ("b/canary", 20)], Some(RouteRef::Place(0)));
    let error = choose(&http, &other).unwrap_err().to_string();
    assert_eq!(error, "that `route` has other destinations; there are `stable`, `canary`");
    http[0]["name"] = json!("second");
    let twice = asked(&SPLIT, Some(RouteRef::Name("second".into())));
    assert_eq!(choose(&http, &twice), Err(NoRoute::Several));
}

#[test]
fn two_destinations_that_no_name_tells_apart_are_refused() {
    let mut http = [route(&[("a", ""), ("a", "")])];
    http[0]["route"][1]["destination"]["port"] = json!({ "number": 80 });
    choose(&http, &asked(&[("a", 50), ("a", 50)], None)).unwrap_err();
}

#[test]
fn a_change_keeps_everything_else() {
    let object = json!({
        "metadata": { "name": "pay", "resourceVersion": "7" },
        "spec": {
            "hosts": ["pay"],
            "http": [
                { "match": [{ "uri": { "prefix": "/a" } }], "route": [{ "destination": { "host": "x" } }] },
                {
                    "timeout": "5s",
                    "route": [
                        {
                            "destination": { "host": "pay", "subset": "stable", "port": { "number": 80 } },
                            "weight": 90,
                            "headers": { "request": { "set": { "a": "b" } } },
                        },
                        { "destination": { "host": "pay", "subset": "canary" } },
                    ],
                },
            ],
        },
    });
    let change = Change::of(&object, &asked(&SPLIT, None)).unwrap();
    assert_eq!(change.route, 1);
    assert_eq!(
        (change.before.as_str(), change.after.as_str()),
        ("stable=90 canary=unset", "stable=80 canary=20")
    );
    let mut changed = object.clone();
    json_patch::patch(&mut changed, &change.patch).unwrap();
    let mut expected = object.clone();
    expected["spec"]["http"][1]["route"][0]["weight"] = json!(80);
    expected["spec"]["http"][1]["route"][1]["weight"] = json!(20);
    assert_eq!(changed, expected);
    // Not on what it has become, and not on another version.
    json_patch::patch(&mut changed, &change.patch).unwrap_err();
    let mut newer = object;
    newer["metadata"]["resourceVersion"] = json!("8");
    json_patch::patch(&mut newer, &change.patch).unwrap_err();
}

/// What `choose` says, by trying every order of the destinations.
fn slowly(http: &[Value], asked: &Asked) -> Vec<(usize, Vec<u64>)> {
    let mut found = Vec::new();
    for (place, rule) in http.iter().enumerate() {
        let route = list(rule, "/route");
        let names = |it: &Value| {
            let host = it["destination"]["host"].as_str().unwrap();
            match it["destination"]["subset"].as_str() {
                Some(subset) => vec![subset.to_owned(), format!("{host}/{subset}")],
                None => vec![host.to_owned()],
            }
        };
        let all: Vec<_> = route.iter().flat_map(names).collect();
        let is_clear = |name: &String| all.iter().filter(|it| *it == name).count() == 1;
        if route.len() != asked.weights.len()
            || !asked.weights.iter().all(|it| is_clear(&it.destination))
        {
            continue;
        }
        let weight = |it: &Value| {
            let names = names(it);
            let mut mine = asked.weights.iter().filter(|it| names.contains(&it.destination));
            mine.next().map(|it| it.weight).filter(|_| mine.next().is_none())
        };
        if let Some(weights) = route.iter().map(weight).collect() {
            found.push((place, weights));
        }
    }
    found
}

prop_compose! {
    fn any_route()(
        destinations in prop::collection::vec(("[ab]", "[bc]?"), 0..4)
    ) -> Value {
        let pairs: Vec<_> = destinations.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        route(&pairs)
    }
}

proptest! {
    #[test]
    fn the_choice_agrees_with_all_orders(
        http in prop::collection::vec(any_route(), 0..4),
        names in prop::collection::btree_set("[ab](/[bc])?|[bc]", 1..4),
        place in prop::option::of(0_usize..4),
    ) {
        let weights: Vec<_> =
            names.iter().zip(1..).map(|(name, weight)| (name.as_str(), weight)).collect();
        let asked = asked(&weights, place.map(RouteRef::Place));
        let all = slowly(&http, &asked);
        let expected = match place {
            Some(place) => all.into_iter().find(|(it, _)| *it == place),
            None if all.len() == 1 => all.into_iter().next(),
            None => None,
        };
        prop_assert_eq!(choose(&http, &asked).ok(), expected);
    }

    /// Whatever is taken is whole, and 100 % together, also behind the patch.
    #[test]
    fn weights_that_are_taken_sum_to_100(
        weights in prop::collection::vec(prop_oneof![0_i64..=100, -1_i64..=101], 1..4),
    ) {
        let entries: Vec<_> = weights
            .iter()
            .zip(["a", "b", "c"])
            .map(|(weight, name)| json!({ "destination": name, "weight": weight }))
            .collect();
        let body = json!({ "weights": entries }).to_string();
        let good = weights.iter().all(|it| (0..=100).contains(it)) && weights.iter().sum::<i64>() == 100;
        let read = Asked::read(body.as_bytes());
        prop_assert_eq!(read.is_ok(), good);
        if let Ok(asked) = read {
            let pairs: Vec<_> =
                ["a", "b", "c"].into_iter().take(weights.len()).map(|name| (name, "")).collect();
            let mut object = json!({ "spec": { "http": [route(&pairs)] } });
            let change = Change::of(&object, &asked).unwrap();
            json_patch::patch(&mut object, &change.patch).unwrap();
            let sum: i64 = list(&object, "/spec/http/0/route")
                .iter()
                .map(|it| it["weight"].as_i64().unwrap())
                .sum();
            prop_assert_eq!(sum, 100);
        }
    }

    #[test]
    fn any_body_is_survived(body in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(Asked::read(&body));
    }
}
