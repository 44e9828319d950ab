//! One Envoy with native filters and ext_authz side by side, and both asked the same.

use std::{collections::BTreeMap, sync::Arc};

use postern::model::Verdict;
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Duration, sleep},
};

use crate::{
    cases::{Request, Set},
    client,
    envoy_config::{self, Decider, Listener},
    envoy_process::{Address, Envoy},
    gate::Gate,
    judge::Observed,
    native::{Layer, Native, PeerModes},
    world::World,
};

/// Everything that outlives one Envoy.
pub(crate) struct Bench {
    world: Arc<World>,
    gate: Arc<Gate>,
}

/// Both answers to one request.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) native: Observed,
    pub(crate) postern: Observed,
    /// What Postern decided; `None` where it was not asked.
    pub(crate) verdict: Option<Decision>,
    pub(crate) peers: PeerModes,
    /// What native filters answer when dry-run policies are enforced with the others; `None`
    /// without any.
    pub(crate) enforced: Option<Observed>,
    /// What native filters wrote into the log of a connection.
    pub(crate) log: Option<Value>,
}

/// A verdict with the rule it names.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
}

/// Sets whose requests are under way at the same time.
const AT_ONCE: usize = 6;

impl Bench {
    pub(crate) async fn new() -> Self {
        Self { world: Arc::new(World::new().await), gate: Arc::new(Gate::start().await) }
    }

    /// All requests of all sets; a set that either side cannot take says why.
    pub(crate) async fn ask(&self, sets: &[Set]) -> Vec<Result<Vec<Answered>, String>> {
        let mut results = Vec::new();
        let mut ready = Vec::new();
        for (index, set) in sets.iter().enumerate() {
            let filled = self.world.fill(set);
            let name = index.to_string();
            match self.gate.load_as(&name, &filled).await {
                Ok(()) => {
                    results.push(Ok(Vec::new()));
                    let enforced = with_dry_run_enforced(&filled).map(|s| self.world.native(&s));
                    let native = self.world.native(&filled);
                    ready.push(Ready { native, enforced, set: filled, name });
                }
                Err(reason) => {
                    let errors = reason.lines().filter(|line| line.contains("error"));
                    results.push(Err(errors.collect::<Vec<_>>().join("\n")));
                }
            }
        }
        for (name, answers) in self.ask_ready(ready).await {
            results[name.parse::<usize>().unwrap()] = answers;
        }
        results
    }

    /// What Envoy refuses is found by halves.
    async fn ask_ready(&self, ready: Vec<Ready>) -> Vec<(String, Result<Vec<Answered>, String>)> {
        let mut waiting = vec![ready];
        let mut done = Vec::new();
        while let Some(mut some) = waiting.pop() {
            if some.is_empty() {
                continue;
            }
            match Envoy::try_start("envoy.json", &self.configuration(&some)).await {
                Ok(envoy) => done.extend(self.ask_envoy(&envoy, some).await),
                Err(reason) if some.len() == 1 => {
                    done.push((some.remove(0).name, Err(format!("Envoy refuses it: {reason}"))));
                }
                Err(_) => {
                    waiting.push(some.split_off(some.len() / 2));
                    waiting.push(some);
                }
            }
        }
        done
    }

    fn configuration(&self, ready: &[Ready]) -> String {
        let mut listeners = Vec::new();
        for Ready { set, name, native, enforced } in ready {
            let mut deciders = vec![
                ("native", Decider::Native(native.clone())),
                ("postern", Decider::ExtAuthz(self.gate.address(), Some(name.clone()))),
            ];
            deciders.extend(enforced.clone().map(|native| ("enforced", Decider::Native(native))));
            for (side, decider) in deciders {
                for layer in [Layer::Http, Layer::L4] {
                    if set.requests.iter().any(|r| layer_of(r) == layer) {
                        listeners.push(Listener {
                            name: listener_name(name, side, layer),
                            settings: set.workload.listener.clone(),
                            layer,
                            decider: decider.clone(),
                        });
                    }
                }
            }
        }
        envoy_config::bootstrap(&listeners, &self.world)
    }

