//! Whatever happens, in whatever order: what is followed becomes what is there, and on the way it is
//! never anything that was not there.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use postern::model::Kind;
use postern::source::Corpus;
use postern::source::kube::{Cluster as Followed, KubeSource, Pace};
use postern::telemetry::metrics::Metrics;
use proptest::prelude::*;
use serde_json::Value;
use tokio::sync::watch;

use crate::cluster::{Cluster, within};

/// The objects of one kind: a name and what it holds.
type Objects = BTreeMap<String, u32>;

#[derive(Debug, Clone)]
enum Step {
    /// Creates or changes one.
    Put(Kind, u8),
    Delete(Kind, u8),
    /// More changes than the store remembers, such that no half of them was ever there.
    Flood(Kind),
    /// The server ends, and starts.
    Restart,
    Down,
    Up,
    /// Every connection is gone.
    Cut,
    /// Answers are late, such as that to a list, and what happens meanwhile is forgotten meanwhile.
    Hold,
    Release,
    /// An answer ends after so many bytes.
    BreakAfter(usize),
    /// All is well, and the follower gets where it should be.
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let kind =
        || prop_oneof![2 => Just(Kind::AuthorizationPolicy), 1 => Just(Kind::PeerAuthentication)];
    let name = || 0..5_u8;
    prop_oneof![
        8 => (kind(), name()).prop_map(|(kind, name)| Step::Put(kind, name)),
        4 => (kind(), name()).prop_map(|(kind, name)| Step::Delete(kind, name)),
        2 => kind().prop_map(Step::Flood),
        1 => Just(Step::Restart),
        1 => Just(Step::Down),
        1 => Just(Step::Up),
        2 => Just(Step::Cut),
        2 => Just(Step::Hold),
        2 => Just(Step::Release),
        3 => (0..4000_usize).prop_map(Step::BreakAfter),
        2 => Just(Step::Settle),
    ]
}

