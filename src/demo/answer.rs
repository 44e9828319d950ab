//! What came back: the status, and why, as Postern's dynamic metadata tells it.

use serde_json::Value;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `allow` or `deny`
    pub(super) decision: String,
    pub(super) reason: String,
    /// The rule that decided, where one did.
    pub(super) rule: Option<Rule>,
    pub(super) jwt_error: Option<String>,
    /// AUDIT policies that matched.
    pub(super) audited_by: Vec<String>,
    /// What would be if dry-run policies were enforced, where that is another decision.
    pub(super) dry_run: Option<DryRun>,
}

/// A rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// `namespace/name`
    pub(super) policy: String,
    /// From 0, as in the policy's `rules`.
    pub(super) number: String,
}

/// What dry-run policies would have decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DryRun {
    pub(super) decision: String,
    pub(super) rule: Option<Rule>,
}

impl Answer {
    /// Reads the metadata. `None` where it tells no decision: then Postern was not asked.
    pub(super) fn read(status: u16, metadata: &Value) -> Option<Self> {
        let text = |name| Some(metadata.get(name)?.as_str()?.to_owned());
        let decision = text("decision")?;
        let names = metadata.get("audited_by").and_then(Value::as_array).into_iter().flatten();
        let dry_run = metadata.get("shadow").and_then(|shadow| {
            let decision = shadow.get("decision")?.as_str()?.to_owned();
            Some(DryRun { decision, rule: Rule::read(shadow) })
        });
        Some(Self {
            status,
            reason: text("reason")?,
            rule: Rule::read(metadata),
            jwt_error: text("jwt_error"),
            audited_by: names.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            dry_run: dry_run.filter(|dry_run| dry_run.decision != decision),
            decision,
        })
    }
}

impl Rule {
    fn read(metadata: &Value) -> Option<Self> {
        let policy = metadata.get("policy")?.as_str()?.to_owned();
        // Metadata has doubles only; a whole one is written without a fraction.
        let number = metadata.get("rule")?.as_f64()?.to_string();
        Some(Self { policy, number })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_postern_reports() {
        let answer = Answer::read(
            200,
            &json!({
                "decision": "allow", "reason": "allow_rule", "policy": "a/b", "rule": 1.0,
                "audited_by": ["a/c"], "revision": 1,
                "shadow": {"decision": "deny", "reason": "deny_rule", "policy": "a/d", "rule": 0},
            }),
        );
        let rule =
            |policy: &str, number: &str| Rule { policy: policy.into(), number: number.into() };
        let expected = Answer {
            status: 200,
            decision: "allow".into(),
            reason: "allow_rule".into(),
            rule: Some(rule("a/b", "1")),
            jwt_error: None,
            audited_by: vec!["a/c".into()],
            dry_run: Some(DryRun { decision: "deny".into(), rule: Some(rule("a/d", "0")) }),
        };
        assert_eq!(answer, Some(expected));
    }

    #[test]
    fn a_dry_run_that_changes_nothing_is_no_news() {
        let same = json!({"decision": "deny", "reason": "x", "shadow": {"decision": "deny"}});
        assert_eq!(Answer::read(403, &same).unwrap().dry_run, None);
    }

    #[test]
    fn without_a_decision_there_is_no_answer() {
        assert_eq!(Answer::read(403, &json!({"reason": "x"})), None);
        assert_eq!(Answer::read(403, &Value::Null), None);
    }
}
