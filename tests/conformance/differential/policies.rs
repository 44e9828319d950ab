//! Policies of a scenario, valid for Istio's webhook.

use serde_json::{Map, Value, json};

use super::{
    patterns::{cidr, near, pattern},
    random::Chance,
    scenario::Scenario,
};

/// All resources of a set. Half of the sets are about one thing, so that it decides; the others
/// have everything at once.
pub(crate) fn resources(chance: &mut Chance, scenario: &mut Scenario) -> Vec<Value> {
    match chance.below(20) {
        0..9 => one_condition(chance, scenario),
        9..11 => only_tokens(chance, scenario),
        _ => everything(chance, scenario),
    }
}

/// Fields and keys, each a set of its own.
const CONDITIONS: [&str; 54] = [
    "principals",
    "principals",
    "namespaces",
    "serviceAccounts",
    "serviceAccounts",
    "trustDomains",
    "requestPrincipals",
    "requestPrincipals",
    "requestPrincipals",
    "ipBlocks",
    "remoteIpBlocks",
    "paths",
    "paths",
    "paths",
    "paths",
    "hosts",
    "hosts",
    "methods",
    "ports",
    "request.headers[x-a]",
    "request.headers",
    "request.headers",
    "request.headers",
    "request.headers[:path]",
    "request.headers[:authority]",
    "request.headers[authorization]",
    "source.principal",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.ip",
    "remote.ip",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "connection.sni",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.claims[groups]",
    "request.auth.claims[groups]",
    "request.auth.claims[role]",
    "request.auth.claims[scope]",
    "request.auth.claims[permission]",
    "request.auth.claims[custom]",
    "request.auth.claims[o][k]",
    "request.auth.claims[o][l]",
    "request.auth.claims[dot.ted]",
    "request.auth.claims[num]",
    "experimental.envoy.filters.http.x[k]",
    "experimental.envoy.filters.http.x[l]",
    "experimental.envoy.filters.http.x[n]",
    "experimental.envoy.filters.http.x[m]",
    "experimental.envoy.filters.http.x[e]",
];

/// One policy with one rule about one attribute.
fn one_condition(chance: &mut Chance, scenario: &mut Scenario) -> Vec<Value> {
    let mut key = chance.word(&CONDITIONS);
    if key == "request.headers" {
        key = format!("request.headers[{}]", chance.pick(&scenario.headers).0);
    }
    if key.starts_with("experimental") {
        scenario.set_metadata(chance);
    }
    let of_tokens = key.starts_with("request.auth") || key == "requestPrincipals";
    let parts = Parts { scenario, is_custom: false, has_tokens: of_tokens };
    let values = parts.values(chance, &key);
    let more = parts.values(chance, &key);
    let mut map = Map::new();
    let rule = if key.contains('.') {
        map.insert("key".into(), key.clone().into());
        match chance.below(6) {
            0 | 1 => drop(map.insert("notValues".into(), values)),
            2 => {
                map.insert("values".into(), values);
                map.insert("notValues".into(), more);
            }
            _ => drop(map.insert("values".into(), values)),
        }
        json!({ "when": [map] })
    } else {
        match chance.below(6) {
            0 | 1 => drop(map.insert(negative(&key), values)),
            2 => {
                map.insert(key.clone(), values);
                map.insert(negative(&key), more);
            }
            _ => drop(map.insert(key.clone(), values)),
        }
        match key.as_str() {
            "paths" | "hosts" | "methods" | "ports" => json!({"to": [{ "operation": map }]}),
            _ => json!({"from": [{ "source": map }]}),
        }
    };
    let action = chance.word(&["ALLOW", "ALLOW", "DENY", "AUDIT"]);
    let namespace = if chance.percent(80) { "foo" } else { "istio-system" };
    let mut metadata = json!({"name": "one", "namespace": namespace});
    if action != "AUDIT" && chance.percent(10) {
        metadata["annotations"] = json!({"istio.io/dry-run": "true"});
    }
    let mut resources = vec![json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": metadata,
        "spec": {"action": action, "rules": [rule]},
    })];
    if of_tokens {
        let mut rules: Vec<Value> = Vec::new();
        for (issuer, key) in &scenario.issuers {
            if rules.iter().all(|rule| rule["issuer"] != issuer.as_str()) {
                let mut rule = json!({"issuer": issuer, "jwks": format!("${{JWKS:{key}}}")});
                if chance.percent(20) {
                    rule["spaceDelimitedClaims"] = json!([chance.word(&["custom", "role"])]);
                }
                rules.push(rule);
            }
        }
        resources.push(json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "RequestAuthentication",
            "metadata": {"name": "tokens", "namespace": "foo"},
            "spec": {"jwtRules": rules},
        }));
    }
    resources
}

