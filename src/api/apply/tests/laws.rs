//! What holds of every object and every sequence of writes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn value(depth: u32) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        "[xy]".prop_map(Value::from),
        Just(json!([])),
        prop::collection::vec("[xy]", 1..3).prop_map(Value::from),
        Just(json!({})),
    ];
    leaf.prop_recursive(depth, 12, 3, |inner| {
        prop::collection::btree_map("[abc]", inner, 0..3)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    })
    .boxed()
}

fn any_object() -> impl Strategy<Value = Value> {
    let spec = prop::collection::btree_map("[abc]", value(2), 0..3);
    let labels = prop::collection::btree_map("[abc]", "[xy]", 0..3);
    (spec, labels, prop::collection::btree_set("x/[abc]", 0..3)).prop_map(
        |(spec, labels, finalizers)| {
            let mut object = object(Value::Object(spec.into_iter().collect()));
            if !labels.is_empty() {
                object["metadata"]["labels"] = json!(labels);
            }
            if !finalizers.is_empty() {
                object["metadata"]["finalizers"] = json!(finalizers);
            }
            object
        },
    )
}

/// A live object with a few owners.
fn any_live() -> impl Strategy<Value = Value> {
    prop::collection::vec((any_object(), "[mnop]", any::<bool>()), 1..4).prop_map(|writes| {
        let mut live: Option<Value> = None;
        for (object, manager, applies) in writes {
            let write = by(&manager);
            live = Some(match &live {
                _ if applies => apply(live.as_ref(), &object, &write, true).unwrap(),
                None => update(None, object, &write),
                Some(before) => {
                    let mut new = object;
                    new["metadata"]["uid"] = before["metadata"]["uid"].clone();
                    update(live.as_ref(), new, &write)
                }
            });
            live = live.map(created);
        }
        live.unwrap_or_default()
    })
}

