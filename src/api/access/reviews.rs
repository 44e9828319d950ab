//! What may I do, and who am I: SelfSubjectAccessReview, SelfSubjectRulesReview, SelfSubjectReview.
//!
//! kubectl sends them in protobuf, whatever else it sends, and takes JSON for an answer.

use prost::Message;
use serde_json::{Value, json};

use super::roles::{READ, Role, WRITE};
use super::{AUTHENTICATED, Action, Roles, User};
use crate::manifest::schema::{self, virtual_service};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewKind {
    /// May I do this?
    Access,
    /// What may I do?
    Rules,
    /// Who am I?
    Subject,
}

/// A question about the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    kind: ReviewKind,
    /// As it came, or as JSON has it.
    spec: Value,
}

/// Why it is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The body cannot be read.
    #[error("the body of the request was in an unknown format or is damaged")]
    Body,
    /// Of an access review: a field that is no text.
    #[error("the fields of resourceAttributes must be strings")]
    NotText,
    /// Of an access review: neither or both attributes.
    #[error("exactly one of resourceAttributes or nonResourceAttributes must be specified")]
    Attributes,
    /// Of a rules review.
    #[error("no namespace on request")]
    NoNamespace,
}

/// What bodies in protobuf begin with.
const MAGIC: &[u8] = b"k8s\0";

/// `runtime.Unknown` of Kubernetes: an object in an envelope.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<AccessSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessSpec {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    other: Option<NonResourceAttributes>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceAttributes {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "6")]
    subresource: String,
    #[prost(string, tag = "7")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct NonResourceAttributes {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

#[derive(Clone, PartialEq, Message)]
struct RulesReview {
    #[prost(message, optional, tag = "2")]
    spec: Option<RulesSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct RulesSpec {
    #[prost(string, tag = "1")]
    namespace: String,
}

/// The object inside a body in protobuf.
pub(in crate::api) fn protobuf_object(body: &[u8]) -> Option<Vec<u8>> {
    Envelope::decode(body.strip_prefix(MAGIC)?).ok().map(|envelope| envelope.raw)
}

impl Review {
    /// From a body in JSON.
    pub fn from_json(kind: ReviewKind, body: &Value) -> Self {
        Self { kind, spec: body.get("spec").cloned().unwrap_or_default() }
    }

    /// From a body in protobuf, with its envelope.
    pub fn from_protobuf(kind: ReviewKind, body: &[u8]) -> Result<Self, ReviewError> {
        let raw = protobuf_object(body).ok_or(ReviewError::Body)?;
        let spec = match kind {
            ReviewKind::Access => access_spec(&raw)?,
            ReviewKind::Rules => {
                let review = RulesReview::decode(&*raw).map_err(|_| ReviewError::Body)?;
                json!({ "namespace": review.spec.unwrap_or_default().namespace })
            }
            ReviewKind::Subject => Value::Null,
        };
        Ok(Self { kind, spec })
    }

    /// The object that is the answer.
    pub fn answer(
        &self,
        api_version: &str,
        roles: &Roles,
        user: &User,
    ) -> Result<Value, ReviewError> {
        let (kind, status) = match self.kind {
            ReviewKind::Access => ("SelfSubjectAccessReview", self.access(roles, user)?),
            ReviewKind::Rules => ("SelfSubjectRulesReview", self.rules(roles, user)?),
            ReviewKind::Subject => ("SelfSubjectReview", subject(user)),
        };
        let mut answer = json!({
            "kind": kind,
            "apiVersion": api_version,
            "metadata": { "creationTimestamp": null },
        });
        if let Value::Object(members) = &mut answer {
            if self.kind != ReviewKind::Subject {
                members.insert("spec".into(), self.spec.clone());
            }
            members.insert("status".into(), status);
        }
        Ok(answer)
    }

    fn access(&self, roles: &Roles, user: &User) -> Result<Value, ReviewError> {
        let attributes = |name| self.spec.get(name).filter(|it| !it.is_null());
        let allowed = match (attributes("resourceAttributes"), attributes("nonResourceAttributes"))
        {
            (Some(of), None) => {
                let names = ["namespace", "verb", "group", "resource", "subresource", "name"];
                let is_text = |name| of.get(name).is_none_or(|it| it.is_string() || it.is_null());
                // A field that is no text must not be taken for one that is left out.
                if !of.is_object() || !names.into_iter().all(is_text) {
                    return Err(ReviewError::NotText);
                }
                let text = |name| of.get(name).and_then(Value::as_str).unwrap_or_default();
                let resource = match text("subresource") {
                    "" => text("resource").to_owned(),
                    subresource => format!("{}/{subresource}", text("resource")),
                };
                may(roles, user, &text, &resource)
            }
            (None, Some(of)) => of.get("verb").and_then(Value::as_str) == Some("get"),
            (None, None) | (Some(_), Some(_)) => return Err(ReviewError::Attributes),
        };
        Ok(json!({ "allowed": allowed }))
    }