/// Nothing but tokens: what becomes of the request shows it all.
fn only_tokens(chance: &mut Chance, scenario: &Scenario) -> Vec<Value> {
    (0..chance.between(1, 2)).map(|n| request_authentication(chance, scenario, n)).collect()
}

fn everything(chance: &mut Chance, scenario: &Scenario) -> Vec<Value> {
    let mut resources = Vec::new();
    let has_tokens = chance.percent(60);
    if has_tokens {
        for number in 0..chance.between(1, 2) {
            resources.push(request_authentication(chance, scenario, number));
        }
    }
    for number in 0..[1, 2, 3, 4, 5][chance.weighted(&[42, 30, 16, 9, 3])] {
        resources.push(authorization_policy(chance, scenario, number, has_tokens));
    }
    if chance.percent(12) {
        for number in 0..chance.between(1, 2) {
            resources.push(peer_authentication(chance, scenario, number));
        }
    }
    resources
}

fn resource(
    chance: &mut Chance,
    scenario: &Scenario,
    kind: &str,
    name: &str,
    mut spec: Value,
) -> Value {
    match chance.weighted(&[68, 19, 6, 3, 2, 2]) {
        1 => spec["selector"] = json!({"matchLabels": {"app": "httpbin"}}),
        2 => spec["selector"] = json!({"matchLabels": {"app": "httpbin", "version": "v2"}}),
        3 => spec["selector"] = json!({"matchLabels": {"version": "v1"}}),
        4 => spec["selector"] = json!({"matchLabels": {}}),
        5 if kind != "PeerAuthentication" => {
            let name = chance.word(&["gw", "gw2"]);
            spec["targetRefs"] =
                json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}]);
        }
        _ => {}
    }
    let mut metadata = json!({"name": name, "namespace": scenario.namespace(chance)});
    if chance.percent(40) {
        let year = chance.between(2021, 2025);
        metadata["creationTimestamp"] = format!("{year}-03-01T00:00:00Z").into();
    }
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    })
}

fn authorization_policy(
    chance: &mut Chance,
    scenario: &Scenario,
    number: usize,
    has_tokens: bool,
) -> Value {
    let action = ["ALLOW", "DENY", "AUDIT", "CUSTOM"][chance.weighted(&[44, 32, 19, 5])];
    let optional = matches!(action, "ALLOW" | "AUDIT") && chance.percent(6);
    let rules = match (optional, chance.weighted(&[50, 35, 15])) {
        (true, _) => 0,
        (false, more) => more + 1,
    };
    let rules: Vec<_> = (0..rules).map(|_| rule(chance, scenario, action, has_tokens)).collect();
    let mut spec = json!({ "rules": rules });
    if action != "ALLOW" || chance.percent(50) {
        spec["action"] = action.into();
    }
    if action == "CUSTOM" {
        spec["provider"] = json!({"name": chance.word(&["opa", "own"])});
    }
    // Names are not in the order of age.
    let name = format!("{}{number}", chance.pick(&["a", "m", "z"]));
    let mut policy = resource(chance, scenario, "AuthorizationPolicy", &name, spec);
    // Istio takes the annotation on these two only.
    if matches!(action, "ALLOW" | "DENY") && chance.percent(22) {
        let value = chance.word(&["true", "true", "true", "false"]);
        policy["metadata"]["annotations"] = json!({"istio.io/dry-run": value});
    }
    policy
}

