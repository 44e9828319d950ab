//! `mutators` of v1alpha1 and v1beta1, `request` of v2: what is set in requests that pass.
//!
//! Values hold Envoy's command operators, which [`Format`] reads.

use std::collections::{BTreeMap, HashSet};

use super::super::{
    codes,
    cursor::{At, Fields, expect_mapping, list, located, string},
    node::{Content, Entry},
    problem::{Problem, Report, Spot},
    suggest,
    text::quoted,
};
use crate::model::{AccessStrategy, Located, RequestMutations};
use crate::mutation::{Format, unsettable};

/// Those of Oathkeeper that are not here.
const UNSUPPORTED: [(&str, &str); 2] = [
    ("id_token", "send the client's own token on: it is left in the request"),
    ("hydrator", "put the call into an extension provider, whose answer can set headers"),
];

/// Reads the list of a rule.
pub(super) fn decode(
    at: &At<'_>,
    strategies: &[AccessStrategy],
    report: &mut Report<'_>,
) -> RequestMutations {
    let mut mutations = RequestMutations::default();
    let mut seen = HashSet::new();
    let open = strategies.iter().find_map(|strategy| match strategy {
        AccessStrategy::Allow => Some("allow"),
        AccessStrategy::NoAuth => Some("no_auth"),
        AccessStrategy::Noop
        | AccessStrategy::Anonymous
        | AccessStrategy::Unauthorized
        | AccessStrategy::Jwt(_)
        | AccessStrategy::OathkeeperJwt(_)
        | AccessStrategy::Introspection(_)
        | AccessStrategy::ExtAuth { .. } => None,
    });
    list(at, report, |at, report| {
        let mut fields = Fields::open(at, report);
        let handler = fields.required("handler");
        fields.any("config");
        let config = fields.node_of("config");
        fields.close();
        let handler_at = handler?;
        let name = string(&handler_at, report)?;
        if !seen.insert(name.clone()) {
            let message = "mutator for same handler already exists";
            let problem = Problem::error(codes::BAD_MUTATOR, &handler_at, message);
            report.add(problem.help("put all of it into one mutator"));
        }
        if let Some(open) = open {
            let message = format!("`{open}` supports no mutators");
            let problem = Problem::error(codes::BAD_MUTATOR, &handler_at, message);
            report.add(problem.help("remove it: Kyma would not apply it either"));
        }
        let read = Mutator { at, config: config.as_ref() };
        match name.as_str() {
            "header" => mutations.headers = read.values("headers", What::Header, report),
            "cookie" => mutations.cookies = read.values("cookies", What::Cookie, report),
            // Oathkeeper's mutator that changes nothing.
            "noop" => {}
            other => unknown(&handler_at, other, report),
        }
        Some(())
    });
    mutations
}

/// `request` of v2.
pub(super) fn request(at: &At<'_>, report: &mut Report<'_>) -> RequestMutations {
    let mut fields = Fields::open(at, report);
    let (headers, cookies) = (fields.optional("headers"), fields.optional("cookies"));
    let mutations = RequestMutations {
        headers: headers.map(|at| values(&at, What::Header, fields.report)).unwrap_or_default(),
        cookies: cookies.map(|at| values(&at, What::Cookie, fields.report)).unwrap_or_default(),
    };
    fields.close();
    mutations
}

fn unknown(at: &At<'_>, name: &str, report: &mut Report<'_>) {
    if let Some((name, help)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
        let message = format!("the mutator `{name}` of Oathkeeper is not carried on");
        report.add(Problem::error(codes::UNSUPPORTED_HANDLER, at, message).help(*help));
        return;
    }
    let help = suggest::did_you_mean(name, ["header", "cookie"])
        .unwrap_or_else(|| "the mutators are `header` and `cookie`".to_owned());
    let message = format!("unsupported mutator: {}", name.escape_debug());
    report.add(Problem::error(codes::UNKNOWN_HANDLER, at, message).help(help));
}

