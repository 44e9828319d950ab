//! Instructions that a server executes for a call, as valgrind counts them.
//!
//! Each server is a process of its own under `valgrind --tool=callgrind`; the client is this one. Two
//! runs that differ in the number of calls only give the cost of a call: what they differ by.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdin, stdout};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use tokio::runtime::Builder;

use crate::request::{Token, check_request, keys};
use crate::scenarios::Shape;
use crate::{Answering, ask, connect, start};

/// First argument of the process that serves.
const SERVE: &str = "serve-for-instructions";

const STREAMS: usize = 32;
const FEW_CALLS: usize = 20;
const MANY_CALLS: usize = 120;

/// Serves until standard input ends, where this process was started for that.
pub(crate) fn serve_if_asked_to() -> bool {
    let arguments: Vec<String> = env::args().collect();
    let [_, serve, rules, shape, manifest] = &*arguments else { return false };
    if serve != SERVE {
        return false;
    }
    let answering = match rules.parse().unwrap() {
        0 => Answering::Empty,
        rules => Answering::Rules(rules),
    };
    let shape = Shape::ALL.into_iter().find(|s| format!("{s:?}") == *shape).unwrap();
    let manifest = fs::read_to_string(manifest).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        println!("{}", start(answering, shape, &manifest).await);
        stdout().flush().unwrap();
        let ended = tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new()));
        ended.await.unwrap().unwrap();
    });
    true
}

pub(crate) fn print() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("tokens.yaml");
    fs::write(&manifest, &keys().manifest).unwrap();
    let Some(empty) = per_call(Answering::Empty, Shape::Sparse, Token::Rs256, &manifest) else {
        println!("instructions per call: not without valgrind");
        return;
    };
    println!("instructions per call, {STREAMS} streams, RS256 token: {empty:8} empty server");
    for (rules, shape) in [
        (10, Shape::ExactPath),
        (10, Shape::Sparse),
        (1_000, Shape::ExactPath),
        (1_000, Shape::Sparse),
    ] {
        let ours = per_call(Answering::Rules(rules), shape, Token::Rs256, &manifest).unwrap();
        let ratio = ours as f64 / empty as f64;
        println!(
            "instructions per call, {STREAMS} streams, RS256 token: {ours:8} {rules} rules \
             ({shape:?}), {ratio:4.2} x empty"
        );
    }
}

/// `None` without valgrind.
fn per_call(answering: Answering, shape: Shape, token: Token, manifest: &Path) -> Option<u64> {
    let few = executed(answering, shape, token, manifest, FEW_CALLS)?;
    let many = executed(answering, shape, token, manifest, MANY_CALLS)?;
    Some((many - few) / u64::try_from((MANY_CALLS - FEW_CALLS) * STREAMS).unwrap())
}

fn executed(
    answering: Answering,
    shape: Shape,
    token: Token,
    manifest: &Path,
    calls: usize,
) -> Option<u64> {
    let rules = match answering {
        Answering::Empty => 0,
        Answering::Rules(rules) => rules,
    };
    let out = env::var("POSTERN_CALLGRIND_OUT").unwrap_or("/dev/null".to_owned());
    let mut server = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={out}")])
        .arg(env::current_exe().unwrap())
        .args([SERVE, &rules.to_string(), &format!("{shape:?}")])
        .arg(manifest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().parse().unwrap();

    let request = check_request(&shape.hit(rules.max(10)), token);
    let client = Builder::new_current_thread().enable_all().build().unwrap();
    client.block_on(async {
        let channel = connect(address).await;
        let first = ask(channel.clone(), &request).await;
        assert_eq!(first.status.map(|status| status.code), Some(0));
        join_all((0..STREAMS).map(async |_| {
            for _ in 0..calls {
                ask(channel.clone(), &request).await;
            }
        }))
        .await;
    });
    drop(server.stdin.take());
    let output = server.wait_with_output().unwrap();
    let report = String::from_utf8(output.stderr).unwrap();
    let collected = report.lines().find_map(|line| line.split_once("Collected : "));
    Some(collected.unwrap().1.trim().parse().unwrap())
}
