//! Instructions that a server executes for a call, as valgrind counts them.
//!
//! Each server is a process of its own under `valgrind --tool=callgrind`; the client is this one. Two
//! runs that differ in the number of calls only give the cost of a call: what they differ by. The
//! profiles stay in `target/tmp`, for `callgrind_annotate`.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, stdin, stdout};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use tokio::runtime::Builder;

use crate::request::{Token, check_request};
use crate::scenarios::Shape;
use crate::{Answering, ask, connect, signing, start};

/// First argument of the process that serves.
const SERVE: &str = "serve-for-instructions";

const STREAMS: usize = 32;
const FEW_CALLS: usize = 20;
const MANY_CALLS: usize = 120;

/// Serves until standard input ends, where this process was started for that.
pub(crate) fn serve_if_asked_to() -> bool {
    let arguments: Vec<String> = env::args().collect();
    let [_, serve, kind, rules, shape, manifest] = &*arguments else { return false };
    if serve != SERVE {
        return false;
    }
    let rules = rules.parse().unwrap();
    let answering = match &**kind {
        "empty" => Answering::Empty,
        "rules" => Answering::Rules(rules),
        _ => Answering::Twin(rules),
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
    fs::write(&manifest, signing::manifest("")).unwrap();
    let Some(empty) = per_call(Answering::Empty, Shape::Sparse, Token::Rs256, &manifest) else {
        println!("instructions per call: not without valgrind");
        return;
    };
    println!("instructions per call, {STREAMS} streams, RS256 token: {empty:8} empty server");
    let ours = [10, 1_000].map(|rules| {
        [Answering::Rules(rules), Answering::Twin(rules)]
            .map(|answering| [Shape::ExactPath, Shape::Sparse].map(|shape| (answering, shape)))
    });
    for (answering, shape) in ours.into_iter().flatten().flatten() {
        let ours = per_call(answering, shape, Token::Rs256, &manifest).unwrap();
        let ratio = ours as f64 / empty as f64;
        println!(
            "instructions per call, {STREAMS} streams, RS256 token: {ours:8} {answering} \
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
    let (kind, rules) = match answering {
        Answering::Empty => ("empty", 10),
        Answering::Rules(rules) => ("rules", rules),
        Answering::Twin(rules) => ("twin", rules),
    };
    let out =
        format!("{}/check_rpc-{kind}-{rules}-{shape:?}.callgrind", env!("CARGO_TARGET_TMPDIR"));
    let mut server = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={out}")])
        .arg(env::current_exe().unwrap())
        .args([SERVE, kind, &rules.to_string(), &format!("{shape:?}")])
        .arg(manifest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().parse().unwrap();

    let request = check_request(&shape.hit(rules), token);
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
