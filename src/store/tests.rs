use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const RESOURCE: &str = "authorizationpolicies.security.istio.io";

fn opened(folder: &Path, changes: usize) -> Store {
    Store::open(folder, History { changes }).unwrap()
}

fn key(name: &str) -> Key {
    let (namespace, name) = name.split_once('/').unwrap();
    Key::new(RESOURCE, namespace, name)
}

fn everywhere() -> Scope {
    Scope { resource: RESOURCE.into(), namespace: None }
}

fn within(namespace: &str) -> Scope {
    Scope { namespace: Some(namespace.into()), ..everywhere() }
}

fn put(store: &Store, name: &str, content: u32) -> u64 {
    let value = json!({ "metadata": { "name": name }, "spec": content });
    store.write::<_, StoreError>(|it| Ok(it.put(&key(name), value).revision)).unwrap()
}

fn delete(store: &Store, name: &str) -> bool {
    store.write::<_, StoreError>(|it| Ok(it.delete(&key(name)).is_some())).unwrap()
}

/// Names and contents.
fn shown(page: &Page) -> Vec<(String, u64)> {
    let show = |object: &Arc<Object>| {
        let Key { namespace, name, .. } = &object.key;
        (format!("{namespace}/{name}"), object.value["spec"].as_u64().unwrap())
    };
    page.objects.iter().map(show).collect()
}

fn all(store: &Store, at: Option<u64>) -> Vec<(String, u64)> {
    shown(&store.list(&everywhere(), at, None, usize::MAX).unwrap())
}

fn pair(name: &str, content: u64) -> (String, u64) {
    (name.to_owned(), content)
}

#[test]
fn revisions_count_changes_and_are_stamped() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path(), 10);
    assert_eq!(store.revision(), 0);
    assert_eq!((put(&store, "a/x", 1), put(&store, "a/x", 2)), (1, 2));
    let object = store.get(&key("a/x")).unwrap();
    assert_eq!(object.revision, 2);
    assert_eq!(object.value["metadata"]["resourceVersion"], "2");
    assert!(delete(&store, "a/x") && !delete(&store, "a/x"));
    assert_eq!((store.revision(), store.get(&key("a/x"))), (3, None));
}

#[test]
fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path(), 10);
    put(&store, "a/x", 1);
    put(&store, "b/y", 2);
    delete(&store, "a/x");
    drop(store);
    let store = opened(folder.path(), 10);
    assert_eq!((store.revision(), all(&store, None)), (3, vec![pair("b/y", 2)]));
    assert_eq!(all(&store, Some(1)), [pair("a/x", 1)]);
    drop(store);
    let checked = Store::check(folder.path()).unwrap();
    assert_eq!(checked, Checked { objects: 1, changes: 3, revision: 3, problems: Vec::new() });
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let _store = opened(folder.path(), 10);
    let second = Store::open(folder.path(), History::default());
    assert!(matches!(second, Err(StoreError::InUse { .. })));
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(disk::FILE);
    std::fs::write(&file, "not a database, and not empty").unwrap();
    assert!(matches!(Store::open(folder.path(), History::default()), Err(StoreError::Database(_))));
    assert_eq!(std::fs::read(&file).unwrap(), b"not a database, and not empty");
}

#[test]
fn an_error_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path(), 10);
    put(&store, "a/x", 1);
    let failed = store.write::<(), StoreError>(|it| {
        it.put(&key("a/y"), json!({}));
        it.delete(&key("a/x"));
        assert_eq!((it.get(&key("a/x")), it.revision()), (None, 3));
        Err(StoreError::Damaged("no".into()))
    });
    assert!(failed.is_err());
    let kept = store.write::<_, StoreError>(|it| {
        it.put(&key("a/x"), json!({}));
        it.discard();
        Ok(it.get(&key("a/x")).unwrap().revision)
    });
    assert_eq!((kept.unwrap(), store.revision()), (1, 1));
}

