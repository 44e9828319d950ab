//! kill -9 in the middle of writes, again and again: what was acknowledged is there, what was not is
//! there whole or not at all.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test support")]

#[path = "../blackbox/running.rs"]
mod running;
#[path = "../api_server/server.rs"]
#[expect(dead_code, reason = "the tests of the API use more of it")]
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::server::{Client, JSON, POLICIES, Server, policy};

const ROUNDS: usize = 50;
const WRITERS: usize = 4;

/// What an object says, in three places that must agree; nothing where it is not there.
type Form = Option<usize>;

/// What one writer knows: it alone writes these objects, one at a time.
#[derive(Debug, Default)]
struct Known {
    acknowledged: BTreeMap<String, Form>,
    /// What the last call would have made, if nobody answered it.
    pending: BTreeMap<String, Form>,
}

/// A connection that is used until it breaks.
struct Connection {
    client: Client,
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Connection {
    async fn open(client: &Client) -> Option<Self> {
        Some(Self { client: client.clone(), sender: client.connect().await? })
    }

    /// The status of an answer that came whole.
    async fn call(&mut self, method: Method, path: &str, body: String) -> Option<u16> {
        let media_type = match method {
            Method::PATCH => ("content-type", "application/merge-patch+json"),
            _ => JSON,
        };
        let request: Request<_> = self.client.request(method, path, &[media_type], body);
        self.sender.ready().await.ok()?;
        let response = self.sender.send_request(request).await.ok()?;
        let status = response.status().as_u16();
        response.into_body().collect().await.ok()?;
        Some(status)
    }
}

fn form(name: &str, number: usize) -> Value {
    let mut object = policy(name, "ALLOW");
    object["metadata"]["labels"] =
        json!({ "form": number.to_string(), "writer": name.split('-').next() });
    object["metadata"]["annotations"] = json!({ "ballast": number.to_string().repeat(500) });
    object["spec"]["rules"][0]["to"][0]["operation"]["paths"] = json!([format!("/{number}")]);
    object
}

/// The number that all places agree on.
fn number_of(object: &Value) -> usize {
    let label = object["metadata"]["labels"]["form"].as_str().unwrap();
    let path = object["spec"]["rules"][0]["to"][0]["operation"]["paths"][0].as_str().unwrap();
    let ballast = object["metadata"]["annotations"]["ballast"].as_str().unwrap();
    assert_eq!(path, format!("/{label}"), "half an object: {object}");
    assert_eq!(ballast, label.repeat(500), "half an object");
    label.parse().unwrap()
}

/// Writes until nobody answers.
async fn write(
    client: Client,
    writer: usize,
    mut known: Known,
    seed: usize,
    acks: Arc<AtomicUsize>,
    enough: Arc<Notify>,
    kill_after: usize,
) -> Known {
    let Some(mut connection) = Connection::open(&client).await else { return known };
    for step in seed.. {
        let name = format!("w{writer}-{}", step % 5);
        let path = format!("{POLICIES}/{name}");
        let there = known.acknowledged.get(&name).copied().flatten();
        let number = step + 1;
        let (call, after): (_, BTreeMap<String, Form>) = match (there, step % 7) {
            // Several objects in one write.
            (_, 6) => {
                let selector = format!("{POLICIES}?labelSelector=writer%3Dw{writer}");
                let gone = known.acknowledged.keys().map(|name| (name.clone(), None)).collect();
                ((Method::DELETE, selector, String::new()), gone)
            }
            (None, _) => {
                let body = form(&name, number).to_string();
                ((Method::POST, POLICIES.to_owned(), body), [(name, Some(number))].into())
            }
            (Some(_), 3) => ((Method::DELETE, path, String::new()), [(name, None)].into()),
            (Some(_), _) => {
                let body = form(&name, number).to_string();
                ((Method::PATCH, path, body), [(name, Some(number))].into())
            }
        };
        known.pending.clone_from(&after);
        let (method, path, body) = call;
        match connection.call(method.clone(), &path, body).await {
            Some(200 | 201) => {
                known.acknowledged.extend(after);
                known.pending.clear();
                if acks.fetch_add(1, Ordering::SeqCst) + 1 == kill_after {
                    enough.notify_one();
                }
            }
            Some(status) => panic!("{method} {path}: {status}"),
            None => return known,
        }
    }
    known
}

/// All objects of the writers.
async fn list(client: &Client) -> (String, BTreeMap<String, Value>) {
    let list = client.get(POLICIES).await.good();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    let named =
        |item: &Value| (item["metadata"]["name"].as_str().unwrap().to_owned(), item.clone());
    (version, items.map(named).collect())
}

/// What a client that watches has.
#[derive(Default)]
struct Seen {
    version: u64,
    objects: BTreeMap<String, Value>,
}

impl Seen {
    fn take(&mut self, event: &Value) {
        let object = &event["object"];
        let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(version > self.version, "{version} after {}", self.version);
        self.version = version;
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        match event["type"].as_str().unwrap() {
            "DELETED" => drop(self.objects.remove(&name)),
            "ADDED" => assert_eq!(self.objects.insert(name, object.clone()), None),
            "MODIFIED" => assert!(self.objects.insert(name, object.clone()).is_some()),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9() {
    let mut folder = server::scratch();
    let mut known: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    let mut seen = Seen::default();
    let mut total = 0;
    let mut resumed = 0;
    for round in 0..ROUNDS {
        let server = Server::start_in(folder, &["--store-history=150"]);
        let admin = server.admin();

        // A watcher goes on where it was, or is told that it cannot.
        let path = format!("{POLICIES}?watch=true&resourceVersion={}", seen.version);
        let response = admin.send(admin.request(Method::GET, &path, &[], "")).await;
        let mut events = if response.status() == 200 && seen.version > 0 {
            resumed += 1;
            server::Events::of(response)
        } else {
            assert!(response.status() == 410 || seen.version == 0, "{}", response.status());
            let (version, objects) = list(&admin).await;
            seen = Seen { version: version.parse().unwrap(), objects };
            admin.watch(&format!("{POLICIES}?watch=true&resourceVersion={version}")).await
        };

        // A storm, cut off at a place of its own each time.
        let kill_after = 1 + (round * 37) % 41;
        let acks = Arc::new(AtomicUsize::new(0));
        let enough = Arc::new(Notify::new());
        let writers: Vec<_> = known
            .drain(..)
            .enumerate()
            .map(|(writer, known)| {
                let (acks, enough) = (acks.clone(), enough.clone());
                let seed = round * 1_000;
                tokio::spawn(write(admin.clone(), writer, known, seed, acks, enough, kill_after))
            })
            .collect();
        let watcher = tokio::spawn(async move {
            while let Ok(Some(event)) = events.try_next().await {
                seen.take(&event);
            }
            seen
        });
        enough.notified().await;
        server.signal("KILL");
        for writer in writers {
            known.push(writer.await.unwrap());
        }
        seen = watcher.await.unwrap();
        folder = server.end().1;
        total += acks.load(Ordering::SeqCst);

        let check =
            server::postern(folder.path()).args(["store", "check", "store"]).output().unwrap();
        let said = String::from_utf8_lossy(&check.stdout);
        assert_eq!(check.status.code(), Some(0), "round {round}: {said}");

        // What was acknowledged is there; what was not is there whole or not at all.
        let server = Server::start_in(folder, &["--store-history=150"]);
        let (_, objects) = list(&server.admin()).await;
        let there = |name: &String| objects.get(name).map(number_of);
        for writer in &mut known {
            let pending = std::mem::take(&mut writer.pending);
            let is_done =
                !pending.is_empty() && pending.iter().all(|(name, form)| there(name) == *form);
            if is_done {
                writer.acknowledged.extend(pending);
            }
            for (name, form) in &writer.acknowledged {
                assert_eq!(there(name), *form, "round {round}: {name}");
            }
        }
        server.signal("TERM");
        folder = server.end().1;
    }
    assert!(total > ROUNDS, "{total} writes");
    assert!(resumed > 0, "no watch was ever resumed");
}
