//! The policies and requests that benches and the allocation test share.
//!
//! Measures nothing. Each shape is a set of ALLOW rules and calls: one that only the last rule
//! allows, which is the worst case of a scan, some that rules all over the set allow, and one that no
//! rule allows. With DENY for ALLOW, the last rule denies.

mod mix;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use postern::compile::{Settings, compile};
use postern::decide::decide;
use postern::manifest;
use postern::model::{
    Attributes, Headers, Http, Identity, Mesh, Missing, Outcome, Peer, Resource, Workload,
};
use postern::plan::Snapshot;

/// How rules relate to requests. Every rule asks for a principal, a method, a path and a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Each rule has its own principal, path prefix and header value: few can match a request.
    Sparse,
    /// The same with exact paths.
    ExactPath,
    /// All rules share principal and path prefix: only the header tells them apart.
    Dense,
    /// As `Sparse`, each field with several values, of which the last one matches.
    MultiValued,
    /// What clusters have: names, namespaces, addresses, hosts, headers, and some DENY rules.
    Mix,
}

/// What a request is about.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) principal: String,
    pub(crate) path: String,
    pub(crate) tenant: String,
    pub(crate) host: String,
    pub(crate) source_ip: Ipv4Addr,
}

/// Beside `x-tenant`: what a browser and a few proxies send.
pub(crate) const HEADERS: [(&str, &str); 19] = [
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("cache-control", "no-cache"),
    ("content-type", "application/json"),
    ("cookie", "session=0123456789abcdef; theme=dark"),
    ("origin", "https://shop.example.com"),
    ("referer", "https://shop.example.com/cart"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-origin"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("x-b3-sampled", "1"),
    ("x-envoy-attempt-count", "1"),
    ("x-envoy-internal", "true"),
    ("x-forwarded-client-cert", "By=spiffe://cluster.local/ns/shop/sa/api"),
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "a5bd2c1e-6f0c-9e1c-8c55-1f0d9e2b3a4c"),
];

impl Shape {
    pub(crate) const ALL: [Self; 5] =
        [Self::Sparse, Self::ExactPath, Self::Dense, Self::MultiValued, Self::Mix];

    /// The rules as a manifest, ten to a policy.
    pub(crate) fn manifest(self, rules: usize) -> String {
        if self == Self::Mix { mix::manifest(rules) } else { self.policies("ALLOW", rules) }
    }

    /// As many rules, and a call that only the last of those that deny is about.
    pub(crate) fn denial(self, rules: usize) -> (String, Call) {
        if self == Self::Mix {
            (mix::manifest(rules), mix::denied_call(rules))
        } else {
            (self.policies("DENY", rules), self.hit(rules))
        }
    }

    fn policies(self, action: &str, rules: usize) -> String {
        let mut text = String::new();
        for i in 0..rules {
            if i % 10 == 0 {
                head(&mut text, &format!("p-{:05}", i / 10), action);
            }
            self.rule(&mut text, i);
        }
        text
    }

    fn rule(self, text: &mut String, i: usize) {
        let many = |n: usize, value: &dyn Fn(usize) -> String| {
            (0..n).map(value).collect::<Vec<_>>().join(", ")
        };
        let (principals, methods, paths, tenants) = match self {
            Self::Sparse | Self::ExactPath | Self::Dense => {
                let Call { principal, path, tenant, .. } = self.call(i);
                let path = match self {
                    Self::ExactPath => path,
                    _ => path.replace("list", "*"),
                };
                (principal, "GET".to_owned(), path, tenant)
            }
            Self::Mix => return mix::rule(text, i),
            Self::MultiValued => (
                many(8, &|k| format!("cluster.local/ns/team-{i}/sa/web-{k}")),
                "DELETE, POST, PUT, GET".to_owned(),
                many(8, &|k| format!("/svc-{i}/part-{k}/*")),
                many(4, &|k| format!("tenant-{i}-{k}")),
            ),
        };
        write!(
            text,
            "  - from: [{{source: {{principals: [{principals}]}}}}]\n    \
               to: [{{operation: {{methods: [{methods}], paths: [{paths}]}}}}]\n    \
               when: [{{key: 'request.headers[x-tenant]', values: [{tenants}]}}]\n"
        )
        .unwrap();
    }

