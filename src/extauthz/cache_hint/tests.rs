//! Requests that agree on what an answer says it depends on get the same answer, for as long as it says.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;
use crate::authn::{CLOCK_SKEW_SECONDS, NoKeys, Verifier};
use crate::compile::{Settings, compile};
use crate::custom::{Ask, AskedBy};
use crate::decide;
use crate::decide::tests::{attributes, policy};
use crate::gate;
use crate::manifest;
use crate::model::{
    Action, Attributes, AuthorizationPolicy, Headers, Http, Mesh, Resource, RuleId, Value, Workload,
};
use crate::plan::Dependency;

const NOW: u64 = 1_700_000_000;
const LONGEST: Duration = Duration::from_secs(600);

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn secret(issuer: &str) -> String {
    issuer.repeat(32).chars().take(32).collect()
}

fn token(issuer: &str, more: &str) -> String {
    let header = b64(r#"{"alg":"HS256"}"#);
    let payload = format!(r#"{{"iss":"{issuer}","sub":"s","c":"x"{more}}}"#);
    let input = format!("{header}.{}", b64(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret(issuer).as_bytes());
    format!("{input}.{}", b64(hmac::sign(&key, input.as_bytes())))
}

/// Good for long, good for a while, soon good, soon bad, bad; from issuers `i` and `j`.
fn tokens() -> Vec<String> {
    let mut tokens = Vec::new();
    for issuer in ["i", "j"] {
        let times =
            [("exp", 100, 8), ("exp", -30, 4), ("exp", -61, 1), ("nbf", 61, 1), ("nbf", 90, 1)];
        for (name, offset, weight) in times {
            let time = NOW.saturating_add_signed(offset);
            let token = token(issuer, &format!(r#","{name}":{time}"#));
            tokens.extend(std::iter::repeat_n(token, weight));
        }
        tokens.push(token(issuer, r#","aud":"a""#));
        tokens.push(format!("{}x", token(issuer, "")));
    }
    tokens
}

/// Token rules in all their ways, and a mutual TLS mode.
fn authentication() -> impl Strategy<Value = String> {
    let key = |issuer: &str| {
        let keys = format!(r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#, b64(secret(issuer)));
        format!("issuer: {issuer}, jwks: '{keys}'")
    };
    let place = select(
        &[
            "",
            ", fromHeaders: [{name: x-token}]",
            ", fromParams: [t]",
            ", fromCookies: [c]",
            ", fromHeaders: [{name: ':path', prefix: 'q='}]",
        ][..],
    );
    let output = select(
        &[
            "",
            ", outputPayloadToHeader: x-payload",
            ", outputClaimToHeaders: [{header: x-a, claim: c}]",
            ", forwardOriginalToken: true",
            ", audiences: [a]",
        ][..],
    );
    let rule = (select(&["i", "j"][..]), place, output).prop_map(move |(issuer, place, output)| {
        format!("  - {{{}{place}{output}}}\n", key(issuer))
    });
    let mode = select(
        &[
            "",
            "mtls: {mode: STRICT}",
            "mtls: {mode: DISABLE}",
            "selector: {matchLabels: {app: web}}, portLevelMtls: {'80': {mode: STRICT}}",
        ][..],
    );
    (vec(rule, 0..3), mode).prop_map(|(rules, mode)| {
        let head = "---\napiVersion: security.istio.io/v1\nkind: ";
        let mut text = String::new();
        if !rules.is_empty() {
            text += &format!(
                "{head}RequestAuthentication\nmetadata: {{name: r}}\nspec:\n  jwtRules:\n"
            );
            text.extend(rules);
        }
        if !mode.is_empty() {
            text += &format!("{head}PeerAuthentication\nmetadata: {{name: r}}\nspec: {{{mode}}}\n");
        }
        text
    })
}

fn plan(policies: Vec<AuthorizationPolicy>, authentication: &str) -> Arc<WorkloadPlan> {
    let options =
        manifest::Options { default_namespace: "foo".into(), ..manifest::Options::default() };
    let decoded = manifest::decode(authentication, None, &options);
    assert_eq!(decoded.diagnostics.iter().filter(|d| d.code.0 != 303).count(), 0, "{decoded:?}");
    let mut resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    let policies = policies.into_iter().map(|p| Arc::new(Resource::AuthorizationPolicy(p.into())));
    resources.extend(policies);
    let labels = [("app".to_owned(), "web".to_owned())].into();
    let settings = Settings {
        mesh: Mesh {
            trust_domain: "td".into(),
            trust_domain_aliases: vec!["old-td".into()],
            ..Mesh::default()
        },
        workloads: vec![Workload { namespace: "foo".into(), labels, ..Workload::default() }],
    };
    compile(1, &resources, &[], &settings).workloads.remove(0)
}

/// A request of the usual kind, and what may hold a token or look like the output of one.
fn request() -> impl Strategy<Value = Attributes<'static>> {
    let token = || select(tokens());
    let line = prop_oneof![
        4 => token().prop_map(|token| ("authorization", format!("Bearer {token}"))),
        2 => token().prop_map(|token| ("x-token", token)),
        1 => token().prop_map(|token| ("cookie", format!("a=b; c={token}"))),
        1 => Just(("x-payload", "forged".to_owned())),
        1 => Just(("origin", "o".to_owned())),
        1 => Just(("access-control-request-method", "GET".to_owned())),
        1 => Just(("x-other", "x".to_owned())),
    ];
    let query = prop_oneof![
        3 => Just(String::new()),
        1 => token().prop_map(|token| format!("?t={token}&z=1")),
        1 => token().prop_map(|token| format!("?q={token}")),
    ];
    (attributes(), vec(line, 0..3), query, proptest::bool::weighted(0.2)).prop_map(
        |(mut attributes, lines, query, is_options)| {
            if let Some(http) = &mut attributes.http {
                for (name, value) in lines {
                    http.headers.append(name.into(), value.into_bytes().into());
                }
                http.path = format!("{}{query}", http.path).into();
                if is_options {
                    http.method = "OPTIONS".into();
                }
            }
            attributes
        },
    )
}

/// All that an answer is made of.
#[derive(Debug, PartialEq)]
struct Answer {
    verdict: Verdict,
    audited_by: Vec<RuleId>,
    claims: Option<Value>,
    /// What each changed header is in the end.
    headers: Vec<(String, Vec<Vec<u8>>)>,
    path: Option<String>,
}

fn answer<'p>(
    plan: &'p WorkloadPlan,
    attributes: &Attributes<'_>,
    now: u64,
) -> (Answer, CacheHint<'p>) {
    let mut attributes = attributes.clone();
    let verifier = Verifier { keys: &NoKeys, cache: None, now, max_token_size: 1 << 16 };
    let passage = gate::pass(plan, &mut attributes, &verifier);
    let identity = passage.identity();
    let audited_by = decide::audited_by(plan, &attributes, &identity);
    let http = attributes.http.as_ref();
    let values =
        |name: &str| http.unwrap().headers.values(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let authentication = &passage.authentication;
    let answer = Answer {
        verdict: passage.verdict,
        audited_by: if passage.verdict.audited_by.is_some() {
            audited_by.collect()
        } else {
            Vec::new()
        },
        claims: authentication.claims.as_deref().cloned(),
        headers: authentication.changes.headers().map(|n| (n.to_owned(), values(n))).collect(),
        path: authentication.changes.path.then(|| http.unwrap().path.to_string()),
    };
    let is_http = http.is_some();
    let from = (authentication, passage.consulted.as_deref());
    let hint = CacheHint::new(plan, is_http, passage.verdict, from, (now, LONGEST));
    (answer, hint)
}

fn is_exempt(http: &Http<'_>) -> bool {
    let has = |name| http.headers.first(name).is_some_and(|value| !value.is_empty());
    !http.path.starts_with('/')
        || http.method == "OPTIONS" && has("origin") && has("access-control-request-method")
}

/// The other request where it agrees with the first on all that is named; `None` where it cannot.
fn agreeing(
    first: &Attributes<'static>,
    mut other: Attributes<'static>,
    names: &BTreeSet<Dependency>,
) -> Option<Attributes<'static>> {
    if names.contains(&Dependency::SourceIp) {
        other.source_ip = first.source_ip;
    }
    if names.contains(&Dependency::RemoteIp) {
        other.remote_ip = first.remote_ip;
        other.missing.client_address = first.missing.client_address;
    }
    if names.contains(&Dependency::Peer) {
        other.peer = first.peer.clone();
        other.missing.peer_certificate = first.missing.peer_certificate;
    }
    if names.contains(&Dependency::DestinationIp) {
        other.destination_ip = first.destination_ip;
        other.missing.destination = first.missing.destination;
    }
    if names.contains(&Dependency::DestinationPort) {
        other.destination_port = first.destination_port;
        other.missing.destination = first.missing.destination;
    }
    if names.contains(&Dependency::SourceIp) || names.contains(&Dependency::RemoteIp) {
        other.missing.source_address = first.missing.source_address;
    }
    // Which headers a proxy sends is a matter of configuration.
    other.missing.headers = first.missing.headers;
    if names.contains(&Dependency::Sni) {
        other.sni = first.sni.clone();
        other.missing.tls_session = first.missing.tls_session;
    }
    if names.iter().any(|name| matches!(name, Dependency::Metadata(..))) {
        other.filter_metadata = first.filter_metadata.clone();
        other.missing.metadata = first.missing.metadata;
    }
    let (first, http) = match (&first.http, &mut other.http) {
        (None, None) => return Some(other),
        (Some(first), Some(http)) => (first, http),
        (Some(_), None) | (None, Some(_)) => return None,
    };
    if names.contains(&Dependency::Method) {
        http.method = first.method.clone();
    }
    if names.contains(&Dependency::Scheme) {
        http.scheme = first.scheme.clone();
    }
    if names.contains(&Dependency::Host) {
        http.host = first.host.clone();
    }
    let split = |http: &Http<'_>| {
        let path = http.path_without_query().to_owned();
        let query = http.path.strip_prefix(&*path).unwrap().to_owned();
        (path, query)
    };
    let (mut path, mut query) = split(http);
    if names.contains(&Dependency::Path) {
        path = split(first).0;
    }
    if names.contains(&Dependency::Query) {
        query = split(first).1;
    }
    http.path = (path + &query).into();
    let is_named = |name: &str| names.contains(&Dependency::Header(name.into()));
    let lines = first.headers.iter().filter(|(name, _)| is_named(name));
    let others = http.headers.iter().filter(|(name, _)| !is_named(name));
    let lines: Vec<_> = lines
        .chain(others)
        .map(|(name, value)| (name.to_owned().into(), value.to_vec().into()))
        .collect();
    // Whether lines are joined is a matter of configuration.
    http.headers = Headers::new(lines, first.headers.joined());
    if names.contains(&Dependency::Preflight) && is_exempt(first) != is_exempt(http) {
        return None;
    }
    Some(other)
}

fn policies() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    // CUSTOM is for another test.
    vec(policy(), 0..3).prop_map(|policies| {
        let is_custom = |p: &AuthorizationPolicy| matches!(p.action, Action::Custom { .. });
        policies.into_iter().filter(|p| !is_custom(p) || p.dry_run).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3_000,
        max_global_rejects: 30_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn who_agrees_gets_the_same_answer(
        policies in policies(),
        authentication in authentication(),
        (first, other) in (request(), request()),
        later in 0.0..=1.0,
    ) {
        let plan = plan(policies, &authentication);
        let (answered, hint) = answer(&plan, &first, NOW);
        let CacheHint::Holds { until, is_http, .. } = hint else { return Ok(()) };
        prop_assert!((NOW..=NOW + LONGEST.as_secs()).contains(&until));
        let names = plan.dependencies().iter(is_http).cloned().collect();
        let Some(other) = agreeing(&first, other, &names) else { return Err(TestCaseError::reject("")) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds")]
        let now = NOW + ((until - NOW) as f64 * later) as u64;
        for now in [now, until] {
            prop_assert_eq!(&answer(&plan, &other, now).0, &answered, "{:?} {:?}", names, other);
        }
    }
}

/// Guards the law above: it is of requests that differ, most of which can be told about, and most names are
/// needed.
#[test]
fn the_law_says_something() {
    let mut runner = TestRunner::deterministic();
    let (mut held, mut differ, mut bounded) = (0, 0, 0);
    let mut needed = BTreeSet::new();
    for _ in 0..4_000 {
        let mut draw = |strategy: BoxedStrategy<Attributes<'static>>| {
            strategy.new_tree(&mut runner).unwrap().current()
        };
        let (first, other) = (draw(request().boxed()), draw(request().boxed()));
        let policies = policies().new_tree(&mut runner).unwrap().current();
        let authentication = authentication().new_tree(&mut runner).unwrap().current();
        let plan = plan(policies, &authentication);
        let (answered, hint) = answer(&plan, &first, NOW);
        let CacheHint::Holds { until, is_http, .. } = hint else { continue };
        held += 1;
        bounded += u32::from(until < NOW + LONGEST.as_secs());
        differ += u32::from(answer(&plan, &other, NOW).0 != answered);
        let names: BTreeSet<Dependency> = plan.dependencies().iter(is_http).cloned().collect();
        for name in &names {
            let mut fewer = names.clone();
            fewer.remove(name);
            let other = agreeing(&first, other.clone(), &fewer);
            if other.is_some_and(|other| answer(&plan, &other, NOW).0 != answered) {
                needed.insert(name.to_string());
            }
        }
    }
    assert!(held > 2_000 && differ > 500 && bounded > 50, "{held} {differ} {bounded}");
    for name in [
        "source.ip",
        "remote.ip",
        "source.principal",
        "destination.ip",
        "destination.port",
        "connection.sni",
        "request.method",
        "request.host",
        "request.path",
        "request.query",
        "request.headers[x-a]",
        "request.headers[authorization]",
        "request.headers[x-payload]",
        "request.headers[cookie]",
        "request.preflight",
    ] {
        assert!(needed.contains(name), "{name} is never needed: {needed:?}");
    }
}

fn hint_of(
    authentication: &str,
    headers: impl IntoIterator<Item = (&'static str, String)>,
) -> (Reason, String) {
    let plan = plan(Vec::new(), authentication);
    let mut runner = TestRunner::deterministic();
    let mut request = attributes().new_tree(&mut runner).unwrap().current();
    let headers = headers.into_iter();
    let headers = headers.map(|(name, value)| (name.into(), value.into_bytes().into()));
    request.http = Some(Http {
        method: "GET".into(),
        path: "/".into(),
        host: "h".into(),
        scheme: "http".into(),
        headers: Headers::new(headers.collect(), false),
    });
    let (answer, hint) = answer(&plan, &request, NOW);
    let text = match hint {
        CacheHint::Holds { until, .. } => format!("{}", until - NOW),
        CacheHint::Once(why) => why.as_str().to_owned(),
    };
    (answer.verdict.reason, text)
}

#[test]
fn an_answer_holds_as_long_as_its_token() {
    let inline = |issuer: &str| {
        let keys = format!(r#"{{"keys":[{{"kty":"oct","k":"{}"}}]}}"#, b64(secret(issuer)));
        format!("  - {{issuer: {issuer}, jwks: '{keys}'}}\n")
    };
    let rules = |rules: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: r}}\n\
             spec:\n  jwtRules:\n{rules}"
        )
    };
    let bearer = |token: String| Some(("authorization", format!("Bearer {token}")));
    let one = rules(&inline("i"));
    let allowed = Reason::NoAllowPolicy;
    let exp =
        |offset| bearer(token("i", &format!(r#","exp":{}"#, NOW.saturating_add_signed(offset))));
    let skew = CLOCK_SKEW_SECONDS.cast_signed();
    assert_eq!(hint_of(&one, None), (allowed, "600".into()));
    assert_eq!(hint_of(&one, bearer(token("i", ""))), (allowed, "600".into()));
    assert_eq!(hint_of(&one, exp(10)), (allowed, (10 + skew).to_string()));
    assert_eq!(hint_of(&one, exp(-skew)), (allowed, "0".into()));
    let (reason, why) = hint_of(&one, exp(-skew - 1));
    assert!(matches!(reason, Reason::Jwt(_)) && why == "token_refused", "{reason:?} {why}");

    // All tokens of a rule count, so the first of them to expire does.
    for offsets in [[10, 100], [100, 10]] {
        let lines = offsets.into_iter().filter_map(exp);
        assert_eq!(hint_of(&one, lines), (allowed, (10 + skew).to_string()));
    }

    // By the key of the first issuer the token would be good, could it be had.
    let both =
        rules(&("  - {issuer: i, jwksUri: 'https://keys.example/'}\n".to_owned() + &inline("i")));
    let (reason, why) = hint_of(&both, bearer(token("i", "")));
    assert_eq!((reason, &*why), (allowed, "keys_may_come"));
}

#[test]
fn what_is_looked_at_is_named() {
    let text = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a}
spec:
  rules:
  - when:
    - {key: 'experimental.envoy.filters.f[k]', values: [x]}
    - {key: 'request.auth.claims[c]', values: [x]}
    - {key: 'request.headers[:path]', values: [x]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: b, annotations: {istio.io/dry-run: 'true'}}
spec: {action: DENY, rules: [{from: [{source: {ipBlocks: [10.0.0.0/8]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: c}
spec: {action: AUDIT, rules: [{when: [{key: 'request.headers[X-B]', notValues: [x]}]}]}
";
    let plan = plan(Vec::new(), text);
    let names = |is_http, peer| depends_on(&plan, is_http, peer).collect::<Vec<_>>();
    let l4 = ["source.ip", "experimental.envoy.filters.f[k]"];
    assert_eq!(names(false, false), l4);
    let http = ["request.path", "request.query", "request.headers[x-b]"];
    assert_eq!(names(true, false), [&l4[..], &http].concat());
    assert_eq!(names(true, true), [&l4[..], &http, &["source.principal"]].concat());
}

#[test]
fn where_somebody_else_is_asked_no_answer_holds() {
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: c}\n\
                spec: {action: CUSTOM, provider: {name: p}, rules: [{to: [{operation: {paths: [/x]}}]}]}";
    // Not asked, as nothing matches: what the rule looks at is among the names.
    let (reason, hint) = hint_of(text, None);
    assert_eq!(reason, Reason::NoAllowPolicy);
    assert_ne!(hint, "custom_provider");
    let plan = plan(Vec::new(), text);
    assert_eq!(depends_on(&plan, true, false).collect::<Vec<_>>(), ["request.path"]);

    let ask = Ask { provider: "p".into(), rule: AskedBy::Policy(RuleId { policy: 0, rule: 0 }) };
    let authentication = Authentication::default();
    let hint = |consulted: &Consulted| {
        let verdict = Verdict::from_reason(Reason::NoAllowPolicy);
        let from = (&authentication, Some(consulted));
        CacheHint::new(&plan, true, verdict, from, (NOW, LONGEST))
    };
    let asked = Consulted { asks: vec![ask.clone()], ..Consulted::default() };
    assert!(matches!(hint(&asked), CacheHint::Once(Once::CustomProvider)));
    let dry_run = Consulted { dry_run: vec![ask], ..Consulted::default() };
    assert!(matches!(hint(&dry_run), CacheHint::Holds { .. }));
}
