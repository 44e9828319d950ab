//! Writes statuses to the objects of a cluster: only where they differ, one after the other, and only
//! by the replica that holds the lease.
//!
//! What a status says is decided elsewhere; see [`StatusWriter::write`].

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use ::kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Map, Value, json};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{Pace, lease::Lease, trouble::Trouble, view::SeenObjects, watching::resource};
use crate::authn::clock::Clock;
use crate::manifest::time::format_timestamp;
use crate::model::ResourceId;
use crate::telemetry::metrics::KubeMetrics;

/// Who we are among those who write to an object.
const FIELD_MANAGER: &str = "postern";

/// How long to wait after a write that was refused or got no answer.
const WAIT: Duration = Duration::from_secs(5);

/// An object as it was last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Which one.
    pub id: ResourceId,
    /// `apiVersion`, as it is followed.
    pub api_version: String,
    /// Its name as a [`crate::source::PolicyFile`].
    pub file: Arc<str>,
    /// Its text there.
    pub text: Arc<str>,
    /// `metadata.uid`
    pub uid: Option<String>,
    /// `metadata.resourceVersion`
    pub resource_version: Option<String>,
    /// `metadata.generation`
    pub generation: Option<i64>,
    /// `status`
    pub status: Option<Value>,
}

/// Writes statuses to the objects that a [`super::KubeSource`] sees.
pub struct StatusWriter {
    client: Client,
    lease: Lease,
    objects: SeenObjects,
    metrics: KubeMetrics,
    pace: Pace,
    clock: Clock,
    /// Objects that could not be written, and in which version: another try would end the same.
    refused: HashMap<Arc<str>, Option<String>>,
}

impl fmt::Debug for StatusWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusWriter").finish_non_exhaustive()
    }
}

impl StatusWriter {
    pub(super) fn new(
        client: Client,
        lease: Lease,
        objects: SeenObjects,
        metrics: KubeMetrics,
        pace: Pace,
        clock: Clock,
    ) -> Self {
        Self { client, lease, objects, metrics, pace, clock, refused: HashMap::new() }
    }

    /// Writes until there is nothing to write any more: `judge` makes of the newest state a function
    /// that says which status an object shall have, given the time as RFC 3339; nothing where it has
    /// it.
    pub async fn write<S, J>(self, states: watch::Receiver<S>, judge: impl Fn(&S) -> J)
    where
        J: Fn(&Seen, &str) -> Option<Value>,
    {
        let (sender, held) = watch::channel(false);
        let Self { client, lease, objects, metrics, pace, clock, refused } = self;
        let mut writing =
            Writing { client, objects, metrics, pace, clock, refused, held, said: None };
        tokio::select! {
            () = lease.hold(sender) => {}
            () = writing.run(states, judge) => {}
        }
    }
}

/// [`StatusWriter`] at work.
struct Writing {
    client: Client,
    objects: SeenObjects,
    metrics: KubeMetrics,
    pace: Pace,
    clock: Clock,
    refused: HashMap<Arc<str>, Option<String>>,
    held: watch::Receiver<bool>,
    /// What the log says last about writing.
    said: Option<&'static str>,
}

/// How a write ended, where the others have to wait as well.
struct Later;

impl Writing {
    async fn run<S, J>(&mut self, mut states: watch::Receiver<S>, judge: impl Fn(&S) -> J)
    where
        J: Fn(&Seen, &str) -> Option<Value>,
    {
        let mut pace = interval(self.pace.status_interval);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.held.wait_for(|held| *held).await.is_err() {
                return;
            }
            if !self.refused.is_empty() {
                let names = self.objects.names();
                self.refused.retain(|name, _| names.contains(name));
            }
            let wanted = {
                let judge = judge(&states.borrow_and_update());
                let now = self.clock.now().duration_since(std::time::UNIX_EPOCH);
                let now = now.ok().and_then(|since| format_timestamp(since.as_secs()));
                let now = now.unwrap_or_default();
                self.objects.wanting(|seen| judge(seen, &now).filter(|_| !self.is_refused(seen)))
            };
            let mut later = None;
            for (seen, status) in wanted {
                pace.tick().await;
                if !*self.held.borrow() || later.is_some() {
                    break;
                }
                later = self.write_one(&seen, &status).await.err();
            }
            if later.is_some() {
                sleep(WAIT).await;
                continue;
            }
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = self.objects.changed() => {}
                changed = self.held.changed() => if changed.is_err() { return },
            }
        }
    }

    fn is_refused(&self, seen: &Seen) -> bool {
        self.refused.get(&seen.file).is_some_and(|version| *version == seen.resource_version)
    }

    async fn write_one(&mut self, seen: &Seen, status: &Value) -> Result<(), Later> {
        let version = seen.api_version.rsplit_once('/').map_or("", |(_, version)| version);
        let kind = resource(seen.id.kind, version);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &seen.id.namespace, &kind);
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(patch(seen, status));
        let Err(error) = api.patch_status(&seen.id.name, &parameters, &patch).await else {
            self.metrics.status_written("ok");
            self.said = None;
            // Until it comes back by the watch.
            self.refused.insert(seen.file.clone(), seen.resource_version.clone());
            return Ok(());
        };
        let name = format!("{}/status", kind.plural);
        let trouble = Trouble::of_client(&error, "patch", &name);
        self.metrics.status_written(trouble.label());
        let later = match &trouble {
            // Of this object: it is gone, is another by now, or takes no such status.
            Trouble::NoSuchKind { .. }
            | Trouble::Refused { code: 400..=428 | 430..=499, .. }
            | Trouble::Unreadable { .. }
            | Trouble::Expired => {
                self.refused.insert(seen.file.clone(), seen.resource_version.clone());
                tracing::debug!(resource = %seen.id, reason = %trouble, "status not written");
                return Ok(());
            }
            Trouble::Forbidden { .. }
            | Trouble::Unauthorized { .. }
            | Trouble::Unreachable { .. }
            | Trouble::Refused { .. } => Later,
        };
        if self.said != Some(trouble.label()) {
            self.said = Some(trouble.label());
            tracing::warn!(reason = %trouble, "statuses of policies are not written");
        }
        Err(later)
    }
}

/// Of this version of the object only: it may be another by now.
fn patch(seen: &Seen, status: &Value) -> Value {
    let mut merge = status.as_object().cloned().unwrap_or_default();
    let before = seen.status.as_ref().and_then(Value::as_object);
    for name in before.into_iter().flat_map(Map::keys) {
        merge.entry(name.clone()).or_insert(Value::Null);
    }
    json!({
        "metadata": { "uid": seen.uid, "resourceVersion": seen.resource_version },
        "status": merge,
    })
}
