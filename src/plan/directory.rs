//! Which plan a request is decided by, from what it says about its workload.
//!
//! Where in a request that stands is `extauthz`'s business.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::WorkloadPlan;
use crate::model::Workload;

/// What a request says about its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// Its name, as `namespace/name`.
    Name(&'a str),
    /// Its namespace, and its labels as `k=v,k=v`.
    Labels {
        /// The namespace; none is in no namespace, and so none of ours.
        namespace: Option<&'a str>,
        /// The labels, all of them, in any order.
        labels: &'a str,
    },
    /// Where it was sent to, and who answers there.
    Destination {
        /// The address.
        address: Option<IpAddr>,
        /// The identity in the certificate of the one who answers.
        principal: &'a str,
    },
}

/// The workloads of a snapshot by all that they may be named by.
///
/// A principal is that of all workloads with its service account, in whichever trust domain; where
/// not all of these are decided alike, it names none.
#[derive(Debug, Default)]
pub struct Directory {
    names: HashMap<Box<str>, usize>,
    labels: HashMap<Box<str>, usize>,
    addresses: HashMap<IpAddr, usize>,
    service_accounts: HashMap<Box<str>, Option<usize>>,
}

impl Directory {
    /// Of these workloads. Of several with one name, address or set of labels, the first counts.
    pub fn new(plans: &[Arc<WorkloadPlan>]) -> Self {
        let mut directory = Self::default();
        for (number, plan) in plans.iter().enumerate() {
            let Workload { namespace, labels, name, addresses, service_account, .. } =
                &plan.workload;
            directory.labels.entry(labels_key(namespace, labels)).or_insert(number);
            if let Some(name) = name {
                directory.names.entry(format!("{namespace}/{name}").into()).or_insert(number);
            }
            for address in addresses {
                directory.addresses.entry(*address).or_insert(number);
            }
            if let Some(account) = service_account {
                let key = format!("{namespace}/{account}").into();
                let known = directory.service_accounts.entry(key).or_insert(Some(number));
                let first = known.and_then(|known| plans.get(known));
                if !first.is_some_and(|first| first.decides_like(plan)) {
                    *known = None;
                }
            }
        }
        directory
    }

    /// The number of the workload that is named so.
    pub fn find(&self, named: Named<'_>) -> Option<usize> {
        match named {
            Named::Name(name) => self.names.get(name).copied(),
            Named::Labels { namespace, labels } => {
                self.labels.get(&*labels_key(namespace?, &read_labels(labels)?)).copied()
            }
            Named::Destination { address, principal } => {
                let by_address = address.and_then(|address| self.addresses.get(&address));
                by_address.copied().or_else(|| {
                    self.service_accounts.get(&*account_of(principal)?).copied().flatten()
                })
            }
        }
    }
}

/// No namespace holds a slash, no label a comma or an equals sign.
fn labels_key(namespace: &str, labels: &BTreeMap<String, String>) -> Box<str> {
    let mut key = format!("{namespace}/");
    for (name, value) in labels {
        key.push_str(name);
        key.push('=');
        key.push_str(value);
        key.push(',');
    }
    key.into()
}

fn read_labels(text: &str) -> Option<BTreeMap<String, String>> {
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect()
}

