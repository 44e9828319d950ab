//! PeerAuthentications as what a listener takes: TLS, plaintext or both.

use std::collections::BTreeMap;

use serde_json::Value;

use super::attachment::{namespace, oldest_first, selects};
use crate::cases::Set;

/// `mtls.mode`, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MutualTls {
    /// Plaintext; TLS is not understood.
    Disable,
    #[default]
    Permissive,
    /// TLS with a client certificate.
    Strict,
}

/// The mode of every port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PeerModes {
    pub(crate) mode: MutualTls,
    pub(crate) ports: BTreeMap<u16, MutualTls>,
}

impl PeerModes {
    pub(crate) fn of_port(&self, port: u16) -> MutualTls {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }
}

/// Mesh, namespace, workload: each the oldest one, each over the one before. Ports are a matter of
/// the workload's.
pub(super) fn modes(set: &Set) -> PeerModes {
    let root = set.workload.root_namespace.as_str();
    let all = oldest_first(set, "PeerAuthentication");
    let is_wide = |r: &Value| {
        r["spec"]["selector"]["matchLabels"].as_object().is_none_or(serde_json::Map::is_empty)
    };
    let in_own = |r: &Value| namespace(r, set) == set.workload.namespace;
    let find = |wanted: &dyn Fn(&Value) -> bool| all.iter().copied().find(|r| wanted(r));
    let levels = [
        find(&|r| namespace(r, set) == root && is_wide(r)),
        find(&|r| in_own(r) && namespace(r, set) != root && is_wide(r)),
        find(&|r| {
            in_own(r)
                && namespace(r, set) != root
                && !is_wide(r)
                && selects(r, &set.workload.labels)
        }),
    ];
    let mut mode = MutualTls::default();
    for level in levels.iter().flatten() {
        mode = resolved(&level["spec"]["mtls"], mode);
    }
    let ports = levels[2].and_then(|r| r["spec"]["portLevelMtls"].as_object());
    let ports = ports.into_iter().flatten();
    let ports = ports.map(|(port, mtls)| (port.parse().expect("a port"), resolved(mtls, mode)));
    PeerModes { mode, ports: ports.collect() }
}

fn resolved(mtls: &Value, parent: MutualTls) -> MutualTls {
    match mtls["mode"].as_str() {
        None | Some("UNSET") => parent,
        Some("DISABLE") => MutualTls::Disable,
        Some("PERMISSIVE") => MutualTls::Permissive,
        Some("STRICT") => MutualTls::Strict,
        Some(other) => panic!("mode `{other}`"),
    }
}
