//! Whether a store agrees with itself.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::StoreError;
use super::state::{History, State};
use super::{Disk, Key};

/// What was looked at, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// How many objects there are.
    pub objects: usize,
    /// How many changes are kept.
    pub changes: usize,
    /// Of the newest change.
    pub revision: u64,
    /// What contradicts what; empty is good.
    pub problems: Vec<String>,
}

/// Looks at a store that nobody has open.
pub(super) fn check(folder: &Path) -> Result<Checked, StoreError> {
    let (mut disk, state) = Disk::open(folder, History { changes: usize::MAX })?;
    let mut checked = agrees(&state);
    if !disk.check_pages()? {
        checked.problems.push("pages of the file were damaged, and have been repaired".into());
    }
    Ok(checked)
}

/// Every object is what the newest change of its key left, and each change found what the one before
/// had left.
fn agrees(state: &State) -> Checked {
    let mut problems = Vec::new();
    let mut latest: BTreeMap<&Key, Option<u64>> = BTreeMap::new();
    let mut expected = None;
    for change in state.log() {
        let revision = change.revision;
        if expected.is_some_and(|expected| expected != revision) {
            problems.push(format!("changes are missing before revision {revision}"));
        }
        expected = revision.checked_add(1);
        let old = change.old.as_ref().map(|object| object.revision);
        if latest.get(&change.key).is_some_and(|left| *left != old) {
            problems.push(format!("revision {revision} changed something else than was there"));
        }
        let new = change.new.as_ref().map(|object| object.revision);
        if new.is_some_and(|new| new != revision) {
            problems.push(format!("revision {revision} wrote an object of another"));
        }
        latest.insert(&change.key, new);
    }
    if expected.is_some_and(|next| next != state.revision().saturating_add(1)) {
        problems.push(format!("the newest change is not revision {}", state.revision()));
    }
    let mut objects = 0;
    for object in state.objects() {
        objects += 1;
        let stamped = object.value.pointer("/metadata/resourceVersion");
        if stamped.and_then(serde_json::Value::as_str) != Some(&object.revision.to_string()) {
            problems.push(format!("{} has another resourceVersion", object.key));
        }
        if object.revision > state.revision() {
            problems.push(format!("{} is newer than the store", object.key));
        }
        if latest.remove(&object.key).is_some_and(|left| left != Some(object.revision)) {
            problems.push(format!("{} is not what was written last", object.key));
        }
    }
    for (key, left) in latest {
        if left.is_some() {
            problems.push(format!("{key} was written and is not there"));
        }
    }
    Checked { objects, changes: state.log().count(), revision: state.revision(), problems }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use serde_json::json;

    use super::super::object::{Change, Object};
    use super::*;

    type Objects = BTreeMap<Key, Arc<Object>>;
    type Log = VecDeque<Arc<Change>>;

    fn object(revision: u64) -> Arc<Object> {
        let value = json!({ "metadata": { "resourceVersion": revision.to_string() } });
        Arc::new(Object { key: Key::new("r", "n", "a"), revision, value })
    }

    /// Created, changed, with one mistake.
    fn problems(mistake: fn(&mut Objects, &mut Log)) -> Vec<String> {
        let key = Key::new("r", "n", "a");
        let change = |revision, old, new| Arc::new(Change { revision, key: key.clone(), old, new });
        let mut objects = Objects::from([(key.clone(), object(2))]);
        let first = change(1, None, Some(object(1)));
        let mut log = Log::from([first, change(2, Some(object(1)), Some(object(2)))]);
        mistake(&mut objects, &mut log);
        agrees(&State::new(objects, log, 2, History::default())).problems
    }

    #[test]
    fn every_contradiction_is_named() {
        assert_eq!(problems(|_, _| ()), Vec::<String>::new());
        let lost = problems(|objects, _| objects.clear());
        assert_eq!(lost, ["r n/a was written and is not there"]);
        let gone = problems(|_, log| drop(log.pop_back()));
        assert_eq!(
            gone,
            ["the newest change is not revision 2", "r n/a is not what was written last"]
        );
        let gap = problems(|_, log| Arc::make_mut(&mut log[0]).revision = 0);
        let wrote = "revision 0 wrote an object of another";
        assert_eq!(gap, [wrote, "changes are missing before revision 2"]);
        let other = problems(|_, log| Arc::make_mut(&mut log[1]).old = None);
        assert_eq!(other, ["revision 2 changed something else than was there"]);
        let stamp = problems(|objects, _| {
            let object = objects.values_mut().next().unwrap();
            Arc::make_mut(object).value["metadata"]["resourceVersion"] = "1".into();
        });
        assert_eq!(stamp, ["r n/a has another resourceVersion"]);
    }
}
