//! Lists of rules over few words: whatever random requests find changed has been found, or has been
//! said not to be known.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::authn::Signer;
use crate::compile::{self, Settings};
use crate::decide::{self, Subject};
use crate::model::{
    AccessPath, AccessRule, AccessStrategy, ApiRule, ApiRuleVersion, JwtAccess, JwtAuthentication,
    JwtAuthorization, Located, Mesh, Metadata, OathkeeperJwt, Position, RequestMutations, Resource,
    ScopeMatching, ServiceReference, TokenFrom, Value, Workload,
};
use crate::plan::KeySourceId;

const HOST: &str = "a.example.com";
const ISSUERS: [&str; 2] = ["https://i", "https://k"];
const KEYS: [&str; 2] = ["https://keys/1", "https://keys/2"];

fn strategy() -> impl Strategy<Value = AccessStrategy> {
    let scopes = || prop::collection::vec(prop::sample::select(vec!["a", "b"]), 0..3);
    let authorization = scopes().prop_map(|scopes| JwtAuthorization {
        required_scopes: scopes.into_iter().map(str::to_owned).collect(),
        audiences: Vec::new(),
    });
    let authentication = (0..2usize, 0..2usize).prop_map(|(issuer, keys)| JwtAuthentication {
        issuer: ISSUERS[issuer].into(),
        jwks_uri: KEYS[keys].into(),
        from_headers: Vec::new(),
        from_params: Vec::new(),
        position: Position::default(),
    });
    let jwt =
        (prop::collection::vec(authentication, 1..3), prop::collection::vec(authorization, 0..3))
            .prop_map(|(authentications, authorizations)| {
                AccessStrategy::Jwt(JwtAccess {
                    authentications,
                    authorizations,
                    strict_scopes: false,
                })
            });
    let elsewhere = AccessStrategy::OathkeeperJwt(OathkeeperJwt {
        jwks_urls: vec![KEYS[0].into()],
        trusted_issuers: Vec::new(),
        target_audience: Vec::new(),
        required_scope: Vec::new(),
        scope_strategy: ScopeMatching::Exact,
        allowed_algorithms: vec!["RS256".into()],
        token_from: TokenFrom::Bearer,
        position: Position::default(),
    });
    prop_oneof![
        2 => Just(AccessStrategy::Allow),
        2 => Just(AccessStrategy::Unauthorized),
        2 => Just(AccessStrategy::Anonymous),
        4 => jwt,
        1 => Just(elsewhere),
    ]
}

fn rules() -> impl Strategy<Value = Vec<AccessRule>> {
    let path = prop_oneof![
        "/[ab.|]{0,3}(\\.\\*|\\[\\^/\\]\\+|\\(a\\|b\\)|b\\{2,3\\})?"
            .prop_filter("a path", |text| { crate::path_regex::PathRegex::parse(text).is_ok() })
            .prop_map(|text| AccessPath::Regex(text.into())),
        prop::sample::select(vec!["/{**}", "/a/{*}", "/{*}/b", "/a"])
            .prop_map(|text| AccessPath::Template(text.to_owned().into())),
    ];
    let methods = prop::sample::subsequence(vec!["GET", "PUT"], 1..3);
    let rule = (path, methods, prop::collection::vec(strategy(), 1..3)).prop_map(
        |(path, methods, strategies)| AccessRule {
            position: Position::default(),
            path,
            methods: methods.into_iter().map(|it| Located::from(it.to_owned())).collect(),
            service: ServiceReference { namespace: "shop".into(), name: "s".into(), port: 80 },
            strategies,
            mutations: RequestMutations::default(),
        },
    );
    prop::collection::vec(rule, 0..4)
}

/// Two lists: others altogether, or one with a rule replaced, left out or put elsewhere.
fn pair() -> impl Strategy<Value = [Vec<AccessRule>; 2]> {
    prop_oneof![
        (rules(), rules()).prop_map(|(old, new)| [old, new]),
        (rules(), rules(), any::<prop::sample::Index>(), 0..3u8).prop_map(
            |(old, more, at, edit)| {
                let mut new = old.clone();
                if !new.is_empty() {
                    let rule = new.remove(at.index(new.len()));
                    match (edit, more.into_iter().next()) {
                        (0, Some(other)) => new.insert(at.index(new.len() + 1), other),
                        (1, _) => new.insert(0, rule),
                        _ => {}
                    }
                }
                [old, new]
            }
        ),
    ]
}

