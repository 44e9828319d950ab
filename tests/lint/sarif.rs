//! SARIF 2.1.0 as a reader with its schema at hand takes it.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{SHOP, lint};

/// What the schema demands of the parts that are written, no more and no less: unknown members,
/// missing ones and wrong types are refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    #[serde(rename = "$schema")]
    schema: String,
    version: String,
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: ColumnKind,
    results: Vec<SarifResult>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
enum ColumnKind {
    Utf16CodeUnits,
    UnicodeCodePoints,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Driver {
    name: String,
    version: String,
    semantic_version: String,
    information_uri: uri::Reference,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    id: String,
    name: Option<String>,
    short_description: Message,
    help_uri: uri::Reference,
    default_configuration: Configuration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    level: Level,
}

#[derive(Debug, Deserialize, PartialEq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Level {
    None,
    Note,
    Warning,
    Error,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SarifResult {
    rule_id: String,
    rule_index: usize,
    level: Level,
    message: Message,
    #[serde(default)]
    locations: Vec<Location>,
    #[serde(default)]
    suppressions: Vec<Suppression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suppression {
    kind: SuppressionKind,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum SuppressionKind {
    InSource,
    External,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
    #[serde(default)]
    logical_locations: Vec<LogicalLocation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Option<Region>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactLocation {
    uri: uri::Reference,
}

/// Lines and columns begin at 1.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Region {
    start_line: std::num::NonZeroU32,
    start_column: std::num::NonZeroU32,
    end_column: Option<std::num::NonZeroU32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LogicalLocation {
    fully_qualified_name: String,
    kind: String,
}

mod uri {
    /// A URI, or a relative reference.
    #[derive(Debug)]
    pub(super) struct Reference(pub(super) String);

    impl<'de> serde::Deserialize<'de> for Reference {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            let allowed =
                |c: char| c.is_ascii_alphanumeric() || "-._~:/?#@!$&'()*+,;=%".contains(c);
            if text.is_empty() || !text.chars().all(allowed) {
                return Err(serde::de::Error::custom(format!("{text} is no URI")));
            }
            Ok(Self(text))
        }
    }
}

fn log(policies: &str) -> (i32, Log) {
    let (code, stdout, stderr) = lint(policies, "--policies shop.yaml --output sarif");
    assert_eq!(stderr, "");
    (code, serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}:\n{stdout}")))
}

#[test]
fn what_is_found_is_said() {
    let policies = SHOP.replace("10.0.0.0/8", "10.0.0.1/8, 10.0.0.0/33")
        + "---\n"
        + &SHOP
            .replace("{name: readers", "{name: copy")
            .replace("  rules:", "  selector: {}\n  rules:");
    let (code, log) = log(&policies);
    assert_eq!((code, log.version.as_str()), (1, "2.1.0"));
    assert!(log.schema.ends_with("sarif-schema-2.1.0.json"));
    let [run] = log.runs.as_slice() else { panic!("{log:#?}") };
    let driver = &run.tool.driver;
    assert_eq!(driver.name, "postern lint");
    assert_eq!(
        (driver.version.as_str(), &driver.semantic_version),
        (env!("CARGO_PKG_VERSION"), &driver.version)
    );
    assert_eq!(driver.information_uri.0, env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(run.column_kind, ColumnKind::UnicodeCodePoints);
    // Rules are those of the results, each once.
    let ids: Vec<&str> = driver.rules.iter().map(|rule| rule.id.as_str()).collect();
    let used: BTreeSet<&str> = run.results.iter().map(|result| result.rule_id.as_str()).collect();
    assert_eq!(ids, used.into_iter().collect::<Vec<_>>());
    for result in &run.results {
        let rule = &driver.rules[result.rule_index];
        assert_eq!(rule.id, result.rule_id);
        assert_eq!(rule.default_configuration.level, result.level);
        assert!(!rule.short_description.text.is_empty() && !result.message.text.is_empty());
        assert!(result.suppressions.is_empty());
        let [location] = result.locations.as_slice() else { panic!("{result:#?}") };
        assert_eq!(location.physical_location.artifact_location.uri.0, "shop.yaml");
        let region = location.physical_location.region.as_ref().unwrap();
        assert!(region.start_line.get() <= 20 && region.end_column > Some(region.start_column));
        let [resource] = location.logical_locations.as_slice() else { panic!("{result:#?}") };
        assert!(resource.fully_qualified_name.starts_with("AuthorizationPolicy/shop/"));
        assert_eq!(resource.kind, "resource");
    }
    assert_eq!(ids, ["PST0107", "PST0300", "PST0302"]);
    let [error, warning, _] = driver.rules.as_slice() else { panic!("{driver:#?}") };
    assert!(error.help_uri.0.ends_with("/docs/diagnostics.md") && error.name.is_none());
    assert!(warning.help_uri.0.ends_with("/docs/lints/PST0300.md"));
    assert_eq!(warning.name.as_deref(), Some("selector-without-labels"));
}

#[test]
fn what_is_ignored_is_suppressed() {
    let policies = SHOP.replace("10.0.0.0/8", "10.0.0.1/8").replace(
        "namespace: shop",
        "namespace: shop, annotations: {postern.dev/lint-ignore: PST0302}",
    );
    let (code, log) = log(&policies);
    assert_eq!(code, 0);
    let [result] = log.runs[0].results.as_slice() else { panic!("{log:#?}") };
    assert!(matches!(
        result.suppressions.as_slice(),
        [Suppression { kind: SuppressionKind::InSource }]
    ));
}

#[test]
fn nothing_found_is_a_whole_log() {
    let (code, log) = log(SHOP);
    assert_eq!(code, 0);
    assert!(log.runs[0].results.is_empty() && log.runs[0].tool.driver.rules.is_empty());
}
