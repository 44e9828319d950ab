//! Objects in the policy files, as they were last read. They are changed where they are written.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::{MeshError, MeshKind};
use crate::manifest::node;
use crate::manifest::text::Text;
use crate::source::Corpus;

/// The objects in the files of `--policies`.
#[derive(Debug, Clone)]
pub struct Files {
    corpora: watch::Receiver<Arc<Corpus>>,
    default_namespace: Arc<str>,
    /// What the last corpus held: files are read much oftener than they change.
    held: Arc<Mutex<Option<Held>>>,
}

/// What one corpus holds.
#[derive(Debug, Clone)]
struct Held {
    corpus: Arc<Corpus>,
    objects: Result<Arc<[Found]>, MeshError>,
}

/// One object, and where it is written.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    kind: MeshKind,
    namespace: String,
    name: String,
    file: Arc<str>,
    object: Value,
}

impl Files {
    /// Those of the newest corpus in this channel. An object that names no namespace is in
    /// `default_namespace`.
    pub fn new(corpora: watch::Receiver<Arc<Corpus>>, default_namespace: &str) -> Self {
        let default_namespace = default_namespace.into();
        Self { corpora, default_namespace, held: Arc::default() }
    }

    pub(super) async fn list(
        &self,
        kind: MeshKind,
        namespace: &str,
    ) -> Result<Vec<Value>, MeshError> {
        let objects = self.objects().await?;
        let wanted = |found: &&Found| found.kind == kind && found.namespace == namespace;
        Ok(objects.iter().filter(wanted).map(|found| found.object.clone()).collect())
    }

    pub(super) async fn get(
        &self,
        kind: MeshKind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, MeshError> {
        Ok(self.find(kind, namespace, name).await?.map(|found| found.object))
    }

    /// Files are not changed.
    pub(super) async fn patch(&self, namespace: &str, name: &str) -> Result<Value, MeshError> {
        match self.find(MeshKind::VirtualService, namespace, name).await? {
            None => Err(MeshError::NotFound),
            Some(found) => Err(MeshError::ReadOnly(format!(
                "it is read from the file `{}`: change it there",
                found.file
            ))),
        }
    }

    async fn find(
        &self,
        kind: MeshKind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Found>, MeshError> {
        let objects = self.objects().await?;
        let is_it = |found: &&Found| {
            found.kind == kind && found.namespace == namespace && found.name == name
        };
        Ok(objects.iter().find(is_it).cloned())
    }

    async fn objects(&self) -> Result<Arc<[Found]>, MeshError> {
        let corpus = self.corpora.borrow().clone();
        if let Some(held) = self.held().as_ref().filter(|it| Arc::ptr_eq(&it.corpus, &corpus)) {
            return held.objects.clone();
        }
        let default_namespace = self.default_namespace.clone();
        let read = tokio::task::spawn_blocking(move || {
            let objects = read(&corpus, &default_namespace);
            Held { corpus, objects }
        });
        // The panic itself is on stderr.
        let held = read.await.map_err(|_| unreadable())?;
        let objects = held.objects.clone();
        *self.held() = Some(held);
        objects
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unreadable() -> MeshError {
    MeshError::Unreachable("the policy files cannot all be read; `postern lint` says why".into())
}

/// All objects by namespace and name. A file that cannot be read makes all of them unknown: what is
/// in it would be missing.
fn read(corpus: &Corpus, default_namespace: &str) -> Result<Arc<[Found]>, MeshError> {
    if !corpus.problems.is_empty() {
        return Err(unreadable());
    }
    let mut objects = Vec::new();
    for file in &corpus.files {
        for document in node::read(&Text::new(&file.text, Some(&file.name))) {
            let node::Document { root, complete, problems } = document;
            let found = objects.len();
            if let Some(root) = root {
                collect(root.to_json(), &file.name, default_namespace, &mut objects);
            }
            // What others write may be odd as long as it ends.
            if !complete || (!problems.is_empty() && objects.len() > found) {
                return Err(unreadable());
            }
        }
    }
    // The first of a name counts, as with policies.
    let place = |it: &Found| (it.namespace.clone(), it.name.clone());
    objects.sort_by_cached_key(|it| (it.kind.as_str(), place(it)));
    objects.dedup_by(|later, first| later.kind == first.kind && place(later) == place(first));
    Ok(objects.into())
}

/// A document, or the items of a list.
fn collect(document: Value, file: &Arc<str>, default_namespace: &str, into: &mut Vec<Found>) {
    let Value::Object(mut members) = document else { return };
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
    let singular = kind.strip_suffix("List");
    if let (Some(singular), Some(Value::Array(items))) = (singular, members.get_mut("items")) {
        for mut item in std::mem::take(items) {
            if let (false, Value::Object(item)) = (singular.is_empty(), &mut item) {
                // Items of a typed list need not say what they are.
                item.entry("apiVersion").or_insert_with(|| api_version.clone().into());
                item.entry("kind").or_insert_with(|| singular.into());
            }
            collect(item, file, default_namespace, into);
        }
        return;
    }
    let kinds =
        [MeshKind::VirtualService, MeshKind::PeerAuthentication, MeshKind::AuthorizationPolicy];
    let (group, version) = api_version.split_once('/').unwrap_or_default();
    let kind = kinds
        .into_iter()
        .find(|it| it.as_str() == kind && it.group() == group && it.versions().contains(&version));
    let (Some(kind), Some(Value::Object(metadata))) = (kind, members.get_mut("metadata")) else {
        return;
    };
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    let Some(name) = text("name").map(str::to_owned) else { return };
    let namespace = text("namespace").unwrap_or(default_namespace).to_owned();
    metadata.insert("namespace".into(), namespace.clone().into());
    let object = Value::Object(members);
    into.push(Found { kind, namespace, name, file: file.clone(), object });
}
