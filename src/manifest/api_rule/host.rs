//! Hosts and gateways.
//!
//! Whether another APIRule has the host is for `across`.

use std::sync::LazyLock;

use regex::Regex;

use super::super::{
    codes,
    cursor::{At, located, string},
    problem::{Problem, Report},
    text::quoted,
};
use super::{ApiRuleOptions, path::pattern};
use crate::model::Located;

/// As the CRDs have them; a bracket that Go reads as itself is written `\[`.
static HOST: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r"^([a-zA-Z0-9][a-zA-Z0-9\-_]*\.)*[a-zA-Z0-9]*[a-zA-Z0-9\-_]*[\[a-zA-Z0-9]+$")
});
static GATEWAY: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"^[0-9a-z\-_]+(/[0-9a-z\-_]+|(\.[0-9a-z\-_]+)*)$"));
static V2_HOST: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r"^(\*\.)?([a-zA-Z0-9]([a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9\-]{0,61}[a-zA-Z0-9])?)*$",
    )
});
static V2_GATEWAY: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"^[0-9a-z\-_]+/[0-9a-z\-_]+$"));

fn fits(pattern: &LazyLock<Option<Regex>>, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// The host of v1alpha1 and v1beta1, its domain written out.
pub(super) fn host(
    at: Option<&At<'_>>,
    spec: &At<'_>,
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) -> Option<Located<String>> {
    let Some(at) = at else {
        report.add(
            Problem::error(codes::BAD_HOST, spec.absent("host"), "Host was nil")
                .help("write the host that clients use: `host: orders.example.com`"),
        );
        return None;
    };
    let found = located(at, report)?;
    if !(3..=256).contains(&found.value.chars().count()) || !fits(&HOST, &found.value) {
        let message = format!("{} is not a host", quoted(&found.value));
        report.add(
            Problem::error(codes::BAD_HOST, at, message).help(
                "3 to 256 characters: labels of letters, digits, `-` and `_` with dots between",
            ),
        );
        return None;
    }
    with_domain(at, found, options, report)
}

/// A host of v2, which may begin with a star.
pub(super) fn v2_host(
    at: &At<'_>,
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) -> Option<Located<String>> {
    let found = located(at, report)?;
    let text = &found.value;
    let is_bare_star = text.starts_with("*.") && !text.trim_start_matches("*.").contains('.');
    if text.len() > 255 || !fits(&V2_HOST, text) || is_bare_star {
        let message = format!("{} is not a host", quoted(text));
        report.add(
            Problem::error(codes::BAD_HOST, at, message)
                .help("write a full name, its first label alone, or `*.` and a domain"),
        );
        return None;
    }
    with_domain(at, found, options, report)
}

/// The host that a refused APIRule has, in lower case and whole; `None` where the text is none, or its
/// domain is not known. Which domains are allowed does not matter: nobody else is meant.
pub(super) fn of_refused(text: &str, is_v2: bool, options: &ApiRuleOptions) -> Option<String> {
    if !fits(if is_v2 { &V2_HOST } else { &HOST }, text) {
        return None;
    }
    let host = text.to_ascii_lowercase();
    match (host.contains('.'), &options.default_domain) {
        (true, _) => Some(host),
        (false, Some(domain)) => Some(format!("{host}.{}", domain.to_ascii_lowercase())),
        (false, None) => None,
    }
}

fn with_domain(
    at: &At<'_>,
    mut found: Located<String>,
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) -> Option<Located<String>> {
    found.value.make_ascii_lowercase();
    let Some((_, domain)) = found.value.split_once('.') else {
        let Some(domain) = &options.default_domain else {
            let message =
                "Host does not contain a domain name and no default domain name is configured";
            report.add(
                Problem::error(codes::BAD_HOST, at, message)
                    .help("write the whole name, or set --api-rule-default-domain"),
            );
            return None;
        };
        found.value = format!("{}.{}", found.value, domain.to_ascii_lowercase());
        return Some(found);
    };
    let allowed = &options.domain_allow_list;
    let is_default =
        options.default_domain.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(domain));
    if !allowed.is_empty()
        && !is_default
        && !allowed.iter().any(|it| it.eq_ignore_ascii_case(domain))
    {
        report.add(
            Problem::error(codes::BAD_HOST, at, "Host is not allowlisted")
                .help(format!("the domains are `{}`", allowed.join("`, `"))),
        );
        return None;
    }
    Some(found)
}

/// The gateway of v1alpha1 and v1beta1. Nothing is made of it: requests come by whichever Envoy asks.
pub(super) fn gateway(at: &At<'_>, report: &mut Report<'_>) {
    let Some(text) = string(at, report) else { return };
    if !fits(&GATEWAY, &text) {
        bad_gateway(at, &text, "write `namespace/name`", report);
    }
}

/// What v2 has: one of the two.
pub(super) fn v2_gateways(
    gateway: Option<&At<'_>>,
    external: Option<&At<'_>>,
    spec: &At<'_>,
    report: &mut Report<'_>,
) {
    match (gateway, external) {
        (None, None) => {
            let message = "`gateway` is missing";
            let place = spec.absent("gateway");
            report.add(
                Problem::error(codes::MISSING_FIELD, place, message)
                    .help("write `gateway: namespace/name`, or `externalGateway`"),
            );
        }
        (Some(_), Some(external)) => {
            let message = "only one of `gateway` and `externalGateway` can be set";
            report.add(Problem::error(codes::BAD_GATEWAY, external, message).help("remove one"));
        }
        (Some(at), None) => {
            let Some(text) = string(at, report) else { return };
            if text.len() > 127 || !fits(&V2_GATEWAY, &text) {
                bad_gateway(at, &text, "write `namespace/name`, up to 127 characters", report);
            }
        }
        (None, Some(at)) => {
            if string(at, report).is_some_and(|text| text.is_empty()) {
                bad_gateway(at, "", "write the name of an ExternalGateway", report);
            }
        }
    }
}

fn bad_gateway(at: &At<'_>, text: &str, help: &str, report: &mut Report<'_>) {
    let message = format!("{} is not the name of a gateway", quoted(text));
    report.add(Problem::error(codes::BAD_GATEWAY, at, message).help(help));
}
