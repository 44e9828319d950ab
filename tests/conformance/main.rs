//! The answers that Envoy's native filters gave (`cases/`), asked of Postern: in this process, and
//! through a real Envoy. `CONFORMANCE=<part of a file name>` runs only those files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test support functions"
)]

mod alternatives;
mod cases;
mod check_request;
mod check_response;
mod client;
mod differential;
mod envoy_config;
mod envoy_process;
mod gate;
mod http1;
mod http2;
mod http_gate;
mod judge;
mod keys;
mod native;
mod normalize;
mod over_http;
mod pki;
#[expect(dead_code, reason = "the tests of the examples use all of it")]
mod recorder;
mod servers;
mod tokens;
mod world;
mod yaml;

use std::{
    collections::BTreeMap,
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rstest::rstest;

use crate::{
    cases::{ListenerSettings, Request, Set},
    envoy_config::{Decider, Listener},
    envoy_process::{Address, Envoy},
    gate::Gate,
    judge::Report,
    native::Layer,
    recorder::Recorder,
    world::World,
};

/// Every case, asked of the service in this process as Envoy would ask.
#[rstest]
#[case::source_identity("01-source-identity.yaml")]
#[case::trust_domains("02-trust-domains.yaml")]
#[case::addresses("03-addresses.yaml")]
#[case::operation("04-operation.yaml")]
#[case::paths("05-paths.yaml")]
#[case::when("06-when.yaml")]
#[case::structure("07-structure.yaml")]
#[case::jwt_verify("08-jwt-verify.yaml")]
#[case::jwt_locations("09-jwt-locations.yaml")]
#[case::jwt_output("10-jwt-output.yaml")]
#[case::jwt_authz("11-jwt-authz.yaml")]
#[case::jwt_multi("12-jwt-multi.yaml")]
#[case::peer("13-peer.yaml")]
#[case::odd_requests("14-odd-requests.yaml")]
#[case::jwks("15-jwks.yaml")]
#[case::odd_identity("18-identity-odd.yaml")]
#[case::jwt_several_tokens("16-jwt-several-tokens.yaml")]
#[case::jwt_output_order("17-jwt-output-order.yaml")]
#[case::found_by_chance("19-found-by-chance.yaml")]
#[case::client_address("20-client-address.yaml")]
#[case::path_normalization("21-path-normalization.yaml")]
#[case::what_envoy_sends("22-what-envoy-sends.yaml")]
#[case::connections("23-connections.yaml")]
#[case::denials("24-denials.yaml")]
#[case::jwt_texts("25-jwt-texts.yaml")]
#[case::jwt_places("26-jwt-places.yaml")]
#[case::jwt_claims("27-jwt-claims.yaml")]
#[case::matchers("28-matchers.yaml")]
#[case::peer_names("29-peer-names.yaml")]
#[case::jwt_json("30-jwt-json.yaml")]
#[tokio::test(flavor = "multi_thread")]
async fn in_process(#[case] file: &str) {
    let world = World::new().await;
    let gate = Gate::start().await;
    let mut report = Report::default();
    for set in cases::read(file) {
        let set = world.fill(&set);
        if let Err(problem) = gate.load(&set).await {
            report.add_failure(file, &set, &problem);
            continue;
        }
        for (index, request) in set.requests.iter().enumerate() {
            match check_request::build(request, &set.workload.listener, &world.pki) {
                None => report.leave_out(),
                Some(check) => {
                    let response = gate.check(check.clone()).await;
                    let observed = check_response::apply(&check, &response);
                    report.add(file, &set, index, request, &observed);
                }
            }
        }
    }
    eprintln!("{}", report.text());
    assert!(report.passed(), "see above");
}

/// A new case file has to get its line above.
#[test]
fn every_case_file_is_run() {
    let source = include_str!("main.rs");
    for file in cases::files() {
        assert!(source.contains(&format!("(\"{file}\")")), "no in-process test for {file}");
    }
}

/// Every case through a real Envoy with ext_authz to Postern.
#[tokio::test(flavor = "multi_thread")]
async fn through_envoy() {
    let world = World::new().await;
    let gate = Gate::start().await;
    let files = chosen_files();
    let run = EnvoyRun::start(&world, &files, gate.address()).await;
    let mut report = Report::default();
    for (file, sets) in &files {
        for set in sets {
            let set = world.fill(set);
            if let Err(problem) = gate.load(&set).await {
                report.add_failure(file, &set, &problem);
                continue;
            }
            for (index, request) in set.requests.iter().enumerate() {
                let listener = run.listener(&set, request);
                let observed = client::send(listener, &world.pki, request).await;
                report.add(file, &set, index, request, &observed);
            }
        }
    }
    eprintln!("{}", report.text());
    assert!(report.passed(), "see above; Envoy said:\n{}", run.envoy.log());
}

/// The in-process runs ask what Envoy asks.
#[tokio::test(flavor = "multi_thread")]
async fn built_requests_are_what_envoy_sends() {
    let world = World::new().await;
    let (recorder, authorization) = Recorder::start().await;
    let files = chosen_files();
    let run = EnvoyRun::start(&world, &files, authorization).await;
    let mut differing = Vec::new();
    for (file, set) in files.iter().flat_map(|(file, sets)| sets.iter().map(move |s| (file, s))) {
        let set = world.fill(set);
        for (index, request) in set.requests.iter().enumerate() {
            let observed = client::send(run.listener(&set, request), &world.pki, request).await;
            let sent = recorder.take().pop();
            let built = check_request::build(request, &set.workload.listener, &world.pki);
            let (sent, built) =
                (sent.map(check_request::comparable), built.map(check_request::comparable));
            // In place of a loopback peer Envoy appends an address of this machine.
            let is_appended = set.workload.listener.use_remote_address
                && [Ipv4Addr::LOCALHOST.into(), IpAddr::from(Ipv6Addr::LOCALHOST)]
                    .contains(&request.source);
            if sent == built || is_appended {
                continue;
            }
            let (sent, built) = (format!("{sent:#?}"), format!("{built:#?}"));
            let lines: Vec<_> = (sent.lines().zip(built.lines()))
                .filter(|(sent, built)| sent != built)
                .map(|(sent, built)| format!("\n  sent  {}\n  built {}", sent.trim(), built.trim()))
                .take(8)
                .collect();
            let (name, status) = (&set.name, observed.status);
            differing.push(format!("{file} {name} #{index} ({status}):{}", lines.concat()));
        }
    }
    assert!(differing.is_empty(), "{}\n{} differ", differing.join("\n"), differing.len());
}

/// The harness against Envoy's own filters: what it sends is as good and as bad as what was sent
/// when the cases were recorded.
#[tokio::test(flavor = "multi_thread")]
async fn native_filters_still_answer_so() {
    let world = World::new().await;
    let mut sets = Vec::new();
    for (file, sets_of_file) in chosen_files() {
        for set in sets_of_file {
            let number = sets.len();
            let set = world.fill(&set);
            let native = world.native(&set);
            sets.push((file.clone(), number.to_string(), set, native));
        }
    }
    let listeners: Vec<_> = sets
        .iter()
        .flat_map(|(_, name, set, native)| {
            pair(name, &set.workload.listener, &Decider::Native(native.clone()))
        })
        .collect();
    let envoy = Envoy::start("envoy.json", &envoy_config::bootstrap(&listeners, &world)).await;
    let addresses = envoy.listeners().await;
    let mut report = Report::of_native_filters();
    for (file, name, set, _) in &sets {
        for (index, request) in set.requests.iter().enumerate() {
            let address = addresses[&listener_name(name, request)];
            let observed = client::send(address, &world.pki, request).await;
            report.add(file, set, index, request, &observed);
        }
    }
    eprintln!("{}", report.text());
    assert!(report.passed(), "see above; Envoy said:\n{}", envoy.log());
}

/// The listener of a name for HTTP, and the one for bytes.
fn pair(name: &str, settings: &ListenerSettings, decider: &Decider) -> [Listener; 2] {
    [("http", Layer::Http), ("l4", Layer::L4)].map(|(kind, layer)| Listener {
        name: format!("{name} {kind}"),
        settings: settings.clone(),
        layer,
        decider: decider.clone(),
    })
}

fn listener_name(name: &str, request: &Request) -> String {
    format!("{name} {}", if request.is_l4 { "l4" } else { "http" })
}

type Files = Vec<(String, Vec<Set>)>;

fn chosen_files() -> Files {
    let part = env::var("CONFORMANCE").unwrap_or_default();
    let chosen = cases::files().into_iter().filter(|file| file.contains(&part));
    chosen.map(|file| (file.clone(), cases::read(&file))).collect()
}

/// One Envoy with a listener for each kind that the cases ask for.
struct EnvoyRun {
    envoy: Envoy,
    kinds: Vec<ListenerSettings>,
    listeners: BTreeMap<String, Address>,
}

impl EnvoyRun {
    async fn start(world: &World, files: &Files, authorization: SocketAddr) -> Self {
        let mut kinds: Vec<ListenerSettings> = Vec::new();
        for set in files.iter().flat_map(|(_, sets)| sets) {
            if !kinds.contains(&set.workload.listener) {
                kinds.push(set.workload.listener.clone());
            }
        }
        let configured: Vec<_> = kinds
            .iter()
            .enumerate()
            .flat_map(|(i, kind)| {
                pair(&i.to_string(), kind, &Decider::ExtAuthz(authorization, None))
            })
            .collect();
        let bootstrap = envoy_config::bootstrap(&configured, world);
        let envoy = Envoy::start("envoy.json", &bootstrap).await;
        let listeners = envoy.listeners().await;
        Self { envoy, kinds, listeners }
    }

    fn listener(&self, set: &Set, request: &Request) -> Address {
        let kind = self.kinds.iter().position(|kind| *kind == set.workload.listener);
        self.listeners[&listener_name(&kind.expect("a listener of that kind").to_string(), request)]
    }
}

/// Sets that chance has made, the same each time; `examples/postern-conformance.rs` makes as many
/// others as asked.
#[rstest]
#[case(1)]
#[case(2)]
#[tokio::test(flavor = "multi_thread")]
async fn generated_sets_get_the_answers_of_native_filters(#[case] seed: u64) {
    let mut plan = differential::Plan::new(seed, 300);
    // Whoever only asks whether there is a difference need not wait for the rest.
    if env::var_os("CONFORMANCE_FIRST").is_some() {
        (plan.stops_early, plan.minimized) = (true, 0);
    }
    let outcome = differential::run(&plan, &mut |text| eprintln!("{text}")).await;
    eprintln!("{}", outcome.summary());
    assert!(outcome.passed(), "see above");
}
