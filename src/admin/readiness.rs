//! Whether Postern can answer Envoy.
//!
//! The only opinion about it: `/readyz` and `grpc.health.v1` both read this.

use std::sync::Arc;

use tokio::sync::watch;

/// What readiness depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// A snapshot is published.
    pub policies: bool,
    /// The gRPC port accepts calls.
    pub grpc: bool,
    /// The first attempt of each key source has ended, well or badly. Once true it stays so: a key
    /// source that a new policy names must not take every replica out of service at once.
    pub key_sources: bool,
    /// Shutdown has begun.
    pub draining: bool,
}

impl Checks {
    /// Whether all is well.
    pub fn ready(self) -> bool {
        self.waiting_for().is_none()
    }

    /// Why not, if not.
    pub fn waiting_for(self) -> Option<&'static str> {
        match self {
            Self { draining: true, .. } => Some("shutting down"),
            Self { policies: false, .. } => Some("no policies are in force yet"),
            Self { grpc: false, .. } => Some("the gRPC port does not accept calls"),
            Self { key_sources: false, .. } => {
                Some("key sets are being fetched for the first time")
            }
            Self { policies: true, grpc: true, key_sources: true, draining: false } => None,
        }
    }
}

/// The present checks. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<Checks>>);

impl Default for Readiness {
    /// Not ready.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Checks::default())))
    }
}

impl Readiness {
    /// The checks now.
    pub fn checks(&self) -> Checks {
        *self.0.borrow()
    }

    /// Changes them.
    pub fn update(&self, change: impl FnOnce(&mut Checks)) {
        self.0.send_modify(change);
    }

    /// Follows them.
    pub fn subscribe(&self) -> watch::Receiver<Checks> {
        self.0.subscribe()
    }
}
