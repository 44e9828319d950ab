//! What an APIRule that is refused would be about.
//!
//! Reads only what tells its requests from others; what is wrong with it was said.

use std::collections::BTreeSet;

use super::super::cursor::At;
use super::ApiRuleOptions;
use crate::model::{ApiRuleVersion, RefusedScope};

/// `None` where a host or a Service is missing or no text: it might be about anything.
pub(in crate::manifest) fn scope(
    namespace: &str,
    version: ApiRuleVersion,
    document: &At<'_>,
    options: &ApiRuleOptions,
) -> Option<RefusedScope> {
    let spec = document.get("spec")?;
    let main = spec.get("service");
    let hosts = match version {
        ApiRuleVersion::V1alpha1 => vec![main.as_ref()?.get("host")?],
        ApiRuleVersion::V1beta1 => vec![spec.get("host")?],
        ApiRuleVersion::V2alpha1 | ApiRuleVersion::V2 => spec.each("hosts"),
    };
    let hosts: Option<BTreeSet<_>> = hosts.iter().map(|at| host(text(at)?, options)).collect();
    let mut services = BTreeSet::new();
    for rule in spec.each("rules") {
        services.insert(service(namespace, rule.get("service").as_ref(), main.as_ref())?);
    }
    if services.is_empty() {
        services.insert(service(namespace, None, main.as_ref())?);
    }
    let hosts = hosts.filter(|hosts| !hosts.is_empty())?;
    Some(RefusedScope::ApiRule { hosts, services })
}

fn host(text: &str, options: &ApiRuleOptions) -> Option<String> {
    let mut host = text.to_ascii_lowercase();
    if let (Some(domain), false) = (&options.default_domain, host.contains('.')) {
        host = format!("{host}.{}", domain.to_ascii_lowercase());
    }
    // In whatever form it is looked up: with a wildcard at its beginning only.
    let rest = host.strip_prefix("*.").unwrap_or(&host);
    (!rest.contains('*')).then_some(host)
}

fn service(
    namespace: &str,
    own: Option<&At<'_>>,
    main: Option<&At<'_>>,
) -> Option<(String, String)> {
    let name = text(&own.or(main)?.get("name")?)?.to_owned();
    let written = [own, main].into_iter().flatten().find_map(|at| at.get("namespace"));
    let namespace = match written {
        Some(at) => text(&at)?.to_owned(),
        None => namespace.to_owned(),
    };
    Some((namespace, name))
}

fn text<'n>(at: &At<'n>) -> Option<&'n str> {
    at.str().filter(|text| !text.is_empty())
}
