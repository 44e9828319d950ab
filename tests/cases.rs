//! What policies mean: every case of `tests/cases`, decided by everything that decides.
//! `tests/cases/README.md` describes the format.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

mod engines;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use engines::{Answer, Engines};
use postern::manifest::node;
use postern::request_file::RequestFile;
use rstest::rstest;
use serde::Deserialize;
use serde_json::Value as Json;

#[rstest]
#[tokio::test]
async fn case(#[files("tests/cases/*/*.yaml")] path: PathBuf) {
    let file = CaseFile::read(&path);
    let engines = file.start(path.parent().unwrap()).await;
    let mut mismatches = String::new();
    for case in &file.requests {
        for (engine, answer) in engines.answers(&case.request()).await {
            if answer != case.expect {
                writeln!(mismatches, "{}, {engine}:", case.name).unwrap();
                writeln!(mismatches, "  expected {}", case.expect.shown()).unwrap();
                writeln!(mismatches, "  answered {}", answer.shown()).unwrap();
            }
        }
    }
    assert!(mismatches.is_empty(), "\n{}\n{mismatches}", path.display());
}

/// A comparison that never fails proves nothing.
#[tokio::test]
async fn a_wrong_expectation_is_seen_by_every_engine() {
    let text =
        "{policies: [], requests: [{name: x, expect: {outcome: deny, reason: no_allow_rule}}]}";
    let file = CaseFile::parse(text);
    let engines = file.start(Path::new(".")).await;
    let answers = engines.answers(&file.requests[0].request()).await;
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|(_, answer)| *answer != file.requests[0].expect), "{answers:?}");
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(default)]
    workload: WorkloadSettings,
    /// Settings as a `--config` file has them.
    #[serde(default)]
    settings: serde_json::Map<String, Json>,
    /// Resources, or names of files with them.
    policies: Vec<Json>,
    requests: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadSettings {
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Default for WorkloadSettings {
    fn default() -> Self {
        Self { namespace: "foo".into(), labels: BTreeMap::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// As `postern check --request` takes it.
    #[serde(default = "plain_get")]
    request: Json,
    expect: Answer,
}

fn plain_get() -> Json {
    Json::Object(serde_json::Map::new())
}

impl CaseFile {
    fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap())
    }

    fn parse(text: &str) -> Self {
        let documents = node::parse_documents(text, Some("case.yaml")).unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<String>())
        });
        let [document] = documents.as_slice() else { panic!("a case file is one document") };
        serde_json::from_value(document.to_json()).unwrap()
    }

    /// The text of every policy.
    fn policies(&self, folder: &Path) -> Vec<String> {
        let text = |policy: &Json| match policy.as_str() {
            Some(file) => fs::read_to_string(folder.join(file)).unwrap(),
            // Every JSON text is YAML.
            None => policy.to_string(),
        };
        self.policies.iter().map(text).collect()
    }

    async fn start(&self, beside: &Path) -> Engines {
        let mut settings = self.settings.clone();
        settings.insert("namespace".into(), self.workload.namespace.clone().into());
        settings.insert("labels".into(), serde_json::to_value(&self.workload.labels).unwrap());
        Engines::start(&self.policies(beside), &settings).await
    }
}

impl Case {
    fn request(&self) -> RequestFile {
        RequestFile::read(&self.request.to_string(), None).unwrap_or_else(|found| {
            panic!("{}: {}", self.name, found.iter().map(ToString::to_string).collect::<String>())
        })
    }
}
