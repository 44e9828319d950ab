//! The status of an APIRule, in Kyma's words.
//!
//! What became of it is known by [`Acceptance`]; this says it as Kyma's controller would.

use serde_json::{Map, Value, json};

use super::Acceptance;
use crate::diagnostic::Severity;
use crate::manifest::schema;

/// How many problems Kyma lists.
const MOST_PROBLEMS: usize = 3;

/// In what form an APIRule is written, which is that of its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiRuleForm {
    /// v1alpha1 and v1beta1, evaluated as Kyma has Oathkeeper do it.
    Ory,
    /// v1alpha1 and v1beta1, with a `jwt` of Istio's form.
    Istio,
    /// v2alpha1 and v2.
    V2,
}

impl ApiRuleForm {
    /// Of an object as text.
    pub(super) fn of(text: &str) -> Self {
        let object: Value = serde_json::from_str(text).unwrap_or_default();
        if schema::written_version(&object) == "v2" {
            return Self::V2;
        }
        let rules = object.pointer("/spec/rules").and_then(Value::as_array);
        let has_istio = rules.into_iter().flatten().any(|rule| {
            let strategies = rule.get("accessStrategies").and_then(Value::as_array);
            strategies
                .into_iter()
                .flatten()
                .any(|strategy| strategy.pointer("/config/authentications").is_some())
        });
        if has_istio { Self::Istio } else { Self::Ory }
    }

    /// What Kyma would make of one, beside the VirtualService.
    fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Ory => &["accessRuleStatus"],
            Self::Istio => &["authorizationPolicyStatus", "requestAuthenticationStatus"],
            Self::V2 => &[],
        }
    }
}

/// The status after another. What others say in it stays.
pub(super) fn status(
    acceptance: &Acceptance,
    before: Option<&Map<String, Value>>,
    form: ApiRuleForm,
    generation: Option<i64>,
    now: &str,
) -> Map<String, Value> {
    let mut status = before.cloned().unwrap_or_default();
    let (code, description) = code_and_description(acceptance);
    match form {
        ApiRuleForm::V2 => {
            let state = match code {
                "ERROR" => "Error",
                "WARNING" => "Warning",
                _ => "Ready",
            };
            status.insert("state".into(), state.into());
            let description = if description.is_empty() {
                "Reconciled successfully".to_owned()
            } else {
                description
            };
            status.insert("description".into(), description.into());
        }
        ApiRuleForm::Ory | ApiRuleForm::Istio => {
            let mut own = json!({ "code": code });
            if let (false, Some(own)) = (description.is_empty(), own.as_object_mut()) {
                own.insert("desc".into(), description.into());
            }
            status.insert("APIRuleStatus".into(), own);
            let skipped = json!({ "code": "SKIPPED", "desc": "Postern makes no VirtualService" });
            status.insert("virtualServiceStatus".into(), skipped);
            for part in form.parts() {
                let code = if code == "ERROR" { "SKIPPED" } else { "OK" };
                status.insert((*part).into(), json!({ "code": code }));
            }
        }
    }
    if let Some(generation) = generation.filter(|_| form != ApiRuleForm::V2) {
        status.insert("observedGeneration".into(), generation.into());
    }
    // When something was last said anew, so that to look again is no change.
    if before != Some(&status) || !status.contains_key("lastProcessedTime") {
        status.insert("lastProcessedTime".into(), now.into());
    }
    status
}

