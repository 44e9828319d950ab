//! 1,000 workloads and 10,000 policies in one process.
//!
//! Ten workloads in each of a hundred namespaces; nine policies select each of them, nine hold for each
//! namespace, a hundred for the mesh. Against it: the same policies for one workload, and as many
//! policies in a process of their own for each workload.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern::compile::{Compiler, Settings, compile};
use postern::decide::decide;
use postern::load::{self, Until};
use postern::manifest;
use postern::model::{
    Attributes, Headers, Http, Identity, Mesh, Missing, Outcome, Peer, Resource, Workload,
};
use postern::plan::{Named, Snapshot};
use serde_json::{Value, json};

use crate::policies::{Asked, Policies};
use crate::postern_process::{Postern, command_for, load, revision};
use crate::process::resident;
use crate::{Effort, median};

const NAMESPACES: usize = 100;
const WORKLOADS: usize = 1_000;
const POLICIES: usize = 10_000;

pub(crate) fn table(effort: Effort) {
    let policies = policies();
    assert_eq!(policies.len(), POLICIES);
    let resources = read(&policies);
    compiling(&resources, effort);
    deciding(&resources, effort);
    process(&policies, effort);
}

fn namespace(number: usize) -> String {
    format!("ns-{number:03}")
}

fn app(number: usize) -> String {
    format!("app-{number:04}")
}

fn policies() -> Vec<Value> {
    let policy = |namespace: &str, name: &str, app: Option<String>, path: &str| {
        let mut spec = json!({ "rules": [{
            "from": [{"source": {"principals": [format!("cluster.local/ns/{namespace}/sa/{name}")]}}],
            "to": [{"operation": {"methods": ["GET"], "paths": [path]}}],
        }] });
        if let Some(app) = app {
            spec["selector"] = json!({"matchLabels": {"app": app}});
        }
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        })
    };
    let mut all = Vec::new();
    for number in 0..100 {
        all.push(policy(
            "istio-system",
            &format!("mesh-{number}"),
            None,
            &format!("/mesh-{number}/*"),
        ));
    }
    for at in 0..NAMESPACES {
        for number in 0..9 {
            let (name, path) = (format!("all-{number}"), format!("/all-{number}/*"));
            all.push(policy(&namespace(at), &name, None, &path));
        }
    }
    for at in 0..WORKLOADS {
        for number in 0..9 {
            let (name, path) =
                (format!("{}-{number}", app(at)), format!("/{}-{number}/*", app(at)));
            all.push(policy(&namespace(at % NAMESPACES), &name, Some(app(at)), &path));
        }
    }
    all
}

fn workloads() -> Vec<Workload> {
    (0..WORKLOADS)
        .map(|at| Workload {
            namespace: namespace(at % NAMESPACES),
            name: Some(app(at)),
            labels: [("app".to_owned(), app(at))].into(),
            ..Workload::default()
        })
        .collect()
}

fn read(policies: &[Value]) -> Vec<Arc<Resource>> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": policies}).to_string();
    let decoded = manifest::decode(&list, None, &manifest::Options::default());
    decoded.accepted().cloned().map(Arc::new).collect()
}

fn settings(workloads: Vec<Workload>) -> Settings {
    Settings { mesh: Mesh::default(), workloads }
}

fn milliseconds(figures: &[Duration]) -> f64 {
    median(figures.iter().map(Duration::as_secs_f64).collect()) * 1e3
}