#[test]
fn pages_of_a_list_are_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path(), 10);
    for (name, content) in [("a/x", 1), ("b/x", 2), ("b/y", 3), ("c/x", 4)] {
        put(&store, name, content);
    }
    let first = store.list(&everywhere(), None, None, 2).unwrap();
    assert_eq!((shown(&first), first.remaining), (vec![pair("a/x", 1), pair("b/x", 2)], 2));
    delete(&store, "b/y");
    put(&store, "b/z", 5);
    put(&store, "c/x", 6);
    let last = &first.objects[1].key;
    let second = store.list(&everywhere(), Some(first.revision), Some(last), 2).unwrap();
    assert_eq!((shown(&second), second.remaining), (vec![pair("b/y", 3), pair("c/x", 4)], 0));
    assert_eq!(second.revision, first.revision);
    let of_b = store.list(&within("b"), None, None, 9).unwrap();
    assert_eq!(shown(&of_b), [pair("b/x", 2), pair("b/z", 5)]);
    let of_b = store.list(&within("b"), Some(4), None, 9).unwrap();
    assert_eq!(shown(&of_b), [pair("b/x", 2), pair("b/y", 3)]);
}

#[test]
fn the_past_ends_at_the_horizon_on_disk_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path(), 3);
    for content in 1..=5 {
        put(&store, "a/x", content);
    }
    let too_old = store.list(&everywhere(), Some(1), None, 9);
    assert_eq!(too_old, Err(Compacted { asked: 1, oldest: 2 }));
    assert_eq!(all(&store, Some(2)), [pair("a/x", 2)]);
    drop(store);
    assert_eq!(Store::check(folder.path()).unwrap().changes, 3);
    let store = opened(folder.path(), 3);
    let too_old = store.list(&everywhere(), Some(1), None, 9);
    assert_eq!(too_old, Err(Compacted { asked: 1, oldest: 2 }));
    assert_eq!(all(&store, Some(2)), [pair("a/x", 2)]);
}

#[tokio::test]
async fn watchers_see_every_change_of_their_scope_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path(), 100);
    put(&store, "a/x", 1);
    let mut watcher = store.watch(within("b"), 0);
    let other = Scope { resource: "peerauthentications.security.istio.io".into(), namespace: None };
    let mut of_others = store.watch(other, 0);
    let writer = tokio::task::spawn_blocking({
        let store = store.clone();
        move || {
            for content in 0..40 {
                put(&store, if content % 2 == 0 { "a/x" } else { "b/x" }, content);
            }
            delete(&store, "b/x");
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 21 {
        seen.extend(watcher.next().await.unwrap());
    }
    writer.await.unwrap();
    let contents: Vec<_> = seen
        .iter()
        .map(|c| c.new.as_ref().map(|new| new.value["spec"].as_u64().unwrap()))
        .collect();
    let expected: Vec<_> = (1..40).step_by(2).map(Some).chain([None]).collect();
    assert_eq!(contents, expected);
    let olds: Vec<_> = seen.iter().skip(1).map(|change| change.old.clone()).collect();
    let news: Vec<_> = seen.iter().take(20).map(|change| change.new.clone()).collect();
    assert_eq!(olds, news);
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(1), of_others.next()).await;
    assert!(nothing.is_err());
    assert_eq!(of_others.seen(), store.revision());
}

#[tokio::test]
async fn who_is_too_slow_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path(), 3);
    let mut watcher = store.watch(everywhere(), 0);
    for content in 0..4 {
        put(&store, "a/x", content);
    }
    assert_eq!(watcher.next().await, Err(Compacted { asked: 0, oldest: 1 }));
}

#[test]
fn an_export_can_be_imported() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = opened(folder.path(), 10);
    put(&store, "a/x", 1);
    put(&store, "a/y", 2);
    let export = store.export();
    assert_eq!(export["metadata"]["resourceVersion"], "2");
    let items = |contents: &Value| -> Vec<_> {
        let keys = ["a/x", "a/y"].map(key);
        keys.into_iter().zip(contents["items"].as_array().unwrap().clone()).collect()
    };
    let target = opened(other.path(), 10);
    put(&target, "b/z", 3);
    let counts = |created, replaced, unchanged| Imported { created, replaced, unchanged };
    assert_eq!(target.import(items(&export), false).unwrap(), counts(2, 0, 0));
    assert_eq!(target.import(items(&export), false).unwrap(), counts(0, 0, 2));
    put(&target, "a/y", 9);
    let refused = target.import(items(&export), false);
    assert!(matches!(refused, Err(ImportError::Exists(at)) if at == key("a/y")));
    assert_eq!(target.import(items(&export), true).unwrap(), counts(0, 1, 1));
    let expected = [pair("a/x", 1), pair("a/y", 2), pair("b/z", 3)];
    assert_eq!((all(&target, None), target.revision()), (expected.to_vec(), 5));
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u32),
    Delete(usize),
    Together(Vec<(usize, u32)>),
    Reopen,
}