fn rule(chance: &mut Chance, scenario: &Scenario, action: &str, has_tokens: bool) -> Value {
    let mut rule = Map::new();
    if chance.percent(4) {
        return Value::Object(rule);
    }
    let parts = Parts { scenario, is_custom: action == "CUSTOM", has_tokens };
    let wanted = [chance.percent(50), chance.percent(55), chance.percent(40)];
    let how_many = |chance: &mut Chance| 1 + chance.weighted(&[75, 20, 5]);
    if wanted[0] {
        let entries = how_many(chance);
        let from: Vec<_> = (0..entries).map(|_| json!({"source": parts.source(chance)})).collect();
        rule.insert("from".into(), from.into());
    }
    if wanted[1] || wanted == [false; 3] {
        let entries = how_many(chance);
        let to: Vec<_> =
            (0..entries).map(|_| json!({"operation": parts.operation(chance)})).collect();
        rule.insert("to".into(), to.into());
    }
    if wanted[2] {
        let entries = how_many(chance);
        let when: Vec<_> = (0..entries).map(|_| parts.condition(chance)).collect();
        rule.insert("when".into(), when.into());
    }
    Value::Object(rule)
}

struct Parts<'s> {
    scenario: &'s Scenario,
    is_custom: bool,
    has_tokens: bool,
}

