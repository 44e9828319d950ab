//! Objects of a cluster, asked for anew each time, and patched there.
//!
//! Which objects make sense, and what callers see of them, is said elsewhere; how a kubeconfig that a
//! caller sends becomes a connection is `inline_kubeconfig`'s.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::inline_kubeconfig::Inline;
use super::{MeshError, MeshKind, manager};

/// How long everything that a call needs may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many objects are asked for at a time.
const PAGE: usize = 250;

/// The most bytes of an answer.
pub(super) const MAX_ANSWER: usize = 16 << 20;

/// The most bytes of all pages of a list.
const MAX_LIST: usize = 64 << 20;

/// What has to be served for a mesh to be there.
const GROUPS: [&str; 2] = ["networking.istio.io", "security.istio.io"];

/// A cluster. Cheap to clone; nothing of its objects is kept.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    way: Way,
    /// The version of each group that is used.
    served: Mutex<HashMap<&'static str, &'static str>>,
    patience: Duration,
}

enum Way {
    /// As the operator says.
    #[cfg(feature = "kube")]
    Operator(::kube::Client),
    /// As a caller says.
    Caller(Inline),
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("served", &self.0.served).finish_non_exhaustive()
    }
}

/// What a server said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// What somebody wants to do, for messages.
#[derive(Clone, Copy)]
enum Doing {
    Read,
    Change,
}

impl Doing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "change",
        }
    }
}

/// Why a list did not come to its end.
enum Broken {
    /// It has to begin anew.
    Expired,
    Failed(MeshError),
}

impl Cluster {
    /// That of the operator's kubeconfig, context or pod. Asks it nothing yet.
    #[cfg(feature = "kube")]
    pub async fn connect(
        cluster: &crate::source::kube::Cluster,
    ) -> Result<Self, crate::source::kube::NotConnected> {
        let client = crate::source::kube::client(cluster, PATIENCE).await?;
        Ok(Self::by(Way::Operator(client), PATIENCE))
    }

    pub(super) fn of_caller(inline: Inline) -> Self {
        Self::by(Way::Caller(inline), PATIENCE)
    }

    fn by(way: Way, patience: Duration) -> Self {
        Self(Arc::new(Inner { way, served: Mutex::default(), patience }))
    }

    /// The SHA-256 of the kubeconfig that a caller sent, in hexadecimal, for audits.
    pub fn kubeconfig_sha256(&self) -> Option<&str> {
        match &self.0.way {
            #[cfg(feature = "kube")]
            Way::Operator(_) => None,
            Way::Caller(inline) => Some(inline.sha256()),
        }
    }

    /// Whether the groups of a mesh are served.
    pub async fn istio_enabled(&self) -> Result<bool, MeshError> {
        self.in_time(async {
            let Answer { status, body } = self.ask(Method::GET, "/apis", Bytes::new()).await?;
            if status != StatusCode::OK {
                return Err(refusal(status, Doing::Read, "its API groups"));
            }
            let found = json(&body)?;
            let names = texts(&found, "groups", "name")?;
            Ok(GROUPS.iter().all(|group| names.contains(group)))
        })
        .await
    }

    /// The objects of a namespace, by name.
    pub async fn list(&self, kind: MeshKind, namespace: &str) -> Result<Vec<Value>, MeshError> {
        if !is_name(namespace) {
            return Ok(Vec::new());
        }
        self.in_time(async {
            let mut objects = match self.pages(kind, namespace, PAGE).await {
                // Too much has changed meanwhile: all at once, then.
                Err(Broken::Expired) => match self.pages(kind, namespace, 0).await {
                    Err(Broken::Expired) => {
                        Err(refusal(StatusCode::GONE, Doing::Read, kind.plural()))
                    }
                    Err(Broken::Failed(error)) => Err(error),
                    Ok(objects) => Ok(objects),
                },
                Err(Broken::Failed(error)) => Err(error),
                Ok(objects) => Ok(objects),
            }?;
            objects.sort_by(|a, b| name(a).cmp(name(b)));
            Ok(objects)
        })
        .await
    }

