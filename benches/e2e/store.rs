//! The embedded API with 10,000 policies in its store, asked as kubectl asks: over TLS, with a token.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::gate::Gate;
use crate::server::{Client, POLICIES, Server, policy, postern, scratch};
use crate::{Effort, median};

const OBJECTS: usize = 10_000;
const WATCHERS: usize = 200;

/// What one rule allows, and the policy that is written again and again denies or does not.
const PATH: &str = "/svc-0/flip";

pub(crate) fn table(effort: Effort) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{OBJECTS} policies in the store           p50      p99      max   n");
    let folder = scratch();
    let (document, took) = import(&folder);
    println!("import of {document:.1} MB: {:.2} s", took.as_secs_f64());

    let mut server = Server::start_in(folder, &[]);
    let mut live = Vec::new();
    for _ in 0..3 * effort.rounds {
        server.signal("KILL");
        let (_, folder) = server.end();
        let begun = Instant::now();
        server = Server::start_in(folder, &[]);
        runtime.block_on(async { assert!(Gate::of(&mut server).await.allows(PATH).await) });
        live.push(begun.elapsed());
    }
    print("start to first answer, ms", &live);

    let client = server.admin();
    let calls = 60 * effort.rounds;
    let pages = runtime.block_on(list(&client, &format!("{POLICIES}?limit=500"), calls));
    print("list, a page of 500, ms", &pages);
    let whole = runtime.block_on(list(&client, POLICIES, calls / 3));
    print("list, all at once, ms", &whole);
    let table = runtime.block_on(list(&client, &format!("{POLICIES}?limit=500#table"), calls));
    print("list, a page as a table, ms", &table);

    let writes = 100 * effort.rounds;
    let (taken, live) = runtime.block_on(write(&mut server, writes));
    print("a write, ms", &taken);
    print("from its answer to live, ms", &live);

    let (each, last) = runtime.block_on(watch(&server, writes / 2));
    print("write to one of 200 watchers, ms", &each);
    print("write to the last of 200, ms", &last);
}

fn print(row: &str, figures: &[Duration]) {
    let mut ms: Vec<f64> = figures.iter().map(|it| it.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let number = ms.len();
    let p99 = ms[(number * 99).div_ceil(100) - 1];
    let most = ms[number - 1];
    println!("{row:<34} {:>8.1} {p99:>8.1} {most:>8.1}   {number}", median(ms));
}

/// Megabytes, and how long they took.
fn import(folder: &TempDir) -> (f64, Duration) {
    let mut text = String::new();
    for number in 0..OBJECTS {
        let mut object = policy(&format!("p-{number:05}"), "ALLOW");
        object["metadata"]["namespace"] = "default".into();
        object["metadata"]["labels"] = json!({ "app": format!("app-{}", number % 100) });
        object["spec"]["rules"] = json!([{
            "from": [{ "source": { "notIpBlocks": [format!("10.{}.{}.0/24", number / 256, number % 256)] } }],
            "to": [{ "operation": { "methods": ["GET"], "paths": [format!("/svc-{number}/*")] } }],
        }]);
        text.push_str(&format!("---\n{object}\n"));
    }
    let file = folder.path().join("policies.yaml");
    fs::write(&file, &text).unwrap();
    let begun = Instant::now();
    let output = postern(folder.path())
        .args(["store", "import", "store", "policies.yaml"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (text.len() as f64 / 1e6, begun.elapsed())
}

/// One connection, one call after the other.
struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn call(&mut self, request: Request<Full<Bytes>>) -> Bytes {
        self.0.ready().await.unwrap();
        let response = self.0.send_request(request).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.into_body().collect().await.unwrap().to_bytes()
    }
}

async fn list(client: &Client, path: &str, calls: usize) -> Vec<Duration> {
    let (path, headers): (_, &[_]) = match path.split_once('#') {
        Some((path, _)) => (path, &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")]),
        None => (path, &[]),
    };
    let mut connection = Connection(client.connect().await.unwrap());
    let mut figures = Vec::new();
    for _ in 0..calls {
        let begun = Instant::now();
        connection.call(client.request(Method::GET, path, headers, "")).await;
        figures.push(begun.elapsed());
    }
    figures
}

/// The policy that changes.
fn flip(denies: bool) -> Value {
    let path = if denies { PATH } else { "/none" };
    let mut object = policy("flip", "DENY");
    object["spec"]["rules"] = json!([{ "to": [{ "operation": { "paths": [path] } }] }]);
    object
}

async fn apply(client: &Client, connection: &mut Connection, denies: bool) -> Duration {
    let headers = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{POLICIES}/flip?fieldManager=bench");
    let body = flip(denies).to_string();
    let begun = Instant::now();
    connection.call(client.request(Method::PATCH, &path, &headers, body)).await;
    begun.elapsed()
}

/// How long each write took, and how long after its answer the gate knew of it.
async fn write(server: &mut Server, writes: usize) -> (Vec<Duration>, Vec<Duration>) {
    let mut gate = Gate::of(server).await;
    let client = server.admin();
    let mut connection = Connection(client.connect().await.unwrap());
    let (mut taken, mut live) = (Vec::new(), Vec::new());
    for number in 0..writes {
        let denies = number % 2 == 0;
        taken.push(apply(&client, &mut connection, denies).await);
        let begun = Instant::now();
        // Not without pause: asking takes a core, which is then not there for what is waited for.
        while gate.allows(PATH).await == denies {
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        live.push(begun.elapsed());
        // Its status is written after that, which is not part of the next.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    (taken, live)
}

/// How long after a write began each watcher had its event, and the last of them.
async fn watch(server: &Server, writes: usize) -> (Vec<Duration>, Vec<Duration>) {
    let client = server.admin();
    let list: Value = client.get(&format!("{POLICIES}?limit=1")).await.good();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{POLICIES}?watch=true&resourceVersion={version}");
    let (sender, mut events) = unbounded_channel();
    for _ in 0..WATCHERS {
        tokio::spawn(follow(client.clone(), path.clone(), sender.clone()));
    }
    let mut connection = Connection(client.connect().await.unwrap());
    let (mut each, mut last) = (Vec::new(), Vec::new());
    // All have begun once they have the first.
    for number in 0..=writes {
        let begun = Instant::now();
        let denies = number % 2 == 0;
        apply(&client, &mut connection, denies).await;
        let mut arrived = Vec::new();
        while arrived.len() < WATCHERS {
            let (at, generation) = events.recv().await.unwrap();
            arrived.push((at, generation));
        }
        let generations: Vec<_> = arrived.iter().map(|(_, generation)| *generation).collect();
        assert!(generations.windows(2).all(|pair| pair[0] == pair[1]), "{generations:?}");
        if number == 0 {
            continue;
        }
        let after = arrived.iter().map(|(at, _)| at.saturating_duration_since(begun));
        last.extend(after.clone().max());
        each.extend(after);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    (each, last)
}

/// Says when each new form came: not when only its status did.
async fn follow(client: Client, path: String, sender: UnboundedSender<(Instant, i64)>) {
    let mut events = client.watch(&path).await;
    let mut known = 0;
    while let Ok(Some(event)) = events.try_next().await {
        let at = Instant::now();
        let generation = event["object"]["metadata"]["generation"].as_i64().unwrap();
        if generation > known {
            known = generation;
            if sender.send((at, generation)).is_err() {
                return;
            }
        }
    }
}