fn any_fields() -> impl Strategy<Value = FieldSet> {
    any_object().prop_map(|object| owned_fields(Shape::Root, &object))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_apply_is_idempotent(live in any_live(), config in any_object()) {
        let once = apply(Some(&live), &config, &by("a"), true).unwrap();
        let later = Write { now: LATER, ..by("a") };
        prop_assert_eq!(apply(Some(&once), &config, &later, false), Ok(once));
    }

    #[test]
    fn force_never_conflicts_and_has_its_way(live in any_live(), config in any_object()) {
        let new = apply(Some(&live), &config, &by("a"), true).unwrap();
        // Whatever was applied is there: applying it over the result changes nothing.
        let merged = merge(Shape::Root, Some(&tracked(&new, Endpoint::Main)), &tracked(&config, Endpoint::Main));
        prop_assert_eq!(merged, tracked(&new, Endpoint::Main));
    }

    #[test]
    fn one_who_applies_owns_all_of_it(live in any_live(), config in any_object()) {
        let new = apply(Some(&live), &config, &by("a"), true).unwrap();
        let mut fields = owned_fields(Shape::Root, &tracked(&config, Endpoint::Main));
        fields.below.retain(|_, set| !set.is_empty());
        if let Some(metadata) = fields.below.get_mut(&PathElement::field("metadata")) {
            metadata.member = false;
        }
        prop_assert_eq!(owned_paths(&new, "a"), fields.paths());
    }

    #[test]
    fn without_force_nothing_of_others_changes(live in any_live(), config in any_object()) {
        let forced = apply(Some(&live), &config, &by("a"), true).unwrap();
        match apply(Some(&live), &config, &by("a"), false) {
            Ok(new) => {
                prop_assert_eq!(&new, &forced);
                for manager in ["m", "n", "o", "p"] {
                    prop_assert_eq!(owned_paths(&new, manager), owned_paths(&live, manager));
                }
            }
            Err(error) => prop_assert_eq!(error.code(), 409),
        }
    }

    #[test]
    fn what_is_applied_and_withdrawn_leaves_nothing(live in any_live(), config in any_object()) {
        // Where nobody else is in the way, an empty apply takes everything back.
        if let Ok(new) = apply(Some(&live), &config, &by("a"), false) {
            let nothing = json!({"apiVersion": "security.istio.io/v1", "metadata": {"name": "a"}});
            let back = apply(Some(&new), &nothing, &by("a"), false).unwrap();
            prop_assert_eq!(owned_paths(&back, "a"), [""; 0]);
            prop_assert_eq!(leaves(&back), leaves(&live));
        }
    }

    #[test]
    fn what_is_recorded_is_there(live in any_live()) {
        let part = tracked(&live, Endpoint::Main);
        let present: BTreeSet<_> = all_paths(&part).into_iter().collect();
        for entry in live["metadata"]["managedFields"].as_array().into_iter().flatten() {
            for path in FieldSet::parse(&entry["fieldsV1"]).unwrap().paths() {
                prop_assert!(present.contains(&path), "{path} of {live}");
            }
        }
    }

    #[test]
    fn nobody_owns_what_says_which_object_it_is(live in any_live()) {
        let text = live["metadata"]["managedFields"].to_string();
        for field in ["apiVersion", "kind", "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "status"] {
            let field = format!("\"f:{field}\"");
            prop_assert!(!text.contains(&field), "{text}");
        }
        for whole in ["\"f:metadata\":{}", "\"f:metadata\":{\".\""] {
            prop_assert!(!text.contains(whole), "{text}");
        }
    }

    #[test]
    fn fields_v1_is_read_as_written(fields in any_fields()) {
        prop_assert_eq!(FieldSet::parse(&fields.to_json()).unwrap().paths(), fields.paths());
    }

    #[test]
    fn sets_are_sets(a in any_fields(), b in any_fields()) {
        let of = |set: &FieldSet| set.paths().into_iter().collect::<BTreeSet<_>>();
        prop_assert_eq!(of(&a.clone().union(&b)), &of(&a) | &of(&b));
        prop_assert_eq!(of(&a.intersection(&b)), &of(&a) & &of(&b));
        prop_assert_eq!(of(&a.difference(&b)), &of(&a) - &of(&b));
        prop_assert_eq!(a.is_empty(), of(&a).is_empty());
        prop_assert!(of(&a.with_parents()).is_superset(&of(&a)));
    }

    #[test]
    fn any_json_is_fields_v1_or_not(fields in value(3)) {
        drop(FieldSet::parse(&fields));
    }
}

/// Every path to anything, with keyed items.
fn all_paths(value: &Value) -> Vec<String> {
    compare(Shape::Root, None, Some(value)).added.paths()
}

/// Paths of all that is no object, and what stands there.
fn leaves(object: &Value) -> BTreeMap<String, Value> {
    fn collect(value: &Value, path: String, leaves: &mut BTreeMap<String, Value>) {
        if let Some(fields) = value.as_object() {
            for (name, value) in fields {
                collect(value, format!("{path}.{name}"), leaves);
            }
        } else if !path.contains("finalizers") || value != &json!([]) {
            leaves.insert(path, value.clone());
        }
    }
    let mut found = BTreeMap::new();
    collect(&tracked(object, Endpoint::Main), String::new(), &mut found);
    found
}

/// Ownership as a table: slow, and simple enough to be right. Paths are `a`, `b`, `c.d` and so on,
/// none of which is the beginning of another.
#[derive(Debug, Clone, Default)]
struct Model {
    live: BTreeMap<String, u8>,
    owners: BTreeMap<String, BTreeSet<String>>,
}

type Fields = BTreeMap<String, u8>;

impl Model {
    fn owned_by(&self, manager: &str) -> Vec<String> {
        let own = self.owners.iter().filter(|(_, owners)| owners.contains(manager));
        own.map(|(path, _)| path.clone()).collect()
    }