    /// One object.
    pub async fn get(
        &self,
        kind: MeshKind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, MeshError> {
        if !is_name(namespace) || !is_name(name) {
            return Ok(None);
        }
        self.in_time(async {
            let path = format!("namespaces/{namespace}/{}/{name}", kind.plural());
            let answer = self.ask_for(kind, Method::GET, &path, Bytes::new()).await?;
            match answer.status {
                StatusCode::OK => object(&answer.body, kind, name).map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                status => Err(refusal(status, Doing::Read, kind.plural())),
            }
        })
        .await
    }

    /// Patches a VirtualService, for this user, and gives what it became. A `test` that fails is a
    /// [`MeshError::Conflict`], and nothing has changed.
    pub async fn patch(
        &self,
        namespace: &str,
        name: &str,
        patch: &json_patch::Patch,
        user: &str,
    ) -> Result<Value, MeshError> {
        let kind = MeshKind::VirtualService;
        if !is_name(namespace) || !is_name(name) {
            return Err(MeshError::NotFound);
        }
        let body = serde_json::to_vec(patch)
            .map_err(|error| MeshError::Refused(format!("the patch cannot be written: {error}")))?;
        let manager = manager(user);
        let manager = utf8_percent_encode(&manager, NON_ALPHANUMERIC);
        let path =
            format!("namespaces/{namespace}/{}/{name}?fieldManager={manager}", kind.plural());
        self.in_time(async {
            let answer = self.ask_for(kind, Method::PATCH, &path, body.into()).await?;
            match answer.status {
                StatusCode::OK => object(&answer.body, kind, name),
                StatusCode::NOT_FOUND => Err(MeshError::NotFound),
                StatusCode::CONFLICT => Err(changed_meanwhile()),
                // A patch that cannot be applied is about no object, one that is refused is.
                StatusCode::UNPROCESSABLE_ENTITY if !is_about(&answer.body, name) => {
                    Err(changed_meanwhile())
                }
                StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
                    tracing::warn!(
                        status = answer.status.as_u16(),
                        namespace,
                        name,
                        "the cluster does not take a patched VirtualService"
                    );
                    let message = "the cluster does not take what the object would become";
                    Err(MeshError::Refused(message.into()))
                }
                status => Err(refusal(status, Doing::Change, kind.plural())),
            }
        })
        .await
    }

    async fn in_time<T>(
        &self,
        doing: impl Future<Output = Result<T, MeshError>>,
    ) -> Result<T, MeshError> {
        timeout(self.0.patience, doing).await.unwrap_or_else(|_| {
            tracing::warn!(within = ?self.0.patience, "the cluster gave no answer in time");
            Err(MeshError::Unreachable("the cluster gave no answer in time".into()))
        })
    }

    async fn pages(
        &self,
        kind: MeshKind,
        namespace: &str,
        limit: usize,
    ) -> Result<Vec<Value>, Broken> {
        let mut objects = Vec::new();
        let mut size = 0_usize;
        let mut next = String::new();
        loop {
            let mut path = format!("namespaces/{namespace}/{}?limit={limit}", kind.plural());
            if !next.is_empty() {
                let next = utf8_percent_encode(&next, NON_ALPHANUMERIC);
                path.push_str(&format!("&continue={next}"));
            }
            let asked = self.ask_for(kind, Method::GET, &path, Bytes::new()).await;
            let Answer { status, body } = asked.map_err(Broken::Failed)?;
            match status {
                StatusCode::OK => {}
                StatusCode::GONE if !next.is_empty() => return Err(Broken::Expired),
                status => {
                    return Err(Broken::Failed(refusal(status, Doing::Read, kind.plural())));
                }
            }
            size = size.saturating_add(body.len());
            if size > MAX_LIST {
                let message = "the cluster has more of them than can be read at a time";
                return Err(Broken::Failed(MeshError::Unreachable(message.into())));
            }
            let mut list = json(&body).map_err(Broken::Failed)?;
            let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else {
                return Err(Broken::Failed(unreadable("a list without items")));
            };
            let version = list.get("apiVersion").cloned().unwrap_or_default();
            for item in items {
                objects.push(whole(item, kind, &version).map_err(Broken::Failed)?);
            }
            let more = list.pointer("/metadata/continue").and_then(Value::as_str);
            match more.unwrap_or_default() {
                "" => return Ok(objects),
                // Or it would never end.
                same if same == next => {
                    return Err(Broken::Failed(unreadable("a list that does not go on")));
                }
                more => next = more.to_owned(),
            }
        }
    }

    /// Asks for objects in the version that is served. What is not found may have moved to another.
    async fn ask_for(
        &self,
        kind: MeshKind,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, MeshError> {
        let group = kind.group();
        let known = self.served().get(group).copied();
        let ask = async |version: &str, method: Method, body: Bytes| {
            self.ask(method, &format!("/apis/{group}/{version}/{path}"), body).await
        };
        if let Some(version) = known {
            let answer = ask(version, method.clone(), body.clone()).await?;
            if answer.status != StatusCode::NOT_FOUND || is_status(&answer.body) {
                return Ok(answer);
            }
        }
        let version = self.discover(kind).await?;
        let answer = ask(version, method, body).await?;
        if answer.status == StatusCode::NOT_FOUND && !is_status(&answer.body) {
            return Err(no_such_kind(kind));
        }
        Ok(answer)
    }

    /// The version of the kind's group to use, kept from now on.
    async fn discover(&self, kind: MeshKind) -> Result<&'static str, MeshError> {
        let path = format!("/apis/{}", kind.group());
        let Answer { status, body } = self.ask(Method::GET, &path, Bytes::new()).await?;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(no_such_kind(kind)),
            status => return Err(refusal(status, Doing::Read, "its API groups")),
        }
        let found = json(&body)?;
        let there = texts(&found, "versions", "version")?;
        let version = kind.versions().iter().copied().find(|version| there.contains(version));
        let version = version.ok_or_else(|| no_such_kind(kind))?;
        self.served().insert(kind.group(), version);
        Ok(version)
    }

    fn served(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, &'static str>> {
        self.0.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, MeshError> {
        match &self.0.way {
            #[cfg(feature = "kube")]
            Way::Operator(client) => by_operator(client, method, path, body).await,
            Way::Caller(inline) => inline.ask(method, path, body).await,
        }
    }
}

