use std::sync::Mutex;

use crate::diagnostic::Code;
use crate::manifest;
use crate::model::{
    Action, Attachment, AuthorizationPolicy, Mesh, Metadata, Position, Resource, ResourceId,
    Workload,
};
use crate::source::{PolicyFile, ReadError, SourceProblem};
use crate::telemetry::metrics::Metrics;

use super::*;
use crate::control::{Decoded, Document, Subject, publish::SnapshotCell};

/// Each line of a file is a policy's name; `!` at the end makes it an error.
fn decode(files: &[PolicyFile]) -> Decoded {
    let mut decoded = Decoded::default();
    for file in files {
        assert!(!file.text.contains("panic"), "the decoder panics");
        for (line, text) in (1..).zip(file.text.lines()) {
            let name = text.trim_end_matches('!');
            let id = ResourceId {
                kind: Kind::AuthorizationPolicy,
                namespace: "shop".into(),
                name: name.into(),
            };
            let metadata =
                Metadata { namespace: "shop".into(), name: name.into(), ..Metadata::default() };
            let resource = Resource::AuthorizationPolicy(Arc::new(AuthorizationPolicy {
                metadata,
                attachment: Attachment::default(),
                action: Action::Allow,
                rules: Vec::new(),
                dry_run: false,
                deny_response: None,
            }));
            let refused = text.ends_with('!');
            if refused {
                decoded.diagnostics.push(Diagnostic {
                    severity: Severity::Error,
                    code: Code(1),
                    message: "refused".into(),
                    help: None,
                    file: Some(file.name.clone()),
                    position: Position { line, column: 1 },
                    excerpt: None,
                    resource: Some(id.clone()),
                    path: String::new(),
                });
            }
            decoded.documents.push(Document {
                file: file.name.clone(),
                id: Some(id),
                resource: (!refused).then(|| Arc::new(resource)),
                scope: None,
            });
        }
    }
    decoded
}

struct Bench {
    controller: Controller,
    cell: SnapshotCell,
    metrics: Metrics,
    synced: Arc<Mutex<usize>>,
}

impl Bench {
    fn new() -> Self {
        let (cell, publisher) = SnapshotCell::new();
        let metrics = Metrics::new("0.0.0");
        let synced = Arc::new(Mutex::new(0));
        let workload = Workload {
            namespace: "shop".into(),
            labels: Default::default(),
            ..Workload::default()
        };
        let count = synced.clone();
        let controller = Controller::new(Parts {
            workload_metrics: metrics.workloads(),
            settings: Arc::new(Settings { mesh: Mesh::default(), workloads: vec![workload] }),
            decode: Decode::new(decode),
            publisher,
            sync_keys: Box::new(move |_| *count.lock().unwrap() += 1),
            metrics: metrics.snapshot(),
        });
        Self { controller, cell, metrics, synced }
    }

    async fn apply(&mut self, text: &str) {
        self.controller.apply(corpus(text)).await;
    }

    fn status(&self) -> Arc<ControlStatus> {
        self.controller.status().borrow().clone()
    }

    fn shows(&self, sample: &str) -> bool {
        self.metrics.encode().unwrap().lines().any(|line| line == sample)
    }
}

fn corpus(text: &str) -> Arc<Corpus> {
    let files = vec![PolicyFile { name: "policies/a.yaml".into(), text: text.into() }];
    Arc::new(Corpus { files, ..Corpus::default() })
}