    fn apply(&mut self, manager: &str, config: &Fields, force: bool) -> bool {
        let changed = |path: &String, value: &u8| self.live.get(path) != Some(value);
        let changed: Vec<_> =
            config.iter().filter(|(p, v)| changed(p, v)).map(|(p, _)| p.clone()).collect();
        let foreign = |path: &String| {
            self.owners.get(path).is_some_and(|owners| owners.iter().any(|owner| owner != manager))
        };
        if !force && changed.iter().any(foreign) {
            return false;
        }
        for path in &changed {
            self.owners.insert(path.clone(), BTreeSet::new());
        }
        for path in self.owned_by(manager) {
            if !config.contains_key(&path) {
                let owners = self.owners.get_mut(&path).unwrap();
                owners.remove(manager);
                if owners.is_empty() {
                    self.owners.remove(&path);
                    self.live.remove(&path);
                }
            }
        }
        for (path, value) in config {
            self.live.insert(path.clone(), *value);
            self.owners.entry(path.clone()).or_default().insert(manager.to_owned());
        }
        true
    }

    fn update(&mut self, manager: &str, new: &Fields) {
        for (path, value) in new {
            if self.live.get(path) != Some(value) {
                self.owners.insert(path.clone(), BTreeSet::from([manager.to_owned()]));
            }
        }
        self.owners.retain(|path, _| new.contains_key(path));
        self.live = new.clone();
    }
}

/// One of them always stays, so that there are always owners.
const ANCHOR: &str = "anchor";

fn any_table() -> impl Strategy<Value = Fields> {
    let path = prop::sample::select(vec!["a", "b", "c.d", "c.e", "f.g.h", "f.g.i", "f.j"]);
    prop::collection::btree_map(path.prop_map(str::to_owned), 0_u8..3, 0..6)
}

fn from_table(fields: &Fields) -> Value {
    let mut spec = Map::new();
    for (path, value) in fields {
        let mut names: Vec<_> = path.split('.').collect();
        let last = names.pop().unwrap();
        let mut at = &mut spec;
        for name in names {
            at = at.entry(name).or_insert_with(|| json!({})).as_object_mut().unwrap();
        }
        // Lists are one value, like strings.
        let value = if *value == 0 { json!(["x", {"y": "z"}]) } else { json!(value.to_string()) };
        at.insert(last.to_owned(), value);
    }
    object(Value::Object(spec))
}

#[derive(Debug, Clone)]
enum Step {
    Apply { manager: &'static str, fields: Fields, force: bool },
    Update { manager: &'static str, fields: Fields },
}

fn any_step() -> impl Strategy<Value = Step> {
    let managers = || prop::sample::select(vec!["m", "n", "o"]);
    let updaters = || prop::sample::select(vec!["u", "v"]);
    prop_oneof![
        (managers(), any_table(), any::<bool>()).prop_map(|(manager, fields, force)| Step::Apply {
            manager,
            fields,
            force
        }),
        (updaters(), any_table()).prop_map(|(manager, fields)| Step::Update { manager, fields }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_sequence_is_as_in_the_table(steps in prop::collection::vec(any_step(), 1..12)) {
        let anchor = Fields::from([(ANCHOR.to_owned(), 1)]);
        let mut model = Model::default();
        model.update("root", &anchor);
        let mut live = created(update(None, from_table(&anchor), &by("root")));
        for step in steps {
            match step {
                Step::Apply { manager, fields, force } => {
                    let done = apply(Some(&live), &from_table(&fields), &by(manager), force);
                    prop_assert_eq!(done.is_ok(), model.apply(manager, &fields, force));
                    live = done.unwrap_or(live);
                }
                Step::Update { manager, mut fields } => {
                    fields.extend(anchor.clone());
                    model.update(manager, &fields);
                    let mut new = live.clone();
                    new["spec"] = from_table(&fields)["spec"].clone();
                    live = update(Some(&live), new, &by(manager));
                }
            }
            prop_assert_eq!(leaves(&live), leaves(&from_table(&model.live)));
            for manager in ["m", "n", "o", "u", "v", "root"] {
                let owned: Vec<_> = owned_paths(&live, manager)
                    .into_iter()
                    .filter_map(|path| path.strip_prefix(".spec.").map(str::to_owned))
                    .filter(|path| model.live.contains_key(path))
                    .collect();
                prop_assert_eq!(owned, model.owned_by(manager));
            }
        }
    }
}
