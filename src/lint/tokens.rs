//! Matches on tokens that no token can fulfil.
//!
//! Only what policies say is known: no token was ever seen.

use std::collections::BTreeSet;

use super::meaning::Test;
use super::pattern::Pattern;
use super::policies::{Policies, Policy, Tokens};
use super::{Finding, codes};
use crate::manifest::text::quoted;
use crate::plan::vocabulary::Attribute;

/// Claims that verification takes as numbers only (RFC 7519), and those of OpenID Connect.
const NUMBERS: [&str; 5] = ["exp", "iat", "nbf", "auth_time", "updated_at"];
/// Claims that OpenID Connect defines as booleans.
const BOOLEANS: [&str; 2] = ["email_verified", "phone_number_verified"];
/// Claims that are strings, whatever stands in them.
const STRINGS: [&str; 9] =
    ["iss", "sub", "aud", "azp", "jti", "client_id", "scope", "permission", "phone_number"];

pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    for policy in &policies.authorization {
        let verified: Vec<&Tokens<'_>> = policies
            .tokens
            .iter()
            .filter(|tokens| !tokens.rules.is_empty() && tokens.scope.may_overlap(&policy.scope))
            .collect();
        for (rule, meaning) in policy.known() {
            let mut asks = meaning.tests().filter(|test| test.is_of_token());
            if verified.is_empty()
                && policies.complete
                && let Some(test) = asks.next()
            {
                findings.push(without_tokens(policy, rule, test));
                continue;
            }
            for test in meaning.tests().filter(|test| test.is_of_token()) {
                if policies.complete && !test.negated {
                    unknown_issuers(policy, rule, test, &verified, findings);
                }
                claims_that_are_no_text(policy, rule, test, findings);
            }
        }
    }
}

fn without_tokens(policy: &Policy<'_>, rule: usize, test: &Test) -> Finding {
    let field = &test.field;
    let message = if test.negated {
        format!("`{field}` always holds: no RequestAuthentication verifies tokens for this policy")
    } else {
        format!("`{field}` never matches: no RequestAuthentication verifies tokens for this policy")
    };
    policy
        .warning(codes::NO_TOKENS, rule, test.position(), message)
        .help("add a RequestAuthentication for the same workloads, with the issuer of the tokens")
}

fn unknown_issuers(
    policy: &Policy<'_>,
    rule: usize,
    test: &Test,
    verified: &[&Tokens<'_>],
    findings: &mut Vec<Finding>,
) {
    let issuers: BTreeSet<&str> =
        verified.iter().flat_map(|tokens| tokens.rules).map(|rule| rule.issuer.as_str()).collect();
    // An empty issuer takes the tokens of all.
    if issuers.contains("") || issuers.is_empty() {
        return;
    }
    for entry in &test.entries {
        let issuer = match (&entry.pattern, &test.attribute) {
            (Pattern::RequestPrincipal(issuer, _), _) => issuer,
            (Pattern::Text(issuer), Attribute::Claim(path))
                if path.len() == 1 && path.first().is_some_and(|name| &**name == "iss") =>
            {
                issuer
            }
            (_, _) => continue,
        };
        if issuers.iter().any(|known| issuer.takes(known)) {
            continue;
        }
        let known: Vec<_> = issuers.iter().take(3).map(|known| quoted(known)).collect();
        let more = if issuers.len() > 3 { ", ..." } else { "" };
        let message = format!(
            "{} never matches: no RequestAuthentication for this policy takes tokens of such an \
             issuer",
            quoted(&entry.text)
        );
        let help = if test.attribute == Attribute::RequestPrincipal {
            format!(
                "what stands before the last `/` is the issuer; there are tokens of {}{more}",
                known.join(", ")
            )
        } else {
            format!("there are tokens of {}{more}", known.join(", "))
        };
        findings
            .push(policy.warning(codes::UNKNOWN_ISSUER, rule, entry.position, message).help(help));
    }
}

fn claims_that_are_no_text(
    policy: &Policy<'_>,
    rule: usize,
    test: &Test,
    findings: &mut Vec<Finding>,
) {
    let Attribute::Claim(path) = &test.attribute else { return };
    let Some(name) = path.last().map(|name| &**name) else { return };
    let (always, of_top) = (test.negated, path.len() == 1);
    let effect = if always { "always holds" } else { "never matches" };
    let help = "only strings, and strings in lists, are compared: have the issuer add a claim that \
                is one";
    let known = [("a number", NUMBERS.as_slice()), ("a boolean", BOOLEANS.as_slice())];
    if let Some((what, _)) = known.iter().find(|(_, names)| of_top && names.contains(&name)) {
        let message = format!("`{}` {effect}: the claim is {what}", test.field);
        let found = policy.warning(codes::CLAIM_NOT_TEXT, rule, test.position(), message);
        findings.push(found.help(help));
        return;
    }
    if of_top && STRINGS.contains(&name) {
        return;
    }
    for entry in &test.entries {
        let text = entry.text.as_str();
        let what = if matches!(text, "true" | "false") {
            "a boolean"
        } else if text.parse::<f64>().is_ok() && text.starts_with(|c: char| c.is_ascii_digit()) {
            "a number"
        } else {
            continue;
        };
        let message = format!(
            "{} {effect} if the claim is {what}, and not a string, in the token",
            quoted(text)
        );
        let found = policy.warning(codes::CLAIM_NOT_TEXT, rule, entry.position, message).help(help);
        // A number as text is common enough: ids, versions.
        findings.push(if what == "a boolean" { found } else { found.note() });
    }
}