fn compiling(resources: &[Arc<Resource>], effort: Effort) {
    println!("compiling 10,000 policies for 1,000 workloads     ms   policies compiled");
    let settings = settings(workloads());
    let row = |what: &str, figures: Vec<Duration>, compiled: usize| {
        println!("{what:<44} {:>8.2} {compiled:>10}", milliseconds(&figures));
    };
    let timed = |compiler: &mut Compiler, resources: &[Arc<Resource>]| {
        let begun = Instant::now();
        let snapshot = compiler.compile(1, (resources, &[]), &settings, &[]);
        let taken = begun.elapsed();
        drop(snapshot);
        taken
    };
    let mut compiler = Compiler::default();
    let all: Vec<_> = (0..3 * effort.rounds)
        .map(|_| {
            compiler = Compiler::default();
            timed(&mut compiler, resources)
        })
        .collect();
    row("all of them", all, compiler.compiled());
    let mut resources = resources.to_vec();
    let place = |name: &str, resources: &[Arc<Resource>]| {
        resources.iter().position(|it| *it.metadata().name == *name).unwrap()
    };
    let changes = [
        ("of one workload", "app-0500-3"),
        ("of one namespace", "all-3"),
        ("of the mesh", "mesh-3"),
    ];
    for (whose, name) in changes {
        let place = place(name, &resources);
        let mut compiled = 0;
        let figures: Vec<_> = (0..20 * effort.rounds)
            .map(|_| {
                // As read anew: the same, and another.
                resources[place] = Arc::new(anew(&resources[place]));
                let taken = timed(&mut compiler, &resources);
                compiled = compiler.compiled();
                taken
            })
            .collect();
        row(&format!("after a change {whose}"), figures, compiled);
    }
    // A workload of its own for each: what sharing saves.
    let snapshot = compiler.compile(1, (&resources, &[]), &settings, &[]);
    let shared = snapshot.compiled_size();
    let apart: usize = snapshot.workloads.iter().map(|plan| plan.compiled_size().bytes).sum();
    println!(
        "compiled bytes: {:.1} MB ({} a rule); without sharing {:.1} MB",
        shared.bytes as f64 / 1e6,
        shared.bytes_per_rule().unwrap(),
        apart as f64 / 1e6
    );
}

/// The same resource in another place.
fn anew(resource: &Resource) -> Resource {
    match resource {
        Resource::AuthorizationPolicy(policy) => {
            Resource::AuthorizationPolicy(Arc::new((**policy).clone()))
        }
        other => other.clone(),
    }
}

fn deciding(resources: &[Arc<Resource>], effort: Effort) {
    println!();
    println!("finding the workload and deciding (ns)            median of {}", 3 * effort.rounds);
    let shared = compile(1, resources, &[], &settings(workloads()));
    let row = |what: &str, snapshot: &Snapshot| {
        let figures: Vec<f64> = (0..3 * effort.rounds).map(|_| turn(snapshot)).collect();
        println!("{what:<44} {:>8.0}", median(figures));
    };
    row("1,000 workloads, another each time", &shared);
    drop(shared);
    let alone: Vec<_> = workloads().into_iter().take(1).collect();
    let mine = |it: &&Arc<Resource>| {
        let metadata = it.metadata();
        *metadata.namespace == *"istio-system"
            || *metadata.namespace == *namespace(0)
                && (metadata.name.starts_with("all-") || metadata.name.starts_with("app-0000"))
    };
    let own: Vec<_> = resources.iter().filter(mine).cloned().collect();
    row("one workload with the policies it has", &compile(1, &own, &[], &settings(alone)));
}

