//! `accessStrategies`: who may call, and which of them can stand beside each other.
//!
//! The configs of `jwt` and `oauth2_introspection` are read beside this.

use super::super::{
    codes,
    cursor::{At, Fields, list, string, wrong_type},
    node::Content,
    problem::{Problem, Report},
    suggest,
    text::quoted,
};
use super::{ApiRuleOptions, JwtHandler, jwt, oathkeeper, rules::mixed_forms};
use crate::model::AccessStrategy;

/// The handlers that Kyma knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handler {
    Allow,
    NoAuth,
    Noop,
    Unauthorized,
    Anonymous,
    CookieSession,
    ClientCredentials,
    Introspection,
    Jwt,
}

const HANDLERS: [(&str, Handler); 9] = [
    ("allow", Handler::Allow),
    ("no_auth", Handler::NoAuth),
    ("noop", Handler::Noop),
    ("unauthorized", Handler::Unauthorized),
    ("anonymous", Handler::Anonymous),
    ("cookie_session", Handler::CookieSession),
    ("oauth2_client_credentials", Handler::ClientCredentials),
    ("oauth2_introspection", Handler::Introspection),
    ("jwt", Handler::Jwt),
];

impl Handler {
    fn name(self) -> &'static str {
        HANDLERS.iter().find(|(_, it)| *it == self).map(|(name, _)| *name).unwrap_or_default()
    }

    fn is_secure(self) -> bool {
        match self {
            Self::Jwt | Self::Introspection | Self::ClientCredentials | Self::CookieSession => true,
            Self::Allow | Self::NoAuth | Self::Noop | Self::Unauthorized | Self::Anonymous => false,
        }
    }

    fn has_config(self) -> bool {
        match self {
            Self::Jwt | Self::Introspection | Self::ClientCredentials => true,
            Self::Allow
            | Self::NoAuth
            | Self::Noop
            | Self::Unauthorized
            | Self::Anonymous
            | Self::CookieSession => false,
        }
    }
}

/// An access strategy by what it was written as; nothing where it was not readable.
struct Written {
    handler: Handler,
    form: Option<JwtHandler>,
    strategy: Option<AccessStrategy>,
}

/// Reads the list of a rule.
pub(super) fn decode(
    at: Option<&At<'_>>,
    rule: &At<'_>,
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) -> Vec<AccessStrategy> {
    let written = at
        .map(|at| list(at, report, |at, report| Some((at.clone(), strategy(at, options, report)))));
    let written = written.unwrap_or_default();
    if at.is_none_or(|at| at.node.items().is_empty()) {
        let place = at.map_or_else(|| rule.absent("accessStrategies"), Into::into);
        report.add(
            Problem::error(codes::NO_ACCESS_STRATEGIES, place, "No accessStrategies defined")
                .help("say who may call, such as `accessStrategies: [{handler: jwt, config: ..}]`"),
        );
    }
    combinations(&written, report);
    written.into_iter().filter_map(|(_, written)| written?.strategy).collect()
}