const NAMES: [&str; 4] = ["a/x", "a/y", "a-b/x", "b/x"];

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (name.clone(), 0..5u32).prop_map(|(name, content)| Step::Put(name, content)),
        3 => name.clone().prop_map(Step::Delete),
        1 => prop::collection::vec((name, 0..5u32), 0..4).prop_map(Step::Together),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Every revision that is kept looks as it did, pages put together are the list, and following
    /// the changes from any revision leads to what is there.
    #[test]
    fn the_past_is_what_it_was(steps in prop::collection::vec(step(), 1..24), history in 1..30usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = opened(folder.path(), history);
        let mut now: BTreeMap<Key, u64> = BTreeMap::new();
        let mut past = vec![now.clone()];
        for step in steps {
            match step {
                Step::Put(name, content) => {
                    put(&store, NAMES[name], content);
                    now.insert(key(NAMES[name]), content.into());
                    past.push(now.clone());
                }
                Step::Delete(name) => {
                    let was_there = now.remove(&key(NAMES[name])).is_some();
                    prop_assert_eq!(delete(&store, NAMES[name]), was_there);
                    if was_there {
                        past.push(now.clone());
                    }
                }
                Step::Together(puts) => {
                    store.write::<_, StoreError>(|it| {
                        for (name, content) in &puts {
                            it.put(&key(NAMES[*name]), json!({ "spec": content }));
                        }
                        Ok(())
                    }).unwrap();
                    for (name, content) in puts {
                        now.insert(key(NAMES[name]), content.into());
                        past.push(now.clone());
                    }
                }
                Step::Reopen => {
                    drop(store);
                    let checked = Store::check(folder.path()).unwrap();
                    prop_assert_eq!(checked.problems, Vec::<String>::new());
                    store = opened(folder.path(), history);
                }
            }
        }
        prop_assert_eq!(store.revision(), past.len() as u64 - 1);
        for (revision, then) in past.iter().enumerate() {
            let is_kept = past.len() - 1 - revision <= history;
            for scope in [everywhere(), within("a"), within("a-b")] {
                let list = store.list(&scope, Some(revision as u64), None, usize::MAX);
                prop_assert_eq!(list.is_ok(), is_kept);
                let Ok(list) = list else { continue };
                let expected: Vec<_> = then
                    .iter()
                    .filter(|(key, _)| scope.contains(key))
                    .map(|(Key { namespace, name, .. }, content)| {
                        (format!("{namespace}/{name}"), *content)
                    })
                    .collect();
                prop_assert_eq!(shown(&list), &*expected);
                let mut paged = Vec::new();
                let mut after = None;
                loop {
                    let page = store.list(&scope, Some(revision as u64), after.as_ref(), 1).unwrap();
                    prop_assert_eq!(page.remaining + paged.len() + page.objects.len(), expected.len());
                    let Some(last) = page.objects.last() else { break };
                    after = Some(last.key.clone());
                    paged.extend(shown(&page));
                }
                prop_assert_eq!(&paged, &expected);
            }
            if is_kept {
                let mut followed = then.clone();
                for change in store.state().changes_after(revision as u64).unwrap() {
                    let content = |object: &Arc<Object>| object.value["spec"].as_u64().unwrap();
                    prop_assert_eq!(change.old.as_ref().map(content), followed.remove(&change.key));
                    if let Some(new) = &change.new {
                        followed.insert(change.key.clone(), content(new));
                    }
                }
                prop_assert_eq!(&followed, &now);
            }
        }
    }
}
