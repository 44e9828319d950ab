//! Takes one corpus after the other to the published snapshot.
//!
//! Off the async threads: decoding and compiling a large policy set takes longer than a request may
//! wait.

use std::{borrow::Cow, collections::HashSet, fmt, sync::Arc, time::Duration};

use tokio::{sync::watch, task::spawn_blocking, time::Instant};

use crate::compile::{Compiler, Settings};
use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::model::{Kind, Position, Service, Workload};
use crate::plan::{CompiledSize, KeySource, Snapshot};
use crate::source::Corpus;
use crate::telemetry::metrics::{SnapshotMetrics, WorkloadMetrics};

use super::{
    decoding::Decode,
    inventory::Inventory,
    overlaps::Overlaps,
    publish::Publisher,
    status::{ControlStatus, Problem, Rejection},
};

/// How long the keys of a source that is no longer named stay, for requests that began before.
const LINGER: Duration = Duration::from_secs(2);

/// Takes the remote key sets that shall be known from now on.
pub type SyncKeys = dyn Fn(&[KeySource]) + Send;

/// What a controller works with.
pub struct Parts {
    /// What gives resources their meaning.
    pub settings: Arc<Settings>,
    /// Text to documents.
    pub decode: Decode,
    /// Where snapshots go.
    pub publisher: Publisher,
    /// Makes the key sets known that a snapshot names, and forgets all others.
    pub sync_keys: Box<SyncKeys>,
    /// Where to count.
    pub metrics: SnapshotMetrics,
    /// Where workloads get their names.
    pub workload_metrics: WorkloadMetrics,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why there is no first snapshot.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// The policies have errors.
    #[error("the policies have {} problem{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Refused(
        /// All of them: first what cannot be read, then the rest in the order of the files.
        Vec<Problem>,
    ),
    /// A defect of Postern.
    #[error("compiling the policies failed")]
    Defect,
}

/// The one writer.
#[derive(Debug)]
pub struct Controller {
    parts: Parts,
    inventory: Arc<Inventory>,
    /// The workloads that the sources told of.
    workloads: Arc<[Workload]>,
    compiler: Compiler,
    overlaps: Overlaps,
    key_sources: Vec<KeySource>,
    status: watch::Sender<Arc<ControlStatus>>,
}

impl Controller {
    /// Nothing is published yet.
    pub fn new(parts: Parts) -> Self {
        let (status, _) = watch::channel(Arc::new(ControlStatus::default()));
        Self {
            parts,
            inventory: Arc::default(),
            workloads: Arc::default(),
            compiler: Compiler::default(),
            overlaps: Overlaps::default(),
            key_sources: Vec::new(),
            status,
        }
    }

    /// Follows what the controller does.
    pub fn status(&self) -> watch::Receiver<Arc<ControlStatus>> {
        self.status.subscribe()
    }

    /// Publishes the first snapshot; with any error in the policies, none.
    pub async fn start(&mut self, corpus: Arc<Corpus>) -> Result<(), NotStarted> {
        self.take(corpus, true).await
    }

    /// Publishes what has changed; what is refused stays in its last accepted form.
    pub async fn apply(&mut self, corpus: Arc<Corpus>) {
        if let Err(error) = self.take(corpus, false).await {
            // The panic itself is on stderr. What is in force stays.
            tracing::error!(%error, "policies in force stay");
        }
    }

    /// Applies each corpus that comes, until no more can.
    pub async fn run(mut self, mut corpora: watch::Receiver<Arc<Corpus>>) {
        while corpora.changed().await.is_ok() {
            let corpus = corpora.borrow_and_update().clone();
            self.apply(corpus).await;
        }
    }