impl Parts<'_> {
    fn source(&self, chance: &mut Chance) -> Value {
        let mut source = Map::new();
        while source.is_empty() {
            for _ in 0..[1, 2, 3][chance.weighted(&[70, 25, 5])] {
                let identity = if self.is_custom { 0 } else { 14 };
                let token = if self.is_custom || !self.has_tokens { 1 } else { 18 };
                let token = if self.is_custom { 0 } else { token };
                let at = chance.weighted(&[
                    identity,
                    identity * 3 / 4,
                    identity * 3 / 4,
                    identity / 2,
                    token,
                    12,
                    12,
                ]);
                let fields = [
                    "principals",
                    "namespaces",
                    "serviceAccounts",
                    "trustDomains",
                    "requestPrincipals",
                    "ipBlocks",
                    "remoteIpBlocks",
                ];
                let field = fields[at];
                let has =
                    |name: &str| source.contains_key(name) || source.contains_key(&negative(name));
                // Istio takes them only alone.
                let conflicts = match field {
                    "serviceAccounts" => has("principals") || has("namespaces"),
                    "principals" | "namespaces" => has("serviceAccounts"),
                    _ => false,
                };
                if !conflicts {
                    let values = self.values(chance, field);
                    insert(chance, &mut source, field, values);
                }
            }
        }
        Value::Object(source)
    }

    fn operation(&self, chance: &mut Chance) -> Value {
        let mut operation = Map::new();
        for _ in 0..[1, 2, 3][chance.weighted(&[65, 28, 7])] {
            let field = ["paths", "hosts", "methods", "ports"][chance.weighted(&[45, 20, 20, 15])];
            let values = self.values(chance, field);
            insert(chance, &mut operation, field, values);
        }
        Value::Object(operation)
    }

    fn condition(&self, chance: &mut Chance) -> Value {
        let (identity, token) = match (self.is_custom, self.has_tokens) {
            (true, _) => (0, 0),
            (false, true) => (5, 16),
            (false, false) => (4, 1),
        };
        let metadata = if self.scenario.workload.listener.metadata.is_empty() { 1 } else { 40 };
        let at = chance.weighted(&[
            22,
            identity,
            identity,
            identity / 2,
            identity / 2,
            5,
            5,
            5,
            6,
            7,
            token / 2,
            token / 3,
            token / 4,
            2 * token,
            metadata,
        ]);
        let key = match at {
            0 => {
                let name = match chance.below(14) {
                    12 => ":scheme".to_owned(),
                    13 => "content-length".to_owned(),
                    0 => ":path".to_owned(),
                    1 => ":authority".to_owned(),
                    2 => "host".to_owned(),
                    3 => ":method".to_owned(),
                    4 => "authorization".to_owned(),
                    _ => chance.pick(&self.scenario.headers).0.clone(),
                };
                format!("request.headers[{name}]")
            }
            13 => {
                let name = chance.word(&[
                    "[groups]",
                    "[groups]",
                    "[role]",
                    "[scope]",
                    "[scope]",
                    "[permission]",
                    "[custom]",
                    "[o][k]",
                    "[o][l]",
                    "[dot.ted]",
                    "[iss]",
                    "[num]",
                    "[flag]",
                    "[o]",
                ]);
                format!("request.auth.claims{name}")
            }
            14 => {
                let name = chance.word(&["k", "l", "n", "b", "o", "e", "m", "absent"]);
                let filter = chance.word(&["http.x", "http.x", "http.x", "x"]);
                format!("experimental.envoy.filters.{filter}[{name}]")
            }
            _ => [
                "",
                "source.principal",
                "source.namespace",
                "source.serviceAccount",
                "source.trustDomain",
                "source.ip",
                "remote.ip",
                "destination.ip",
                "destination.port",
                "connection.sni",
                "request.auth.principal",
                "request.auth.audiences",
                "request.auth.presenter",
            ][at]
                .to_owned(),
        };
        let mut condition = Map::new();
        let values = self.values(chance, &key);
        match chance.weighted(&[65, 25, 10]) {
            0 => drop(condition.insert("values".into(), values)),
            1 => drop(condition.insert("notValues".into(), values)),
            _ => {
                condition.insert("values".into(), values);
                let more = self.values(chance, &key);
                condition.insert("notValues".into(), more);
            }
        }
        condition.insert("key".into(), key.into());
        Value::Object(condition)
    }

    fn values(&self, chance: &mut Chance, key: &str) -> Value {
        let number = 1 + chance.weighted(&[60, 30, 10]);
        let mut values = Vec::new();
        while values.len() < number {
            let value = self.value(chance, key);
            if !value.is_empty() {
                values.push(Value::String(value));
            }
        }
        values.into()
    }

    fn value(&self, chance: &mut Chance, key: &str) -> String {
        let s = self.scenario;
        let identity = chance.pick(&s.identities).clone();
        let part = |at: usize| identity.split('/').nth(at).unwrap_or_default().to_owned();
        match key {
            "principals" | "source.principal" => match chance.below(14) {
                0 => format!("spiffe://{identity}"),
                1 => chance.word(&["a.example.com", "CN=me", "me"]),
                2 => format!("*-td/{}", identity.split_once('/').unwrap_or_default().1),
                3 => format!("*/{}", identity.split_once('/').unwrap_or_default().1),
                4 | 5 => {
                    let domain = s.known_trust_domain(chance);
                    format!("{domain}/{}", identity.split_once('/').unwrap_or_default().1)
                }
                _ => pattern(chance, &identity),
            },
            "namespaces" | "source.namespace" => pattern(chance, &part(2)),
            "serviceAccounts" | "source.serviceAccount" => {
                let name = if chance.percent(25) { near(chance, &part(4)) } else { part(4) };
                let namespace = if chance.percent(15) { near(chance, &part(2)) } else { part(2) };
                let account = if chance.percent(40) { name } else { format!("{namespace}/{name}") };
                let is_plain = !account.contains('*') && account.matches('/').count() < 2;
                if is_plain { account } else { "sleep".into() }
            }
            "trustDomains" | "source.trustDomain" if chance.percent(15) => {
                s.known_trust_domain(chance)
            }
            "trustDomains" | "source.trustDomain" => {
                let domain = pattern(chance, &part(0));
                let inner = domain.trim_matches('*');
                let stars = domain.matches('*').count();
                if inner.contains('*') || stars > 1 || domain.contains('/') {
                    part(0)
                } else {
                    domain
                }
            }
            "requestPrincipals" | "request.auth.principal" => {
                let issuer = chance.pick(&s.issuers).0.clone();
                let subject = chance.pick(&s.subjects).clone();
                match chance.below(8) {
                    0 => "*".into(),
                    1 => format!("{issuer}/*"),
                    2 => format!("*/{subject}"),
                    3 => issuer,
                    _ => pattern(chance, &format!("{issuer}/{subject}")),
                }
            }
            "ipBlocks" | "source.ip" => {
                let address = *chance.pick(&s.sources);
                cidr(chance, address)
            }
            "remoteIpBlocks" | "remote.ip" => {
                let list = if chance.percent(80) { &s.clients } else { &s.sources };
                let address = *chance.pick(list);
                cidr(chance, address)
            }
            "destination.ip" => {
                let address = *chance.pick(&s.destinations);
                cidr(chance, address)
            }
            "ports" | "destination.port" => {
                let port = *chance.pick(&s.ports);
                if chance.percent(80) { port } else { port - 1 }.to_string()
            }
            "hosts" => {
                let host = chance.pick(&s.hosts).clone();
                pattern(chance, &host)
            }
            "methods" => {
                let method = chance.pick(&s.methods).clone();
                pattern(chance, &method)
            }
            "paths" => {
                let path = chance.pick(&s.paths).clone();
                if chance.percent(30) {
                    template(chance, &path)
                } else {
                    without_braces(pattern(chance, &path))
                }
            }
            "connection.sni" => {
                let name = chance.pick(&s.server_names).clone();
                pattern(chance, &name)
            }
            "request.auth.audiences" => {
                let audience = chance.pick(&s.audiences).clone();
                pattern(chance, &audience)
            }
            "request.auth.presenter" => pattern(chance, "client"),
            "request.headers[:path]" => {
                let path = chance.pick(&s.paths).clone();
                pattern(chance, &path)
            }
            "request.headers[:scheme]" => chance.word(&["http", "https", "*", "http*"]),
            "request.headers[content-length]" => chance.word(&["9", "*", "0"]),
            "request.headers[:authority]" | "request.headers[host]" => {
                let host = chance.pick(&s.hosts).clone();
                pattern(chance, &host)
            }
            "request.headers[:method]" => {
                let method = chance.pick(&s.methods).clone();
                pattern(chance, &method)
            }
            _ if key.starts_with("request.auth.claims") => {
                let value = match key {
                    "request.auth.claims[iss]" => chance.pick(&s.issuers).0.clone(),
                    "request.auth.claims[num]" => "5".into(),
                    "request.auth.claims[flag]" => "true".into(),
                    _ => chance.pick(&s.claim_values).clone(),
                };
                pattern(chance, &value)
            }
            _ if key.starts_with("experimental.") => {
                let held = s.workload.listener.metadata.values().next();
                let value = match key.rsplit('[').next() {
                    Some("n]") => "5",
                    Some("b]") => "true",
                    Some("m]") if chance.percent(50) => "1",
                    _ => held.and_then(|fields| fields["k"].as_str()).unwrap_or("gold"),
                };
                let value = value.to_owned();
                let value = pattern(chance, &value);
                if chance.percent(35) { format!("[{value}]") } else { value }
            }
            _ => {
                let lines =
                    s.headers.iter().find(|(name, _)| key == format!("request.headers[{name}]"));
                let value = lines.map_or_else(
                    || "Bearer x".to_owned(),
                    |(_, values)| chance.pick(values).clone(),
                );
                pattern(chance, &value)
            }
        }
    }
}

