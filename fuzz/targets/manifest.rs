//! No text makes the decoder panic; what it accepts compiles, and the plan means what is written.

use std::sync::Arc;

use postern::compile::{Settings, compile};
use postern::decide::{custom, decide, reference};
use postern::manifest::{Options, decode_files};
use postern::model::{Attributes, Headers, Http, Identity, Mesh, Missing, Peer, Value, Workload};

pub(crate) fn run(data: &[u8]) {
    for name in ["fuzz.yaml", "fuzz.json"] {
        let decoded = decode_files([(name, data)], &Options::default());
        for diagnostic in &decoded.diagnostics {
            assert!(!diagnostic.to_string().is_empty());
        }
        if decoded.has_errors() {
            continue;
        }
        assert!(decoded.documents.iter().all(|d| d.accepted().is_some()), "an error is missing");
        let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
        let workload =
            Workload { namespace: "shop".into(), labels: [].into(), ..Workload::default() };
        let settings = Settings { mesh: Mesh::default(), workloads: vec![workload] };
        let snapshot = compile(1, &resources, &[], &settings);
        let plan = &snapshot.workloads[0];
        let text = |text: &str| Value::String(text.to_owned());
        let claims = Value::Object(vec![("iss".into(), text("issuer")), ("sub".into(), text("a"))]);
        for (http, claims) in [(true, Some(&claims)), (true, None), (false, None)] {
            let identity = Identity { claims };
            let attributes = attributes(http);
            let verdict = decide(plan, &attributes, &identity);
            assert_eq!(verdict, reference::decide(plan, &attributes, &identity));
            if plan.policies().count() == resources.len() {
                let asked: Vec<_> =
                    custom(plan, &attributes).map(|(name, rule)| (name.clone(), rule)).collect();
                assert_eq!(asked, reference::custom(plan, &attributes, false));
            }
        }
    }
}

fn attributes(http: bool) -> Attributes<'static> {
    let lines = vec![("x-tenant".into(), b"gold".as_slice().into())];
    Attributes {
        source_ip: "10.0.0.1".parse().ok(),
        remote_ip: "192.0.2.1".parse().ok(),
        destination_ip: "10.0.0.2".parse().ok(),
        destination_port: Some(80),
        sni: "shop.example.com".into(),
        peer: Peer { names: vec!["spiffe://cluster.local/ns/shop/sa/web".into()] },
        http: http.then(|| Http {
            method: "GET".into(),
            path: "/a/b".into(),
            host: "shop.example.com".into(),
            scheme: "https".into(),
            headers: Headers::new(lines, false),
        }),
        filter_metadata: Vec::new(),
        exchange: postern::model::Exchange::default(),
        missing: Missing::default(),
    }
}
