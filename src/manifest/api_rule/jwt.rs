//! `authentications` and `authorizations`: the `jwt` of Istio's form.
//!
//! Which form is meant is for `strategies` to tell.

use super::super::{
    codes,
    cursor::{At, Fields, list, string},
    node::Content,
    problem::{Problem, Report},
    text::quoted,
};
use super::ApiRuleOptions;
use crate::model::{JwtAccess, JwtAuthentication, JwtAuthorization, JwtHeader};

/// What Kyma's documentation says of a header without `prefix`.
const DEFAULT_PREFIX: &str = "Bearer ";

/// Reads both lists out of an open config; `at` is the config.
pub(super) fn decode(
    fields: &mut Fields<'_, '_, '_>,
    at: &At<'_>,
    options: &ApiRuleOptions,
) -> JwtAccess {
    let listed = fields.optional("authentications");
    let authentications = listed.as_ref().map_or_else(Vec::new, |at| {
        list(at, fields.report, |at, report| Some(authentication(at, report)))
    });
    if listed.as_ref().is_none_or(|at| at.node.items().is_empty()) {
        fields.report.add(
            Problem::error(
                codes::BAD_JWT_ACCESS,
                listed.as_ref().unwrap_or(at),
                "Authentications are required when using JWT access handler",
            )
            .help("name an issuer and its keys: `authentications: [{issuer: .., jwksUri: ..}]`"),
        );
    }
    let authorizations = fields.optional("authorizations").map(|at| {
        let none = matches!(&at.node.content, Content::Sequence(items) if items.is_empty());
        if none {
            empty(
                &at,
                "value is empty",
                "write an authorization, or remove the field",
                fields.report,
            );
        }
        list(&at, fields.report, authorization)
    });
    JwtAccess {
        authentications,
        authorizations: authorizations.unwrap_or_default(),
        strict_scopes: options.strict_scopes,
    }
}

fn authentication(at: &At<'_>, report: &mut Report<'_>) -> JwtAuthentication {
    let mut fields = Fields::open(at, report);
    let issuer = checked(&mut fields, at, "issuer", |text| {
        !text.is_empty() && (!text.contains(':') || is_uri(text))
    });
    let jwks_uri = checked(&mut fields, at, "jwksUri", is_uri);
    if let Some(uri) = fields.node_of("jwksUri").filter(|_| is_uri(&jwks_uri)) {
        fetched(&uri, &jwks_uri, fields.report);
    }
    let headers = fields.optional("fromHeaders");
    let from_headers = headers
        .as_ref()
        .map_or_else(Vec::new, |at| list(at, fields.report, |at, report| Some(header(at, report))));
    let (params, alias) = (fields.optional("fromParams"), fields.optional("fromParameters"));
    if let Some(alias) = &alias {
        let message = "`fromParameters` is read as `fromParams`";
        fields.report.add(
            Problem::warning(codes::FROM_PARAMETERS, alias, message)
                .help("write `fromParams`: Kyma itself knows no other name"),
        );
        if params.is_some() {
            let message = "only one of `fromParams` and `fromParameters` can be set";
            let problem = Problem::error(codes::BAD_JWT_ACCESS, alias, message);
            fields.report.add(problem.help("remove `fromParameters`"));
        }
    }
    let params = params.or(alias);
    let from_params = params.as_ref().map_or_else(Vec::new, |at| list(at, fields.report, param));
    if let (Some(at), true) = (&headers, from_headers.len() > 1) {
        single(at, "multiple fromHeaders are not supported", fields.report);
    }
    if let (Some(at), true) = (&params, from_params.len() > 1) {
        single(at, "multiple fromParams are not supported", fields.report);
    }
    if let (Some(at), false, false) = (&params, from_headers.is_empty(), from_params.is_empty()) {
        let message = "mixture of multiple fromHeaders and fromParams is not supported";
        single(at, message, fields.report);
    }
    fields.close();
    JwtAuthentication { issuer, jwks_uri, from_headers, from_params, position: at.node.position }
}

fn single(at: &At<'_>, message: &str, report: &mut Report<'_>) {
    report
        .add(Problem::error(codes::BAD_JWT_ACCESS, at, message).help(
            "the tokens of an issuer are in one header or in one parameter: name that alone",
        ));
}

