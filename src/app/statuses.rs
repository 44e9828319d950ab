//! What became of a policy, written into its status in the store.
//!
//! What it says is `control`'s. Only what control has seen is written, and only what is new.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::api::apply::{Write, update};
use crate::api::object_meta::{Endpoint, is_unchanged};
use crate::api::server::{POLICIES, rfc3339_now};
use crate::authn::clock::Clock;
use crate::control::acceptance::{Acceptances, Standing};
use crate::control::{ControlStatus, Subject};
use crate::model::{Kind, ResourceId};
use crate::source::{Corpus, local};
use crate::store::{Key, Store, StoreError, Transaction};

/// The field manager of statuses.
const MANAGER: &str = "postern";

/// How many are written at once, and how often: where many policies change, the disk has other things
/// to do.
const BATCH: usize = 200;
const PAUSE: Duration = Duration::from_millis(100);

/// Writes statuses as long as control lives.
pub(super) async fn run(
    store: Store,
    mut control: watch::Receiver<Arc<ControlStatus>>,
    clock: Clock,
) {
    let mut before = Before::default();
    loop {
        let status = control.borrow_and_update().clone();
        let store = store.clone();
        let worked = tokio::task::spawn_blocking(move || {
            let written = before.round(&store, &status, clock);
            (before, written)
        });
        // The panic itself is on stderr.
        let Ok((next, written)) = worked.await else { return };
        before = next;
        if let Err(error) = written {
            tracing::warn!(error = %anyhow::Error::new(error), "statuses cannot be written");
        }
        tokio::time::sleep(PAUSE).await;
        if control.changed().await.is_err() {
            return;
        }
    }
}

/// What was looked at the last time.
#[derive(Debug, Default)]
struct Before {
    corpus: Arc<Corpus>,
    /// Files of what was refused then.
    refused: BTreeSet<Arc<str>>,
}

impl Before {
    fn round(
        &mut self,
        store: &Store,
        status: &ControlStatus,
        clock: Clock,
    ) -> Result<(), StoreError> {
        let refused = refused(status);
        let mut names = changed(&self.corpus, &status.corpus);
        names.extend(refused.iter().chain(&self.refused).cloned());
        let names: Vec<_> = names.into_iter().collect();
        if !names.is_empty() {
            let acceptances = Acceptances::of(status);
            let now = rfc3339_now(clock);
            for names in names.chunks(BATCH) {
                store.write::<_, StoreError>(|transaction| {
                    for name in names {
                        write(transaction, &acceptances, name, &now);
                    }
                    Ok(())
                })?;
            }
        }
        *self = Self { corpus: status.corpus.clone(), refused };
        Ok(())
    }
}

/// The names of files that are new or other than before. Both are in the order of names.
fn changed(before: &Corpus, after: &Corpus) -> BTreeSet<Arc<str>> {
    let mut old = before.files.iter().peekable();
    let mut changed = BTreeSet::new();
    for file in &after.files {
        while old.next_if(|old| old.name < file.name).is_some() {}
        let same = old.peek().is_some_and(|old| old.name == file.name && old.text == file.text);
        if !same {
            changed.insert(file.name.clone());
        }
    }
    changed
}

fn refused(status: &ControlStatus) -> BTreeSet<Arc<str>> {
    let name = |subject: &Subject| match subject {
        Subject::Resource(id) => local::file_name(&key(id)).into(),
        Subject::Path(path) => path.clone(),
    };
    status.rejected.iter().map(|rejection| name(&rejection.subject)).collect()
}

fn key(id: &ResourceId) -> Key {
    let resource = POLICIES.into_iter().find(|it| it.kind == id.kind.as_str());
    let resource = resource.map(|it| it.to_string()).unwrap_or_default();
    Key::new(&resource, &id.namespace, &id.name)
}

fn write(
    transaction: &mut Transaction<'_>,
    acceptances: &Acceptances,
    file: &str,
    now: &str,
) -> Option<()> {
    let mut parts = file.splitn(3, '/');
    let (plural, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
    let resource = POLICIES.into_iter().find(|resource| resource.plural == plural)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == resource.kind)?;
    let key = Key::new(&resource.to_string(), namespace, name);
    let stored = transaction.get(&key)?;
    let live = &stored.value;
    let id = ResourceId { kind, namespace: namespace.into(), name: name.into() };
    let standing = Standing {
        id: &id,
        file,
        text: &local::text(live),
        generation: live.pointer("/metadata/generation").and_then(Value::as_i64),
        status: live.get("status"),
    };
    let status = acceptances.status(standing, now)?;
    let mut object = live.clone();
    object.as_object_mut()?.insert("status".into(), status);
    let api_version = live.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let write = Write { manager: MANAGER, api_version, endpoint: Endpoint::Status, now };
    let object = update(Some(live), object, &write);
    if !is_unchanged(live, &object) {
        transaction.put(&key, object);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::PolicyFile;

    fn corpus(files: &[(&str, &str)]) -> Corpus {
        let file =
            |(name, text): &(&str, &str)| PolicyFile { name: (*name).into(), text: (*text).into() };
        Corpus { files: files.iter().map(file).collect(), ..Corpus::default() }
    }

    #[test]
    fn what_is_new_or_other_is_looked_at() {
        let before = corpus(&[("a", "1"), ("b", "1"), ("d", "1")]);
        let after = corpus(&[("0", "1"), ("b", "1"), ("c", "1"), ("d", "2")]);
        let names: Vec<_> = changed(&before, &after).into_iter().collect();
        assert_eq!(names, ["0".into(), "c".into(), Arc::<str>::from("d")]);
        assert!(changed(&after, &after).is_empty());
    }
}
