//! Where policies come from, as configured: files, the embedded store, or a cluster.

use std::sync::Arc;

use anyhow::{Context as _, Result};
#[cfg(feature = "kube")]
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

#[cfg(any(feature = "api", feature = "kube"))]
use crate::authn::clock::Clock;
use crate::config::Config;
#[cfg(feature = "kube")]
use crate::config::KubeConfig;
use crate::control::ControlStatus;
#[cfg(feature = "kube")]
use crate::control::acceptance::{Acceptances, Standing};
use crate::source::Corpus;
use crate::source::file::{FileSource, Watching};
#[cfg(feature = "kube")]
use crate::source::kube::{Cluster, KubeSource, Pace, Pods, Seen};
#[cfg(feature = "api")]
use crate::source::local::LocalSource;
#[cfg(feature = "api")]
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// A source that is not read yet, or that was.
#[derive(Debug)]
pub(super) enum PolicySource {
    Files(FileSource),
    #[cfg(feature = "api")]
    Store(LocalSource, Store),
    #[cfg(feature = "kube")]
    Cluster(Box<KubeSource>, KubeConfig),
}

impl PolicySource {
    /// The one that is configured.
    #[cfg_attr(not(feature = "kube"), expect(unused_variables, reason = "of the cluster alone"))]
    pub(super) async fn open(config: &Config, metrics: &Metrics) -> Result<Self> {
        #[cfg(feature = "kube")]
        if let Some(kube) = config.kube.clone() {
            let source = KubeSource::new(&cluster(&kube), Pace::default(), metrics).await?;
            return Ok(Self::Cluster(Box::new(source), kube));
        }
        #[cfg(feature = "api")]
        if let Some(store) = config.store.clone() {
            let store = tokio::task::spawn_blocking(move || super::store::open(&store)).await??;
            return Ok(Self::Store(super::store::source(store.clone()), store));
        }
        Ok(Self::Files(FileSource::new(config.policies.clone())))
    }

    /// The store that it reads.
    #[cfg(feature = "api")]
    pub(super) fn store(&self) -> Option<Store> {
        match self {
            Self::Files(_) => None,
            Self::Store(_, store) => Some(store.clone()),
            #[cfg(feature = "kube")]
            Self::Cluster(..) => None,
        }
    }

    /// Whether nothing is served if something is wrong with the policies at the start. What is wrong
    /// in a store can only be mended through its API, and one bad policy of a cluster must not keep
    /// every replica that starts from serving all others.
    pub(super) fn must_be_good(&self) -> bool {
        match self {
            Self::Files(_) => true,
            #[cfg(feature = "api")]
            Self::Store(..) => false,
            #[cfg(feature = "kube")]
            Self::Cluster(..) => false,
        }
    }

    /// All policies; nothing where they are only sent once they are there, which may take a while.
    pub(super) async fn read(mut self) -> Result<(Self, Option<Arc<Corpus>>)> {
        tokio::task::spawn_blocking(move || {
            let corpus = match &mut self {
                Self::Files(files) => Some(files.read()),
                #[cfg(feature = "api")]
                Self::Store(objects, _) => Some(objects.read()),
                #[cfg(feature = "kube")]
                Self::Cluster(..) => None,
            };
            (self, corpus.map(Arc::new))
        })
        .await
        .context("read the policies")
    }

    /// Sends them again whenever they change.
    pub(super) async fn watch(self, corpora: watch::Sender<Arc<Corpus>>) {
        match self {
            Self::Files(files) => files.watch(Watching::default(), corpora).await,
            #[cfg(feature = "api")]
            Self::Store(objects, _) => objects.watch(corpora).await,
            #[cfg(feature = "kube")]
            Self::Cluster(cluster, _) => cluster.watch(corpora).await,
        }
    }

    /// Tells the objects of the store or the cluster what control makes of them, where that is
    /// wanted.
    #[cfg_attr(
        not(any(feature = "api", feature = "kube")),
        expect(unused_variables, clippy::needless_pass_by_value, reason = "files have no status")
    )]
    pub(super) fn write_statuses(
        &self,
        control: watch::Receiver<Arc<ControlStatus>>,
    ) -> Option<JoinHandle<()>> {
        match self {
            Self::Files(_) => None,
            #[cfg(feature = "api")]
            Self::Store(_, store) => {
                let written = super::statuses::run(store.clone(), control, Clock::system());
                Some(tokio::spawn(written))
            }
            #[cfg(feature = "kube")]
            Self::Cluster(cluster, KubeConfig { status: true, host, .. }) => {
                let writer = cluster.status_writer(host.as_deref(), Clock::system());
                Some(tokio::spawn(writer.write(control, |control| wanted(control))))
            }
            #[cfg(feature = "kube")]
            Self::Cluster(..) => None,
        }
    }
}

/// The cluster that is configured.
#[cfg(feature = "kube")]
pub(super) fn cluster(kube: &KubeConfig) -> Cluster {
    Cluster {
        kubeconfig: kube.kubeconfig.clone(),
        context: kube.context.clone(),
        namespaces: kube.namespaces.clone(),
        api_rules: kube.api_rules,
        pods: match &kube.node {
            _ if !kube.workloads => Pods::None,
            Some(node) => Pods::OnNode(node.clone()),
            None => Pods::All,
        },
    }
}

/// Which status each object shall have.
#[cfg(feature = "kube")]
fn wanted(control: &ControlStatus) -> impl Fn(&Seen, &str) -> Option<Value> + use<> {
    let acceptances = Acceptances::of(control);
    move |seen, now| {
        let Seen { id, file, text, generation, status, .. } = seen;
        let (generation, status) = (*generation, status.as_ref());
        acceptances.status(Standing { id, file, text, generation, status }, now)
    }
}
