//! What a document is by its `apiVersion` and `kind`, lists taken apart, and the way of one resource
//! through decoding and admission.
//!
//! Knows no field below `metadata`, `spec` and `status`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    DecodedDocument, Options, admission, api_rule, attachment, authentication, authorization,
    codes,
    cursor::{At, Fields, list, string},
    metadata, node,
    node::Content,
    problem::{Problem, Report},
    schema::{self, GROUP},
    service, suggest,
    text::{Text, quoted},
};
use crate::diagnostic::Diagnostic;
use crate::model::{ApiRuleVersion, Kind, RefusedScope, Resource, Service};

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    /// Of Istio's group, whose versions are alike.
    Istio(Kind),
    ApiRule(ApiRuleVersion),
    Service,
}

impl Ours {
    /// The kind, where it is one of a resource.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Istio(kind) => Some(kind),
            Self::ApiRule(_) => Some(Kind::ApiRule),
            Self::Service => None,
        }
    }
}

/// What a document is.
enum Envelope<'n> {
    Ours(Ours),
    /// Its items, and what they are where they do not say.
    List(Vec<At<'n>>, Option<Ours>),
    Foreign(String),
    Refused,
}

/// Reads the documents of one text.
pub(crate) struct Decoder<'t, 'o> {
    report: Report<'t>,
    options: &'o Options,
    documents: Vec<DecodedDocument>,
    services: Vec<Service>,
    ignored: &'o mut BTreeMap<String, usize>,
}

impl<'t, 'o> Decoder<'t, 'o> {
    /// Counts the kinds of other groups in `ignored`.
    pub(crate) fn new(
        text: &'t Text<'t>,
        options: &'o Options,
        ignored: &'o mut BTreeMap<String, usize>,
    ) -> Self {
        let (documents, services) = (Vec::new(), Vec::new());
        Self { report: Report::new(text), options, documents, services, ignored }
    }

    pub(crate) fn finish(self) -> (Vec<DecodedDocument>, Vec<Service>, Vec<Diagnostic>) {
        (self.documents, self.services, self.report.diagnostics)
    }

    pub(crate) fn document(&mut self, document: node::Document) {
        let node::Document { root, complete, problems } = document;
        self.report.resource = None;
        let Some(root) = root else {
            problems.into_iter().for_each(|problem| self.report.add(problem));
            return;
        };
        let at = At::root(&root);
        if !complete {
            self.broken(&at, problems);
            return;
        }
        let envelope = self.envelope(&at, None);
        let is_foreign = matches!(envelope, Envelope::Foreign(_));
        let sound = problems.is_empty();
        if let Envelope::Ours(ours) = &envelope {
            let namespace = &self.options.default_namespace;
            let kind = ours.kind();
            self.report.resource = kind.and_then(|kind| metadata::identity(kind, &at, namespace));
        }
        // Kubernetes may read a foreign document in its own way; nobody asked us.
        for problem in problems.into_iter().filter(|_| !is_foreign) {
            self.report.add(problem);
        }
        self.open(&at, envelope, sound);
    }

    /// A document whose text broke off: only who it is about can be told.
    fn broken(&mut self, at: &At<'_>, problems: Vec<Problem>) {
        let text_of = |name: &str| at.get(name).and_then(|at| at.str()).unwrap_or_default();
        let kind = match classify(text_of("apiVersion"), text_of("kind")) {
            Class::Ours(ours) => ours.kind(),
            Class::List(_) | Class::Foreign | Class::Wrong(..) => None,
        };
        let id =
            kind.and_then(|kind| metadata::identity(kind, at, &self.options.default_namespace));
        self.report.resource.clone_from(&id);
        problems.into_iter().for_each(|problem| self.report.add(problem));
        if id.is_some() {
            self.documents.push(DecodedDocument {
                id,
                scope: None,
                resource: None,
                admitted: false,
                file: self.report.text.file.clone(),
                position: at.node.position,
            });
        }
    }

