//! Policies from the embedded store, as they are written.

use std::sync::Arc;

use tokio::sync::watch;

use super::Corpus;
use super::objects::{self, Objects};
use crate::store::{Change, Compacted, Key, Scope, Store, Watcher};

/// Follows the objects of some resources in a store.
#[derive(Debug)]
pub struct LocalSource {
    store: Store,
    resources: Vec<Arc<str>>,
    objects: Objects,
    watchers: Vec<Watcher>,
}

impl LocalSource {
    /// Of these resources, such as `authorizationpolicies.security.istio.io`.
    pub fn new(store: Store, resources: impl IntoIterator<Item = Arc<str>>) -> Self {
        let resources = resources.into_iter().collect();
        Self { store, resources, objects: Objects::default(), watchers: Vec::new() }
    }

    /// All that is there now.
    pub fn read(&mut self) -> Corpus {
        self.objects = Objects::default();
        self.watchers.clear();
        for resource in &self.resources {
            let scope = Scope { resource: resource.clone(), namespace: None };
            // What is there now is never too old.
            let Ok(page) = self.store.list(&scope, None, None, usize::MAX) else { continue };
            for object in &page.objects {
                self.objects.insert(&file_name(&object.key), &object.value);
            }
            self.watchers.push(self.store.watch(scope, page.revision));
        }
        self.objects.corpus()
    }

    /// Sends what has changed since [`LocalSource::read`], until nobody listens.
    pub async fn watch(mut self, corpora: watch::Sender<Arc<Corpus>>) {
        loop {
            let changes = tokio::select! {
                () = corpora.closed() => return,
                changes = next(&mut self.watchers) => changes,
            };
            let corpus = match changes {
                Ok(changes) => {
                    for change in changes {
                        match &change.new {
                            Some(new) => self.objects.insert(&file_name(&change.key), &new.value),
                            None => self.objects.remove(&file_name(&change.key)),
                        }
                    }
                    self.objects.corpus()
                }
                Err(compacted) => {
                    tracing::debug!(%compacted, "the store is read anew");
                    self.read()
                }
            };
            corpora.send_if_modified(|now| {
                let is_new = **now != corpus;
                if is_new {
                    *now = Arc::new(corpus);
                }
                is_new
            });
        }
    }
}

/// The next changes of any of them.
async fn next(watchers: &mut [Watcher]) -> Result<Vec<Arc<Change>>, Compacted> {
    let (changes, _, _) =
        futures_util::future::select_all(watchers.iter_mut().map(|it| Box::pin(it.next()))).await;
    changes
}

/// The text of an object as a file of a [`Corpus`].
pub fn text(object: &serde_json::Value) -> String {
    objects::text(object)
}

/// The name of that file.
pub fn file_name(key: &Key) -> String {
    let plural = key.resource.split('.').next().unwrap_or_default();
    format!("{plural}/{}/{}", key.namespace, key.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{History, StoreError};

    const RESOURCES: [&str; 2] = ["as.example", "bs.example"];

    fn put(store: &Store, resource: &str, name: &str, content: u32) {
        let key = Key::new(resource, "n", name);
        store.write::<_, StoreError>(|it| Ok(it.put(&key, json!(content)))).unwrap();
    }

    fn names(corpus: &Corpus) -> Vec<String> {
        corpus.files.iter().map(|file| format!("{}={}", file.name, file.text)).collect()
    }

    #[tokio::test]
    async fn writes_become_policy_sets() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), History { changes: 2 }).unwrap();
        put(&store, "as.example", "x", 1);
        put(&store, "others.example", "x", 1);
        let mut source = LocalSource::new(store.clone(), RESOURCES.map(Into::into));
        let first = source.read();
        assert_eq!(names(&first), ["as/n/x=1"]);
        let (sender, mut corpora) = watch::channel(Arc::new(first));
        let watching = tokio::spawn(source.watch(sender));
        put(&store, "bs.example", "y", 2);
        corpora.changed().await.unwrap();
        assert_eq!(names(&corpora.borrow_and_update()), ["as/n/x=1", "bs/n/y=2"]);
        // More than the history holds, while nobody had a chance to look.
        for content in 3..9 {
            put(&store, "as.example", "x", content);
        }
        let key = Key::new("bs.example", "n", "y");
        store.write::<_, StoreError>(|it| Ok(it.delete(&key))).unwrap();
        corpora.wait_for(|corpus| names(corpus) == ["as/n/x=8"]).await.unwrap();
        drop(corpora);
        watching.await.unwrap();
    }
}
