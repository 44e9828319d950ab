//! Rules of APIRules for Services that lead nowhere: where Services are known they hold for nobody.
//!
//! Which Services are known is up to who asks.

use std::collections::{BTreeMap, BTreeSet};

use super::policies::Policies;
use super::{Finding, access, codes};
use crate::model::{ApiRule, Service, ServiceReference, Workload};

/// Namespaces and names.
type Names<'a> = BTreeSet<(&'a str, &'a str)>;

/// Where Services are given, these are all.
pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    let mut known = Names::new();
    for Service { namespace, name, .. } in policies.services {
        known.insert((namespace, name));
    }
    if policies.complete {
        for api_rule in &policies.api_rules {
            findings.extend(of(api_rule, &known, "is not among those that are known"));
        }
    }
}

/// Where these are all the workloads there are.
pub(super) fn of_workloads(api_rule: &ApiRule, workloads: &[Workload]) -> Vec<Finding> {
    let mut known = Names::new();
    for Workload { namespace, services, .. } in workloads {
        known.extend(services.iter().map(|name| (namespace.as_str(), name.as_str())));
    }
    of(api_rule, &known, "leads to no workload here")
}

/// One for each Service that is not known, at the first rule for it; none where no Service is.
fn of(api_rule: &ApiRule, known: &Names<'_>, why: &str) -> Vec<Finding> {
    let mut missing: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (at, rule) in api_rule.rules.iter().enumerate().filter(|_| !known.is_empty()) {
        let ServiceReference { namespace, name, port: _ } = &rule.service;
        let service = (namespace.as_str(), name.as_str());
        if !known.contains(&service) {
            missing.entry(service).or_default().push(at);
        }
    }
    let finding = |((namespace, name), rules): ((&str, &str), Vec<usize>)| {
        let first = rules.first().copied()?;
        let position = api_rule.rules.get(first).map(|rule| rule.position).unwrap_or_default();
        let rules = match rules.len() {
            1 => "this rule".to_owned(),
            2 => "this rule and another".to_owned(),
            many => format!("this rule and {} others", many - 1),
        };
        let message = format!(
            "the Service `{namespace}/{name}` {why}: requests for the hosts are not held back by {rules}"
        );
        Some(
            access::warning(codes::NO_SUCH_SERVICE, api_rule, position, message)
                .help(
                    "check `service.name` and `service.namespace`; where no Service of any workload \
                     is known, APIRules hold by host",
                )
                .path(format!("spec.rules[{first}]")),
        )
    };
    missing.into_iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;

    use super::super::{ANNOTATION, Subject, lint, sort, without_workload};
    use super::*;
    use crate::manifest::{self, Options};
    use crate::model::{Mesh, Resource};

    fn service(name: &str) -> String {
        let (namespace, name) = name.split_once('/').unwrap();
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{selector: {{app: {name}}}}}\n"
        )
    }

    /// One rule for each Service.
    fn api_rule(annotations: &str, services: &[&str]) -> String {
        let rule = |(at, service): (usize, &&str)| {
            let (namespace, name) = service.split_once('/').unwrap();
            format!(
                "  - path: /{at}\n    methods: [GET]\n    service: {{name: {name}, namespace: {namespace}, port: 80}}\n    \
                 accessStrategies: [{{handler: allow}}]\n"
            )
        };
        let rules: String = services.iter().enumerate().map(rule).collect();
        format!(
            "apiVersion: gateway.kyma-project.io/v1beta1\nkind: APIRule\n\
             metadata: {{name: r, namespace: shop, annotations: {{{annotations}}}}}\n\
             spec:\n  gateway: kyma-system/kyma-gateway\n  host: r.example.com\n  rules:\n{rules}"
        )
    }

    fn decoded(text: &str) -> (Vec<Arc<Resource>>, Vec<Service>) {
        let decoded = manifest::decode(text, Some("p.yaml"), &Options::default());
        assert!(!decoded.has_errors(), "{:?}", decoded.diagnostics);
        (decoded.accepted().cloned().map(Arc::new).collect(), decoded.services)
    }

    /// Code and path of what is shown.
    fn shown(text: &str, complete: bool) -> Vec<(u16, String)> {
        let (resources, services) = decoded(text);
        let mesh = Mesh::default();
        let subject = Subject { resources: &resources, mesh: &mesh, services: &services, complete };
        let sorted = sort(lint(subject), &resources);
        sorted.shown.into_iter().map(|found| (found.code.0, found.path)).collect()
    }

    #[rstest]
    #[case::none_is_known(&[], &["shop/httpbin"], &[])]
    #[case::known(&["shop/httpbin"], &["shop/httpbin"], &[])]
    #[case::misspelt(&["shop/httpbin"], &["shop/httpbinn"], &[0])]
    #[case::another_namespace(&["shop/httpbin"], &["shopping/httpbin"], &[0])]
    #[case::of_another_namespace(&["shopping/httpbin"], &["shop/httpbin"], &[0])]
    #[case::only_one_of_them(&["shop/a", "shop/b"], &["shop/a", "shop/c", "shop/b"], &[1])]
    #[case::once_for_each_service(
        &["shop/a"], &["shop/b", "shop/c", "shop/b", "shop/a"], &[0, 1]
    )]
    fn services_of_files(
        #[case] services: &[&str],
        #[case] rules: &[&str],
        #[case] expected: &[usize],
    ) {
        let services: String = services.iter().map(|name| service(name)).collect();
        let text = api_rule("", rules) + &services;
        let expected: Vec<_> =
            expected.iter().map(|at| (532, format!("spec.rules[{at}]"))).collect();
        assert_eq!(shown(&text, true), expected);
        assert_eq!(shown(&text, false), [], "what is missing may be what could not be read");
        if !expected.is_empty() {
            let ignoring = api_rule(&format!("{ANNOTATION}: PST0532"), rules) + &services;
            assert_eq!(shown(&ignoring, true), []);
        }
    }

    /// `namespace/service,service`
    fn workload(text: &str) -> Workload {
        let (namespace, services) = text.split_once('/').unwrap();
        let services = services.split(',').filter(|name| !name.is_empty()).map(str::to_owned);
        Workload {
            namespace: namespace.to_owned(),
            services: services.collect(),
            ..Workload::default()
        }
    }

    #[rstest]
    #[case::hosts_count(&["shop/"], false)]
    #[case::its_own(&["shop/httpbin"], false)]
    #[case::one_of_many(&["shop/", "shop/a,httpbin"], false)]
    #[case::of_another(&["shop/gateway"], true)]
    #[case::another_namespace(&["shopping/httpbin"], true)]
    fn services_of_workloads(#[case] workloads: &[&str], #[case] is_found: bool) {
        let workloads: Vec<_> = workloads.iter().map(|text| workload(text)).collect();
        let found = |annotations: &str| {
            let (resources, _) = decoded(&api_rule(annotations, &["shop/httpbin"]));
            without_workload(&resources[0], &workloads)
        };
        assert_eq!(found("").len(), usize::from(is_found));
        assert_eq!(found(&format!("{ANNOTATION}: PST0532")), []);
    }

    #[test]
    fn a_finding_says_what_follows() {
        let (resources, _) = decoded(&api_rule("", &["shop/httpbinn", "shop/httpbinn"]));
        let found = without_workload(&resources[0], &[workload("shop/httpbin")]);
        assert_eq!(found.len(), 1);
        insta::assert_snapshot!(found[0], @"
        p.yaml:8:5: warning[PST0532]: the Service `shop/httpbinn` leads to no workload here: requests for the hosts are not held back by this rule and another
           = in APIRule/shop/r at spec.rules[0]
           = help: check `service.name` and `service.namespace`; where no Service of any workload is known, APIRules hold by host
        ");
    }
}