    fn open(&mut self, at: &At<'_>, envelope: Envelope<'_>, sound: bool) {
        match envelope {
            Envelope::Ours(Ours::Istio(kind)) => self.resource(kind, None, at, sound),
            Envelope::Ours(Ours::ApiRule(version)) => {
                self.resource(Kind::ApiRule, Some(version), at, sound);
            }
            Envelope::Ours(Ours::Service) => {
                let namespace = &self.options.default_namespace;
                self.services.extend(service::decode(at, namespace, &mut self.report));
            }
            Envelope::List(items, inherited) => {
                for item in items {
                    self.report.resource = None;
                    let envelope = self.envelope(&item, inherited);
                    self.open(&item, envelope, sound);
                }
            }
            Envelope::Foreign(kind) => *self.ignored.entry(kind).or_default() += 1,
            Envelope::Refused => {}
        }
    }

    fn envelope<'n>(&mut self, at: &At<'n>, inherited: Option<Ours>) -> Envelope<'n> {
        let report = &mut self.report;
        if !matches!(at.node.content, Content::Mapping(_)) {
            let message = "expected a resource, a mapping with `apiVersion` and `kind`";
            report.add(Problem::error(codes::NOT_A_RESOURCE, at, message));
            return Envelope::Refused;
        }
        let errors = report.errors();
        let mut text_of = |name: &'static str| match at.get(name) {
            Some(at) => string(&at, report).map(|text| (at, text)),
            None if inherited.is_some() => None,
            None => {
                let message = format!("`{name}` is missing");
                let problem = Problem::error(codes::MISSING_FIELD, at, message);
                report.add(match name {
                    "apiVersion" => problem.help(format!("write `apiVersion: {GROUP}/v1`")),
                    _ => problem,
                });
                None
            }
        };
        let (api_version, kind) = (text_of("apiVersion"), text_of("kind"));
        if report.errors() > errors {
            return Envelope::Refused;
        }
        let (Some((api_version_at, api_version)), Some((kind_at, kind))) = (api_version, kind)
        else {
            return inherited.map_or(Envelope::Refused, Envelope::Ours);
        };
        match classify(&api_version, &kind) {
            Class::Ours(ours) => Envelope::Ours(ours),
            Class::List(inherited) => Envelope::List(items(at, report), inherited),
            Class::Foreign => Envelope::Foreign(kind),
            Class::Wrong(code, message, help) => {
                let place = if code == codes::UNKNOWN_KIND { kind_at } else { api_version_at };
                report.add(Problem::error(code, &place, message).maybe_help(help));
                Envelope::Refused
            }
        }
    }

    /// One resource. `sound` is whether its text had no problems.
    fn resource(&mut self, kind: Kind, version: Option<ApiRuleVersion>, at: &At<'_>, sound: bool) {
        let namespace: &Arc<str> = &self.options.default_namespace;
        let id = metadata::identity(kind, at, namespace);
        self.report.resource.clone_from(&id);
        let errors = self.report.errors();

        let mut fields = Fields::open(at, &mut self.report);
        fields.any("apiVersion");
        fields.any("kind");
        fields.any("status");
        let metadata = fields
            .required("metadata")
            .map(|metadata| metadata::decode(&metadata, at.node.position, namespace, fields.report))
            .unwrap_or_default();
        let spec = fields.optional("spec");
        fields.close();
        let version = version.unwrap_or(ApiRuleVersion::V1beta1);
        let options = &self.options.api_rules;
        let scope = match kind {
            Kind::ApiRule => {
                Some(api_rule::refused::scope(&metadata.namespace, version, at, options))
            }
            Kind::AuthorizationPolicy | Kind::RequestAuthentication | Kind::PeerAuthentication => {
                attachment::of_refused(kind, at).map(RefusedScope::Attached)
            }
        };
        let (spec, report) = (spec.as_ref(), &mut self.report);
        let resource = match kind {
            Kind::AuthorizationPolicy => {
                Resource::AuthorizationPolicy(authorization::decode(metadata, spec, report).into())
            }
            Kind::RequestAuthentication => Resource::RequestAuthentication(
                authentication::decode_request(metadata, spec, report),
            ),
            Kind::PeerAuthentication => {
                Resource::PeerAuthentication(authentication::decode_peer(metadata, spec, report))
            }
            Kind::ApiRule => {
                let read = api_rule::decode(metadata, version, (at, spec), options, report);
                Resource::ApiRule(read.into())
            }
        };
        let decoded = sound && report.errors() == errors;
        admission::check(kind, at, report);
        let admitted = sound && report.errors() == errors;
        self.documents.push(DecodedDocument {
            id,
            scope: scope.filter(|_| sound),
            resource: decoded.then_some(resource),
            admitted,
            file: report.text.file.clone(),
            position: at.node.position,
        });
    }
}