struct Mutator<'m, 'n> {
    at: &'m At<'n>,
    config: Option<&'m At<'n>>,
}

/// What is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Header,
    Cookie,
}

impl What {
    /// What is wrong with a name of one.
    fn wrong(self, name: &str) -> Option<&'static str> {
        match self {
            Self::Header => header(name),
            Self::Cookie => cookie(name),
        }
    }
}

impl Mutator<'_, '_> {
    /// The values of a mutator's config.
    fn values(
        &self,
        name: &'static str,
        what: What,
        report: &mut Report<'_>,
    ) -> BTreeMap<String, Located<String>> {
        let mut values_of = None;
        let mut place = self.at.absent("config");
        if let Some(config) = self.config {
            let mut fields = Fields::open(config, report);
            values_of = fields.optional(name);
            fields.close();
            place = values_of.as_ref().unwrap_or(config).into();
        }
        let is_empty = values_of.as_ref().is_none_or(
            |at| matches!(&at.node.content, Content::Mapping(entries) if entries.is_empty()),
        );
        if is_empty {
            let message = format!("{name} cannot be empty");
            report.add(Problem::error(codes::BAD_MUTATOR, place, message).help(format!(
                "write `config: {{{name}: {{name: value}}}}`, or remove the mutator"
            )));
        }
        values_of.map(|at| values(&at, what, report)).unwrap_or_default()
    }
}

/// Names and values; a bad one is an error, never a smaller map.
fn values(at: &At<'_>, what: What, report: &mut Report<'_>) -> BTreeMap<String, Located<String>> {
    expect_mapping(at, report);
    let mut found: BTreeMap<String, Located<String>> = BTreeMap::new();
    for (entry, at) in at.entries() {
        if let Some(why) = what.wrong(&entry.key) {
            let message = if entry.key.is_empty() {
                "cannot be empty".to_owned()
            } else {
                format!("{} {why}", quoted(&entry.key))
            };
            report.add(
                Problem::error(codes::BAD_MUTATOR, spot(entry, &at), message)
                    .help("write another name"),
            );
        }
        let Some(value) = located(&at, report) else { continue };
        value_of(&at, &value, report);
        let name = match what {
            What::Header => entry.key.to_ascii_lowercase(),
            What::Cookie => entry.key.clone(),
        };
        if found.insert(name, value).is_some() {
            let message = format!("{} is there twice", quoted(&entry.key));
            let problem = Problem::error(codes::BAD_MUTATOR, spot(entry, &at), message);
            report.add(problem.help("names of headers are the same in capitals: remove one"));
        }
    }
    found
}

fn value_of(at: &At<'_>, value: &str, report: &mut Report<'_>) {
    if value.contains("{{") {
        let message = "templates of Go are not carried on";
        report.add(
            Problem::error(codes::UNSUPPORTED_HANDLER, at, message)
                .help("write Envoy's command operators, such as `%REQ(x-user)%`"),
        );
    } else if let Err(why) = Format::parse(value) {
        let message = format!("{} cannot be set: {why}", quoted(value));
        report.add(Problem::error(codes::BAD_MUTATOR, at, message).help(
            "the operators are listed in docs/apirule.md; `%REQ(name)%` is a header of the request",
        ));
    }
}

fn spot(entry: &Entry, at: &At<'_>) -> Spot {
    Spot { position: entry.key_position, width: entry.key_width, path: at.path.to_string() }
}

fn header(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("may not be set")
    } else if let Some(why) = unsettable(&name.to_ascii_lowercase()) {
        Some(why)
    } else if http::HeaderName::try_from(name).is_err() {
        Some("is not the name of a header")
    } else {
        None
    }
}

fn cookie(name: &str) -> Option<&'static str> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    (name.is_empty() || !name.chars().all(is_token)).then_some("is not the name of a cookie")
}