fn header(at: &At<'_>, report: &mut Report<'_>) -> JwtHeader {
    let mut fields = Fields::open(at, report);
    let name = fields.required("name").and_then(|at| {
        let text = string(&at, fields.report)?.to_ascii_lowercase();
        if http::HeaderName::try_from(text.as_str()).is_err() {
            let message = format!("{} is not a usable header name", quoted(&text));
            fields.report.add(
                Problem::error(codes::BAD_HEADER_NAME, &at, message)
                    .help("write a name such as `x-jwt-assertion`"),
            );
        }
        Some(text)
    });
    let prefix = fields.string("prefix").unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
    fields.close();
    JwtHeader { name: name.unwrap_or_default(), prefix }
}

fn param(at: &At<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = string(at, report)?;
    if text.is_empty() {
        let problem = Problem::error(codes::EMPTY_VALUE, at, "an empty string in `fromParams`");
        report.add(problem.help("write the name of a query parameter"));
    }
    Some(text)
}

fn authorization(at: &At<'_>, report: &mut Report<'_>) -> Option<JwtAuthorization> {
    if at.node.content == Content::Null {
        let help = "write `requiredScopes`, `audiences` or both, or remove the entry";
        empty(at, "authorization is empty", help, report);
        return None;
    }
    let mut fields = Fields::open(at, report);
    let found = JwtAuthorization {
        required_scopes: demanded(&mut fields, "requiredScopes", "scope value is empty"),
        audiences: demanded(&mut fields, "audiences", "audience value is empty"),
    };
    fields.close();
    Some(found)
}

/// A list that has entries where it is there, none of them empty.
fn demanded(fields: &mut Fields<'_, '_, '_>, name: &'static str, if_empty: &str) -> Vec<String> {
    let Some(at) = fields.optional(name) else { return Vec::new() };
    if matches!(&at.node.content, Content::Sequence(items) if items.is_empty()) {
        empty(&at, "value is empty", "write a value, or remove the field", fields.report);
    }
    list(&at, fields.report, |at, report| {
        let text = string(at, report)?;
        if text.is_empty() {
            empty(at, if_empty, "write a value, or remove the entry", report);
        }
        Some(text)
    })
}

fn empty(at: &At<'_>, message: &str, help: &str, report: &mut Report<'_>) {
    report.add(Problem::error(codes::BAD_JWT_ACCESS, at, message).help(help));
}

/// A text that Kyma takes.
fn checked(
    fields: &mut Fields<'_, '_, '_>,
    authentication: &At<'_>,
    name: &'static str,
    is_good: impl Fn(&str) -> bool,
) -> String {
    let at = fields.optional(name);
    let text = match &at {
        None => Some(String::new()),
        Some(at) => string(at, fields.report),
    };
    let Some(text) = text else { return String::new() };
    if !is_good(&text) {
        let place = at.as_ref().map_or_else(|| authentication.absent(name), Into::into);
        fields.report.add(
            Problem::error(codes::BAD_JWT_ACCESS, place, "value is empty or not a valid uri")
                .help(format!("write a URL such as `https://example.com`: `{name}: https://..`")),
        );
    }
    text
}

/// What Go takes as a request URI: one with a scheme, or an absolute path.
pub(super) fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|c| c.is_control() || c == ' ') {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme && (!rest.starts_with("//") || text.parse::<http::Uri>().is_ok())
}

/// Keys come by HTTP, whatever else a URI can say.
pub(super) fn fetched(at: &At<'_>, text: &str, report: &mut Report<'_>) {
    let wrong = match text.parse::<http::Uri>() {
        Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
            "its scheme is neither `http` nor `https`"
        }
        Ok(uri) if uri.host().is_none_or(str::is_empty) => "it names no host",
        Ok(_) => return,
        Err(_) => "it is not a URL",
    };
    let message = format!("{} cannot be fetched: {wrong}", quoted(text));
    report.add(
        Problem::error(codes::BAD_URL, at, message)
            .help("write a URL such as `https://example.com/.well-known/jwks.json`"),
    );
}