/// What there is of a kind.
fn objects(corpus: &Corpus, kind: Kind) -> Objects {
    let parsed = corpus.files.iter().map(|file| serde_json::from_str::<Value>(&file.text).unwrap());
    let of_kind = parsed.filter(|object| object["kind"] == kind.as_str());
    of_kind
        .map(|object| {
            let value = object["metadata"]["annotations"]["value"].as_str().unwrap();
            let name = object["metadata"]["name"].as_str().unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// What there should be, and every state on the way to it.
#[derive(Debug)]
struct Model {
    history: BTreeMap<Kind, Vec<Objects>>,
    values: u32,
}

impl Model {
    fn new() -> Self {
        let empty = |kind| (kind, vec![Objects::new()]);
        Self { history: Kind::ISTIO.map(empty).into(), values: 0 }
    }

    fn now(&self, kind: Kind) -> Objects {
        self.history[&kind].last().unwrap().clone()
    }

    async fn put(&mut self, cluster: &Cluster, kind: Kind, name: u8) {
        self.values += 1;
        let name = format!("p{name}");
        if cluster.put(kind, &name, self.values).await {
            let mut objects = self.now(kind);
            objects.insert(name, self.values);
            self.history.get_mut(&kind).unwrap().push(objects);
        }
    }

    async fn delete(&mut self, cluster: &Cluster, kind: Kind, name: u8) {
        let name = format!("p{name}");
        if cluster.delete(kind, &name).await {
            let mut objects = self.now(kind);
            assert!(objects.remove(&name).is_some());
            self.history.get_mut(&kind).unwrap().push(objects);
        }
    }

    fn is_met(&self, corpus: &Corpus) -> bool {
        Kind::ISTIO.into_iter().all(|kind| objects(corpus, kind) == self.now(kind))
    }
}

async fn run(steps: Vec<Step>) {
    let mut cluster = Cluster::start().await;
    let mut model = Model::new();
    // Something is there before anybody follows.
    for name in [0, 1, 2] {
        model.put(&cluster, Kind::AuthorizationPolicy, name).await;
    }
    let followed = Followed { kubeconfig: Some(cluster.kubeconfig()), ..Followed::default() };
    let pace = Pace {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(10),
        page_size: NonZeroU32::new(2).unwrap(),
        ..Pace::default()
    };
    let source = KubeSource::new(&followed, pace, &Metrics::new("0")).await.unwrap();
    let (sender, mut corpora) = watch::channel(Arc::default());
    let source = tokio::spawn(source.watch(sender));
    let seen: Arc<Mutex<Vec<Arc<Corpus>>>> = Arc::default();
    let looking = tokio::spawn({
        let (seen, mut corpora) = (seen.clone(), corpora.clone());
        async move {
            while corpora.changed().await.is_ok() {
                let corpus = corpora.borrow_and_update().clone();
                seen.lock().unwrap().push(corpus);
            }
        }
    });
    for step in steps.into_iter().chain([Step::Settle]) {
        match step {
            Step::Put(kind, name) => model.put(&cluster, kind, name).await,
            Step::Delete(kind, name) => model.delete(&cluster, kind, name).await,
            Step::Flood(kind) => {
                for name in 0..5 {
                    if model.now(kind).contains_key(&format!("p{name}")) {
                        model.delete(&cluster, kind, name).await;
                    } else {
                        model.put(&cluster, kind, name).await;
                    }
                }
                model.put(&cluster, kind, 5).await;
            }
            Step::Restart => {
                cluster.take_down().await;
                cluster.bring_up().await;
            }
            Step::Down => cluster.take_down().await,
            Step::Up => cluster.bring_up().await,
            Step::Cut => cluster.proxy.cut(),
            Step::Hold => cluster.proxy.hold(true),
            Step::Release => cluster.proxy.hold(false),
            Step::BreakAfter(bytes) => cluster.proxy.break_after(bytes),
            Step::Settle => {
                cluster.bring_up().await;
                cluster.proxy.hold(false);
                within(corpora.wait_for(|corpus| model.is_met(corpus))).await.unwrap();
            }
        }
    }
    source.abort();
    drop(source.await);
    looking.await.unwrap();
    // Never half a list, never a step back: each is a state that was there, in their order.
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    for kind in Kind::ISTIO {
        let mut states = model.history[&kind].iter().peekable();
        for corpus in &seen {
            let objects = objects(corpus, kind);
            while states.next_if(|state| **state != objects).is_some() {}
            assert!(states.peek().is_some(), "{objects:?} was never there, or not any more");
        }
    }
    cluster.take_down().await;
}

fn run_to_its_end(steps: Vec<Step>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(steps));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_is_followed_becomes_what_is_there(steps in prop::collection::vec(step(), 0..24)) {
        run_to_its_end(steps);
    }
}

/// A list that is made anew because of a 410 breaks off, somewhere.
#[test]
fn half_a_list_is_never_live() {
    let policy = Kind::AuthorizationPolicy;
    for bytes in (0..6_000).step_by(400) {
        run_to_its_end(vec![
            Step::Settle,
            Step::Hold,
            Step::Cut,
            Step::Flood(policy),
            Step::BreakAfter(bytes),
            Step::Settle,
        ]);
    }
}

/// The ways by which events get lost, one by one.
#[test]
fn each_kind_of_trouble_is_survived() {
    let policy = Kind::AuthorizationPolicy;
    let troubles = [
        // Away for longer than the store remembers: 410.
        vec![Step::Cut, Step::Hold, Step::Flood(policy), Step::Delete(policy, 0), Step::Release],
        // A list that ends when what it leads to is forgotten.
        vec![Step::Hold, Step::Cut, Step::Flood(policy), Step::Flood(policy), Step::Release],
        // Gone and back on another port, changed just before and just after.
        vec![Step::Put(policy, 4), Step::Down, Step::Up, Step::Delete(policy, 4)],
        // Half a page, half an event.
        vec![Step::Cut, Step::BreakAfter(900), Step::Put(policy, 3), Step::Settle],
        vec![Step::Settle, Step::BreakAfter(200), Step::Put(policy, 3), Step::Delete(policy, 1)],
    ];
    for trouble in troubles {
        run_to_its_end(trouble);
    }
}
