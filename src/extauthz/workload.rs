//! Which workload a request is for, by its context or its destination.

use std::net::IpAddr;

use super::view::{AddressView, ContextView, Extensions};
use crate::plan::{Named, Snapshot, WorkloadPlan};

/// What names the workload of a request whose `context_extensions` do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkloadFrom {
    /// Nothing: it is for the default workload.
    #[default]
    Context,
    /// Where it was sent to: the destination's address, else its certificate. If that is nobody's, it
    /// is denied.
    Destination,
}

impl WorkloadFrom {
    /// As settings write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Destination => "destination",
        }
    }
}

/// What a CheckRequest says about its workload.
#[derive(Debug, Default)]
pub(super) struct WorkloadView<'a> {
    extensions: Extensions<'a>,
    address: Option<IpAddr>,
    principal: &'a str,
}

impl<'a> WorkloadView<'a> {
    /// Takes it out of the rest, which does not need it.
    pub(super) fn take(context: &mut ContextView<'a>) -> Self {
        let extensions = std::mem::take(&mut context.extensions);
        let destination = context.destination.as_ref();
        let address = match destination.map(|destination| &destination.address) {
            Some(AddressView::Socket { address, .. }) => address.parse().ok(),
            Some(AddressView::Absent | AddressView::Other) | None => None,
        };
        let address = address.map(|address: IpAddr| address.to_canonical());
        let principal = destination.map_or("", |destination| destination.principal);
        Self { extensions, address, principal }
    }

    /// The plan of the workload; nothing where it is none of ours.
    pub(super) fn plan<'s>(
        &self,
        snapshot: &'s Snapshot,
        from: WorkloadFrom,
    ) -> Option<&'s WorkloadPlan> {
        let named = |key| self.extensions.get(key);
        let name = named("postern.workload");
        let (namespace, labels) = (named("postern.namespace"), named("postern.labels"));
        let by_labels = || {
            let labels = labels.unwrap_or_default();
            snapshot.directory.find(Named::Labels { namespace, labels })
        };
        let number = match (name, namespace.or(labels)) {
            (Some(name), None) => snapshot.directory.find(Named::Name(name))?,
            // Whoever says both means one workload.
            (Some(name), Some(_)) => {
                snapshot.directory.find(Named::Name(name)).filter(|at| by_labels() == Some(*at))?
            }
            (None, Some(_)) => by_labels()?,
            (None, None) => match from {
                WorkloadFrom::Context => 0,
                WorkloadFrom::Destination => {
                    let Self { address, principal, .. } = self;
                    let destination = Named::Destination { address: *address, principal };
                    snapshot.directory.find(destination)?
                }
            },
        };
        snapshot.workloads.get(number).map(AsRef::as_ref)
    }
}