fn combinations(written: &[(At<'_>, Option<Written>)], report: &mut Report<'_>) {
    if written.len() < 2 {
        return;
    }
    let known = || written.iter().filter_map(|(at, it)| Some((at, it.as_ref()?)));
    for (at, Written { handler, form, .. }) in known() {
        let is_exclusive = match handler {
            Handler::Allow | Handler::NoAuth | Handler::Noop => true,
            // Only where Istio evaluates it.
            Handler::Jwt => *form == Some(JwtHandler::Istio),
            Handler::Unauthorized
            | Handler::Anonymous
            | Handler::CookieSession
            | Handler::ClientCredentials
            | Handler::Introspection => false,
        };
        if is_exclusive {
            let message = format!(
                "{} access strategy is not allowed in combination with other access strategies",
                handler.name()
            );
            report.add(
                Problem::error(codes::STRATEGY_COMBINATION, at, message)
                    .help("leave it alone in its rule, or remove it"),
            );
        }
    }
    let secure = known().any(|(_, it)| it.handler.is_secure());
    let unsecure = known().find(|(_, it)| !it.handler.is_secure());
    if let (true, Some((at, _))) = (secure, unsecure) {
        let message = "Secure access strategies cannot be used in combination with unsecure access strategies";
        report.add(Problem::error(codes::STRATEGY_COMBINATION, at, message).help(
            "without credentials, this one would let a request through that the others refuse",
        ));
    }
}

fn strategy(at: &At<'_>, options: &ApiRuleOptions, report: &mut Report<'_>) -> Option<Written> {
    let mut fields = Fields::open(at, report);
    let name = fields.required("handler");
    fields.any("config");
    let config = fields.node_of("config");
    let handler = name.as_ref().and_then(|at| handler(at, fields.report));
    fields.close();
    let handler = handler?;
    let is_empty = config.as_ref().is_none_or(|at| is_empty_mapping(at));
    if let Some(config) = config.as_ref().filter(|_| !handler.has_config() && !is_empty) {
        let message = format!("strategy: {} does not support configuration", handler.name());
        report.add(Problem::error(codes::HANDLER_CONFIG, config, message).help("remove `config`"));
    }
    let mut form = None;
    let strategy = match handler {
        Handler::Allow => Some(AccessStrategy::Allow),
        Handler::NoAuth => Some(AccessStrategy::NoAuth),
        Handler::Noop => Some(AccessStrategy::Noop),
        Handler::Unauthorized => Some(AccessStrategy::Unauthorized),
        Handler::Anonymous => Some(AccessStrategy::Anonymous),
        Handler::CookieSession => {
            let help = "have the session's owner issue tokens and write `jwt`, or put the check of \
                        the session into an extension provider";
            unsupported(name.as_ref().unwrap_or(at), "cookie_session", help, report);
            None
        }
        Handler::ClientCredentials => {
            let help =
                "have clients get a token themselves, and write `oauth2_introspection` or `jwt`";
            unsupported(name.as_ref().unwrap_or(at), "oauth2_client_credentials", help, report);
            None
        }
        Handler::Introspection => Some(oathkeeper::introspection(config.as_ref(), at, report)),
        Handler::Jwt => {
            let read = jwt_access(config.as_ref().filter(|_| !is_empty), at, options, report);
            form = read.as_ref().map(|(form, _)| *form);
            read.map(|(_, strategy)| strategy)
        }
    };
    Some(Written { handler, form, strategy })
}

fn is_empty_mapping(at: &At<'_>) -> bool {
    matches!(&at.node.content, Content::Mapping(entries) if entries.is_empty())
}

fn handler(at: &At<'_>, report: &mut Report<'_>) -> Option<Handler> {
    let text = string(at, report)?;
    let known = HANDLERS.iter().find(|(name, _)| *name == text);
    if known.is_none() {
        let names = HANDLERS.iter().map(|(name, _)| *name);
        let help = suggest::did_you_mean(&text, names.clone()).unwrap_or_else(|| {
            let all: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            format!("the access strategies are {}", all.join(", "))
        });
        let message = format!("Unsupported accessStrategy: {}", text.escape_debug());
        report.add(Problem::error(codes::UNKNOWN_HANDLER, at, message).help(help));
    }
    known.map(|(_, handler)| *handler)
}

fn unsupported(at: &At<'_>, name: &str, help: &str, report: &mut Report<'_>) {
    let message = format!("{} of Oathkeeper is not carried on", quoted(name));
    report.add(Problem::error(codes::UNSUPPORTED_HANDLER, at, message).help(help));
}

/// `jwt` in the form that its config has. Kyma has one form for all of a cluster, by its setting;
/// where that is not set, what is written says what is meant.
fn jwt_access(
    config: Option<&At<'_>>,
    strategy: &At<'_>,
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) -> Option<(JwtHandler, AccessStrategy)> {
    let Some(config) = config else {
        let place = strategy.absent("config");
        report.add(
            Problem::error(codes::BAD_JWT_ACCESS, place, "supplied config cannot be empty")
                .help("write `config: {authentications: [{issuer: .., jwksUri: ..}]}`"),
        );
        return None;
    };
    if !matches!(config.node.content, Content::Mapping(_)) {
        wrong_type(config, "a mapping", report);
        return None;
    }
    let written = |names: &[&str]| names.iter().find_map(|name| config.get(name));
    let (istio, ory) = (written(&ISTIO), written(&oathkeeper::JWT_FIELDS));
    let form = options.jwt_handler.unwrap_or(match (&istio, &ory) {
        (None, Some(_)) => JwtHandler::Ory,
        _ => JwtHandler::Istio,
    });
    let (foreign, names): (_, &[&str]) = match form {
        JwtHandler::Istio => (ory, &oathkeeper::JWT_FIELDS),
        JwtHandler::Ory => (istio, &ISTIO),
    };
    if let Some(at) = foreign {
        let name =
            names.iter().find(|name| config.get(name).is_some()).copied().unwrap_or_default();
        report.add(if options.jwt_handler.is_some() || name.is_empty() {
            let message =
                format!("Configuration for {name} is not supported with {} handler", form.name());
            Problem::error(codes::JWT_FORM, &at, message).help(match form {
                JwtHandler::Istio => "write `authentications` and `authorizations`, or set --api-rule-jwt-handler ory",
                JwtHandler::Ory => "write `jwks_urls` and `trusted_issuers`, or set --api-rule-jwt-handler istio",
            })
        } else {
            mixed_forms(JwtHandler::Ory, &at)
        });
        return None;
    }
    Some(match form {
        JwtHandler::Istio => {
            let mut fields = Fields::open(config, report);
            let access = jwt::decode(&mut fields, config, options);
            fields.close();
            (form, AccessStrategy::Jwt(access))
        }
        JwtHandler::Ory => (form, AccessStrategy::OathkeeperJwt(oathkeeper::jwt(config, report))),
    })
}

const ISTIO: [&str; 2] = ["authentications", "authorizations"];
