//! Objects in the embedded store, changed as a caller of its API would.

use serde_json::Value;

use super::{MeshError, MeshKind, manager};
use crate::api::server::{PatchRefused, patch_object};
use crate::authn::clock::Clock;
use crate::store::{Key, Scope, Store};

/// The objects of the embedded store.
#[derive(Debug, Clone)]
pub struct Stored {
    store: Store,
    clock: Clock,
}

impl Stored {
    /// Those of this store.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    pub(super) fn list(&self, kind: MeshKind, namespace: &str) -> Vec<Value> {
        let scope = Scope { resource: resource(kind).into(), namespace: Some(namespace.into()) };
        // What is there now is never too old.
        let page = self.store.list(&scope, None, None, usize::MAX);
        page.map_or_else(
            |_| Vec::new(),
            |page| page.objects.iter().map(|object| object.value.clone()).collect(),
        )
    }

    pub(super) fn get(&self, kind: MeshKind, namespace: &str, name: &str) -> Option<Value> {
        let object = self.store.get(&Key::new(&resource(kind), namespace, name))?;
        Some(object.value.clone())
    }

    pub(super) async fn patch(
        &self,
        namespace: &str,
        name: &str,
        patch: &json_patch::Patch,
        user: &str,
    ) -> Result<Value, MeshError> {
        let kind = MeshKind::VirtualService;
        let version = kind.versions().first().copied().unwrap_or_default();
        let path = format!(
            "/apis/{}/{version}/namespaces/{namespace}/{}/{name}",
            kind.group(),
            kind.plural()
        );
        let body = serde_json::to_vec(patch)
            .map_err(|error| MeshError::Refused(format!("the patch cannot be written: {error}")))?;
        let (store, clock) = (self.store.clone(), self.clock);
        let manager = manager(user);
        let patched = tokio::task::spawn_blocking(move || {
            patch_object(&store, &path, &body, &manager, clock)
        });
        match patched.await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(PatchRefused::NotFound)) => Err(MeshError::NotFound),
            Ok(Err(PatchRefused::Conflict)) => {
                Err(MeshError::Conflict("it has changed meanwhile".into()))
            }
            Ok(Err(PatchRefused::Invalid(why))) => Err(MeshError::Refused(why)),
            // The panic itself is on stderr.
            Ok(Err(PatchRefused::Failed)) | Err(_) => {
                Err(MeshError::Unreachable("the store cannot be written".into()))
            }
        }
    }
}

fn resource(kind: MeshKind) -> String {
    format!("{}.{}", kind.plural(), kind.group())
}