#[tokio::test]
async fn revisions_count_up_and_only_changes_are_published() {
    let mut bench = Bench::new();
    bench.controller.start(corpus("x")).await.unwrap();
    assert_eq!(bench.cell.load().revision, 1);
    let first = bench.cell.load_full();
    bench.apply("x\n").await;
    assert!(Arc::ptr_eq(&first, &bench.cell.load_full()), "nothing changed");
    assert_eq!(*bench.synced.lock().unwrap(), 1);
    bench.apply("x\ny").await;
    assert_eq!(bench.cell.load().revision, 2);
    bench.apply("y\nx").await;
    assert_eq!(bench.cell.load().revision, 2, "order is no change");
    assert!(bench.shows("postern_snapshot_revision 2"));
    assert!(bench.shows(r#"postern_snapshot_resources{kind="AuthorizationPolicy"} 2"#));
}

#[tokio::test]
async fn a_start_with_problems_names_them_all_and_publishes_nothing() {
    let mut bench = Bench::new();
    let mut corpus = Corpus::clone(&corpus("x!\ny\nz!"));
    corpus.problems.push(SourceProblem { path: "more".into(), error: ReadError::Missing });
    let refused = bench.controller.start(Arc::new(corpus)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the policies have 3 problems");
    let NotStarted::Refused(problems) = refused else { panic!("{refused}") };
    let lines: Vec<_> = problems.iter().map(Problem::line).collect();
    assert_eq!(
        lines,
        [
            "cannot read `more`: no such file or directory",
            "policies/a.yaml:1:1: error[PST0001]: refused",
            "policies/a.yaml:3:1: error[PST0001]: refused",
        ]
    );
    assert_eq!(bench.cell.load().revision, 0);
}

#[tokio::test]
async fn a_broken_edit_shows_and_changes_nothing() {
    let mut bench = Bench::new();
    bench.controller.start(corpus("x\ny")).await.unwrap();
    let first = bench.cell.load_full();
    bench.apply("x!\ny").await;
    assert!(Arc::ptr_eq(&first, &bench.cell.load_full()));
    let status = bench.status();
    assert_eq!((status.revision, status.count(Kind::AuthorizationPolicy)), (1, 2));
    assert_eq!(status.rejected.len(), 1);
    assert_eq!(status.rejected[0].effect(), "its last accepted form stays in force");
    assert!(bench.shows("postern_snapshot_rejected_resources 1"));
    bench.apply("x\ny").await;
    assert!(bench.status().rejected.is_empty());
    assert!(bench.shows("postern_snapshot_rejected_resources 0"));
}

#[tokio::test]
async fn an_empty_set_is_published() {
    let mut bench = Bench::new();
    bench.controller.start(Arc::new(Corpus::default())).await.unwrap();
    assert_eq!(bench.cell.load().revision, 1);
}

#[tokio::test]
async fn a_defect_of_ours_keeps_what_is_in_force() {
    let mut bench = Bench::new();
    let failed = bench.controller.start(corpus("panic")).await.unwrap_err();
    assert_eq!(failed.to_string(), "compiling the policies failed");
    bench.controller.start(corpus("x")).await.unwrap();
    bench.apply("panic").await;
    assert_eq!(bench.cell.load().revision, 1);
    bench.apply("x\ny").await;
    assert_eq!(bench.cell.load().revision, 2);
}

#[tokio::test]
async fn a_vanished_directory_removes_nothing() {
    let mut bench = Bench::new();
    bench.controller.start(corpus("x")).await.unwrap();
    let problems = vec![SourceProblem { path: "policies".into(), error: ReadError::Missing }];
    bench.controller.apply(Arc::new(Corpus { problems, ..Corpus::default() })).await;
    let status = bench.status();
    assert_eq!((status.revision, status.count(Kind::AuthorizationPolicy)), (1, 1));
    assert_eq!(status.rejected[0].subject, Subject::Path("policies".into()));
    assert_eq!(status.rejected[0].kept, 1);
}

#[tokio::test]
async fn each_corpus_of_a_channel_is_applied() {
    let bench = Bench::new();
    let mut status = bench.controller.status();
    let (sender, receiver) = watch::channel(Arc::new(Corpus::default()));
    let running = tokio::spawn(bench.controller.run(receiver));
    sender.send(corpus("x")).unwrap();
    status.wait_for(|status| status.count(Kind::AuthorizationPolicy) == 1).await.unwrap();
    sender.send(corpus("x\ny")).unwrap();
    status.wait_for(|status| status.count(Kind::AuthorizationPolicy) == 2).await.unwrap();
    drop(sender);
    running.await.unwrap();
}

const NONE: [u16; 0] = [];

/// As the app does it, for one file.
fn decode_manifests(files: &[PolicyFile]) -> Decoded {
    let mut all = Decoded::default();
    for file in files {
        let decoded = manifest::decode(&file.text, Some(&file.name), &manifest::Options::default());
        all.diagnostics.extend(decoded.diagnostics);
        all.services.extend(decoded.services);
        all.documents.extend(decoded.documents.into_iter().map(|document| Document {
            file: file.name.clone(),
            id: document.id,
            resource: document.resource.filter(|_| document.admitted).map(Arc::new),
            scope: document.scope,
        }));
    }
    all
}

/// For a workload of the namespace shop with `app: gateway`.
fn bench_of_manifests() -> Bench {
    let mut bench = Bench::new();
    let workload = Workload {
        namespace: "shop".into(),
        labels: [("app".to_owned(), "gateway".to_owned())].into(),
        ..Workload::default()
    };
    let parts = &mut bench.controller.parts;
    parts.settings = Arc::new(Settings { mesh: Mesh::default(), workloads: vec![workload] });
    parts.decode = Decode::new(decode_manifests);
    bench
}

fn api_rule(service: &str, annotations: &str) -> String {
    format!(
        "apiVersion: gateway.kyma-project.io/v1beta1\nkind: APIRule\n\
         metadata: {{name: r, namespace: shop, annotations: {{{annotations}}}}}\n\
         spec:\n  gateway: kyma-system/kyma-gateway\n  host: r.example.com\n  service: {{{service}, port: 80}}\n  \
         rules:\n  - {{path: /.*, methods: [GET], accessStrategies: [{{handler: unauthorized}}]}}\n"
    )
}

/// One that leads to the workload, where its selector is `gateway`.
fn service(name: &str, selected: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{selector: {{app: {selected}}}}}\n"
    )
}

impl Bench {
    fn findings(&self) -> Vec<u16> {
        self.status().findings.iter().map(|finding| finding.code.0).collect()
    }

    async fn after(&mut self, text: &str) -> Vec<u16> {
        self.apply(text).await;
        assert!(self.status().rejected.is_empty(), "{:?}", self.status().rejected);
        // What is deprecated is not looked at here.
        self.findings().into_iter().filter(|code| *code >= 500).collect()
    }
}

#[tokio::test]
async fn a_rule_whose_service_leads_to_no_workload_shows_after_each_change() {
    let mut bench = bench_of_manifests();
    let rule = api_rule("name: httpbin", "");
    bench.controller.start(corpus(&rule)).await.unwrap();
    assert_eq!(bench.after(&rule).await, NONE, "hosts count");
    let gateway = service("gateway", "gateway");
    assert_eq!(bench.after(&(rule.clone() + &gateway)).await, [532], "of somebody else");
    let found = bench.status().findings.iter().find(|it| it.code.0 == 532).cloned().unwrap();
    assert_eq!((found.severity, found.resource.unwrap().kind), (Severity::Warning, Kind::ApiRule));
    assert!(found.message.starts_with("the Service `shop/httpbin` leads to no workload here"));
    let both = gateway.clone() + &service("httpbin", "gateway");
    assert_eq!(bench.after(&(rule.clone() + &both)).await, NONE);
    let elsewhere = gateway.clone() + &service("httpbin", "httpbin");
    assert_eq!(bench.after(&(rule.clone() + &elsewhere)).await, [532], "it selects others");
    for (wrong, annotations, expected) in [
        ("name: httpbinn", "", [532].as_slice()),
        ("name: httpbin, namespace: shopping", "", &[532]),
        ("name: httpbinn", "postern.dev/lint-ignore: PST0532", &[]),
        ("name: httpbin", "", &[]),
    ] {
        assert_eq!(bench.after(&(api_rule(wrong, annotations) + &both)).await, expected, "{wrong}");
    }
    assert_eq!(bench.after(&(rule.clone() + &gateway)).await, [532], "deleted");
    assert_eq!(bench.after(&rule).await, NONE, "no Service is known any more: hosts count");
}

/// What a cluster tells of may be the pods of one node.
#[tokio::test]
async fn where_workloads_are_found_in_a_cluster_others_may_have_the_service() {
    let mut bench = bench_of_manifests();
    let text = api_rule("name: httpbin", "") + &service("gateway", "gateway");
    bench.controller.start(corpus(&text)).await.unwrap();
    assert!(bench.findings().contains(&532));
    let found = Workload { namespace: "shop".into(), ..Workload::default() };
    let corpus = Corpus { workloads: [found].into(), ..Corpus::clone(&corpus(&text)) };
    bench.controller.apply(Arc::new(corpus)).await;
    assert!(!bench.findings().contains(&532));
}

#[tokio::test]
async fn a_path_that_no_request_has_shows() {
    let mut bench = bench_of_manifests();
    let text = api_rule("name: httpbin", "").replace("/.*", "headers");
    bench.controller.start(corpus(&text)).await.unwrap();
    assert!(bench.findings().contains(&531));
}
