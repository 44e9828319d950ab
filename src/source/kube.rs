//! Policies, and workloads if wanted, from a cluster's API server, as they change there.
//!
//! Each kind is listed and then watched, everywhere or in each of some namespaces. Only whole lists
//! count: there is no corpus before every list is there, and a list that is made anew replaces what
//! was there when it is complete. What objects mean is left to `control`, what their status shall say
//! to whoever gives a [`StatusWriter`] its words.

mod connection;
mod lease;
mod outages;
mod status;
mod trouble;
mod view;
mod watching;
mod workloads;

use std::{fmt, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::Corpus;
use crate::authn::clock::Clock;
use crate::manifest::schema;
use crate::model::Kind;
use crate::telemetry::metrics::Metrics;

pub use connection::NotConnected;
pub use status::{Seen, StatusWriter};
pub use trouble::Trouble;
#[cfg(feature = "management")]
pub(crate) use trouble::words;

use outages::Outages;
use view::View;
use watching::Place;
use workloads::{Part, WorkloadsView};

/// Which cluster, and what of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// The kubeconfig to use. Without one: the pod's own account, else what kubectl would use.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; its current one where there is none.
    pub context: Option<String>,
    /// Only these namespaces; all where it is empty.
    pub namespaces: Vec<String>,
    /// In which version its APIRules are followed; not at all where there is none, as in clusters that
    /// do not know the kind.
    pub api_rules: Option<&'static str>,
    /// Which of its pods are workloads.
    pub pods: Pods,
}

/// Which pods of a cluster are workloads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Pods {
    /// None.
    #[default]
    None,
    /// Those in the namespaces of the policies.
    All,
    /// Those of them that are on this node.
    OnNode(String),
}

impl Pods {
    fn node(&self) -> Option<&str> {
        match self {
            Self::OnNode(node) => Some(node),
            Self::None | Self::All => None,
        }
    }
}

/// How patient the source is.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long it waits after the first failure in a row; twice as long after each further one.
    pub first_wait: Duration,
    /// What it doubles up to.
    pub longest_wait: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a connection may say nothing while an answer is owed. Watches have bookmarks each
    /// minute, so a connection that died without a word is noticed by then.
    pub silence: Duration,
    /// How many objects are listed at a time.
    pub page_size: NonZeroU32,
    /// How long lies between two statuses that are written.
    pub status_interval: Duration,
    /// How long the one that writes statuses is it, unless it says so again.
    pub lease: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            silence: Duration::from_secs(90),
            page_size: NonZeroU32::MIN.saturating_add(499),
            status_interval: Duration::from_millis(50),
            lease: Duration::from_secs(30),
        }
    }
}

impl Pace {
    fn wait_after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let wait = self.first_wait.saturating_mul(1 << doublings).min(self.longest_wait);
        // Up to a quarter less, so that replicas that lost a server together do not return together.
        wait.saturating_sub((wait / 4).mul_f64(connection::random_share()))
    }
}

/// Follows the kinds in a cluster.
pub struct KubeSource {
    client: ::kube::Client,
    namespace: String,
    places: Vec<Arc<Place>>,
    /// What is followed in each of the places: first those of policies, then those of workloads.
    policies: Vec<Kind>,
    parts: Vec<Part>,
    outages: Arc<Outages>,
    view: View,
    workloads: WorkloadsView,
    pace: Pace,
}

impl fmt::Debug for KubeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeSource").field("places", &self.places).finish_non_exhaustive()
    }
}

/// A client of the cluster, for those who ask it themselves. Asks it nothing yet.
#[cfg(feature = "management")]
pub async fn client(
    cluster: &Cluster,
    connect_timeout: Duration,
) -> Result<::kube::Client, NotConnected> {
    connection::client(cluster, connect_timeout).await
}

