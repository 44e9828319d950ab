use crate::model::{Action, Attachment, AuthorizationPolicy, Kind, Metadata, Position, Resource};
use crate::source::PolicyFile;

use super::*;
use crate::control::Rejection;

const NOW: &str = "2026-01-01T00:00:00Z";
const TEXT: &str = "generation 2";

fn id(name: &str) -> ResourceId {
    ResourceId { kind: Kind::AuthorizationPolicy, namespace: "shop".into(), name: name.into() }
}

fn diagnostic(severity: Severity, code: u16) -> Diagnostic {
    Diagnostic {
        severity,
        code: Code(code),
        message: "`10.1.0.0/33` is not a usable ip block".into(),
        help: None,
        file: Some("a".into()),
        position: Position { line: 3, column: 1 },
        excerpt: None,
        resource: Some(id("a")),
        path: "spec.rules[0].from[0].source.ipBlocks[0]".into(),
    }
}

fn in_force(name: &str) -> Arc<Resource> {
    let metadata = Metadata { namespace: "shop".into(), name: name.into(), ..Metadata::default() };
    Arc::new(Resource::AuthorizationPolicy(Arc::new(AuthorizationPolicy {
        metadata,
        attachment: Attachment::default(),
        action: Action::Allow,
        rules: Vec::new(),
        dry_run: false,
        deny_response: None,
    })))
}

fn control() -> ControlStatus {
    let files = ["a", "b"].map(|name| PolicyFile { name: name.into(), text: TEXT.into() });
    let corpus = Corpus { files: files.to_vec(), ..Corpus::default() };
    ControlStatus {
        corpus: Arc::new(corpus),
        resources: vec![in_force("a")],
        ..ControlStatus::default()
    }
}

fn refused(subject: Subject, kept: usize, problems: usize) -> ControlStatus {
    let problem = Problem::Text(diagnostic(Severity::Error, 107));
    let problems = vec![problem; problems];
    let since = tokio::time::Instant::now();
    let rejection = Rejection { subject, kept, problems, since };
    ControlStatus { rejected: vec![rejection], ..control() }
}

fn status(control: &ControlStatus, before: Option<&Value>) -> Option<Value> {
    let id = id("a");
    let object = Standing { id: &id, file: "a", text: TEXT, generation: Some(2), status: before };
    Acceptances::of(control).status(object, NOW)
}

#[test]
fn what_is_in_force_is_accepted_and_said_once() {
    let written = status(&control(), None).unwrap();
    insta::assert_snapshot!(format!("{written:#}"), @r#"
    {
      "conditions": [
        {
          "type": "Accepted",
          "status": "True",
          "reason": "InForce",
          "message": "in force",
          "lastTransitionTime": "2026-01-01T00:00:00Z",
          "observedGeneration": 2
        }
      ],
      "observedGeneration": 2
    }
    "#);
    assert_eq!(status(&control(), Some(&written)), None);
}

#[test]
fn what_is_refused_says_why_and_what_that_means() {
    let written = status(&refused(Subject::Resource(id("a")), 0, 1), None).unwrap();
    insta::assert_snapshot!(format!("{written:#}"), @r#"
    {
      "conditions": [
        {
          "type": "Accepted",
          "status": "False",
          "reason": "NeverAccepted",
          "message": "never accepted: the workloads it may select deny: spec.rules[0].from[0].source.ipBlocks[0]: `10.1.0.0/33` is not a usable ip block (PST0107)",
          "lastTransitionTime": "2026-01-01T00:00:00Z",
          "observedGeneration": 2
        }
      ],
      "validationMessages": [
        {
          "type": {
            "name": "SchemaValidationError",
            "code": "IST0106"
          },
          "level": "ERROR",
          "documentationUrl": "https://github.com/postern-authz/postern/blob/main/docs/diagnostics.md#pst0107"
        }
      ],
      "observedGeneration": 2
    }
    "#);
    let kept = status(&refused(Subject::Resource(id("a")), 1, 1), None).unwrap();
    assert_eq!(kept["conditions"][0]["reason"], "EarlierFormInForce");
    // Nothing could be made out of its text.
    let file = status(&refused(Subject::Path("a".into()), 0, 1), None);
    // The resource of that name is in force all the same: it is what control says of it.
    assert_eq!(file.unwrap()["conditions"][0]["status"], "True");
}

#[test]
fn warnings_are_no_refusal() {
    let findings = vec![diagnostic(Severity::Warning, 300), diagnostic(Severity::Warning, 300)];
    let written = status(&ControlStatus { findings, ..control() }, None).unwrap();
    assert_eq!(written["conditions"][0]["status"], "True");
    assert_eq!(written["validationMessages"].as_array().unwrap().len(), 1);
    assert_eq!(written["validationMessages"][0]["level"], "WARNING");
    let healed = status(&control(), Some(&written)).unwrap();
    assert_eq!(healed.get("validationMessages"), None);
}

#[test]
fn what_others_wrote_stays() {
    let others = json!({ "type": { "name": "Other", "code": "IST0101" }, "level": "INFO" });
    let before = json!({
        "conditions": [{ "type": "Reconciled", "status": "True" }],
        "validationMessages": [others],
        "observedGeneration": "2",
        "more": 1,
    });
    let written = status(&control(), Some(&before)).unwrap();
    assert_eq!(written["conditions"][0], before["conditions"][0]);
    assert_eq!(written["conditions"][1]["type"], "Accepted");
    assert_eq!(written["validationMessages"], json!([others]));
    assert_eq!(written["observedGeneration"], "2");
    assert_eq!(written["more"], 1);
}

#[test]
fn the_time_is_that_of_the_last_change_of_mind() {
    let mut before = status(&control(), None).unwrap();
    before["conditions"][0]["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
    before["conditions"][0]["observedGeneration"] = 1.into();
    let again = status(&control(), Some(&before)).unwrap();
    assert_eq!(again["conditions"][0]["lastTransitionTime"], "2020-01-01T00:00:00Z");
    assert_eq!(again["conditions"][0]["observedGeneration"], 2);
    let refused = refused(Subject::Resource(id("a")), 1, 1);
    let other = status(&refused, Some(&before)).unwrap();
    assert_eq!(other["conditions"][0]["lastTransitionTime"], NOW);
}

#[test]
fn nothing_is_said_of_a_form_that_control_has_not_seen() {
    let control = control();
    let acceptances = Acceptances::of(&control);
    let (a, b) = (id("a"), id("b"));
    let object = Standing { id: &a, file: "a", text: TEXT, generation: Some(2), status: None };
    assert!(acceptances.status(object, NOW).is_some());
    assert_eq!(acceptances.status(Standing { text: "generation 3", ..object }, NOW), None);
    assert_eq!(acceptances.status(Standing { file: "c", ..object }, NOW), None);
    // It is there, and control knows nothing of it.
    assert_eq!(acceptances.status(Standing { id: &b, file: "b", ..object }, NOW), None);
}

#[test]
fn messages_have_an_end() {
    let written = status(&refused(Subject::Resource(id("a")), 0, 100), None).unwrap();
    let message = written["conditions"][0]["message"].as_str().unwrap();
    assert!(message.ends_with("; and 92 more"), "{message}");
    assert_eq!(written["validationMessages"].as_array().unwrap().len(), 1);
}