    async fn take(&mut self, corpus: Arc<Corpus>, strict: bool) -> Result<(), NotStarted> {
        let (decode, inventory) = (self.parts.decode.clone(), self.inventory.clone());
        let settings = self.parts.settings.clone();
        let revision = self.status.borrow().revision;
        let same_workloads = self.workloads == corpus.workloads;
        // Where compiling panics, what was kept is gone with it.
        let mut compiler = std::mem::take(&mut self.compiler);
        let mut overlaps = std::mem::take(&mut self.overlaps);
        let taken = corpus.clone();
        let now = Instant::now();
        let worked = spawn_blocking(move || {
            let decoded = decode.decode(&corpus.files);
            if strict {
                let read = corpus.problems.iter().cloned().map(Problem::Read);
                let text = decoded.errors().cloned().map(Problem::Text);
                let problems: Vec<_> = read.chain(text).collect();
                if !problems.is_empty() {
                    return ((compiler, overlaps), Err(NotStarted::Refused(problems)));
                }
            }
            let mut findings = findings(&decoded.diagnostics);
            let next = inventory.next(decoded, &corpus.problems, now);
            // Of a cluster, a Postern may be told of some workloads only, such as those of its node.
            let is_alone = corpus.workloads.is_empty();
            let all = is_alone.then(|| found_by(next.services(), &settings, &[]).0);
            let known = all.as_ref().map_or(&[][..], |settings| &settings.workloads);
            findings.extend(overlaps.find(&next.resources(), known));
            let is_new = revision == 0 || !same_workloads || !next.same_meaning(&inventory);
            let compiled = is_new.then(|| {
                Compiled::new(&mut compiler, revision + 1, &next, &settings, &corpus.workloads)
            });
            ((compiler, overlaps), Ok((next, findings, compiled)))
        });
        let ((compiler, overlaps), worked) = worked.await.map_err(|_| NotStarted::Defect)?;
        (self.compiler, self.overlaps) = (compiler, overlaps);
        let (next, findings, compiled) = worked?;
        self.workloads = taken.workloads.clone();
        self.log_rejections(&next.rejections);
        self.log_findings(&findings);
        self.inventory = Arc::new(next);
        match compiled {
            Some(compiled) => self.publish(compiled, taken, findings).await,
            None => self.report(taken, findings, None),
        }
        Ok(())
    }

    async fn publish(
        &mut self,
        compiled: Compiled,
        corpus: Arc<Corpus>,
        findings: Vec<Diagnostic>,
    ) {
        let Compiled { snapshot, policies, took, size } = compiled;
        let snapshot = Arc::new(snapshot);
        let (revision, workloads) = (snapshot.revision, snapshot.workloads.len());
        let sources = snapshot.key_sources.clone();
        // New keys are asked for before, old keys forgotten after the snapshot that names them.
        let mut both = sources.clone();
        both.extend(
            self.key_sources
                .iter()
                .filter(|old| !sources.iter().any(|new| new.id == old.id))
                .cloned(),
        );
        (self.parts.sync_keys)(&both);
        self.parts.workload_metrics.name(&snapshot.series);
        let old = self.parts.publisher.publish(snapshot);
        self.parts.metrics.published(revision, took);
        self.report(corpus, findings, Some((revision, took, size)));
        let status = self.status.borrow().clone();
        tracing::info!(
            snapshot.revision = revision,
            snapshot.previous = old.revision,
            policies = status.count(Kind::AuthorizationPolicy),
            request_authentications = status.count(Kind::RequestAuthentication),
            peer_authentications = status.count(Kind::PeerAuthentication),
            api_rules = status.count(Kind::ApiRule),
            rejected = status.rejected.len(),
            workloads,
            compiled_policies = policies,
            compile_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            "policy snapshot published"
        );
        if status.resources.is_empty() && self.inventory.never_accepted().is_empty() {
            tracing::warn!("the policy set is empty: every request is allowed");
        }
        if both.len() > sources.len() {
            unused(&old).await;
            (self.parts.sync_keys)(&sources);
        }
        self.key_sources = sources;
        // A large snapshot takes a while to free, and its last reader may be a request.
        drop(spawn_blocking(move || drop(old)));
    }

