mod api_rules;
mod script;
mod workloads;

use std::path::Path;

use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use script::{Server, Watch, fast, policy, status, within};

const POLICIES: &str = "authorizationpolicies";
const OTHERS: [&str; 2] = ["requestauthentications", "peerauthentications"];

/// A source at work.
struct Bench {
    server: Server,
    corpora: watch::Receiver<Arc<Corpus>>,
    metrics: Metrics,
    source: JoinHandle<()>,
    /// So that they stay open.
    others: Vec<Watch>,
}

impl Bench {
    async fn start() -> Self {
        Self::paced(fast()).await
    }

    async fn paced(pace: Pace) -> Self {
        let server = Server::start().await;
        let metrics = Metrics::new("0");
        let source = KubeSource::new(&server.cluster(), pace, &metrics).await.unwrap();
        let (sender, corpora) = watch::channel(Arc::default());
        let source = tokio::spawn(source.watch(sender));
        Self { server, corpora, metrics, source, others: Vec::new() }
    }

    /// With nothing of the other kinds.
    async fn with_others() -> Self {
        let mut bench = Self::start().await;
        for plural in OTHERS {
            bench.others.push(bench.server.nothing_of(plural).await);
        }
        bench
    }

    /// With one policy listed, at version 5, and the watch.
    async fn with_policy() -> (Self, Watch) {
        let mut bench = Self::with_others().await;
        bench.server.list(POLICIES).await.items(&[policy("a", 3)], "5");
        let watch = bench.server.watch(POLICIES).await;
        assert!(watch.has("resourceVersion=5"), "{watch:?}");
        let watch = watch.stream();
        bench.sees(&["a 3"]).await;
        (bench, watch)
    }

    /// The policies, with their generations, become these.
    async fn sees(&mut self, expected: &[&str]) {
        within(self.corpora.wait_for(|corpus| shown(corpus) == expected)).await.unwrap();
    }

    /// Nothing has changed since the last look.
    fn stays(&mut self) {
        assert!(!self.corpora.has_changed().unwrap());
    }

    fn counted(&self, sample: &str) -> bool {
        self.metrics.encode().unwrap().lines().any(|line| line == sample)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.source.abort();
    }
}

fn shown(corpus: &Corpus) -> Vec<String> {
    let shown = |text: &str| {
        let object: Value = serde_json::from_str(text).unwrap();
        format!(
            "{} {}",
            object["metadata"]["name"].as_str().unwrap(),
            object["metadata"]["generation"]
        )
    };
    corpus.files.iter().map(|file| shown(&file.text)).collect()
}