/// The items of a list kind.
fn items<'n>(at: &At<'n>, report: &mut Report<'_>) -> Vec<At<'n>> {
    let mut fields = Fields::open(at, report);
    fields.any("apiVersion");
    fields.any("kind");
    fields.any("metadata");
    let items = fields.optional("items");
    let items = items.map(|at| list(&at, fields.report, |item, _| Some(item.clone())));
    fields.close();
    items.unwrap_or_default()
}

enum Class {
    Ours(Ours),
    List(Option<Ours>),
    Foreign,
    Wrong(crate::diagnostic::Code, String, Option<String>),
}

fn classify(api_version: &str, kind: &str) -> Class {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some(group) = schema::GROUPS.iter().find(|known| known.name == group) {
        return classify_ours(group, version, kind);
    }
    match (api_version, kind) {
        ("v1", "List") => return Class::List(None),
        ("v1", "ServiceList") => return Class::List(Some(Ours::Service)),
        ("v1", "Service") => return Class::Ours(Ours::Service),
        _ => {}
    }
    // Other projects have kinds of the same name; a slip in the group must not switch a policy off.
    let singular = kind.strip_suffix("List").unwrap_or(kind);
    let home = schema::GROUPS.iter().find(|home| {
        let mut names = home.kinds.iter().map(|known| known.as_str());
        let domain = home.name.split_once('.').map_or(home.name, |(_, domain)| domain);
        names.any(|name| name == kind || name == singular)
            && (group.is_empty()
                || group.ends_with(domain)
                || suggest::closest(group, [home.name]).is_some())
    });
    if let Some(schema::ApiGroup { name, versions, .. }) = home {
        let message = format!("{} belongs to the group `{name}`", quoted(kind));
        let version = versions.first().copied().unwrap_or_default();
        let help = format!("write `apiVersion: {name}/{version}`");
        return Class::Wrong(codes::WRONG_GROUP, message, Some(help));
    }
    Class::Foreign
}

fn classify_ours(group: &schema::ApiGroup, version: &str, kind: &str) -> Class {
    let schema::ApiGroup { name: group, versions, kinds } = group;
    let ours = |name: &str| kinds.iter().copied().find(|kind| kind.as_str() == name);
    let singular = kind.strip_suffix("List").and_then(ours);
    let Some(known) = ours(kind).or(singular) else {
        let names = || kinds.iter().map(|kind| kind.as_str());
        let message = format!("`{group}` has no kind {}", quoted(kind));
        let help = suggest::did_you_mean(kind, names()).unwrap_or_else(|| {
            let names: Vec<_> = names().collect();
            let (is, s) = if names.len() == 1 { ("is", "") } else { ("are", "s") };
            format!("its kind{s} {is} `{}`", names.join("`, `"))
        });
        return Class::Wrong(codes::UNKNOWN_KIND, message, Some(help));
    };
    if !versions.contains(&version) {
        let message = format!("`{group}` has no version {}", quoted(version));
        let preferred = versions.first().copied().unwrap_or_default();
        let help = format!("write `apiVersion: {group}/{preferred}`");
        return Class::Wrong(codes::UNKNOWN_VERSION, message, Some(help));
    }
    let written = api_rule::VERSIONS.iter().find(|(name, _)| *name == version);
    let ours = match known {
        Kind::ApiRule => Ours::ApiRule(written.map_or(ApiRuleVersion::V1beta1, |(_, it)| *it)),
        Kind::AuthorizationPolicy | Kind::RequestAuthentication | Kind::PeerAuthentication => {
            Ours::Istio(known)
        }
    };
    if singular == Some(known) { Class::List(Some(ours)) } else { Class::Ours(ours) }
}