fn negative(field: &str) -> String {
    format!("not{}{}", field[..1].to_uppercase(), &field[1..])
}

fn insert(chance: &mut Chance, map: &mut Map<String, Value>, field: &str, values: Value) {
    let name = if chance.percent(30) { negative(field) } else { field.to_owned() };
    map.insert(name, values);
}

/// Some segments as operators; the last may take all that is left.
fn template(chance: &mut Chance, path: &str) -> String {
    let literal = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@=".contains(c);
    let mut segments: Vec<String> = path
        .split('/')
        .filter(|s| !s.is_empty() && s.chars().all(literal))
        .map(str::to_owned)
        .collect();
    if segments.is_empty() {
        segments.push("a".into());
    }
    let at = chance.below(segments.len());
    segments[at] = "{*}".into();
    if chance.percent(40) {
        let at = chance.below(segments.len());
        segments[at] = "{**}".into();
        if chance.percent(60) {
            segments.truncate(at + 1);
        } else {
            // Only literals may follow.
            for segment in &mut segments[at + 1..] {
                if segment == "{*}" {
                    *segment = "a".into();
                }
            }
        }
    }
    format!("/{}{}", segments.join("/"), if chance.percent(8) { "/" } else { "" })
}

fn without_braces(path: String) -> String {
    if path.contains(['{', '}']) { "/a".into() } else { path }
}

fn request_authentication(chance: &mut Chance, scenario: &Scenario, number: usize) -> Value {
    let rules: Vec<_> =
        (0..1 + chance.weighted(&[60, 30, 10])).map(|_| jwt_rule(chance, scenario)).collect();
    let spec = json!({ "jwtRules": rules });
    resource(chance, scenario, "RequestAuthentication", &format!("tokens{number}"), spec)
}

/// Headers that tokens and their outputs may be in.
pub(crate) const TOKEN_HEADERS: [&str; 4] = ["x-jwt", "x-token", "authorization", "X-Assertion"];
pub(crate) const TOKEN_PARAMS: [&str; 3] = ["access_token", "token", "jwt"];
pub(crate) const TOKEN_COOKIES: [&str; 2] = ["session", "auth"];
pub(crate) const OUTPUT_HEADERS: [&str; 11] = [
    "x-claim",
    "x-payload",
    "x-sub",
    "x-role",
    "X-Claim",
    "x-a",
    "x-jwt",
    "authorization",
    "cookie",
    "user-agent",
    "x-forwarded-for",
];