impl KubeSource {
    /// Reads how to reach the cluster; asks it nothing yet.
    pub async fn new(
        cluster: &Cluster,
        pace: Pace,
        metrics: &Metrics,
    ) -> Result<Self, NotConnected> {
        let everywhere = || cluster.namespaces.is_empty().then_some(None).into_iter();
        let each = || cluster.namespaces.iter().map(|namespace| Some(namespace.as_str()));
        let (mut places, mut policies, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        let [version, ..] = schema::VERSIONS;
        let istio = Kind::ISTIO.map(|kind| (kind, version));
        let api_rules = cluster.api_rules.map(|version| (Kind::ApiRule, version));
        for (kind, version) in istio.into_iter().chain(api_rules) {
            for at in everywhere().chain(each()) {
                places.push(Arc::new(Place::new((kind, version), at)));
                policies.push(kind);
            }
        }
        if cluster.pods != Pods::None {
            for part in Part::ALL {
                for at in everywhere().chain(each()) {
                    places.push(Arc::new(part.place(at, cluster.pods.node())));
                    parts.push(part);
                }
            }
        }
        let kube_metrics = metrics.kube();
        let outages = Arc::new(Outages::new(&places, kube_metrics.clone()));
        metrics.register_kube_outages({
            let outages = outages.clone();
            move || outages.samples()
        });
        let (client, namespace) = connection::connect(cluster, pace, outages.clone()).await?;
        let view = View::new(policies.len(), kube_metrics.clone());
        let workloads = WorkloadsView::new(parts.iter().copied(), kube_metrics);
        Ok(Self { client, namespace, places, policies, parts, outages, view, workloads, pace })
    }

    /// Writes to the objects that this source sees. `host` is what this machine or pod is called.
    pub fn status_writer(&self, host: Option<&str>, clock: Clock) -> StatusWriter {
        // A pod that is started anew keeps its name, and waits like any other.
        let identity = format!("{}_{:08x}", host.unwrap_or("postern"), connection::random_number());
        StatusWriter::new(
            self.client.clone(),
            lease::Lease::new(self.client.clone(), &self.namespace, identity, self.pace, clock),
            self.view.objects(),
            self.view.metrics(),
            self.pace,
            clock,
        )
    }

    /// Sends what is there as soon as all of it is known, and then what it becomes, until nobody
    /// listens. What cannot be reached stays as it was.
    pub async fn watch(mut self, corpora: watch::Sender<Arc<Corpus>>) {
        let (sender, mut news) = mpsc::channel(256);
        let (part_sender, mut part_news) = mpsc::channel(256);
        let mut following = JoinSet::new();
        let follow = |source: &Self, following: &mut JoinSet<usize>, at: usize| {
            let Some(place) = source.places.get(at).cloned() else { return };
            let (client, outages, pace) =
                (source.client.clone(), source.outages.clone(), source.pace);
            if let Some(kind) = source.policies.get(at).copied() {
                let sender = sender.clone();
                following.spawn(async move {
                    watching::follow((at, &place), &kind, client, pace, &outages, sender).await;
                    at
                });
                return;
            }
            let part_at = at.saturating_sub(source.policies.len());
            let Some(part) = source.parts.get(part_at).copied() else { return };
            let sender = part_sender.clone();
            following.spawn(async move {
                watching::follow((at, &place), &part, client, pace, &outages, sender).await;
                at
            });
        };
        for at in 0..self.places.len() {
            follow(&self, &mut following, at);
        }
        let mut workloads = self.workloads.workloads();
        let mut sent = false;
        loop {
            let changed = tokio::select! {
                () = corpora.closed() => return,
                Some(ended) = following.join_next() => {
                    match ended {
                        Ok(at) => follow(&self, &mut following, at),
                        // Nobody would follow that kind any more, and nobody know which one it was.
                        Err(error) => {
                            tracing::error!(%error, "following the cluster failed: it begins anew");
                            following.shutdown().await;
                            for at in 0..self.places.len() {
                                follow(&self, &mut following, at);
                            }
                        }
                    }
                    false
                }
                Some(first) = news.recv() => {
                    let view = &mut self.view;
                    all_that_came(first, &mut news, |at, news| view.take(at, news))
                }
                Some(first) = part_news.recv() => {
                    let (view, before) = (&mut self.workloads, self.policies.len());
                    let changed = all_that_came(first, &mut part_news, |at, news| {
                        view.take(at.saturating_sub(before), news)
                    });
                    if changed {
                        workloads = view.workloads();
                    }
                    changed
                }
            };
            if changed && let (Some(corpus), Some(workloads)) = (self.view.corpus(), &workloads) {
                let corpus = Corpus { workloads: workloads.clone(), ..corpus };
                corpora.send_if_modified(|now| {
                    let is_new = !sent || **now != corpus;
                    if is_new {
                        *now = Arc::new(corpus);
                    }
                    is_new
                });
                sent = true;
            }
        }
    }
}

/// Takes what has come, which is one change. Tells whether it is one.
fn all_that_came<T>(
    (at, first): (usize, T),
    news: &mut mpsc::Receiver<(usize, T)>,
    mut take: impl FnMut(usize, T) -> bool,
) -> bool {
    let mut changed = take(at, first);
    for _ in 0..news.max_capacity() {
        let Ok((at, more)) = news.try_recv() else { break };
        changed |= take(at, more);
    }
    changed
}

#[cfg(test)]
mod tests;
