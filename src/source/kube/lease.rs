//! Which replica writes statuses: the holder of one lease of the cluster's.
//!
//! What the holder does is `status`'s job. Two may believe to hold it for a moment when a clock or a
//! network stands still; they would write the same.

use std::{collections::BTreeMap, time::Duration};

use ::kube::{
    Api, Client, Error as ClientError,
    api::{ObjectMeta, PostParams},
};
use k8s_openapi::{
    api::coordination::v1::{Lease as LeaseObject, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Pace, trouble::Trouble};
use crate::authn::clock::Clock;

/// The name of the lease, in Postern's own namespace.
const NAME: &str = "postern-status";

/// How long to wait where leases are not to be had: rights are granted by people.
const REFUSED_WAIT: Duration = Duration::from_mins(5);

pub(super) struct Lease {
    api: Api<LeaseObject>,
    place: String,
    identity: String,
    duration: Duration,
    clock: Clock,
    /// The lease as another one last renewed it, and when we saw that: clocks differ, so only ours
    /// tells how long ago it was.
    other: Option<(String, Instant)>,
}

impl Lease {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        identity: String,
        pace: Pace,
        clock: Clock,
    ) -> Self {
        let place = format!("leases.coordination.k8s.io in namespace {namespace}");
        let api = Api::namespaced(client, namespace);
        Self { api, place, identity, duration: pace.lease, clock, other: None }
    }

    /// Says who holds it, until nobody wants to know.
    pub(super) async fn hold(mut self, held: watch::Sender<bool>) {
        let (mut renewed, mut said) = (Instant::now(), None);
        while !held.is_closed() {
            let begun = Instant::now();
            let mut wait = self.duration / 3;
            match self.attempt().await {
                Ok(ours) => {
                    if ours {
                        renewed = begun;
                    }
                    said = None;
                    set(&held, ours);
                }
                Err(error) => {
                    // Another one may take it when it is over; a bit earlier we stop.
                    if renewed.elapsed() > self.duration * 2 / 3 {
                        set(&held, false);
                    }
                    let trouble = Trouble::of_client(&error, "use", &self.place);
                    if matches!(trouble, Trouble::Forbidden { .. } | Trouble::NoSuchKind { .. }) {
                        set(&held, false);
                        wait = REFUSED_WAIT;
                    }
                    if said != Some(trouble.label()) {
                        said = Some(trouble.label());
                        let reason = if let Trouble::NoSuchKind { resource } = trouble {
                            format!("{resource}, which say who writes, are not there")
                        } else {
                            trouble.to_string()
                        };
                        tracing::warn!(reason, "statuses of policies are not written");
                    }
                }
            }
            tokio::select! {
                () = held.closed() => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Takes or renews the lease; false where another one has it.
    async fn attempt(&mut self) -> Result<bool, ClientError> {
        let Some(mut lease) = self.api.get_opt(NAME).await? else {
            let lease = LeaseObject {
                metadata: ObjectMeta {
                    name: Some(NAME.into()),
                    labels: Some(BTreeMap::from([(
                        "app.kubernetes.io/part-of".into(),
                        "postern".into(),
                    )])),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take();
        let holder = spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if holder.is_some_and(|holder| !holder.is_empty() && holder != self.identity) {
            let version = lease.metadata.resource_version.clone().unwrap_or_default();
            match &self.other {
                Some((seen, since)) if *seen == version => {
                    let promised = spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
                    let promised = promised.and_then(|seconds| u64::try_from(seconds).ok());
                    let promised = promised.map_or(self.duration, Duration::from_secs);
                    if since.elapsed() < promised {
                        return Ok(false);
                    }
                }
                Some(_) | None => {
                    self.other = Some((version, Instant::now()));
                    return Ok(false);
                }
            }
        }
        lease.spec = Some(self.spec(spec));
        // With the version that was read: of two that try, one wins.
        won(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn spec(&self, before: Option<LeaseSpec>) -> LeaseSpec {
        let now = Timestamp::try_from(self.clock.now()).ok().map(MicroTime);
        let before = before.unwrap_or_default();
        let ours = before.holder_identity.as_deref() == Some(&self.identity);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            // At least a second, which is as fine as leases say it.
            lease_duration_seconds: i32::try_from(self.duration.as_secs().max(1)).ok(),
            acquire_time: if ours { before.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(
                before.lease_transitions.unwrap_or_default().saturating_add(i32::from(!ours)),
            ),
            ..before
        }
    }
}

fn won(written: Result<LeaseObject, ClientError>) -> Result<bool, ClientError> {
    match written {
        Ok(_) => Ok(true),
        // Another one was faster.
        Err(ClientError::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

fn set(held: &watch::Sender<bool>, now: bool) {
    held.send_if_modified(|held| {
        let changed = *held != now;
        *held = now;
        changed
    });
}