#[tokio::test]
async fn only_whole_lists_of_all_kinds_count() {
    let mut bench = Bench::start().await;
    bench.server.list(POLICIES).await.page(&[policy("a", 1)], "7", "more");
    let second = bench.server.list(POLICIES).await;
    assert!(second.has("continue=more") && second.has("limit=500"), "{second:?}");
    bench.stays();
    second.items(&[policy("b", 2)], "7");
    let watch = bench.server.watch(POLICIES).await;
    assert!(watch.has("resourceVersion=7") && watch.has("allowWatchBookmarks=true"), "{watch:?}");
    let watch = watch.stream();
    bench.others.push(bench.server.nothing_of(OTHERS[0]).await);
    bench.stays();
    bench.others.push(bench.server.nothing_of(OTHERS[1]).await);
    bench.sees(&["a 1", "b 2"]).await;
    watch.event("MODIFIED", &policy("a", 8));
    bench.sees(&["a 8", "b 2"]).await;
    watch.event("DELETED", &policy("b", 9));
    watch.event("ADDED", &policy("c", 10));
    bench.sees(&["a 8", "c 10"]).await;
    assert!(bench.counted(r#"postern_kube_changes_total{kind="AuthorizationPolicy"} 3"#));
    assert!(bench.counted(r#"postern_kube_outage_seconds{kind="AuthorizationPolicy"} 0.0"#));
}

#[tokio::test]
async fn a_cluster_without_policies_is_said_too() {
    let mut bench = Bench::with_others().await;
    bench.stays();
    bench.server.list(POLICIES).await.items(&[], "1");
    within(bench.corpora.changed()).await.unwrap();
    assert_eq!(**bench.corpora.borrow_and_update(), Corpus::default());
}

#[tokio::test]
async fn the_text_is_the_object_without_what_others_write_about_it() {
    let (bench, _watch) = Bench::with_policy().await;
    let corpus = bench.corpora.borrow().clone();
    assert_eq!(&*corpus.files[0].name, "authorizationpolicies/shop/a");
    let text: Value = serde_json::from_str(&corpus.files[0].text).unwrap();
    let mut expected = policy("a", 3);
    expected.as_object_mut().unwrap().remove("status");
    let metadata = expected["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    metadata.remove("resourceVersion");
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_list_that_breaks_off_counts_for_nothing() {
    let mut bench = Bench::with_others().await;
    let whole = json!({
        "kind": "List",
        "apiVersion": "v1",
        "metadata": { "resourceVersion": "5" },
        "items": [policy("a", 1), policy("b", 2)],
    });
    let whole = whole.to_string();
    let (half, _) = whole.split_at(whole.len() / 2);
    bench.server.list(POLICIES).await.break_off(half);
    // Ends in order, and too early.
    let again = bench.server.list(POLICIES).await;
    again.answer_text(half);
    bench.server.list(POLICIES).await.page(&[policy("a", 1)], "5", "more");
    bench.server.list(POLICIES).await.break_off("");
    let anew = bench.server.list(POLICIES).await;
    assert!(!anew.query.contains("continue"), "{anew:?}");
    bench.stays();
    anew.items(&[policy("a", 1), policy("b", 2)], "6");
    bench.sees(&["a 1", "b 2"]).await;
}

#[tokio::test]
async fn a_watch_that_breaks_off_goes_on_where_it_was() {
    let (mut bench, watch) = Bench::with_policy().await;
    watch.event("MODIFIED", &policy("a", 6));
    bench.sees(&["a 6"]).await;
    watch.line(r#"{"type":"MODIFIED","object":{"metadata":{"name":"a""#);
    watch.break_off();
    let again = bench.server.watch(POLICIES).await;
    assert!(again.has("resourceVersion=6"), "{again:?}");
    bench.stays();
    let watch = again.stream();
    let bookmark = json!({
        "kind": "AuthorizationPolicy",
        "apiVersion": "security.istio.io/v1",
        "metadata": { "resourceVersion": "40" },
    });
    watch.event("BOOKMARK", &bookmark);
    drop(watch);
    // The server is gone for a while.
    for _ in 0..3 {
        let again = bench.server.watch(POLICIES).await;
        assert!(again.has("resourceVersion=40"), "{again:?}");
        again.refuse(503, "ServiceUnavailable", "shutting down");
    }
    let watch = bench.server.watch(POLICIES).await.stream();
    bench.stays();
    watch.event("DELETED", &policy("a", 41));
    bench.sees(&[]).await;
}

#[rstest]
#[case::event(true)]
#[case::answer(false)]
#[tokio::test]
async fn what_the_server_has_forgotten_is_listed_anew(#[case] as_event: bool) {
    let (mut bench, watch) = Bench::with_policy().await;
    if as_event {
        watch.event("ERROR", &status(410, "Expired", "too old resource version: 5 (9)"));
    } else {
        drop(watch);
        bench.server.watch(POLICIES).await.refuse(410, "Expired", "too old resource version");
    }
    let list = bench.server.list(POLICIES).await;
    bench.stays();
    list.items(&[policy("b", 9)], "12");
    let watch = bench.server.watch(POLICIES).await;
    assert!(watch.has("resourceVersion=12"), "{watch:?}");
    bench.sees(&["b 9"]).await;
    let sample = r#"postern_kube_errors_total{kind="AuthorizationPolicy",reason="expired"} 1"#;
    assert!(bench.counted(sample));
}

#[tokio::test]
async fn who_says_nothing_for_too_long_is_asked_again() {
    let pace = Pace { silence: Duration::from_millis(100), ..fast() };
    let mut bench = Bench::paced(pace).await;
    let _ignored = bench.server.list(POLICIES).await;
    bench.server.list(POLICIES).await.items(&[policy("a", 3)], "5");
    let silent = bench.server.watch(POLICIES).await.stream();
    let again = bench.server.watch(POLICIES).await;
    assert!(again.has("resourceVersion=5"), "{again:?}");
    drop(silent);
}

/// A store that was restored from a copy does not know the version yet.
#[tokio::test]
async fn a_version_that_the_server_refuses_is_not_insisted_on() {
    let (mut bench, watch) = Bench::with_policy().await;
    drop(watch);
    bench.server.watch(POLICIES).await.refuse(504, "Timeout", "Too large resource version: 5");
    bench.server.list(POLICIES).await.items(&[], "2");
    bench.sees(&[]).await;
}

#[rstest]
#[case::garbage("{]")]
#[case::nameless(r#"{"type":"ADDED","object":{"metadata":{"resourceVersion":"8"}}}"#)]
#[case::other_shape(r#"{"type":"ADDED","object":{"metadata":{"name":7}}}"#)]
#[tokio::test]
async fn after_an_event_that_cannot_be_read_all_is_listed_anew(#[case] line: &str) {
    let (mut bench, watch) = Bench::with_policy().await;
    watch.line(line);
    watch.event("DELETED", &policy("a", 9));
    let list = bench.server.list(POLICIES).await;
    list.items(&[policy("a", 3), policy("b", 8)], "9");
    bench.sees(&["a 3", "b 8"]).await;
    let sample = r#"postern_kube_errors_total{kind="AuthorizationPolicy",reason="unreadable"} 1"#;
    assert!(bench.counted(sample));
}

#[tokio::test]
async fn a_list_with_something_nameless_is_no_list() {
    let mut bench = Bench::with_others().await;
    let nameless = json!({ "metadata": { "namespace": "shop" } });
    bench.server.list(POLICIES).await.items(&[policy("a", 1), nameless], "5");
    let again = bench.server.list(POLICIES).await;
    bench.stays();
    again.items(&[policy("a", 1)], "6");
    bench.sees(&["a 1"]).await;
}

#[rstest]
#[case::no_right(403, "Forbidden", "forbidden")]
#[case::no_such_kind(404, "NotFound", "no_such_kind")]
#[case::no_credentials(401, "Unauthorized", "unauthorized")]
#[tokio::test]
async fn what_is_refused_is_asked_for_again(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] label: &str,
) {
    let mut bench = Bench::with_others().await;
    for _ in 0..2 {
        bench.server.list(POLICIES).await.refuse(code, reason, "no");
    }
    let list = bench.server.list(POLICIES).await;
    let sample =
        format!(r#"postern_kube_errors_total{{kind="AuthorizationPolicy",reason="{label}"}} 2"#);
    assert!(bench.counted(&sample));
    assert!(!bench.counted(r#"postern_kube_outage_seconds{kind="AuthorizationPolicy"} 0.0"#));
    bench.stays();
    list.items(&[policy("a", 1)], "2");
    bench.sees(&["a 1"]).await;
    // The right to watch is another one.
    bench.server.watch(POLICIES).await.refuse(code, reason, "no");
}

#[tokio::test]
async fn namespaces_are_followed_one_by_one() {
    let mut server = Server::start().await;
    let namespaces = vec!["istio-system".to_owned(), "shop".to_owned()];
    let cluster = Cluster { namespaces, ..server.cluster() };
    let source = KubeSource::new(&cluster, fast(), &Metrics::new("0")).await.unwrap();
    let (sender, mut corpora) = watch::channel(Arc::default());
    let source = tokio::spawn(source.watch(sender));
    let mut watches = Vec::new();
    for namespace in &cluster.namespaces {
        for plural in [POLICIES, OTHERS[0], OTHERS[1]] {
            let path = format!("/apis/security.istio.io/v1/namespaces/{namespace}/{plural}");
            let list = server.call(|call| call.path == path && !call.is_watch()).await;
            assert!(!corpora.has_changed().unwrap());
            let policies = [policy("a", 1)];
            let ours = namespace == "shop" && plural == POLICIES;
            list.items(if ours { &policies } else { &[] }, "1");
            watches.push(server.call(|call| call.path == path && call.is_watch()).await.stream());
        }
    }
    within(corpora.wait_for(|corpus| shown(corpus) == ["a 1"])).await.unwrap();
    source.abort();
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named() {
    let refused = async |kubeconfig: &Path, context: Option<&str>| {
        let cluster = Cluster {
            kubeconfig: Some(kubeconfig.to_owned()),
            context: context.map(Into::into),
            ..Cluster::default()
        };
        let error = KubeSource::new(&cluster, fast(), &Metrics::new("0")).await.unwrap_err();
        format!("{:#}", anyhow::Error::from(error))
    };
    let missing = refused(Path::new("/nowhere/config"), None).await;
    assert!(missing.starts_with("the kubeconfig `/nowhere/config` cannot be used"), "{missing}");
    let server = Server::start().await;
    let path = server.cluster().kubeconfig.unwrap();
    let context = refused(&path, Some("other")).await;
    assert!(context.contains("other"), "{context}");
    let broken = tempfile::NamedTempFile::new().unwrap();
    for text in
        ["users:\n- user: { token: [SECRET }\n", "users: [{ name: u, user: { token: [SECRET] } }]"]
    {
        std::fs::write(broken.path(), text).unwrap();
        let shown = refused(broken.path(), None).await;
        assert!(!shown.contains("SECRET") && shown.contains("line "), "{shown}");
    }
}

/// A program that has a token may say it when it fails.
#[tokio::test]
async fn what_a_credential_program_says_is_not_shown() {
    let server = Server::start().await;
    let path = server.cluster().kubeconfig.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    for program in ["echo SECRET; echo SECRET >&2; exit 3", "echo '{ SECRET'"] {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", program],
            "interactiveMode": "Never",
        });
        let with_program = text.replace(r#""user":{}"#, &format!(r#""user":{{"exec":{exec}}}"#));
        assert_ne!(with_program, text);
        std::fs::write(&path, with_program).unwrap();
        let error = KubeSource::new(&server.cluster(), fast(), &Metrics::new("0")).await;
        let shown = error.unwrap_err().to_string();
        assert!(shown.contains("kubeconfig") && !shown.contains("SECRET"), "{shown}");
    }
}

#[test]
fn troubles_say_what_to_do() {
    let said = |code, message: &str| {
        let status = serde_json::from_value(status(code, "", message)).unwrap();
        let error = ::kube::runtime::watcher::Error::InitialListFailed(::kube::Error::Api(status));
        Trouble::of(&error, "authorizationpolicies.security.istio.io").to_string()
    };
    insta::assert_snapshot!(
        said(403, "User \"system:serviceaccount:postern:postern\" cannot list resource"),
        @r#"no right to list authorizationpolicies.security.istio.io (User "system:serviceaccount:postern:postern" cannot list resource): bind a ClusterRole such as that in deploy/ to who Postern is there (docs/kubernetes.md)"#
    );
    insta::assert_snapshot!(
        said(404, "404 page not found"),
        @"the cluster has no authorizationpolicies.security.istio.io: install Istio's CRDs, or ours with `postern crds | kubectl apply -f -`"
    );
    insta::assert_snapshot!(
        said(401, "Unauthorized"),
        @"the API server does not accept the credentials: Unauthorized"
    );
    insta::assert_snapshot!(
        said(502, "<html>\n<body>"),
        @"the API server says 502: <html>"
    );
}

mod statuses;
