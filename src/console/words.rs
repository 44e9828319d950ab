//! What policies say, in words that people read.
//!
//! How a rule fares with a request is said by `explain`.

use std::fmt;

use serde_json::{Value, json};

use crate::model::{
    AccessRule, AccessStrategy, Condition, ConditionKey, ConditionValues, JwtAccess, Located,
    Metadata, MutualTlsMode, Operation, Rule, Source,
};

/// More values of one field are counted and not shown.
const MOST_VALUES: usize = 20;

/// Where a resource is written, and what it is called.
pub(super) fn place(kind: &str, metadata: &Metadata) -> Value {
    json!({
        "id": format!("{kind}/{}/{}", metadata.namespace, metadata.name),
        "kind": kind,
        "namespace": &*metadata.namespace,
        "name": &*metadata.name,
        "file": metadata.file.as_deref(),
        "line": metadata.position.line,
    })
}

/// A mode as it is written.
pub(super) fn mode(mode: MutualTlsMode) -> &'static str {
    match mode {
        MutualTlsMode::Unset => "UNSET",
        MutualTlsMode::Disable => "DISABLE",
        MutualTlsMode::Permissive => "PERMISSIVE",
        MutualTlsMode::Strict => "STRICT",
    }
}

/// A rule of an AuthorizationPolicy: lists of alternatives and of conditions.
pub(super) fn rule(number: usize, rule: &Rule) -> Value {
    json!({
        "number": number,
        "line": rule.position.line,
        "from": rule.from.iter().map(source).collect::<Vec<_>>(),
        "to": rule.to.iter().map(operation).collect::<Vec<_>>(),
        "when": rule.when.iter().map(condition).collect::<Vec<_>>(),
    })
}

fn source(source: &Source) -> String {
    let mut all = Phrases::default();
    all.both("principal", &source.principals, &source.not_principals);
    all.both("request principal", &source.request_principals, &source.not_request_principals);
    all.both("namespace", &source.namespaces, &source.not_namespaces);
    all.both("service account", &source.service_accounts, &source.not_service_accounts);
    all.both("trust domain", &source.trust_domains, &source.not_trust_domains);
    all.both("peer address", &source.ip_blocks, &source.not_ip_blocks);
    all.both("client address", &source.remote_ip_blocks, &source.not_remote_ip_blocks);
    all.sentence("any source")
}

fn operation(operation: &Operation) -> String {
    let mut all = Phrases::default();
    all.both("method", &operation.methods, &operation.not_methods);
    all.both("path", &operation.paths, &operation.not_paths);
    all.both("host", &operation.hosts, &operation.not_hosts);
    all.both("port", &operation.ports, &operation.not_ports);
    all.sentence("any operation")
}

fn condition(condition: &Condition) -> String {
    let name = key(&condition.key);
    let mut all = Phrases::default();
    for (verb, values) in [("is", &condition.values), ("is not", &condition.not_values)] {
        match values {
            ConditionValues::IpBlocks(list) => all.one(&name, verb, list),
            ConditionValues::Ports(list) => all.one(&name, verb, list),
            ConditionValues::Patterns(list) => all.one(&name, verb, list),
        }
    }
    all.sentence(&format!("{name} is anything"))
}

/// As it is written in policies.
fn key(key: &ConditionKey) -> String {
    let text = match key {
        ConditionKey::RequestHeader(name) => return format!("request.headers[{name}]"),
        ConditionKey::RequestClaims(path) => {
            let path: String = path.iter().map(|name| format!("[{name}]")).collect();
            return format!("request.auth.claims{path}");
        }
        ConditionKey::EnvoyFilterMetadata { filter, key } => {
            return format!("experimental.{filter}[{key}]");
        }
        ConditionKey::SourceIp => "source.ip",
        ConditionKey::RemoteIp => "remote.ip",
        ConditionKey::SourceNamespace => "source.namespace",
        ConditionKey::SourceServiceAccount => "source.serviceAccount",
        ConditionKey::SourcePrincipal => "source.principal",
        ConditionKey::SourceTrustDomain => "source.trustDomain",
        ConditionKey::RequestPrincipal => "request.auth.principal",
        ConditionKey::RequestAudiences => "request.auth.audiences",
        ConditionKey::RequestPresenter => "request.auth.presenter",
        ConditionKey::DestinationIp => "destination.ip",
        ConditionKey::DestinationPort => "destination.port",
        ConditionKey::ConnectionSni => "connection.sni",
    };
    text.to_owned()
}

#[derive(Debug, Default)]
struct Phrases(Vec<String>);

impl Phrases {
    fn both<T: fmt::Display>(&mut self, name: &str, of: &[Located<T>], not: &[Located<T>]) {
        self.one(name, "is", of);
        self.one(name, "is not", not);
    }

    fn one<T: fmt::Display>(&mut self, name: &str, verb: &str, values: &[Located<T>]) {
        if !values.is_empty() {
            let values: Vec<_> = values.iter().map(|value| value.value.to_string()).collect();
            self.0.push(format!("{name} {verb} {}", any_of(&values)));
        }
    }

    fn sentence(self, without: &str) -> String {
        if self.0.is_empty() { without.to_owned() } else { self.0.join(", and ") }
    }
}