    async fn ask_envoy(
        &self,
        envoy: &Envoy,
        ready: Vec<Ready>,
    ) -> Vec<(String, Result<Vec<Answered>, String>)> {
        let addresses = Arc::new(envoy.listeners().await);
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for ready in ready {
            let (world, gate) = (self.world.clone(), self.gate.clone());
            let (addresses, places) = (addresses.clone(), places.clone());
            tasks.spawn(async move {
                let _place = places.acquire_owned().await.unwrap();
                let answers = ask_one(&world, &gate, &addresses, &ready).await;
                (ready, answers)
            });
        }
        let mut all = tasks.join_all().await;
        add_logs(envoy, &mut all).await;
        all.into_iter()
            .map(|(ready, answers)| {
                (ready.name, Ok(answers.into_iter().map(|(answered, _)| answered).collect()))
            })
            .collect()
    }
}

/// A set that Postern has taken.
struct Ready {
    set: Set,
    name: String,
    native: Native,
    /// The same with dry-run policies enforced, where there are any.
    enforced: Option<Native>,
}

fn with_dry_run_enforced(set: &Set) -> Option<Set> {
    let mut enforced = set.clone();
    for policy in &mut enforced.policies {
        if let Some(metadata) = policy["metadata"].as_object_mut() {
            metadata.shift_remove("annotations");
        }
    }
    (enforced.policies != set.policies).then_some(enforced)
}

/// The answers, each with the port that the native listener was asked from.
type Answers = Vec<(Answered, u16)>;

async fn ask_one(
    world: &World,
    gate: &Gate,
    addresses: &BTreeMap<String, Address>,
    ready: &Ready,
) -> Answers {
    let mut answers = Vec::new();
    for request in &ready.set.requests {
        let to = |side| addresses[&listener_name(&ready.name, side, layer_of(request))];
        gate.forget(&ready.name);
        let (native, postern) = tokio::join!(
            client::send_from(to("native"), &world.pki, request),
            client::send(to("postern"), &world.pki, request),
        );
        let (native, port) = native;
        let verdict = gate.last_verdict(&ready.name).map(|verdict| Decision { verdict });
        let enforced = match &ready.enforced {
            Some(_) => Some(client::send(to("enforced"), &world.pki, request).await),
            None => None,
        };
        let peers = ready.native.peers.clone();
        answers.push((Answered { native, postern, verdict, peers, enforced, log: None }, port));
    }
    answers
}

/// Waits until Envoy has logged every connection that native filters decided about.
async fn add_logs(envoy: &Envoy, all: &mut [(Ready, Answers)]) {
    let is_missing = |request: &Request, answered: &Answered| {
        request.is_l4 && answered.log.is_none() && answered.native.status != 0
    };
    for _ in 0..100 {
        let mut lines: BTreeMap<(String, u16), Value> = BTreeMap::new();
        for line in envoy.output().lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let port = line["port"].as_u64().and_then(|port| u16::try_from(port).ok());
            let listener = line["listener"].as_str().unwrap_or_default().to_owned();
            lines.insert((listener, port.unwrap_or_default()), line);
        }
        let mut missing = false;
        for (ready, answers) in all.iter_mut() {
            for (request, (answered, port)) in ready.set.requests.iter().zip(answers) {
                if request.is_l4 {
                    let name = listener_name(&ready.name, "native", Layer::L4);
                    answered.log = lines.get(&(name, *port)).cloned();
                    missing |= is_missing(request, answered);
                }
            }
        }
        if !missing {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn layer_of(request: &Request) -> Layer {
    if request.is_l4 { Layer::L4 } else { Layer::Http }
}

fn listener_name(set: &str, side: &str, layer: Layer) -> String {
    let layer = match layer {
        Layer::Http => "http",
        Layer::L4 => "l4",
    };
    format!("{set} {side} {layer}")
}
