//! Tokens, as they came and with a good signature under what came as claims: only good ones count,
//! and whatever happens, the client's copies of output headers are gone.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use postern::authn::{DEFAULT_MAX_TOKEN_SIZE, NoKeys, TokenCache, Verifier, authenticate};
use postern::compile::{Settings, compile};
use postern::manifest::{Options, decode};
use postern::model::{Headers, Http, Mesh, Value, Workload};
use postern::plan::Snapshot;

const SECRET: &[u8] = b"fuzzing for a good secret, 32 byt";

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let decoded = decode(include_str!("policies.yaml"), None, &Options::default());
    let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    let workload = Workload { namespace: "shop".into(), labels: [].into(), ..Workload::default() };
    compile(1, &resources, &[], &Settings { mesh: Mesh::default(), workloads: vec![workload] })
});

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for token in [text.to_owned(), signed(text)] {
        at_each_place(&token);
    }
}

fn at_each_place(token: &str) {
    let places = [
        ("/a".to_owned(), "authorization", format!("Bearer {token}")),
        (format!("/a?x=1&token={token}&y=2"), "x-y", String::new()),
        ("/a".to_owned(), "cookie", format!("a=b; token={token}")),
    ];
    for (path, name, value) in places {
        let forged = ["x-payload", "x-sub", "x-nested"].map(|n| (n.into(), b"forged"[..].into()));
        let mut lines = forged.to_vec();
        lines.push((name.into(), value.into_bytes().into()));
        let mut http = Http {
            method: "GET".into(),
            path: path.as_str().into(),
            host: "shop".into(),
            scheme: "http".into(),
            headers: Headers::new(lines, false),
        };
        // What was verified before must not show, neither in this run nor from an earlier one.
        static CACHE: LazyLock<TokenCache> = LazyLock::new(|| TokenCache::new(1 << 20));
        let verifier = Verifier {
            keys: &NoKeys,
            cache: Some(&CACHE),
            now: 1_700_000_000,
            max_token_size: DEFAULT_MAX_TOKEN_SIZE,
        };
        let plan = &SNAPSHOT.workloads[0].jwt;
        let mut untouched = http.clone();
        let without = authenticate(plan, &mut untouched, &Verifier { cache: None, ..verifier });
        let found = authenticate(plan, &mut http, &verifier);
        assert_eq!((found.error, &found.claims), (without.error, &without.claims), "by the cache");
        assert_eq!(found.changes, without.changes, "by the cache");
        let values = |name| http.headers.values(name).count();
        assert!(http.headers.iter().all(|(_, value)| value != b"forged"), "a client's own header");
        assert_eq!(found.changes.path, *http.path != *path, "Envoy is told what changed");
        let issuer = found.claims.as_ref().and_then(|claims| claims.get("iss"));
        match issuer.and_then(Value::as_str) {
            Some("issuer") => assert_eq!(values("x-payload"), 1),
            Some("other") => assert!(found.error.is_some() || values("authorization") == 1),
            Some(issuer) => panic!("nobody trusts `{issuer}`"),
            None => assert!(found.claims.is_none(), "claims without an issuer"),
        }
    }
}

fn signed(claims: &str) -> String {
    let header = BASE64URL.encode(r#"{"alg":"HS256"}"#);
    let input = format!("{header}.{}", BASE64URL.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), input.as_bytes());
    format!("{input}.{}", BASE64URL.encode(signature))
}