    fn rules(&self, roles: &Roles, user: &User) -> Result<Value, ReviewError> {
        let namespace = self.spec.get("namespace").and_then(Value::as_str).unwrap_or_default();
        if namespace.is_empty() {
            return Err(ReviewError::NoNamespace);
        }
        let verbs = |role: Role| match role {
            Role::Viewer => READ.to_vec(),
            Role::Editor | Role::Admin => [&READ[..], &WRITE[..]].concat(),
        };
        let rule = |verbs: Vec<&str>, group: &str, resource: &str| json!({ "verbs": verbs, "apiGroups": [group], "resources": [resource] });
        let mut rules = Vec::new();
        if let Some(role) = roles.role_in(user, namespace) {
            let of_others = if role == Role::Admin { role } else { Role::Viewer };
            for group in kept_groups() {
                rules.push(rule(verbs(role), group, "*"));
                rules.push(rule(verbs(of_others), group, "*/status"));
            }
            rules.push(rule(verbs(of_others), "", "namespaces"));
        }
        rules.push(rule(vec!["create"], "authorization.k8s.io", "selfsubjectaccessreviews"));
        rules.push(rule(vec!["create"], "authorization.k8s.io", "selfsubjectrulesreviews"));
        rules.push(rule(vec!["create"], "authentication.k8s.io", "selfsubjectreviews"));
        Ok(json!({
            "resourceRules": rules,
            "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }))
    }
}

/// The groups of which objects are kept.
fn kept_groups() -> impl Iterator<Item = &'static str> {
    schema::GROUPS.iter().map(|group| group.name).chain([virtual_service::GROUP])
}

/// Stars in a question ask for everything, which only those may who may each.
fn may<'a>(roles: &Roles, user: &User, text: &impl Fn(&'a str) -> &'a str, resource: &str) -> bool {
    let group = text("group");
    if ["authorization.k8s.io", "authentication.k8s.io"].contains(&group) {
        return text("verb") == "create";
    }
    let known = ["", "*"].contains(&group) || kept_groups().any(|known| known == group);
    let resource = if resource.contains('*') { "*/status" } else { resource };
    let group = if group == "*" { "" } else { group };
    let (namespace, name) = (text("namespace"), text("name"));
    known && roles.allow(user, &Action { verb: text("verb"), group, resource, namespace, name })
}

fn access_spec(raw: &[u8]) -> Result<Value, ReviewError> {
    let review = AccessReview::decode(raw).map_err(|_| ReviewError::Body)?;
    let spec = review.spec.unwrap_or_default();
    let mut shown = serde_json::Map::new();
    if let Some(of) = spec.resource {
        let parts = [
            ("namespace", of.namespace),
            ("verb", of.verb),
            ("group", of.group),
            ("version", of.version),
            ("resource", of.resource),
            ("subresource", of.subresource),
            ("name", of.name),
        ];
        let parts = parts.into_iter().filter(|(_, text)| !text.is_empty());
        let parts = parts.map(|(name, text)| (name.to_owned(), text.into()));
        shown.insert("resourceAttributes".into(), Value::Object(parts.collect()));
    }
    if let Some(of) = spec.other {
        let of = json!({ "path": of.path, "verb": of.verb });
        shown.insert("nonResourceAttributes".into(), of);
    }
    Ok(Value::Object(shown))
}

fn subject(user: &User) -> Value {
    let groups = user.groups.iter().map(String::as_str);
    let groups: Vec<_> = groups.chain([AUTHENTICATED]).collect();
    let mut info = json!({ "username": user.name, "groups": groups });
    if let (Value::Object(info), false) = (&mut info, user.uid.is_empty()) {
        info.insert("uid".into(), user.uid.as_str().into());
    }
    json!({ "userInfo": info })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::access::Grant;

    fn roles() -> Roles {
        let texts = |text: &str| vec![text.to_owned()];
        let grant = |role, namespace, user| Grant::new(role, texts(namespace), texts(user), []);
        Roles {
            grants: vec![
                grant("editor", "shop", "ann").unwrap(),
                grant("admin", "*", "adam").unwrap(),
            ],
        }
    }

    fn user(name: &str) -> User {
        User { name: name.into(), uid: "7".into(), groups: vec!["staff".into()] }
    }

    fn enveloped(object: &impl Message) -> Vec<u8> {
        let envelope = Envelope { raw: object.encode_to_vec() };
        [MAGIC, &envelope.encode_to_vec()].concat()
    }

    fn question(verb: &str, resource: &str, namespace: &str) -> AccessReview {
        let (group, subresource) = ("security.istio.io".into(), String::new());
        let resource = Some(ResourceAttributes {
            namespace: namespace.into(),
            verb: verb.into(),
            group,
            version: "v1".into(),
            resource: resource.into(),
            subresource,
            name: String::new(),
        });
        AccessReview { spec: Some(AccessSpec { resource, other: None }) }
    }

    #[rstest]
    #[case("ann", "create", "authorizationpolicies", "shop", true)]
    #[case("ann", "create", "authorizationpolicies", "pay", false)]
    #[case("ann", "create", "authorizationpolicies", "", false)]
    #[case("ann", "get", "*", "shop", true)]
    #[case("ann", "*", "*", "shop", false)]
    #[case("adam", "*", "*", "", true)]
    fn may_i(
        #[case] name: &str,
        #[case] verb: &str,
        #[case] resource: &str,
        #[case] namespace: &str,
        #[case] allowed: bool,
    ) {
        let body = enveloped(&question(verb, resource, namespace));
        let review = Review::from_protobuf(ReviewKind::Access, &body).unwrap();
        let answer = review.answer("authorization.k8s.io/v1", &roles(), &user(name)).unwrap();
        assert_eq!(answer["status"]["allowed"], allowed);
        assert_eq!(answer["spec"]["resourceAttributes"]["verb"], verb);
        // JSON asks the same.
        let review = Review::from_json(ReviewKind::Access, &json!({ "spec": answer["spec"] }));
        assert_eq!(
            review.answer("authorization.k8s.io/v1", &roles(), &user(name)).unwrap(),
            answer
        );
    }

    /// A namespace that cannot be read must not be taken for all of them, nor for none.
    #[rstest]
    #[case(json!({ "verb": "get", "resource": "authorizationpolicies", "namespace": 7 }))]
    #[case(json!({ "verb": ["get"], "resource": "authorizationpolicies" }))]
    #[case(json!("get"))]
    fn a_question_in_something_else_than_text_has_no_answer(#[case] of: Value) {
        let body = json!({ "spec": { "resourceAttributes": of } });
        let review = Review::from_json(ReviewKind::Access, &body);
        assert_eq!(review.answer("v1", &roles(), &user("adam")), Err(ReviewError::NotText));
    }

    #[test]
    fn what_may_i() {
        let spec = Some(RulesSpec { namespace: "shop".into() });
        let body = enveloped(&RulesReview { spec });
        let review = Review::from_protobuf(ReviewKind::Rules, &body).unwrap();
        let answer =
            |name| review.answer("authorization.k8s.io/v1", &roles(), &user(name)).unwrap();
        let rules = |name| {
            let rules = answer(name)["status"]["resourceRules"].as_array().unwrap().clone();
            let verbs = |resource: &str| {
                let rule = rules.iter().find(|rule| rule["resources"][0] == resource);
                rule.map_or(0, |rule| rule["verbs"].as_array().unwrap().len())
            };
            (verbs("*"), verbs("*/status"), verbs("namespaces"))
        };
        assert_eq!((rules("ann"), rules("adam"), rules("eve")), ((8, 3, 3), (8, 8, 8), (0, 0, 0)));
        let body = enveloped(&RulesReview { spec: None });
        let nowhere = Review::from_protobuf(ReviewKind::Rules, &body).unwrap();
        assert_eq!(nowhere.answer("v1", &roles(), &user("ann")), Err(ReviewError::NoNamespace));
    }

    #[test]
    fn who_am_i() {
        let review = Review::from_protobuf(ReviewKind::Subject, &enveloped(&Envelope::default()));
        let answer = review.unwrap().answer("authentication.k8s.io/v1", &roles(), &user("ann"));
        let expected = json!({
            "kind": "SelfSubjectReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": { "creationTimestamp": null },
            "status": {
                "userInfo": {
                    "username": "ann",
                    "uid": "7",
                    "groups": ["staff", "system:authenticated"],
                },
            },
        });
        assert_eq!(answer.unwrap(), expected);
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for body in [&b""[..], b"k8s\0\xff", b"{}", b"k8s"] {
            let review = Review::from_protobuf(ReviewKind::Access, body);
            assert_eq!(review, Err(ReviewError::Body), "{body:?}");
        }
        let both = AccessReview::default();
        let review = Review::from_protobuf(ReviewKind::Access, &enveloped(&both)).unwrap();
        assert_eq!(review.answer("v1", &roles(), &user("ann")), Err(ReviewError::Attributes));
    }
}
