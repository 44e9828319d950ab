//! The alerts, and what `promtool` makes of them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::prometheus::NEEDED;
use crate::queries::read;

const RULES: &str = "deploy/observability/prometheus-rules.yaml";

fn rules() -> Vec<Value> {
    let documents = crate::scene::yaml(&read(RULES));
    documents["groups"][0]["rules"].as_array().unwrap().clone()
}

pub(crate) fn names() -> Vec<String> {
    rules().iter().map(|rule| rule["alert"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn expression(name: &str) -> String {
    let rule = rules().into_iter().find(|rule| rule["alert"] == name).unwrap();
    rule["expr"].as_str().unwrap().trim().to_owned()
}

/// Each alert says what is the matter and what it means, and is explained.
#[test]
fn alerts_say_what_to_do() {
    let page = read("docs/observability.md");
    for rule in rules() {
        let name = rule["alert"].as_str().unwrap();
        for annotation in ["summary", "description"] {
            assert!(rule["annotations"][annotation].is_string(), "{name}: {annotation}");
        }
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()));
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/observability.md");
    }
}

/// When each fires, and when not: `rules_test.yaml` beside this.
#[test]
fn alerts_fire_when_they_should() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tests = root.join("tests/observability/rules_test.yaml");
    let text = std::fs::read_to_string(&tests).unwrap();
    for name in names() {
        assert!(text.contains(&format!("alertname: {name}")), "{name} is not tested");
    }
    for arguments in [&["check", "rules"][..], &["test", "rules"]] {
        let file = if arguments[0] == "check" { root.join(RULES) } else { tests.clone() };
        let ran = Command::new("promtool").args(arguments).arg(file).output();
        let ran = ran.unwrap_or_else(|error| panic!("{NEEDED}: promtool: {error}"));
        let (out, err) =
            (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{out}{err}");
    }
}