    fn report(
        &self,
        corpus: Arc<Corpus>,
        findings: Vec<Diagnostic>,
        published: Option<(u64, Duration, CompiledSize)>,
    ) {
        let metrics = &self.parts.metrics;
        metrics.rejected(self.inventory.rejections.len());
        self.status.send_modify(|status| {
            let mut next = ControlStatus {
                corpus,
                resources: self.inventory.resources(),
                rejected: self.inventory.rejections.clone(),
                findings,
                ..ControlStatus::clone(status)
            };
            if let Some((revision, took, size)) = published {
                next.revision = revision;
                next.published = Some(Instant::now());
                next.compile = took;
                next.size = size;
            }
            for kind in Kind::ALL {
                metrics.resources(kind, next.count(kind));
            }
            *status = Arc::new(next);
        });
    }

    fn log_findings(&self, findings: &[Diagnostic]) {
        let before = self.status.borrow().clone();
        let known: HashSet<_> = before.findings.iter().map(identity).collect();
        for finding in findings.iter().filter(|finding| !known.contains(&identity(finding))) {
            let line = Problem::Text(finding.clone()).line();
            match finding.severity {
                Severity::Note => tracing::info!(finding = line, "noticed"),
                Severity::Warning | Severity::Error => tracing::warn!(finding = line, "noticed"),
            }
        }
    }

    fn log_rejections(&self, rejections: &[Rejection]) {
        let before = &self.inventory.rejections;
        for rejection in rejections {
            let known = before
                .iter()
                .any(|old| old.subject == rejection.subject && old.problems == rejection.problems);
            if !known {
                let problems: Vec<_> = rejection.problems.iter().map(Problem::line).collect();
                tracing::warn!(
                    subject = %rejection.subject,
                    effect = rejection.effect(),
                    problems = problems.join("; "),
                    "refused"
                );
            }
        }
        for old in before {
            if !rejections.iter().any(|rejection| rejection.subject == old.subject) {
                tracing::info!(subject = %old.subject, "no longer refused");
            }
        }
    }
}

/// A snapshot and what it cost.
struct Compiled {
    snapshot: Snapshot,
    /// How many policies were compiled for it, and not kept from before.
    policies: usize,
    took: Duration,
    size: CompiledSize,
}

impl Compiled {
    fn new(
        compiler: &mut Compiler,
        revision: u64,
        inventory: &Inventory,
        settings: &Settings,
        workloads: &[Workload],
    ) -> Self {
        let begun = Instant::now();
        let (settings, workloads) = found_by(inventory.services(), settings, workloads);
        let (resources, never) = (inventory.resources(), inventory.never_accepted());
        let snapshot = compiler.compile(revision, (&resources, &never), &settings, &workloads);
        let took = begun.elapsed();
        let policies = compiler.compiled();
        Self { size: snapshot.compiled_size(), snapshot, policies, took }
    }
}

/// The workloads, each with the Services that lead to it.
fn found_by<'w>(
    services: &[Service],
    settings: &'w Settings,
    found: &'w [Workload],
) -> (Cow<'w, Settings>, Cow<'w, [Workload]>) {
    let (mut settings, mut found) = (Cow::Borrowed(settings), Cow::Borrowed(found));
    if !services.is_empty() {
        let known = settings.to_mut().workloads.iter_mut();
        known.chain(found.to_mut()).for_each(|workload| workload.found_by(services));
    }
    (settings, found)
}

fn findings(diagnostics: &[Diagnostic]) -> Vec<Diagnostic> {
    diagnostics.iter().filter(|d| d.severity != Severity::Error).cloned().collect()
}

/// What tells a finding from others.
fn identity(finding: &Diagnostic) -> (Option<&str>, u32, u32, Code, &str) {
    let Position { line, column } = finding.position;
    (finding.file.as_deref(), line, column, finding.code, &finding.message)
}

/// Returns once no request uses the snapshot any more, or a while later.
async fn unused(snapshot: &Arc<Snapshot>) {
    let latest = Instant::now() + LINGER;
    while Arc::strong_count(snapshot) > 1 && Instant::now() < latest {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(test)]
mod tests;