fn plan(rules: Vec<AccessRule>) -> Arc<WorkloadPlan> {
    let api_rule = ApiRule {
        metadata: Metadata { namespace: "shop".into(), name: "a".into(), ..Metadata::default() },
        version: ApiRuleVersion::V1beta1,
        hosts: vec![HOST.to_owned().into()],
        rules,
    };
    let workload = Workload { namespace: "shop".into(), ..Workload::default() };
    let settings = Settings { mesh: Mesh::default(), workloads: vec![workload] };
    let resources = [Arc::new(Resource::ApiRule(Arc::new(api_rule)))];
    compile::compile(1, &resources, &[], &settings).workloads[0].clone()
}

fn question() -> impl Strategy<Value = Question> {
    let text = |text: &str| Value::String(text.to_owned());
    let token = (0..2usize, 0..3usize, 0..2usize, prop::sample::subsequence(vec!["a", "b"], 0..3))
        .prop_map(move |(issuer, keys, of, scopes)| Token {
            signer: match KEYS.get(keys) {
                Some(uri) => Signer::Remote(KeySourceId {
                    issuer: ISSUERS[of].into(),
                    uri: Some((*uri).into()),
                }),
                None => Signer::Stranger,
            },
            place: Place::Header { name: "authorization".into(), prefix: "Bearer ".into() },
            claims: vec![
                ("iss".into(), text(ISSUERS[issuer])),
                ("sub".into(), text("anybody")),
                ("scope".into(), text(&scopes.join(" "))),
            ],
        });
    let method = prop::sample::select(vec!["GET", "PUT", "HEAD"]);
    (method, "/[abc/.]{0,4}", prop::option::of(token), any::<bool>()).prop_map(
        |(method, path, token, has_other)| {
            let mut question = Question::default();
            question.request.host = HOST.to_owned();
            question.request.method = method.to_owned();
            question.request.path = path;
            if token.is_none() && has_other {
                question.request.headers.push(("authorization".into(), "Basic YTpi".into()));
            }
            question.token = token;
            question
        },
    )
}

/// Whether the rule that a request has would ask somebody, on either side.
fn is_asked_elsewhere(plans: [&WorkloadPlan; 2], question: &Question) -> bool {
    let settings = RequestSettings::default();
    let file = question.file(&settings, None);
    let check = file.check_request(settings.client_address);
    let attributes = file.attributes(&check, &settings).unwrap();
    plans.iter().any(|plan| match decide::subject(plan, &attributes) {
        Subject::Rule(route) => {
            route.plan.strategies.iter().any(|it| matches!(it, AccessStrategy::OathkeeperJwt(_)))
        }
        Subject::Free | Subject::Unrouted => false,
    })
}

proptest! {
    #![proptest_config(Config { cases: 96, ..Config::default() })]

    #[test]
    fn what_random_requests_find_of_api_rules_is_found(
        rules in pair(),
        questions in prop::collection::vec(question(), 150),
    ) {
        let settings = RequestSettings::default();
        let [old, new] = rules.map(plan);
        let comparison = compare(&old, &new, &settings);
        prop_assert!(!comparison.gave_up, "so little is looked at whole");
        let sides = [&old, &new].map(|plan| Side::new(plan, &settings));
        for question in &questions {
            let [Some(before), Some(after)] = sides.each_ref().map(|side| side.ask(question)) else {
                continue;
            };
            if !changes(View::Enforced, &before, &after) {
                continue;
            }
            // What somebody else would be asked about is named, not asked about.
            if is_asked_elsewhere([&old, &new], question) {
                prop_assert!(!comparison.unasked.is_empty(), "{question:?}");
                continue;
            }
            // Not only something: the same rules in the same direction.
            let deciders = |old: &Answer, new: &Answer| {
                [old, new].map(|it| (it.outcome(), it.reason.access_rule()))
            };
            let wanted = deciders(&before, &after);
            let is_found = comparison.differences.iter().any(|it| {
                it.view == View::Enforced && deciders(&it.old, &it.new) == wanted
            });
            prop_assert!(is_found, "{question:?} {before:?} {after:?} {comparison:?}");
        }
    }
}