fn jwt_rule(chance: &mut Chance, scenario: &Scenario) -> Value {
    let (issuer, key) = chance.pick(&scenario.issuers).clone();
    let keys = match chance.below(12) {
        0 => format!("{key}/nokid"),
        1 => format!("rsa2,{key}"),
        2 => format!("{key}/kid=other,{key}"),
        3 => format!("{key},ec256b/kid={key}"),
        4 => format!("ed1/nokid,{key}"),
        5 if key == "rsa1" => format!("rsa1/alg={}", chance.pick(&["RS256", "PS256", "RS512"])),
        6 if key == "ec256a" => "ec256a/alg=ES256/use=enc".into(),
        _ => key,
    };
    let mut rule = json!({"issuer": issuer, "jwks": format!("${{JWKS:{keys}}}")});
    if chance.percent(25) {
        rule["audiences"] = (0..chance.between(1, 2))
            .map(|_| Value::from(chance.pick(&scenario.audiences).clone()))
            .collect();
    }
    if chance.percent(35) {
        rule["forwardOriginalToken"] = true.into();
    }
    if chance.percent(30) {
        rule["fromHeaders"] = (0..chance.between(1, 2))
            .map(|_| {
                if chance.percent(8) {
                    return json!({"name": "cookie", "prefix": "session="});
                }
                if chance.percent(3) {
                    return json!({"name": chance.word(&["host", ":path", ":authority", ":method"])});
                }
                let mut header = json!({"name": chance.word(&TOKEN_HEADERS)});
                if chance.percent(50) {
                    header["prefix"] =
                        chance.word(&["Bearer ", "JWT ", "Token=", "", "Bearer", " "]).into();
                }
                header
            })
            .collect();
    }
    if chance.percent(15) {
        rule["fromParams"] =
            (0..chance.between(1, 2)).map(|_| Value::from(chance.word(&TOKEN_PARAMS))).collect();
    }
    if chance.percent(15) {
        rule["fromCookies"] =
            (0..chance.between(1, 2)).map(|_| Value::from(chance.word(&TOKEN_COOKIES))).collect();
    }
    if chance.percent(15) {
        rule["outputPayloadToHeader"] = chance.word(&OUTPUT_HEADERS).into();
    }
    if chance.percent(25) {
        rule["outputClaimToHeaders"] = (0..chance.between(1, 3))
            .map(|_| {
                let claim = chance.word(&[
                    "sub", "groups", "role", "scope", "o.k", "o", "num", "flag", "float",
                    "nothing", "absent", "o.l", "dot.ted", "aud", "exp", "large", "minus",
                    "custom",
                ]);
                json!({"header": chance.word(&OUTPUT_HEADERS), "claim": claim})
            })
            .collect();
    }
    if chance.percent(10) {
        rule["spaceDelimitedClaims"] = json!([chance.word(&["custom", "role", "groups"])]);
    }
    rule
}

fn peer_authentication(chance: &mut Chance, scenario: &Scenario, number: usize) -> Value {
    let mode = |chance: &mut Chance| {
        ["PERMISSIVE", "STRICT", "DISABLE", "UNSET"][chance.weighted(&[30, 45, 8, 17])]
    };
    let mut spec = json!({"mtls": {"mode": mode(chance)}});
    let with_ports = chance.percent(30);
    if with_ports {
        let mut ports = Map::new();
        for _ in 0..chance.between(1, 2) {
            let port = chance.pick(&scenario.ports).to_string();
            ports.insert(port, json!({"mode": mode(chance)}));
        }
        spec["portLevelMtls"] = ports.into();
    }
    let name = format!("peer{number}");
    let mut resource = resource(chance, scenario, "PeerAuthentication", &name, spec);
    let selects_none =
        |spec: &Value| spec["selector"]["matchLabels"].as_object().is_none_or(Map::is_empty);
    if with_ports && selects_none(&resource["spec"]) {
        resource["spec"]["selector"] = json!({"matchLabels": {"app": "httpbin"}});
    }
    resource
}
