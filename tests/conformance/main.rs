//! The answers that Envoy's native filters gave (`cases/`), asked of Postern.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test support functions"
)]

mod cases;
mod client;
mod envoy_config;
mod envoy_process;
mod gate;
mod http1;
mod judge;
mod keys;
mod pki;
mod servers;
mod tokens;
mod world;
mod yaml;

use crate::{
    cases::ListenerSettings, envoy_config::Filters, envoy_process::Envoy, gate::Gate,
    judge::Report, world::World,
};

/// Every case through a real Envoy with ext_authz to Postern.
#[tokio::test(flavor = "multi_thread")]
async fn through_envoy() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let world = World::new().await;
    let gate = Gate::start().await;
    let files: Vec<_> = cases::files()
        .into_iter()
        .filter(|file| file.contains(&only))
        .map(|file| (cases::read(&file), file))
        .collect();
    let mut listeners: Vec<ListenerSettings> = Vec::new();
    for set in files.iter().flat_map(|(sets, _)| sets) {
        if !listeners.contains(&set.workload.listener) {
            listeners.push(set.workload.listener.clone());
        }
    }
    let configured: Vec<_> =
        listeners.iter().map(|l| (l.clone(), Filters::ExtAuthz(gate.address()))).collect();
    let bootstrap =
        envoy_config::bootstrap(&configured, world.upstream.address, &world.pki);
    let envoy = Envoy::start("envoy.json", &bootstrap).await;

    let mut report = Report::default();
    for (sets, file) in &files {
        for set in sets {
            let set = world.fill(set);
            if let Err(problem) = gate.load(&set).await {
                report.add_failure(file, &set, &problem);
                continue;
            }
            let listener = listeners.iter().position(|l| *l == set.workload.listener).unwrap();
            let address = envoy.listener(&listener.to_string()).await;
            for (index, request) in set.requests.iter().enumerate() {
                let observed = client::send(address, &world.pki, request).await;
                report.add(file, &set, index, request, &observed);
            }
        }
    }
    eprintln!("{}", report.text());
    assert!(report.passed(), "Envoy said:\n{}", envoy.log());
}
