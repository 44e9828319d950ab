use rstest::rstest;

use super::*;
use crate::model::Outcome;

fn problems(text: &str) -> String {
    let found = CaseFile::read(text, Some("cases.yaml")).expect_err("an error");
    found.iter().map(|found| format!("{found}\n")).collect()
}

#[rstest]
#[case::empty("", "the file is empty")]
#[case::nothing_to_ask("policies: []", "`requests` is missing")]
#[case::misspelt("{requests: [], polices: []}", "did you mean `policies`")]
#[case::two("{requests: []}\n---\n{requests: []}", "a second document")]
#[case::nameless("requests: [{expect: allow}]", "`name` is missing")]
#[case::no_expectation("requests: [{name: x}]", "`expect` is missing")]
#[case::bad_outcome("requests: [{name: x, expect: permit}]", "write one of `allow`, `deny`")]
#[case::bad_reason(
    "requests: [{name: x, expect: {outcome: deny, reason: no_rule}}]",
    "`no_rule` is not a value of this field"
)]
#[case::misplaced("requests: [{name: x, path: /a, expect: allow}]", "write it below `request`")]
#[case::bad_request(
    "requests: [{name: x, request: {ip: 1.2.3.4}, expect: allow}]",
    "below `source`"
)]
#[case::ready_token("requests: [{name: x, token: ey.., expect: allow}]", "request: {token: ...}")]
#[case::no_issuer("requests: [{name: x, token: {claims: {sub: a}}, expect: allow}]", "write `iss`")]
#[case::misplaced_claim(
    "requests: [{name: x, token: {claims: {iss: a}, sub: a}, expect: allow}]",
    "write it below `claims`"
)]
#[case::two_ends(
    "requests: [{name: x, token: {claims: {iss: a, exp: 1}, expiresIn: 1h}, expect: allow}]",
    "`claims` has an `exp` already"
)]
#[case::bad_time(
    "requests: [{name: x, token: {claims: {iss: a}, expiresIn: soon}, expect: allow}]",
    "`soon` is no length of time"
)]
#[case::huge_time(
    "requests: [{name: x, token: {claims: {iss: a}, expiresIn: 9223372036854775807d}, expect: allow}]",
    "is no length of time"
)]
#[case::two_places(
    "requests: [{name: x, token: {claims: {iss: a}, in: {header: a, cookie: b}}, expect: allow}]",
    "a token is in one place"
)]
#[case::token_of_a_connection(
    "requests: [{name: x, request: {connection: true}, token: {claims: {iss: a}}, expect: allow}]",
    "a connection without HTTP has no `token`"
)]
#[case::twice(
    "{settings: {namespace: a}, workload: {namespace: b}, requests: []}",
    "`settings` has `namespace` too"
)]
fn what_is_wrong_is_said(#[case] text: &str, #[case] message: &str) {
    let found = problems(text);
    assert!(found.contains(message), "{found}");
    assert!(found.starts_with("cases.yaml:"), "{found}");
}

#[test]
fn credentials_are_not_repeated() {
    let text = "requests:\n- name: x\n  request: {headers: {authorization: [Bearer secret, 7]}}\n";
    let found = problems(text);
    assert!(!found.contains("secret"), "{found}");
}

fn expected(text: &str) -> Expected {
    let text = format!("requests: [{{name: x, expect: {text}}}]");
    CaseFile::read(&text, None).unwrap().requests.remove(0).expect
}

fn answer() -> Answer {
    Answer {
        outcome: Outcome::Deny,
        reason: "deny_rule".into(),
        error: None,
        policy: Some("AuthorizationPolicy/a/b".into()),
        rule: Some(1),
        audited_by: vec!["AuthorizationPolicy/a/c".into()],
        shadow: Some(Box::new(Answer {
            outcome: Outcome::Deny,
            reason: "no_allow_rule".into(),
            error: None,
            policy: None,
            rule: None,
            audited_by: Vec::new(),
            shadow: None,
        })),
    }
}

const WHOLE: &str = "{outcome: deny, reason: deny_rule, policy: AuthorizationPolicy/a/b, rule: 1, \
                     audited_by: [AuthorizationPolicy/a/c], \
                     shadow: {outcome: deny, reason: no_allow_rule}}";

#[rstest]
#[case("deny", true)]
#[case("allow", false)]
#[case("{outcome: deny}", true)]
#[case("{outcome: deny, rule: 1}", true)]
#[case("{outcome: deny, rule: 2}", false)]
#[case("{outcome: deny, policy: AuthorizationPolicy/a/b}", true)]
#[case("{outcome: deny, policy: AuthorizationPolicy/a/c}", false)]
#[case("{outcome: deny, error: Jwt is expired}", false)]
#[case("{outcome: deny, audited_by: []}", false)]
#[case("{outcome: deny, shadow: deny}", true)]
#[case("{outcome: deny, shadow: allow}", false)]
#[case("{outcome: deny, shadow: {outcome: deny, reason: deny_rule}}", false)]
#[case(WHOLE, true)]
fn an_answer_is_as_expected(#[case] text: &str, #[case] is_met: bool) {
    assert_eq!(expected(text).is_met_by(&answer()), is_met);
}

/// With a reason, an answer that is right for the wrong reason is wrong.
#[rstest]
#[case(", rule: 1", "")]
#[case(", policy: AuthorizationPolicy/a/b", "")]
#[case(", audited_by: [AuthorizationPolicy/a/c]", "")]
#[case(", shadow: {outcome: deny, reason: no_allow_rule}", "")]
#[case("reason: no_allow_rule", "reason: no_allow_policy")]
#[case("deny_rule", "no_allow_rule")]
fn what_a_whole_answer_leaves_out_must_be_absent(#[case] part: &str, #[case] instead: &str) {
    let text = WHOLE.replacen(part, instead, 1);
    assert_ne!(text, WHOLE);
    assert!(!expected(&text).is_met_by(&answer()));
}
