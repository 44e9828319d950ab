//! What an APIRule that is refused would be about.
//!
//! Reads only what tells its requests from others; what is wrong with it was said.

use std::collections::BTreeSet;

use super::super::{cursor::At, node::Content};
use super::{ApiRuleOptions, host};
use crate::model::{ApiRuleVersion, RefusedScope};

/// Its hosts and its Services, each as far as all of them can be read.
pub(in crate::manifest) fn scope(
    namespace: &str,
    version: ApiRuleVersion,
    document: &At<'_>,
    options: &ApiRuleOptions,
) -> RefusedScope {
    let spec = document.get("spec");
    let main = spec.as_ref().and_then(|spec| spec.get("service"));
    let is_v2 = matches!(version, ApiRuleVersion::V2alpha1 | ApiRuleVersion::V2);
    let written = match version {
        ApiRuleVersion::V1alpha1 => {
            main.as_ref().and_then(|at| at.get("host")).into_iter().collect()
        }
        ApiRuleVersion::V1beta1 => {
            spec.as_ref().and_then(|at| at.get("host")).into_iter().collect()
        }
        ApiRuleVersion::V2alpha1 | ApiRuleVersion::V2 => {
            spec.as_ref().map(|spec| spec.each("hosts")).unwrap_or_default()
        }
    };
    let hosts: Option<BTreeSet<_>> =
        written.iter().map(|at| host::of_refused(text(at)?, is_v2, options)).collect();
    let rules = spec.as_ref().map(|spec| spec.each("rules")).unwrap_or_default();
    let own =
        rules.iter().map(|rule| service(namespace, rule.get("service").as_ref(), main.as_ref()));
    // What is no list may hold rules for anybody.
    let is_list = |at: At<'_>| matches!(at.node.content, Content::Sequence(_));
    let written = spec.as_ref().and_then(|spec| spec.get("rules"));
    let services: Option<BTreeSet<_>> = match rules.as_slice() {
        _ if !written.is_none_or(is_list) => None,
        [] => service(namespace, None, main.as_ref()).map(|it| [it].into()),
        _ => own.collect(),
    };
    RefusedScope::ApiRule { hosts: hosts.filter(|hosts| !hosts.is_empty()), services }
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