/// `namespace/account` of `spiffe://domain/ns/namespace/sa/account`, with or without the scheme.
fn account_of(principal: &str) -> Option<String> {
    let path = principal.strip_prefix("spiffe://").unwrap_or(principal);
    let mut parts = path.split('/').skip(1);
    match (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()) {
        ("ns", namespace, "sa", account, None) => Some(format!("{namespace}/{account}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{LazyLock, OnceLock};

    use super::*;
    use crate::model::MutualTlsMode;
    use crate::plan::{JwtPlan, PeerPlan, Series};

    fn plan(workload: Workload, mode: MutualTlsMode) -> Arc<WorkloadPlan> {
        static JWT: LazyLock<Arc<JwtPlan>> = LazyLock::new(Arc::default);
        let peer = PeerPlan { mode, ports: BTreeMap::new() };
        let (layers, jwt, invalid) = (Vec::new(), JWT.clone(), Vec::new());
        let series = Series::default();
        let (access, dependencies) = (None, OnceLock::new());
        Arc::new(WorkloadPlan {
            workload,
            series,
            layers,
            peer,
            jwt,
            access,
            invalid,
            dependencies,
        })
    }

    fn named(namespace: &str, name: &str, account: &str, address: [u8; 4]) -> Workload {
        Workload {
            namespace: namespace.into(),
            labels: [("app".into(), name.into()), ("tier".into(), "x".into())].into(),
            name: Some(name.into()),
            addresses: [IpAddr::from(address)].into(),
            service_account: Some(account.into()),
            ..Workload::default()
        }
    }

    fn directory() -> Directory {
        let (lax, strict) = (MutualTlsMode::Permissive, MutualTlsMode::Strict);
        Directory::new(&[
            plan(named("shop", "web", "web", [10, 0, 0, 1]), lax),
            plan(named("shop", "cart", "shared", [10, 0, 0, 2]), lax),
            plan(named("bank", "web", "web", [10, 0, 0, 3]), lax),
            plan(named("shop", "stock", "shared", [10, 0, 0, 4]), strict),
            plan(named("bank", "web2", "web", [10, 0, 0, 5]), lax),
            // Too late.
            plan(named("shop", "web", "other", [10, 0, 0, 1]), strict),
        ])
    }

    #[test]
    fn workloads_are_found_by_name() {
        let directory = directory();
        let find = |name| directory.find(Named::Name(name));
        assert_eq!(find("shop/web"), Some(0));
        assert_eq!(find("bank/web"), Some(2));
        for other in ["web", "shop/", "/web", "shop/web/", "Shop/web", "", "bank/cart"] {
            assert_eq!(find(other), None, "{other}");
        }
    }

    #[test]
    fn workloads_are_found_by_labels_in_any_order() {
        let directory = directory();
        let find = |namespace, labels| directory.find(Named::Labels { namespace, labels });
        assert_eq!(find(Some("shop"), "app=cart,tier=x"), Some(1));
        assert_eq!(find(Some("shop"), "tier=x,,app=cart,"), Some(1));
        for other in ["app=cart", "app=cart,tier=x,a=b", "app=cart,tier", "", "app=cart,tier=y"] {
            assert_eq!(find(Some("shop"), other), None, "{other}");
        }
        assert_eq!(find(None, "app=cart,tier=x"), None);
        assert_eq!(find(Some("other"), "app=cart,tier=x"), None);
    }

    #[test]
    fn workloads_are_found_by_where_requests_go() {
        let directory = directory();
        let find = |address: Option<[u8; 4]>, principal| {
            directory.find(Named::Destination { address: address.map(IpAddr::from), principal })
        };
        assert_eq!(find(Some([10, 0, 0, 2]), ""), Some(1));
        // The address says more.
        assert_eq!(find(Some([10, 0, 0, 2]), "spiffe://td/ns/shop/sa/web"), Some(1));
        assert_eq!(find(Some([10, 9, 9, 9]), "spiffe://td/ns/shop/sa/web"), Some(0));
        assert_eq!(find(None, "td/ns/shop/sa/web"), Some(0));
        // Two that are decided alike, and two that are not.
        assert_eq!(find(None, "spiffe://td/ns/bank/sa/web"), Some(2));
        assert_eq!(find(None, "spiffe://td/ns/shop/sa/shared"), None);
        for other in ["", "spiffe://td", "spiffe://td/ns/shop/sa/web/x", "spiffe://td/ns/shop/sa"] {
            assert_eq!(find(None, other), None, "{other}");
        }
        assert_eq!(find(Some([10, 9, 9, 9]), ""), None);
    }
}
