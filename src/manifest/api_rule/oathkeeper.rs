//! The configs of Oathkeeper's `jwt` and `oauth2_introspection`.
//!
//! Where Kyma configures Oathkeeper for all of a cluster, its values are the defaults here.

use std::time::Duration;

use super::super::{
    authentication::duration,
    codes,
    cursor::{At, Fields, list, number, one_of, string},
    metadata::string_map,
    problem::{Problem, Report},
    text::quoted,
};
use super::jwt::{fetched, is_uri};
use crate::model::{
    AccessStrategy, IntrospectionAccess, OathkeeperJwt, PreAuthorization, ScopeMatching, TokenFrom,
};

/// The fields by which Oathkeeper's form of `jwt` is told.
pub(super) const JWT_FIELDS: [&str; 9] = [
    "jwks_urls",
    "required_scope",
    "trusted_issuers",
    "target_audience",
    "scope_strategy",
    "allowed_algorithms",
    "token_from",
    "jwks_max_wait",
    "jwks_ttl",
];

const SCOPE_STRATEGIES: [(&str, ScopeMatching); 4] = [
    ("exact", ScopeMatching::Exact),
    ("hierarchic", ScopeMatching::Hierarchic),
    ("wildcard", ScopeMatching::Wildcard),
    ("none", ScopeMatching::None),
];

const ALGORITHMS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "HS256",
    "HS384", "HS512",
];

/// Oathkeeper's own, for a retry.
const GIVE_UP_AFTER: Duration = Duration::from_secs(1);

/// The config of `jwt`.
pub(super) fn jwt(at: &At<'_>, report: &mut Report<'_>) -> OathkeeperJwt {
    let mut fields = Fields::open(at, report);
    let urls = fields.optional("jwks_urls");
    let jwks_urls = urls.as_ref().map_or_else(Vec::new, |at| list(at, fields.report, url));
    if urls.as_ref().is_none_or(|at| at.node.items().is_empty()) {
        let place = urls.as_ref().map_or_else(|| at.absent("jwks_urls"), Into::into);
        let message = "`jwks_urls` names at least one key set";
        let problem = Problem::error(codes::MISSING_FIELD, place, message);
        fields.report.add(problem.help("write `jwks_urls: [\"https://example.com/keys\"]`"));
    }
    let trusted_issuers = fields.list("trusted_issuers", issuer);
    let target_audience = fields.strings("target_audience");
    let required_scope = fields.strings("required_scope");
    let scope_strategy = scope_strategy(&mut fields, ScopeMatching::Wildcard);
    let words = ALGORITHMS.map(|name| (name, name));
    let algorithms = fields.optional("allowed_algorithms");
    let allowed_algorithms = algorithms.as_ref().map_or_else(
        || vec!["RS256".to_owned()],
        |at| list(at, fields.report, |at, report| one_of(at, &words, report).map(str::to_owned)),
    );
    if let Some(at) = algorithms.filter(|at| at.node.items().is_empty()) {
        let problem = Problem::error(codes::MISSING_FIELD, &at, "no algorithm is allowed");
        fields.report.add(problem.help("name some, or remove the field: RS256 is the default"));
    }
    if scope_strategy == ScopeMatching::None
        && let (false, Some(at)) = (required_scope.is_empty(), fields.node_of("required_scope"))
    {
        let message = "`required_scope` cannot be checked with `scope_strategy: none`";
        let problem = Problem::error(codes::HANDLER_CONFIG, &at, message);
        fields.report.add(problem.help("write `exact`, `hierarchic` or `wildcard`"));
    }
    let token_from = token_from(&mut fields);
    for name in ["jwks_max_wait", "jwks_ttl"] {
        if let Some(at) = fields.optional(name) {
            duration(&at, fields.report);
        }
    }
    fields.close();
    OathkeeperJwt {
        jwks_urls,
        trusted_issuers,
        target_audience,
        required_scope,
        scope_strategy,
        allowed_algorithms,
        token_from,
        position: at.node.position,
    }
}

/// The config of `oauth2_introspection`, which may be left out.
pub(super) fn introspection(
    config: Option<&At<'_>>,
    strategy: &At<'_>,
    report: &mut Report<'_>,
) -> AccessStrategy {
    let mut access = IntrospectionAccess {
        introspection_url: None,
        required_scope: Vec::new(),
        scope_strategy: ScopeMatching::Exact,
        target_audience: Vec::new(),
        trusted_issuers: Vec::new(),
        pre_authorization: None,
        token_from: TokenFrom::Bearer,
        prefix: String::new(),
        request_headers: std::collections::BTreeMap::new(),
        preserve_host: false,
        give_up_after: GIVE_UP_AFTER,
        cache_ttl: None,
        position: config.unwrap_or(strategy).node.position,
    };
    let Some(at) = config else { return AccessStrategy::Introspection(Box::new(access)) };
    let mut fields = Fields::open(at, report);
    let address = fields.optional("introspection_url");
    access.introspection_url = address.and_then(|at| url(&at, fields.report));
    access.required_scope = fields.strings("required_scope");
    access.scope_strategy = scope_strategy(&mut fields, ScopeMatching::Exact);
    access.target_audience = fields.strings("target_audience");
    access.trusted_issuers = fields.strings("trusted_issuers");
    let before = fields.optional("pre_authorization");
    access.pre_authorization = before.and_then(|at| pre_authorization(&at, fields.report));
    access.token_from = token_from(&mut fields);
    access.prefix = fields.string("prefix").unwrap_or_default();
    if let Some(at) = fields.optional("introspection_request_headers") {
        access.request_headers = request_headers(&at, fields.report);
    }
    access.preserve_host = fields.boolean("preserve_host");
    if let Some(at) = fields.optional("retry") {
        access.give_up_after = retry(&at, fields.report).unwrap_or(GIVE_UP_AFTER);
    }
    if let Some(at) = fields.optional("cache") {
        access.cache_ttl = cache(&at, fields.report);
    }
    fields.close();
    AccessStrategy::Introspection(Box::new(access))
}

