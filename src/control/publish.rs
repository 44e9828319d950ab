//! One owner publishes, everyone loads once.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::plan::Snapshot;

/// Where requests find the current snapshot. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SnapshotCell(Arc<ArcSwap<Snapshot>>);

/// The only handle that can publish. Not `Clone`: one owner, one order of revisions.
#[derive(Debug)]
pub struct Publisher(Arc<ArcSwap<Snapshot>>);

impl SnapshotCell {
    /// A cell with an empty snapshot of revision 0, and the handle that replaces it.
    pub fn new() -> (Self, Publisher) {
        let cell = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        (Self(cell.clone()), Publisher(cell))
    }

    /// Load once per request and pass `&Snapshot` down: two loads may see two revisions.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// The snapshot for longer than one request (the admin port's dumps).
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

impl Publisher {
    /// Replaces the snapshot. Returns the old one, so that the writer pays for freeing it.
    pub fn publish(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        self.0.swap(snapshot)
    }
}