/// The code, and the text that explains it where there is something to explain.
fn code_and_description(acceptance: &Acceptance) -> (&'static str, String) {
    let of = |severity: Severity| -> Vec<String> {
        let found = acceptance.findings.iter().filter(|found| found.severity == severity);
        found
            .map(|found| {
                let (path, message) = &found.field;
                let dot = if path.is_empty() { "" } else { "." };
                format!("Attribute \"{dot}{path}\": {message}")
            })
            .collect()
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    if let Some(refused) = &acceptance.refused {
        let mut text = match errors.as_slice() {
            [] => "Validation error".to_owned(),
            [one] => format!("Validation error: {one}"),
            many => {
                let shown: Vec<_> = many.iter().take(MOST_PROBLEMS).map(String::as_str).collect();
                let more = many.len().saturating_sub(MOST_PROBLEMS);
                let more =
                    if more > 0 { format!("\n{more} more error(s)...") } else { String::new() };
                format!("Multiple validation errors: \n{}{more}", shown.join("\n"))
            }
        };
        if refused.kept {
            text.push_str("\nThe last accepted form stays in force");
        }
        return ("ERROR", text);
    }
    if warnings.is_empty() {
        return ("OK", String::new());
    }
    ("WARNING", warnings.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::{Finding, Refused};
    use super::*;

    fn finding(severity: Severity, path: &str, message: &str) -> Finding {
        let field = (path.to_owned(), message.to_owned());
        Finding { severity, code: None, text: String::new(), field }
    }

    fn refused(findings: Vec<Finding>, kept: bool) -> Acceptance {
        Acceptance { refused: Some(Refused { kept, effect: "" }), findings }
    }

    fn of(acceptance: &Acceptance, form: ApiRuleForm) -> Value {
        Value::Object(status(acceptance, None, form, Some(2), "now"))
    }

    #[test]
    fn what_is_good_says_so() {
        let good = Acceptance::default();
        assert_eq!(
            of(&good, ApiRuleForm::Ory),
            json!({
                "APIRuleStatus": { "code": "OK" },
                "virtualServiceStatus": { "code": "SKIPPED", "desc": "Postern makes no VirtualService" },
                "accessRuleStatus": { "code": "OK" },
                "observedGeneration": 2,
                "lastProcessedTime": "now",
            })
        );
        let istio = of(&good, ApiRuleForm::Istio);
        assert_eq!(istio["authorizationPolicyStatus"]["code"], "OK");
        assert_eq!(istio["requestAuthenticationStatus"]["code"], "OK");
        assert_eq!(
            of(&good, ApiRuleForm::V2),
            json!({
                "state": "Ready", "description": "Reconciled successfully", "lastProcessedTime": "now",
            })
        );
    }

    #[test]
    fn one_failure_is_said_and_many_are_cut() {
        let error = |at: usize| finding(Severity::Error, &format!("spec.rules[{at}]"), "bad");
        let one = of(&refused(vec![error(0)], false), ApiRuleForm::Ory);
        assert_eq!(
            one["APIRuleStatus"],
            json!({ "code": "ERROR", "desc": "Validation error: Attribute \".spec.rules[0]\": bad" })
        );
        assert_eq!(one["accessRuleStatus"], json!({ "code": "SKIPPED" }));
        let many = of(&refused((0..5).map(error).collect(), true), ApiRuleForm::V2);
        assert_eq!(many["state"], "Error");
        assert_eq!(
            many["description"],
            "Multiple validation errors: \nAttribute \".spec.rules[0]\": bad\nAttribute \
             \".spec.rules[1]\": bad\nAttribute \".spec.rules[2]\": bad\n2 more error(s)...\nThe last \
             accepted form stays in force"
        );
    }

    #[test]
    fn a_warning_is_one() {
        let doubtful = Acceptance {
            refused: None,
            findings: vec![
                finding(Severity::Warning, "spec", "odd"),
                finding(Severity::Note, "", "x"),
            ],
        };
        assert_eq!(
            of(&doubtful, ApiRuleForm::Istio)["APIRuleStatus"],
            json!({ "code": "WARNING", "desc": "Attribute \".spec\": odd" })
        );
        assert_eq!(of(&doubtful, ApiRuleForm::V2)["state"], "Warning");
    }

    #[test]
    fn to_look_again_changes_nothing() {
        let good = Acceptance::default();
        for form in [ApiRuleForm::Ory, ApiRuleForm::Istio, ApiRuleForm::V2] {
            let mut first = status(&good, None, form, Some(1), "then");
            first.insert("other".into(), json!(1));
            assert_eq!(status(&good, Some(&first), form, Some(1), "now"), first);
            let bad = refused(Vec::new(), false);
            let other = status(&bad, Some(&first), form, Some(1), "now");
            assert_eq!(other["lastProcessedTime"], "now");
            assert_eq!(other["other"], 1);
        }
    }

    #[test]
    fn the_form_is_that_of_the_object() {
        let v1 = |config: &str| {
            format!(
                r#"{{"apiVersion":"gateway.kyma-project.io/v1beta1","spec":{{"host":"a.b","rules":[{{"accessStrategies":[{{"handler":"jwt","config":{{"{config}":[]}}}}]}}]}}}}"#
            )
        };
        assert_eq!(ApiRuleForm::of(&v1("authentications")), ApiRuleForm::Istio);
        assert_eq!(ApiRuleForm::of(&v1("jwks_urls")), ApiRuleForm::Ory);
        assert_eq!(ApiRuleForm::of(r#"{"spec":{"hosts":["a.b"]}}"#), ApiRuleForm::V2);
        assert_eq!(ApiRuleForm::of("not json"), ApiRuleForm::Ory);
    }
}