/// `a`, `b` or `c`.
fn any_of(values: &[String]) -> String {
    let mut shown: Vec<_> =
        values.iter().take(MOST_VALUES).map(|value| format!("`{value}`")).collect();
    if let Some(more) = values.len().checked_sub(MOST_VALUES).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    match shown.as_slice() {
        [rest @ .., before, last] if !rest.is_empty() || !before.is_empty() => {
            let mut text: String = rest.iter().map(|value| format!("{value}, ")).collect();
            text.push_str(before);
            text.push_str(" or ");
            text.push_str(last);
            text
        }
        _ => shown.concat(),
    }
}

/// A rule of an APIRule.
pub(super) fn access_rule(number: usize, rule: &AccessRule) -> Value {
    let methods: Vec<_> = rule.methods.iter().map(|method| &method.value).collect();
    json!({
        "number": number,
        "line": rule.position.line,
        "methods": methods,
        "path": rule.path.text(),
        "service": format!("{}/{}:{}", rule.service.namespace, rule.service.name, rule.service.port),
        "strategies": rule.strategies.iter().map(strategy).collect::<Vec<_>>(),
    })
}

fn strategy(strategy: &AccessStrategy) -> String {
    let name = strategy.as_str();
    match strategy {
        AccessStrategy::Allow | AccessStrategy::NoAuth | AccessStrategy::Noop => {
            format!("{name}: whoever asks")
        }
        AccessStrategy::Anonymous => format!("{name}: who brings no credentials"),
        AccessStrategy::Unauthorized => format!("{name}: nobody"),
        AccessStrategy::Jwt(jwt) => format!("{name}: {}", token_of(jwt)),
        AccessStrategy::OathkeeperJwt(jwt) => match jwt.trusted_issuers.as_slice() {
            [] => format!("{name}: a token of any issuer"),
            issuers => format!("{name}: a token of {}", any_of(issuers)),
        },
        AccessStrategy::Introspection(_) => {
            format!("{name}: a token that its introspection endpoint says is active")
        }
        AccessStrategy::ExtAuth { authorizers, restrictions } => {
            let names: Vec<_> =
                authorizers.iter().map(|name| format!("`{}`", name.value)).collect();
            let names = names.join(" and ");
            match restrictions {
                Some(jwt) => format!("{name}: {names} agree, and {}", token_of(jwt)),
                None => format!("{name}: {names} agree"),
            }
        }
    }
}

fn token_of(jwt: &JwtAccess) -> String {
    let issuers: Vec<_> = jwt.authentications.iter().map(|it| it.issuer.clone()).collect();
    let mut text = format!("a token of {}", any_of(&issuers));
    let demands = jwt.authorizations.iter().map(|demand| {
        let mut parts = Vec::new();
        if !demand.required_scopes.is_empty() {
            parts.push(format!("scopes {}", demand.required_scopes.join(" ")));
        }
        if !demand.audiences.is_empty() {
            parts.push(format!("audiences {}", demand.audiences.join(" ")));
        }
        parts.join(" and ")
    });
    let demands: Vec<_> = demands.filter(|demand| !demand.is_empty()).collect();
    if !demands.is_empty() {
        text.push_str(" with ");
        text.push_str(&demands.join(", or "));
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::manifest::{self, Options};
    use crate::model::Resource;

    fn said(spec: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: p, namespace: shop}}\nspec: {{rules: [{spec}]}}"
        );
        let decoded = manifest::decode(&text, None, &Options::default());
        let Some(Resource::AuthorizationPolicy(policy)) = decoded.accepted().next() else {
            panic!("{:?}", decoded.diagnostics)
        };
        let json = rule(0, &policy.rules[0]);
        let list = |name: &str| json[name].as_array().unwrap().clone();
        let all = ["from", "to", "when"].map(list).concat();
        all.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    }

    #[rstest]
    #[case("{}", &[])]
    #[case("{to: [{operation: {methods: [GET], paths: ['/a*', '/b', '/c']}}]}",
        &["method is `GET`, and path is `/a*`, `/b` or `/c`"])]
    #[case("{from: [{source: {notNamespaces: [web]}}, {source: {ipBlocks: [10.0.0.0/8]}}]}",
        &["namespace is not `web`", "peer address is `10.0.0.0/8`"])]
    #[case("{when: [{key: 'request.headers[X-A]', values: ['1', '2'], notValues: ['3']}]}",
        &["request.headers[x-a] is `1` or `2`, and request.headers[x-a] is not `3`"])]
    #[case("{when: [{key: 'request.auth.claims[a][b]', values: [x]}]}",
        &["request.auth.claims[a][b] is `x`"])]
    fn rules_in_words(#[case] spec: &str, #[case] expected: &[&str]) {
        assert_eq!(said(spec), expected);
    }

    #[test]
    fn long_lists_are_counted() {
        let many: Vec<_> = (0..MOST_VALUES + 2).map(|n| n.to_string()).collect();
        assert!(any_of(&many).ends_with("`19` or 2 more"), "{}", any_of(&many));
        assert_eq!(any_of(&many[..2]), "`0` or `1`");
        assert_eq!(any_of(&many[..1]), "`0`");
    }
}
