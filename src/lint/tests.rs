//! Laws of what is proved, with random policies and requests; single findings have their pages.

mod workloads;

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::cover::{Covered, RuleAt, covered, covered_plainly};
use super::never;
use super::*;
use crate::decide::tests::{attributes, claims, condition, operation, plan, policy, source};
use crate::decide::{Certainty, before_tokens, decide, reference};
use crate::model::{
    Action, Attachment, Attributes, AuthorizationPolicy, Condition, Identity, Operation, Outcome,
    Reason, Rule, Source,
};

/// The mesh of the plans of `decide`'s tests.
fn mesh() -> Mesh {
    Mesh {
        trust_domain: "td".into(),
        trust_domain_aliases: vec!["old-td".into()],
        ..Mesh::default()
    }
}

fn resources(policies: &[AuthorizationPolicy]) -> Vec<Arc<Resource>> {
    policies
        .iter()
        .map(|policy| Arc::new(Resource::AuthorizationPolicy(policy.clone().into())))
        .collect()
}

/// A rule that takes less than another, or the same.
fn narrowed(rule: &Rule, how: u8, more: (Source, Operation, Condition)) -> Rule {
    let mut rule = rule.clone();
    match how % 6 {
        0 => {}
        1 => rule.when.push(more.2),
        2 => rule.from.truncate(1),
        3 => rule.to.truncate(1),
        4 if rule.from.is_empty() => rule.from.push(more.0),
        4 => {
            for source in &mut rule.from {
                source.principals.truncate(1);
                source.namespaces.truncate(1);
                source.not_ip_blocks.extend(more.0.not_ip_blocks.iter().copied());
                source.not_principals.extend(more.0.not_principals.iter().cloned());
            }
        }
        _ if rule.to.is_empty() => rule.to.push(more.1),
        _ => {
            for operation in &mut rule.to {
                operation.paths.truncate(1);
                operation.not_methods.extend(more.1.not_methods.iter().cloned());
                if operation.hosts.is_empty() {
                    operation.hosts.clone_from(&more.1.hosts);
                }
            }
        }
    }
    rule
}

type Extra = (Index, Index, Index, u8, (Source, Operation, Condition));

/// Policies, some of whose rules are within others.
fn crowd() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    let extra = (
        any::<Index>(),
        any::<Index>(),
        any::<Index>(),
        any::<u8>(),
        (source(), operation(), condition()),
    );
    (vec(policy(), 1..4), vec(extra, 0..4)).prop_map(
        |(mut policies, extras): (Vec<AuthorizationPolicy>, Vec<Extra>)| {
            for (from, rule, to, how, more) in extras {
                let from = from.index(policies.len());
                if policies[from].rules.is_empty() {
                    continue;
                }
                let narrow = narrowed(rule.get(&policies[from].rules), how, more);
                let to = to.index(policies.len());
                if how > 128 && from != to {
                    policies[from].action = Action::Deny;
                    policies[to].action = Action::Allow;
                    policies[to].dry_run = policies[from].dry_run;
                }
                let at = usize::from(how) % (policies[to].rules.len() + 1);
                policies[to].rules.insert(at, narrow);
            }
            policies
        },
    )
}

/// The policies in their order, and what is proved of them.
fn proved(policies: &[AuthorizationPolicy]) -> (Vec<AuthorizationPolicy>, Covered) {
    // In the order in which the plan has them.
    let mut policies = policies.to_vec();
    policies.iter_mut().for_each(|policy| policy.attachment = Attachment::default());
    let (resources, mesh) = (resources(&policies), mesh());
    let all = Policies::new(Subject {
        resources: &resources,
        mesh: &mesh,
        services: &[],
        complete: true,
    });
    let ordered = all.authorization.iter().map(|one| one.policy.clone()).collect();
    (ordered, covered(&all))
}

