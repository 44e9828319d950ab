//! What the dashboard and the alerts ask Prometheus.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rules;

/// One expression and where it stands.
#[derive(Debug)]
pub(crate) struct Query {
    /// For people.
    #[expect(dead_code, reason = "shown")]
    pub(crate) place: String,
    /// With everything that Grafana puts in for its variables.
    pub(crate) expression: String,
}

impl Query {
    /// The names of metrics in it.
    pub(crate) fn metrics(&self) -> BTreeSet<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = self.expression.split(|c| !is_part(c));
        words.filter(|word| word.starts_with("postern_")).map(str::to_owned).collect()
    }
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Those of the dashboard: panels, variables, annotations.
pub(crate) fn dashboard() -> Vec<Query> {
    let text = read("deploy/observability/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let query = |place: &str, expression: &Value| Query {
        place: place.to_owned(),
        expression: filled_in(expression.as_str().unwrap()),
    };
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array();
        assert_eq!(targets.is_none(), panel["type"] == "row", "{title}");
        let described = panel["description"].as_str().is_some_and(|text| !text.is_empty());
        assert!(described || targets.is_none(), "{title} has no description");
        for target in targets.into_iter().flatten() {
            queries.push(query(title, &target["expr"]));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let text = variable["query"]["query"].as_str().unwrap();
            let inside = text.strip_prefix("label_values(").unwrap();
            let (metric, label) = inside.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
            let expression = format!("count by ({label}) ({metric})");
            queries.push(query("variables", &expression.into()));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        // That nothing changed is an answer, too.
        let expression = annotation["expr"].as_str().unwrap().trim_end_matches(" > 0");
        queries.push(query("annotations", &expression.into()));
    }
    assert!(queries.len() > 30);
    queries
}

fn filled_in(expression: &str) -> String {
    let text = expression
        .replace("$job", ".+")
        .replace("$instance", ".+")
        .replace("$__rate_interval", "1m");
    assert!(!text.contains('$'), "{text}");
    text
}

/// What the alerts look at, whatever it is held against.
pub(crate) fn alerts() -> Vec<Query> {
    let query = |name: String| {
        let whole = rules::expression(&name);
        let is_comparison =
            |(_, behind): &(&str, &str)| behind.chars().all(|c| " >=.0123456789".contains(c));
        let compared = whole.rsplit_once(['>', '=']).filter(is_comparison);
        let looked_at = compared.map_or(whole.as_str(), |(before, _)| before);
        Query { expression: looked_at.trim_end_matches(['=', ' ']).to_owned(), place: name }
    };
    rules::names().into_iter().map(query).collect()
}

/// The metrics of docs/metrics.md, without what the format adds to their names.
pub(crate) fn documented_metrics() -> BTreeSet<String> {
    let text = read("docs/metrics.md");
    let names = text.lines().filter_map(|line| line.strip_prefix("| `postern_"));
    let name = |line: &str| {
        let name = line.split('`').next().unwrap();
        format!("postern_{}", name.trim_end_matches("_total"))
    };
    names.map(name).collect()
}
