//! What answers come to, held against a plain retelling of Envoy's filters one after the other.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::authn::Changes;
use crate::decide::reference;
use crate::decide::tests::{attributes, plan, policy};
use crate::model::{Attributes, Headers, Http, Reason};
use crate::plan::WorkloadPlan;

const NAMES: [&str; 2] = ["o", "p"];

fn provider(name: &str, is_http: bool) -> ExtensionProvider {
    ExtensionProvider {
        name: name.into(),
        host: "h".into(),
        namespace: None,
        port: 1,
        timeout: ExtensionProvider::DEFAULT_TIMEOUT,
        fail_open: false,
        clear_route_cache: false,
        status_on_error: 403,
        request_body: None,
        protocol: if is_http { Protocol::Http(HttpCheck::default()) } else { Protocol::Grpc },
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    NotAsked,
    Allow,
    Deny,
    Error,
    FailOpen,
}

impl Says {
    fn answer(self) -> Option<Answer> {
        let failed = |passes| Failure { passes, ..Failure::closed(Trouble::Timeout) };
        match self {
            Self::NotAsked => None,
            Self::Allow => Some(Answer::Allowed(Box::default())),
            Self::Deny => Some(Answer::Denied(Box::new(Denial::of_status(401)))),
            Self::Error => Some(Answer::Failed(Box::new(failed(false)))),
            Self::FailOpen => Some(Answer::Failed(Box::new(failed(true)))),
        }
    }
}

/// One provider: whether it is defined, and over HTTP; and what it says.
type Given = (Option<bool>, Says);

fn given() -> impl Strategy<Value = Given> {
    let says = prop::sample::select(vec![
        Says::NotAsked,
        Says::Allow,
        Says::Deny,
        Says::Error,
        Says::FailOpen,
    ]);
    (prop::option::weighted(0.8, any::<bool>()), says)
}

/// Filter by filter: what ends the request, or who would have to be asked.
fn one_after_the_other(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    given: [Given; 2],
) -> (Option<Reason>, Vec<Arc<str>>) {
    let mut asks = Vec::new();
    for (name, rule) in reference::custom(plan, attributes, false) {
        let (defined, says) = given[NAMES.iter().position(|known| **known == *name).unwrap()];
        let reason = match (defined, says) {
            (None, _) => Reason::CustomProviderUndefined(rule),
            (Some(true), _) if attributes.http.is_none() => continue,
            (Some(_), Says::NotAsked) => {
                asks.push((name, rule));
                continue;
            }
            (Some(_), Says::Allow | Says::FailOpen) => continue,
            (Some(_), Says::Deny) => Reason::CustomDenied(rule),
            (Some(_), Says::Error) => Reason::CustomError(rule),
        };
        return match asks.first() {
            None => (Some(reason), Vec::new()),
            Some((_, rule)) => {
                (Some(Reason::CustomError(*rule)), asks.into_iter().map(|(n, _)| n).collect())
            }
        };
    }
    let reason = asks.first().map(|(_, rule)| Reason::CustomError(*rule));
    (reason, asks.into_iter().map(|(name, _)| name).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn consulting_is_asking_one_after_the_other(
        policies in vec(policy(), 0..5),
        attributes in attributes(),
        given in [given(), given()],
    ) {
        let plan = plan(policies);
        let defined = NAMES.iter().zip(given).filter_map(|(name, (defined, _))| {
            defined.map(|is_http| provider(name, is_http))
        });
        let definitions = Definitions::of(&defined.collect::<Vec<_>>());
        let answers: Vec<_> = NAMES
            .iter()
            .zip(given)
            .filter_map(|(name, (_, says))| {
                Some(Answered { provider: (*name).into(), answer: Arc::new(says.answer()?) })
            })
            .collect();
        let standing = Standing {
            definitions: Some(&definitions),
            answers: &answers,
            ..Standing::default()
        };
        let consulted = consult(&plan, &attributes, standing);
        let (reason, asks) = one_after_the_other(&plan, &attributes, given);
        let found = consulted.as_ref().and_then(|consulted| consulted.reason);
        prop_assert_eq!(found, reason);
        let found: Vec<_> =
            consulted.iter().flat_map(|c| &c.asks).map(|ask| ask.provider.clone()).collect();
        prop_assert_eq!(found, asks);
        let dry_run = reference::custom(&plan, &attributes, true);
        let found: Vec<_> = consulted
            .iter()
            .flat_map(|c| &c.dry_run)
            .map(|ask| (ask.provider.clone(), ask.rule.policy().unwrap()))
            .collect();
        prop_assert_eq!(found, dry_run);
        // Whoever is refused is told something, or what RBAC says.
        let says = consulted.as_ref().map(|c| c.denial.is_some()).unwrap_or_default();
        let of_rbac = matches!(reason, None | Some(Reason::CustomProviderUndefined(_)));
        prop_assert_eq!(says, !of_rbac);
    }

    /// Whoever was asked is never asked again, and who is not asked is never needed in the end.
    #[test]
    fn answers_settle_it(
        policies in vec(policy(), 0..5),
        attributes in attributes(),
        says in any::<[bool; 2]>(),
    ) {
        let plan = plan(policies);
        let definitions = Definitions::of(&NAMES.map(|name| provider(name, false)));
        let ask = |answers: &[Answered]| {
            consult(&plan, &attributes, Standing { definitions: Some(&definitions), answers, ..Standing::default() })
        };
        let Some(first) = ask(&[]) else { return Ok(()) };
        let answers: Vec<_> = first
            .asks
            .iter()
            .map(|ask| {
                let says = says[NAMES.iter().position(|name| **name == *ask.provider).unwrap()];
                let answer = if says { Says::Allow } else { Says::Deny };
                let answer = Arc::new(answer.answer().unwrap());
                Answered { provider: ask.provider.clone(), answer }
            })
            .collect();
        let settled = ask(&answers);
        prop_assert!(settled.iter().all(|settled| settled.asks.is_empty()));
    }
}

fn http(lines: &[(&'static str, &'static str)]) -> Http<'static> {
    let lines = lines.iter().map(|(n, v)| ((*n).into(), v.as_bytes().into())).collect();
    Http {
        method: "GET".into(),
        path: "/p?b=2&a=%41&gone&a=3".into(),
        host: "h".into(),
        scheme: "http".into(),
        headers: Headers::new(lines, false),
    }
}

#[test]
fn one_after_the_other_changes_the_request() {
    let mutation = |name: &str, value: &str, action| HeaderMutation {
        name: name.into(),
        value: value.into(),
        action,
    };
    let first = Allowance {
        headers: vec![
            mutation("x-a", "first", AppendAction::Overwrite),
            mutation("x-b", "more", AppendAction::Join),
            mutation("x-none", "more", AppendAction::Join),
            mutation("x-none", "over", AppendAction::OverwriteIfExists),
            mutation("x-c", "kept", AppendAction::AddIfAbsent),
            mutation("host", "other", AppendAction::Overwrite),
            mutation(":unknown", "x", AppendAction::Overwrite),
        ],
        headers_to_remove: vec!["x-secret".into(), ":path".into(), "host".into(), "x-no".into()],
        query_parameters_to_set: vec![("b".into(), "%20".into())],
        query_parameters_to_remove: vec!["gone".into()],
        ..Allowance::default()
    };
    let second = Allowance {
        headers: vec![
            mutation("x-a", "second", AppendAction::Overwrite),
            mutation("x-secret", "new", AppendAction::Add),
            mutation("x-secret", "line", AppendAction::Add),
        ],
        ..Allowance::default()
    };
    let answered = |allowance| Answered {
        provider: "p".into(),
        answer: Arc::new(Answer::Allowed(Box::new(allowance))),
    };
    let rule = AskedBy::Policy(crate::model::RuleId { policy: 0, rule: 0 });
    let answers = vec![(rule, answered(first)), (rule, answered(second))];
    let mut consulted = Consulted { answers, ..Consulted::default() };
    let mut http =
        http(&[("x-a", "1"), ("x-b", "1"), ("x-b", "2"), ("x-c", "own"), ("x-secret", "s")]);
    let mut changes = Changes::default();
    consulted.apply(&mut http, &mut changes);
    let mut lines: Vec<_> = http
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        ["x-a: second", "x-b: 1,2,more", "x-c: own", "x-secret: line", "x-secret: new"]
    );
    assert_eq!(http.path, "/p?a=%41&a=3&b=%20");
    assert_eq!(http.host, "other");
    assert_eq!(changes.headers().collect::<Vec<_>>(), ["x-a", "x-b", "x-secret"]);
    assert!(changes.path);
    assert_eq!(consulted.pseudo_headers, [":authority"]);
}
