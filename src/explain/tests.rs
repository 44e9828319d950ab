//! What explanations say is so: the slow twin is asked again.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::authn::NoKeys;
use crate::custom::Standing;
use crate::decide::reference;
use crate::decide::tests::{attributes, claims, plan, policy};
use crate::model::{Identity, Missing, Outcome};
use crate::witness::Probe;

/// How often each remedy was named.
fn remedies(cases: u32, allow_only: bool) -> BTreeMap<&'static str, usize> {
    let named: RefCell<BTreeMap<&'static str, usize>> = RefCell::default();
    let count = |name| *named.borrow_mut().entry(name).or_default() += 1;
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let strategy = (vec(policy(), 1..5), attributes(), claims());
    let law = |(mut policies, mut attributes, claims): (Vec<_>, Attributes<'static>, _)| {
        if allow_only {
            policies.retain(|policy: &AuthorizationPolicy| policy.action == Action::Allow);
            attributes.missing = Missing::default();
            if attributes.http.is_none() {
                return Ok(());
            }
        }
        let plan = plan(policies);
        let probe = Probe { attributes, claims };
        let identity = Identity { claims: probe.claims.as_ref() };
        let traces = reference::traces(&plan, &probe.attributes, &identity);
        let verdict = reference::decide(&plan, &probe.attributes, &identity);
        count(verdict.reason.as_str());
        if verdict.reason != Reason::NoAllowRule {
            return Ok(());
        }
        for miss in misses(&plan, &probe, &traces, usize::MAX) {
            let (changes, expected) = match miss.remedy {
                Remedy::Allows(changes) => (changes, "allow"),
                Remedy::NoSuchToken(changes) => (changes, "no such token"),
                Remedy::Denies(changes, _) => (changes, "deny"),
                Remedy::Unknown => {
                    count("unknown");
                    continue;
                }
            };
            count(expected);
            let mut changed = probe.clone();
            for change in changes {
                changed = change.applied(&changed).unwrap();
            }
            let identity = Identity { claims: changed.claims.as_ref() };
            let reason = undefined(&plan, &changed.attributes)
                .unwrap_or_else(|| reference::decide(&plan, &changed.attributes, &identity).reason);
            let allows = reason.outcome() == Outcome::Allow;
            prop_assert_eq!(allows, expected != "deny", "{:?}", reason);
        }
        Ok(())
    };
    runner.run(&strategy, law).unwrap();
    named.into_inner()
}

/// Every named miss, once its conditions are satisfied, does allow.
#[test]
fn what_would_be_allowed_is_allowed() {
    let named = remedies(3_000, false);
    assert!(named["no_allow_rule"] > 300 && named["allow"] > 60, "{named:?}");
    assert!(named["deny"] > 40 && named["no such token"] > 100, "{named:?}");
}

/// A change is found for most rules, where it is not another policy that stands in the way.
#[test]
fn most_rules_can_be_satisfied() {
    let named = remedies(1_000, true);
    let found = named.get("allow").unwrap_or(&0) + named.get("no such token").unwrap_or(&0);
    // What is left asks for what it forbids, as made-up rules often do.
    assert!(found > 2 * named["unknown"], "{named:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, ..ProptestConfig::default() })]

    /// The rule that is named is the one that the slow twin says decided.
    #[test]
    fn what_decided_is_named(
        policies in vec(policy(), 0..5),
        attributes in attributes(),
    ) {
        let plan = plan(policies);
        let verifier = Verifier { keys: &NoKeys, cache: None, now: 0, max_token_size: 0 };
        let decided = Decided::new(&plan, Ok(attributes.clone()), &verifier, Standing::default(), 3);
        let expected = undefined(&plan, &attributes)
            .unwrap_or_else(|| reference::decide(&plan, &attributes, &Identity::default()).reason);
        prop_assert_eq!(decided.reason(), expected);
        let text = human(&decided, true);
        let first = text.lines().next().unwrap();
        let json = json(&decided, true);
        if let Some(rule) = expected.rule() {
            let policy = id_of(plan.policy(rule).unwrap());
            let name = format!("{policy} rules[{}]", rule.rule);
            prop_assert!(first.contains(&name), "{} is not in {}", name, first);
            prop_assert_eq!(&json["policy"], &policy);
            prop_assert_eq!(&json["rule"], rule.rule);
        }
        let word = match expected.outcome() {
            Outcome::Allow => "ALLOW",
            Outcome::Deny => "DENY",
        };
        prop_assert!(first.starts_with(word));
    }
}

/// What the slow twin says of CUSTOM rules where no provider is defined.
fn undefined(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> Option<Reason> {
    let asked = reference::custom(plan, attributes, false);
    asked.first().map(|(_, rule)| Reason::CustomProviderUndefined(*rule))
}
