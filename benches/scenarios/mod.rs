//! The policies and requests that benches and the allocation test share.
//!
//! Measures nothing. Each shape is a set of ALLOW rules and two calls: one that only the last rule
//! allows, which is the worst case of a scan, and one that no rule allows.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use postern::compile::{Settings, compile};
use postern::decide::decide;
use postern::manifest;
use postern::model::{Attributes, Headers, Http, Identity, Mesh, Missing, Outcome, Peer, Workload};
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
}

/// What a request is about.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) principal: String,
    pub(crate) path: String,
    pub(crate) tenant: String,
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
    pub(crate) const ALL: [Self; 4] =
        [Self::Sparse, Self::ExactPath, Self::Dense, Self::MultiValued];

    /// The rules as a manifest, ten to a policy.
    pub(crate) fn manifest(self, rules: usize) -> String {
        let mut text = String::new();
        for i in 0..rules {
            if i % 10 == 0 {
                write!(
                    text,
                    "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                     metadata: {{name: p-{:05}, namespace: shop}}\nspec:\n  rules:\n",
                    i / 10
                )
                .unwrap();
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
                let Call { principal, path, tenant } = self.call(i);
                let path = match self {
                    Self::ExactPath => path,
                    _ => path.replace("list", "*"),
                };
                (principal, "GET".to_owned(), path, tenant)
            }
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
    fn call(self, i: usize) -> Call {
        let (principal, path, tenant) = match self {
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
        Call { principal: format!("cluster.local/{principal}"), path, tenant }
    }

    /// What only the last of so many rules allows.
    pub(crate) fn hit(self, rules: usize) -> Call {
        self.call(rules - 1)
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
            source_ip: ip(1),
            remote_ip: ip(2),
            destination_ip: ip(3),
            destination_port: Some(8080),
            sni: "shop.example.com".into(),
            peer: Peer { names: vec![format!("spiffe://{}", self.principal).into()] },
            http: Some(Http {
                method: "GET".into(),
                path: self.path.as_str().into(),
                host: "shop.example.com".into(),
                scheme: "https".into(),
                headers: Headers::new(lines, false),
            }),
            filter_metadata: Vec::new(),
            missing: Missing::default(),
        }
    }
}

/// A manifest as the snapshot of one workload.
pub(crate) fn snapshot(manifest: &str) -> Snapshot {
    let decoded = manifest::decode(manifest, None, &manifest::Options::default());
    assert!(!decoded.has_errors(), "{:?}", decoded.diagnostics);
    let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    let workload = Workload { namespace: "shop".into(), labels: Default::default() };
    let settings = Settings { mesh: Mesh::default(), workloads: vec![workload] };
    compile(1, &resources, &[], &settings)
}

/// Fails unless every shape does what it says: a figure for something else is worse than none.
pub(crate) fn assert_sound() {
    let rules = 30;
    for shape in Shape::ALL {
        let outcome = |rules, call: Call| {
            let snapshot = snapshot(&shape.manifest(rules));
            let plan = &snapshot.workloads[0];
            decide(plan, &call.attributes(), &Identity::default()).outcome()
        };
        assert_eq!(outcome(rules, shape.hit(rules)), Outcome::Allow, "{shape:?}");
        assert_eq!(outcome(rules - 1, shape.hit(rules)), Outcome::Deny, "{shape:?}");
        assert_eq!(outcome(rules, shape.miss(rules)), Outcome::Deny, "{shape:?}");
    }
}