fn without(policies: &[AuthorizationPolicy], rules: &BTreeSet<RuleAt>) -> Vec<AuthorizationPolicy> {
    let mut left = policies.to_vec();
    for (number, policy) in left.iter_mut().enumerate() {
        let mut at = 0;
        policy.rules.retain(|_| {
            at += 1;
            !rules.contains(&(number, at - 1))
        });
    }
    left
}

/// All that an answer says but for the numbers of rules.
fn answer(
    policies: &[AuthorizationPolicy],
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> (Option<Outcome>, &'static str, Option<&'static str>, Vec<String>) {
    let plan = plan(policies.to_vec());
    let verdict = decide(&plan, attributes, identity);
    let audited: BTreeSet<_> = crate::decide::audited_by(&plan, attributes, identity)
        .filter_map(|rule| plan.policy(rule).map(|p| format!("{:?}", p.metadata)))
        .collect();
    (
        before_tokens(&plan, attributes).map(Reason::outcome),
        verdict.reason.as_str(),
        verdict.shadow.map(|shadow| shadow.reason.as_str()),
        audited.into_iter().collect(),
    )
}

/// As Istio's certificates and Envoy's filter are: one name, `spiffe://<trust domain>/ns/<namespace>/sa/
/// <account>` where it is one of SPIFFE, and nothing left out.
fn usual(mut attributes: Attributes<'static>) -> Attributes<'static> {
    attributes.missing = Default::default();
    attributes.peer.names.retain(|name| {
        !name.starts_with("spiffe://")
            || name.split('/').nth(5) == Some("sa") && !name.ends_with("/y")
    });
    attributes.peer.names.truncate(1);
    if let Some(http) = &mut attributes.http {
        let lines = http.headers.iter().map(|(n, v)| (n.to_owned().into(), v.to_vec().into()));
        http.headers = crate::model::Headers::new(lines.collect(), false);
    }
    attributes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// What is said to change nothing changes nothing, whatever is asked: neither one by one nor all
    /// together, neither enforced nor in a dry run.
    #[test]
    fn a_shadowed_rule_never_changes_an_answer(
        policies in crowd(),
        requests in vec((attributes(), claims()), 6),
    ) {
        let (ordered, covered) = proved(&policies);
        let mut removals: Vec<BTreeSet<RuleAt>> =
            covered.shadowed.iter().map(|(rule, _)| [*rule].into()).collect();
        removals.push(covered.shadowed.iter().map(|(rule, _)| *rule).collect());
        for removal in removals.iter().filter(|removal| !removal.is_empty()) {
            let left = without(&ordered, removal);
            for (attributes, claims) in &requests {
                let identity = Identity { claims: claims.as_ref() };
                prop_assert_eq!(
                    answer(&ordered, attributes, &identity),
                    answer(&left, attributes, &identity),
                    "without {:?}", removal
                );
            }
        }
    }

    /// Rules that are found by their values are all that there are.
    #[test]
    fn what_is_filed_is_found(policies in crowd()) {
        let (resources, mesh) = (resources(&policies), mesh());
        let all = Policies::new(Subject { resources: &resources, mesh: &mesh, services: &[], complete: true });
        prop_assert_eq!(covered(&all), covered_plainly(&all));
    }

    /// A rule whose requests are said to be denied anyway never lets one in, and is not missed.
    #[test]
    fn a_rule_denied_anyway_never_decides(
        policies in crowd(),
        requests in vec((attributes(), claims()), 6),
    ) {
        let (ordered, covered) = proved(&policies);
        let denied: BTreeSet<RuleAt> = covered.denied.iter().map(|(rule, _)| *rule).collect();
        if !denied.is_empty() {
            let left = without(&ordered, &denied);
            let plan = plan(ordered.clone());
            for (attributes, claims) in &requests {
                let identity = Identity { claims: claims.as_ref() };
                let verdict = decide(&plan, attributes, &identity);
                if let Reason::AllowRule(rule) = verdict.reason {
                    prop_assert!(!denied.contains(&(rule.policy as usize, rule.rule as usize)));
                }
                let (one, other) = (
                    answer(&ordered, attributes, &identity),
                    answer(&left, attributes, &identity),
                );
                prop_assert_eq!(one, other);
            }
        }
    }

    /// What is said never to match does not match.
    #[test]
    fn a_contradiction_never_matches(
        policies in vec(contradictory(), 1..3),
        requests in vec((attributes().prop_map(usual), claims()), 8),
    ) {
        let (ordered, _) = proved(&policies);
        let (resources, mesh) = (resources(&ordered), mesh());
        let all = Policies::new(Subject { resources: &resources, mesh: &mesh, services: &[], complete: true });
        let plan = plan(ordered);
        for (attributes, claims) in &requests {
            let identity = Identity { claims: claims.as_ref() };
            for trace in reference::traces(&plan, attributes, &identity) {
                let policy = &all.authorization[trace.id.policy as usize];
                let Some(meaning) = &policy.meanings[trace.id.rule as usize] else { continue };
                let yes = |certainty: Certainty| certainty == Certainty::Yes;
                if let Some(why) = never::whole(meaning) {
                    let is_about = attributes.http.is_some() || !why.of_http || policy.is_allow();
                    prop_assert!(!is_about || trace.result == Certainty::No, "{:?}", why);
                    continue;
                }
                for (list, at, why) in never::dead(meaning) {
                    let is_about = attributes.http.is_some() || !why.of_http;
                    let (mine, others) = match list {
                        "source" => (&trace.sources, &trace.operations),
                        _ => (&trace.operations, &trace.sources),
                    };
                    let matches = yes(mine[at].result)
                        && (others.is_empty() || others.iter().any(|other| yes(other.result)))
                        && trace.conditions.iter().all(|condition| yes(condition.result));
                    prop_assert!(!is_about || !matches, "{:?}", why);
                }
            }
        }
    }
}

/// Policies whose rules ask for much of the same things, so that they often contradict themselves.
fn contradictory() -> impl Strategy<Value = AuthorizationPolicy> {
    let rule = (vec(source(), 1..3), vec(operation(), 1..3), vec(condition(), 1..4));
    let again = (source(), operation());
    (policy(), vec((rule, again), 1..4)).prop_map(|(mut policy, rules)| {
        policy.rules = rules
            .into_iter()
            .map(|((mut from, mut to, when), (source, operation))| {
                from[0].not_principals.extend(source.principals.iter().cloned());
                from[0].principals.extend(source.principals);
                from[0].namespaces.extend(source.namespaces);
                from[0].request_principals.extend(source.request_principals.iter().cloned());
                from[0].not_request_principals.extend(source.not_request_principals);
                to[0].not_paths.extend(operation.paths.iter().cloned());
                to[0].methods.extend(operation.methods);
                to[0].ports.extend(operation.ports);
                Rule { from, to, when, position: Position::default() }
            })
            .collect();
        policy
    })
}

/// Guards the generators: laws about nothing say nothing.
#[test]
fn there_is_something_to_prove() {
    let mut runner = TestRunner::deterministic();
    let (mut shadowed, mut denied, mut never, mut dead) = (0, 0, 0, 0);
    for _ in 0..1_000 {
        let policies = crowd().new_tree(&mut runner).unwrap().current();
        let (_, covered) = proved(&policies);
        shadowed += covered.shadowed.len();
        denied += covered.denied.len();
        let policy = contradictory().new_tree(&mut runner).unwrap().current();
        let (resources, mesh) = (resources(&[policy]), mesh());
        let all = Policies::new(Subject {
            resources: &resources,
            mesh: &mesh,
            services: &[],
            complete: true,
        });
        for (_, meaning) in all.authorization[0].known() {
            let whole = never::whole(meaning).is_some();
            never += usize::from(whole);
            dead += if whole { 0 } else { never::dead(meaning).len() };
        }
    }
    let found = [shadowed, denied, never, dead];
    assert!(found.iter().all(|number| *number > 100), "{found:?}");
}

fn read(text: &str) -> Vec<AuthorizationPolicy> {
    let decoded = crate::manifest::decode(text, None, &crate::manifest::Options::default());
    assert!(!decoded.has_errors(), "{:?}", decoded.diagnostics);
    let resources = decoded.accepted().map(|resource| match resource {
        Resource::AuthorizationPolicy(policy) => AuthorizationPolicy::clone(policy),
        Resource::RequestAuthentication(_)
        | Resource::PeerAuthentication(_)
        | Resource::ApiRule(_) => unreachable!(),
    });
    resources.collect()
}

/// A connection without HTTP leaves an ALLOW rule out as soon as one of its sources is about tokens.
#[test]
fn a_rule_that_connections_leave_out_covers_none_that_they_keep() {
    let policies = |wide: &str| {
        read(&format!(
            "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: foo}}
spec:
  rules:
  - from: [{{source: {{{wide}}}}}, {{source: {{ipBlocks: [10.0.0.0/8]}}}}]
  - from: [{{source: {{ipBlocks: [10.1.0.0/16]}}}}]
"
        ))
    };
    assert_eq!(proved(&policies("requestPrincipals: ['*']")).1.shadowed, []);
    assert_eq!(proved(&policies("principals: ['*']")).1.shadowed, [((0, 1), (0, 0))]);
}

/// Of several reasons one that is about HTTP is enough for connections to get through.
#[test]
fn a_contradiction_of_http_in_any_way_is_one_of_http() {
    let policies = read(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: foo}
spec:
  action: DENY
  rules:
  - from:
    - source: {principals: [a], notPrincipals: [a]}
    - source: {requestPrincipals: [a/b], notRequestPrincipals: [a/b]}
",
    );
    let (resources, mesh) = (resources(&policies), mesh());
    let all = Policies::new(Subject {
        resources: &resources,
        mesh: &mesh,
        services: &[],
        complete: true,
    });
    let why = never::whole(all.authorization[0].meanings[0].as_ref().unwrap()).unwrap();
    assert!(why.of_http);
    let findings =
        lint(Subject { resources: &resources, mesh: &mesh, services: &[], complete: true });
    assert!(
        findings[0].message.ends_with("on plain TCP connections it denies all"),
        "{findings:?}"
    );
}

/// A header can have several lines, and a claim can be a list: wanting one value excludes no other.
#[test]
fn a_wanted_header_says_nothing_about_other_lines() {
    let policies = |key: &str, wanted: &str, excluded: &str| {
        read(&format!(
            "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: foo}}
spec:
  rules:
  - when: [{{key: '{key}', notValues: ['{excluded}']}}]
  - when: [{{key: '{key}', values: ['{wanted}']}}]
"
        ))
    };
    for key in ["request.headers[x-a]", "request.auth.claims[a]", "source.namespace"] {
        assert_eq!(proved(&policies(key, "x", "y")).1.shadowed, [], "{key}");
    }
    for key in ["request.headers[:method]", "connection.sni"] {
        assert_eq!(proved(&policies(key, "x", "y")).1.shadowed, [((0, 1), (0, 0))], "{key}");
    }
}

/// Every message is one line, whatever stands in the policy.
#[test]
fn messages_are_one_line() {
    let policies = read(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: foo}
spec:
  rules:
  - when: [{key: \"request.auth.claims[a\\nb]\", values: [\"x*\\ny\", \"x*\\ny\"]}]
",
    );
    let (resources, mesh) = (resources(&policies), mesh());
    let findings =
        lint(Subject { resources: &resources, mesh: &mesh, services: &[], complete: true });
    let codes: Vec<u16> = findings.iter().map(|found| found.code.0).collect();
    assert_eq!(codes, [502, 507, 507, 513]);
    let one_line = |text: &str| !text.contains('\n');
    assert!(findings.iter().all(|found| one_line(&found.message)), "{findings:?}");
}
