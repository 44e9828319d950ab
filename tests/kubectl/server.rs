//! The built binary with a store, and the users who talk to it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use postern::manifest::node::{Node, parse_documents};
use serde_json::{Value, json};

use super::blackbox::Folder;

/// Longer than anything takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Who there is: user, what is more in the line of the token.
const USERS: [(&str, &str); 4] =
    [("ada", "u-ada,staff"), ("eve", "u-eve"), ("vic", "u-vic,readers"), ("ned", "u-ned")];

const CONFIG: &str = "
apiTokens: tokens
apiRoles:
- role: admin
  namespaces: ['*']
  users: [ada]
- role: editor
  namespaces: [shop]
  users: [eve]
- role: viewer
  namespaces: ['*']
  groups: [readers]
";

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where commands run.
    pub(crate) folder: Folder,
    /// A kubeconfig whose contexts are the users; `ada` is the current one.
    pub(crate) kubeconfig: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        let lines = USERS.map(|(user, more)| format!("{},{user},{more}\n", token(user)));
        folder.file("tokens", &lines.concat());
        folder.file("postern.yaml", CONFIG);
        let mut child = folder
            .postern()
            .args(["serve", "--config", "postern.yaml", "--store", "store"])
            .args([
                "--api",
                "127.0.0.1:0",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--http-listen",
                "off",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            // Goes on to the end, or the server would wait for a reader.
            stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        wait_for(&lines, "\"listener\":\"api\"");
        let emitted = fs::read_to_string(folder.path().join("store/kubeconfig")).unwrap();
        let kubeconfig = folder.file("kubeconfig", &kubeconfig(&emitted).to_string());
        let kubeconfig = kubeconfig.to_str().unwrap().to_owned();
        Self { child, folder, kubeconfig }
    }
}

fn token(user: &str) -> String {
    format!("token-of-{user}-0123456789")
}

/// The cluster as the server tells it, with users of our own.
fn kubeconfig(emitted: &str) -> Value {
    let documents = parse_documents(emitted, Some("kubeconfig.yaml")).unwrap();
    let mut config = documents.first().map(Node::to_json).unwrap();
    let cluster = config["clusters"][0]["name"].clone();
    let names = USERS.map(|(user, _)| user);
    let user = |name| json!({ "name": name, "user": { "token": token(name) } });
    let mut users = names.map(user).to_vec();
    users.push(json!({ "name": "stranger", "user": { "token": "no-such-token-0123456789" } }));
    users.push(json!({ "name": "anonymous", "user": {} }));
    let contexts: Vec<_> = users
        .iter()
        .map(|user| {
            let name = &user["name"];
            json!({ "name": name, "context": { "cluster": cluster, "user": name } })
        })
        .collect();
    config["users"] = users.into();
    config["contexts"] = contexts.into();
    config["current-context"] = json!("ada");
    config
}

fn wait_for(lines: &Receiver<String>, part: &str) {
    let latest = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while let Ok(line) = lines.recv_timeout(latest.saturating_duration_since(Instant::now())) {
        if line.contains(part) {
            return;
        }
        seen.push(line);
    }
    panic!("never said {part:?}:\n{}", seen.join("\n"));
}