/// The mean time of a decision, each of another workload if there are several.
fn turn(snapshot: &Snapshot) -> f64 {
    let names: Vec<_> = (0..snapshot.workloads.len())
        .map(|at| format!("{}/{}", namespace(at % NAMESPACES), app(at)))
        .collect();
    let attributes: Vec<_> = (0..snapshot.workloads.len())
        .map(|at| {
            let (namespace, app) = (namespace(at % NAMESPACES), app(at));
            let principal = format!("spiffe://cluster.local/ns/{namespace}/sa/{app}-7");
            Attributes {
                peer: Peer { names: vec![principal.into()] },
                http: Some(Http {
                    method: "GET".into(),
                    path: format!("/{app}-7/x").into(),
                    host: "shop.example.com".into(),
                    scheme: "https".into(),
                    headers: Headers::new(Vec::new(), false),
                }),
                source_ip: None,
                remote_ip: None,
                destination_ip: None,
                destination_port: Some(8080),
                sni: "".into(),
                filter_metadata: Vec::new(),
                exchange: postern::model::Exchange::default(),
                missing: Missing::default(),
            }
        })
        .collect();
    let count = 200_000;
    let begun = Instant::now();
    for number in 0..count {
        let at = number * 7 % names.len();
        let found = snapshot.directory.find(Named::Name(&names[at])).unwrap();
        let verdict = decide(&snapshot.workloads[found], &attributes[at], &Identity::default());
        assert_eq!(black_box(verdict).outcome(), Outcome::Allow);
    }
    begun.elapsed().as_secs_f64() * 1e9 / count as f64
}

fn process(policies: &[Value], effort: Effort) {
    println!();
    println!("one process, 10,000 policies                 now MB   at most");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policies.json");
    let write = |policies: &[Value]| {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": policies});
        let new = folder.path().join("new");
        fs::write(&new, list.to_string()).unwrap();
        fs::rename(new, &file).unwrap();
    };
    write(policies);
    let known: Vec<_> = workloads()
        .iter()
        .map(|w| json!({"namespace": w.namespace, "name": w.name, "labels": w.labels}))
        .collect();
    let config = folder.path().join("config.json");
    fs::write(&config, json!({ "workloads": known }).to_string()).unwrap();
    let row = |what: &str, postern: &Postern| {
        // What reading has left is given back, or not, in some time.
        std::thread::sleep(Duration::from_secs(2));
        let (now, most) = resident(postern.id());
        println!("{what:<44} {now:>6.1} {most:>9.1}");
    };
    let alone = Postern::run(command_for(&file, &namespace(0), "127.0.0.1:0"));
    row("1 workload", &alone);
    drop(alone);
    let mut command = command_for(&file, "other", "127.0.0.1:0");
    command.arg("--config").arg(&config);
    let shared = Postern::run(command);
    row("1,000 workloads", &shared);
    swaps(&shared, policies, &write, effort);
    row("1,000 workloads, after the changes", &shared);
}

/// Load of one workload while the policies of another change.
fn swaps(postern: &Postern, policies: &[Value], write: &dyn Fn(&[Value]), effort: Effort) {
    let few = Policies::new(10);
    let mut asked = load(postern.grpc.clone(), &few, Asked::Denied);
    asked.rate = Some(2_000.0);
    asked.until = Until::Elapsed(effort.time);
    let quiet = load::run(&asked, |_| {}).unwrap();
    let mut changed = policies.to_vec();
    let mut compile = Vec::new();
    let disturbed = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load::run(&asked, |_| {}).unwrap());
        let mut turn = 0;
        while !loading.is_finished() {
            turn += 1;
            let last = changed.last_mut().unwrap();
            last["spec"]["rules"][0]["to"][0]["operation"]["paths"] =
                json!([format!("/turn-{turn}")]);
            let before = revision(postern);
            write(&changed);
            while revision(postern) == before && !loading.is_finished() {
                std::thread::sleep(Duration::from_millis(2));
            }
            let dump = crate::envoy::get(&postern.admin, "/config_dump");
            let dump: Value = serde_json::from_str(&dump).unwrap();
            compile.push(dump["snapshot"]["compileSeconds"].as_f64().unwrap() * 1e3);
        }
        loading.join().unwrap()
    });
    assert!(disturbed.tally.errors().is_empty(), "{:?}", disturbed.tally.errors());
    let p99 = |outcome: &load::Outcome| outcome.tally.latency(0.99).as_micros();
    println!(
        "{} changes of one workload's policy under load: {:.2} ms to compile (median); p99 of Checks \
         {} us, without changes {} us",
        compile.len(),
        median(compile),
        p99(&disturbed),
        p99(&quiet),
    );
}