#[cfg(feature = "kube")]
async fn by_operator(
    client: &::kube::Client,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Answer, MeshError> {
    use http_body_util::{BodyExt as _, Limited};

    let mut request = http::Request::new(::kube::client::Body::from(body.to_vec()));
    let uri = path.parse().map_err(|_| MeshError::NotFound)?;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers(&method);
    *request.method_mut() = method;
    let response = client.send(request).await.map_err(|error| {
        let cause = crate::source::kube::words(&error);
        tracing::warn!(cause, "the cluster of the management API cannot be asked");
        MeshError::Unreachable("the cluster cannot be reached".into())
    })?;
    let status = response.status();
    match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
        Ok(body) => Ok(Answer { status, body: body.to_bytes() }),
        Err(error) => {
            tracing::warn!(%error, "an answer of the cluster cannot be read");
            Err(unreadable("an answer that breaks off or has no end"))
        }
    }
}

/// Those of a request.
pub(super) fn headers(method: &Method) -> http::HeaderMap {
    use http::header::{ACCEPT, CONTENT_TYPE};

    let mut headers = http::HeaderMap::new();
    headers.insert(ACCEPT, http::HeaderValue::from_static("application/json"));
    if method == Method::PATCH {
        let patch = http::HeaderValue::from_static("application/json-patch+json");
        headers.insert(CONTENT_TYPE, patch);
    }
    headers
}

/// The name of an object or a namespace. Anything else would be another path.
fn is_name(text: &str) -> bool {
    let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(known) && !text.starts_with('.')
}

fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn json(body: &[u8]) -> Result<Value, MeshError> {
    serde_json::from_slice(body).map_err(|_| unreadable("an answer that is no JSON"))
}

/// A member of each item of a list.
fn texts<'v>(value: &'v Value, list: &str, member: &str) -> Result<Vec<&'v str>, MeshError> {
    let items = value.get(list).and_then(Value::as_array);
    let items = items.ok_or_else(|| unreadable("no API discovery"))?;
    Ok(items.iter().filter_map(|item| item.get(member)?.as_str()).collect())
}

fn object(body: &[u8], kind: MeshKind, expected: &str) -> Result<Value, MeshError> {
    let object = whole(json(body)?, kind, &Value::Null)?;
    if name(&object) != expected {
        return Err(unreadable("another object"));
    }
    Ok(object)
}

/// An object with kind and version, which items of a list need not have.
fn whole(mut object: Value, kind: MeshKind, version: &Value) -> Result<Value, MeshError> {
    if name(&object).is_empty() {
        return Err(unreadable("an object without a name"));
    }
    if let Value::Object(members) = &mut object {
        members.entry("kind").or_insert_with(|| json!(kind.as_str()));
        members.entry("apiVersion").or_insert_with(|| version.clone());
    }
    if object.get("kind") != Some(&json!(kind.as_str())) {
        return Err(unreadable("an object of another kind"));
    }
    Ok(object)
}

/// Whether it says that an object is missing; servers that do not know the path say so in other words.
fn is_status(body: &[u8]) -> bool {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    let named = status.pointer("/details/name").and_then(Value::as_str);
    status.get("kind") == Some(&json!("Status")) && named.is_some_and(|name| !name.is_empty())
}

/// Whether a Status is about this object.
fn is_about(body: &[u8], name: &str) -> bool {
    let status: Value = serde_json::from_slice(body).unwrap_or_default();
    status.pointer("/details/name").and_then(Value::as_str) == Some(name)
}

fn changed_meanwhile() -> MeshError {
    MeshError::Conflict("it has changed meanwhile".into())
}

fn no_such_kind(kind: MeshKind) -> MeshError {
    MeshError::Unreachable(format!("the cluster does not have the kind {}", kind.as_str()))
}

pub(super) fn unreadable(what: &str) -> MeshError {
    tracing::warn!(what, "an answer of the cluster makes no sense");
    MeshError::Unreachable("the cluster's answer cannot be read".into())
}

fn refusal(status: StatusCode, doing: Doing, what: &str) -> MeshError {
    let code = status.as_u16();
    let doing = doing.as_str();
    tracing::warn!(status = code, doing, what, "the cluster refuses");
    MeshError::Unreachable(match code {
        401 => "the cluster does not accept the credentials".into(),
        403 => format!("the cluster does not let us {doing} {what}"),
        300..=399 => "the cluster answers with a redirect, which is not followed".into(),
        _ => format!("the cluster does not answer: it says {code}"),
    })
}