fn scope_strategy(fields: &mut Fields<'_, '_, '_>, default: ScopeMatching) -> ScopeMatching {
    let at = fields.optional("scope_strategy");
    at.and_then(|at| one_of(&at, &SCOPE_STRATEGIES, fields.report)).unwrap_or(default)
}

fn url(at: &At<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = string(at, report)?;
    fetched(at, &text, report);
    Some(text)
}

fn issuer(at: &At<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = string(at, report)?;
    if text.is_empty() || (text.contains(':') && !is_uri(&text)) {
        let message = "value is empty or not a valid uri";
        let problem = Problem::error(codes::BAD_JWT_ACCESS, at, message);
        report.add(problem.help("write the `iss` claim of the tokens"));
    }
    Some(text)
}

fn token_from(fields: &mut Fields<'_, '_, '_>) -> TokenFrom {
    let Some(at) = fields.optional("token_from") else { return TokenFrom::Bearer };
    let mut from = Fields::open(&at, fields.report);
    let mut places = Vec::new();
    for name in ["header", "query_parameter", "cookie"] {
        let Some(at) = from.optional(name) else { continue };
        let Some(text) = string(&at, from.report) else { continue };
        if text.is_empty() {
            from.report.add(Problem::error(codes::EMPTY_VALUE, &at, format!("`{name}` is empty")));
        }
        places.push(match name {
            // As without `token_from`: the scheme is taken off.
            "header" if text.eq_ignore_ascii_case("authorization") => TokenFrom::Bearer,
            "header" => TokenFrom::Header(text.to_ascii_lowercase()),
            "query_parameter" => TokenFrom::QueryParameter(text),
            _ => TokenFrom::Cookie(text),
        });
    }
    if places.len() != 1 {
        let message = "`token_from` has exactly one of `header`, `query_parameter` and `cookie`";
        from.report.add(
            Problem::error(codes::HANDLER_CONFIG, &at, message)
                .help("a token is in one place: name that alone"),
        );
    }
    from.close();
    places.into_iter().next().unwrap_or_default()
}

fn pre_authorization(at: &At<'_>, report: &mut Report<'_>) -> Option<PreAuthorization> {
    let mut fields = Fields::open(at, report);
    let is_enabled = fields.boolean("enabled");
    let token_url = fields.optional("token_url").and_then(|at| url(&at, fields.report));
    let found = PreAuthorization {
        token_url: token_url.unwrap_or_default(),
        client_id: fields.string("client_id").unwrap_or_default(),
        client_secret: fields.string("client_secret").unwrap_or_default(),
        scope: fields.strings("scope"),
        audience: fields.string("audience").unwrap_or_default(),
    };
    let needed = [
        ("token_url", &found.token_url),
        ("client_id", &found.client_id),
        ("client_secret", &found.client_secret),
    ];
    for (name, _) in needed.iter().filter(|(_, value)| is_enabled && value.is_empty()) {
        let message = format!("`{name}` is missing");
        let problem = Problem::error(codes::MISSING_FIELD, at.absent(name), message);
        fields.report.add(problem.help("write it, or `enabled: false`"));
    }
    fields.close();
    is_enabled.then_some(found)
}

fn request_headers(
    at: &At<'_>,
    report: &mut Report<'_>,
) -> std::collections::BTreeMap<String, String> {
    let headers = string_map(at, report);
    for (entry, at) in at.entries() {
        let is_name = http::HeaderName::try_from(entry.key.as_str()).is_ok();
        let is_value = at.str().is_none_or(|text| http::HeaderValue::try_from(text).is_ok());
        if !is_name || !is_value {
            // Never the value, which may be a password.
            let message = format!("{} cannot be sent as a header", quoted(&entry.key));
            report.add(
                Problem::error(codes::BAD_HEADER_NAME, entry_spot(entry, &at), message)
                    .help("a name of letters, digits and `-`, a value without line breaks"),
            );
        }
    }
    headers
}

fn entry_spot(entry: &super::super::node::Entry, at: &At<'_>) -> super::super::problem::Spot {
    super::super::problem::Spot {
        position: entry.key_position,
        width: entry.key_width,
        path: at.path.to_string(),
    }
}

fn retry(at: &At<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let mut fields = Fields::open(at, report);
    let give_up_after =
        fields.optional("give_up_after").and_then(|at| duration(&at, fields.report));
    if let Some(at) = fields.optional("max_delay") {
        duration(&at, fields.report);
    }
    fields.close();
    give_up_after
}

fn cache(at: &At<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let mut fields = Fields::open(at, report);
    let is_enabled = fields.boolean("enabled");
    let ttl = fields.optional("ttl").and_then(|at| duration(&at, fields.report));
    if let Some(at) = fields.optional("max_cost") {
        number(&at, fields.report);
    }
    fields.close();
    // Without one, an answer holds as long as its token.
    is_enabled.then(|| ttl.unwrap_or(Duration::MAX))
}