    /// What only rule `i` allows.
    pub(crate) fn call(self, i: usize) -> Call {
        let (principal, path, tenant) = match self {
            Self::Mix => return mix::call(i),
            Self::Sparse | Self::ExactPath => {
                (format!("ns/team-{i}/sa/web"), format!("/svc-{i}/list"), format!("tenant-{i}"))
            }
            Self::Dense => {
                ("ns/team/sa/web".to_owned(), "/svc/list".to_owned(), format!("tenant-{i}"))
            }
            Self::MultiValued => (
                format!("ns/team-{i}/sa/web-7"),
                format!("/svc-{i}/part-7/list"),
                format!("tenant-{i}-3"),
            ),
        };
        Call {
            principal: format!("cluster.local/{principal}"),
            path,
            tenant,
            host: "shop.example.com".to_owned(),
            source_ip: Ipv4Addr::new(10, 0, 0, 1),
        }
    }

    /// What only the last of so many rules allows.
    pub(crate) fn hit(self, rules: usize) -> Call {
        self.call(rules - 1)
    }

    /// Calls that different ones of so many rules allow, the last among them.
    pub(crate) fn spread(self, rules: usize) -> Vec<Call> {
        let allows = |i: &usize| self != Self::Mix || !mix::denies(*i);
        let step = rules.div_ceil(256);
        (0..rules).rev().step_by(step).filter(allows).map(|i| self.call(i)).collect()
    }

    /// What none of so many rules allows.
    pub(crate) fn miss(self, rules: usize) -> Call {
        self.call(rules)
    }
}

impl Call {
    /// As `extauthz` reads it from a request of an Envoy that sends everything.
    pub(crate) fn attributes(&self) -> Attributes<'_> {
        let mut lines: Vec<(Cow<'_, str>, Cow<'_, [u8]>)> =
            HEADERS.iter().map(|(n, v)| (Cow::from(*n), Cow::from(v.as_bytes()))).collect();
        lines.push(("x-tenant".into(), self.tenant.as_bytes().into()));
        let ip = |last| Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)));
        Attributes {
            source_ip: Some(self.source_ip.into()),
            remote_ip: ip(2),
            destination_ip: ip(3),
            destination_port: Some(8080),
            sni: "shop.example.com".into(),
            peer: Peer { names: vec![format!("spiffe://{}", self.principal).into()] },
            http: Some(Http {
                method: "GET".into(),
                path: self.path.as_str().into(),
                host: self.host.as_str().into(),
                scheme: "https".into(),
                headers: Headers::new(lines, false),
            }),
            filter_metadata: Vec::new(),
            exchange: postern::model::Exchange::default(),
            missing: Missing::default(),
        }
    }
}

/// Begins a policy: its rules follow.
fn head(text: &mut String, name: &str, action: &str) {
    write!(
        text,
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: shop}}\nspec:\n  action: {action}\n  rules:\n"
    )
    .unwrap();
}

/// The resources of a manifest without errors.
pub(crate) fn resources(manifest: &str) -> Vec<Arc<Resource>> {
    let decoded = manifest::decode(manifest, None, &manifest::Options::default());
    assert!(!decoded.has_errors(), "{:?}", decoded.diagnostics);
    decoded.accepted().cloned().map(Arc::new).collect()
}

/// One workload.
pub(crate) fn settings() -> Settings {
    let workload =
        Workload { namespace: "shop".into(), labels: Default::default(), ..Workload::default() };
    Settings { mesh: Mesh::default(), workloads: vec![workload] }
}

/// A manifest as the snapshot of one workload.
pub(crate) fn snapshot(manifest: &str) -> Snapshot {
    compile(1, &resources(manifest), &[], &settings())
}

/// Fails unless every shape does what it says: a figure for something else is worse than none.
pub(crate) fn assert_sound() {
    // The rules of a mix are of seven kinds.
    for (shape, rules) in Shape::ALL.into_iter().flat_map(|shape| [shape; 7].into_iter().zip(26..))
    {
        let what = format!("{shape:?} {rules}");
        let outcome = |snapshot: &Snapshot, call: &Call| {
            decide(&snapshot.workloads[0], &call.attributes(), &Identity::default()).outcome()
        };
        let allowing = snapshot(&shape.manifest(rules));
        for call in shape.spread(rules) {
            assert_eq!(outcome(&allowing, &call), Outcome::Allow, "{what} {call:?}");
        }
        let (fewer, hit) = (snapshot(&shape.manifest(rules - 1)), shape.hit(rules));
        assert_eq!(outcome(&fewer, &hit), Outcome::Deny, "{what} {hit:?}");
        assert_eq!(outcome(&allowing, &shape.miss(rules)), Outcome::Deny, "{what}");
        let (denying, call) = shape.denial(rules);
        assert_eq!(outcome(&snapshot(&denying), &call), Outcome::Deny, "{what} {call:?}");
    }
}
