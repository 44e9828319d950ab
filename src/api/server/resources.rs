//! Requests about objects: from method and path to the work, and from its result to an answer.

use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};

use super::super::access::{Review, ReviewKind, User};
use super::super::object_meta::Endpoint;
use super::super::patch::{MEDIA_TYPES, PatchType};
use super::super::query::{DeleteOptions, ListOptions, Query, WriteKind, manager_name};
use super::super::status::{ApiError, ResourceType, deleted};
use super::super::strict::{Format, decode};
use super::super::table::Form;
use super::super::versions;
use super::answer::{self, Answer, Shown};
use super::moment::Moment;
use super::route::Resource;
use super::watches::Watch;
use super::writes::{self, Deleted, Writer, Written};
use super::{ApiServer, OK, blocking, body, namespaces, reads};

/// What is done to objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    fn of(method: &Method, resource: &Resource, query: &Query) -> Result<Self, ApiError> {
        let Resource { kind, namespace, name, endpoint, .. } = resource;
        let is_namespace = *kind == ResourceType::NAMESPACE;
        let is_one = name.is_some();
        // Objects are made and deleted in one namespace at a time.
        let is_place = is_namespace || namespace.is_some();
        let is_main = *endpoint == Endpoint::Main;
        Ok(match *method {
            Method::GET if is_one => Self::Get,
            Method::GET if query.is_watch() => Self::Watch,
            Method::GET => Self::List,
            Method::POST if !is_one && is_place => Self::Create,
            Method::PUT if is_one => Self::Update,
            Method::PATCH if is_one => Self::Patch,
            Method::DELETE if is_one && is_main => Self::Delete,
            Method::DELETE if !is_one && is_place && !is_namespace => Self::DeleteCollection,
            _ => {
                let verb = method.as_str().to_ascii_lowercase();
                return Err(ApiError::method_not_allowed(*kind, &verb));
            }
        })
    }
}

/// One request about objects.
struct Call {
    resource: Resource,
    query: Query,
    headers: HeaderMap,
    shown: Shown,
    now: Moment,
}

impl ApiServer {
    pub(super) async fn resource(
        &self,
        user: &User,
        resource: Resource,
        request: Request<Body>,
    ) -> Result<Answer, ApiError> {
        let (parts, body) = request.into_parts();
        let query = Query::parse(parts.uri.query())?;
        let verb = Verb::of(&parts.method, &resource, &query)?;
        self.authorize(user, &resource, verb)?;
        let now = Moment::now(self.0.clock);
        let form = Form::negotiate(body::text(&parts.headers, header::ACCEPT))?;
        let shown = Shown {
            form,
            resource: resource.kind,
            version: resource.version,
            include_object: query.include_object()?,
            now: now.seconds,
        };
        let call = Call { resource, query, headers: parts.headers, shown, now };
        if verb == Verb::Watch {
            return self.watch(call);
        }
        let Ok(_place) = self.0.requests.try_acquire() else {
            return Err(ApiError::too_many_requests("too many requests: try again later", 1));
        };
        let what = call.resource.clone();
        let deprecated = versions::deprecation(what.kind, what.version);
        let deprecated: Vec<_> = deprecated.into_iter().map(str::to_owned).collect();
        let warned = |mut answer: Answer| {
            answer::warn(&mut answer, &deprecated);
            answer
        };
        let answer = match verb {
            Verb::Get => return self.get(&call).map(warned),
            Verb::List | Verb::Watch => return self.list(call).await.map(warned),
            Verb::Create | Verb::Update | Verb::Patch => self.write(call, verb, body).await,
            Verb::Delete => self.delete(call, body).await,
            Verb::DeleteCollection => self.delete_collection(call, body).await,
        };
        report(user, verb, &what, answer.as_ref().err());
        answer.map(warned)
    }

    fn authorize(&self, user: &User, resource: &Resource, verb: Verb) -> Result<(), ApiError> {
        let name = resource.rule_name();
        if self.0.settings.roles.allow(user, &resource.action(verb.as_str(), &name)) {
            return Ok(());
        }
        let place = match &resource.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let why = format!(
            "User \"{}\" cannot {} resource \"{name}\" in API group \"{}\" {place}",
            user.name,
            verb.as_str(),
            resource.kind.group,
        );
        let object = resource.name.as_deref().unwrap_or_default();
        Err(ApiError::forbidden(resource.kind, object, &why))
    }

    fn get(&self, call: &Call) -> Result<Answer, ApiError> {
        let at_least = call.query.get_resource_version()?;
        let object = reads::get(&self.0.store, &call.resource, at_least)?;
        Ok(answer::json(OK, &call.shown.object(object, true)))
    }

    async fn list(&self, call: Call) -> Result<Answer, ApiError> {
        let options = call.query.list_options()?;
        let store = self.0.store.clone();
        blocking(move || {
            let list = reads::list(&store, &call.resource, &options)?;
            Ok(match call.shown.form {
                Form::Full => answer::json(OK, &list),
                Form::Table(_) | Form::Metadata(_) => {
                    answer::json(OK, &call.shown.list(list.to_value()))
                }
            })
        })
        .await
    }

    fn watch(&self, call: Call) -> Result<Answer, ApiError> {
        let options = call.query.list_options()?;
        let Ok(permit) = self.0.watches.clone().try_acquire_owned() else {
            return Err(ApiError::too_many_requests("too many watches: try again later", 5));
        };
        let watch = Watch {
            store: self.0.store.clone(),
            resource: call.resource,
            options,
            shown: call.shown,
            clock: self.0.clock,
            shutdown: self.0.shutdown.clone(),
        };
        let body = watch.start(permit);
        let mut answer = http::Response::new(body);
        let json = http::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(answer)
    }

    async fn write(&self, call: Call, verb: Verb, body: Body) -> Result<Answer, ApiError> {
        let media_type = body::media_type(&call.headers);
        let is_strategic = verb == Verb::Patch
            && call.resource.kind == ResourceType::NAMESPACE
            && namespaces::is_strategic(media_type);
        let patch = if is_strategic {
            Some(PatchType::Merge)
        } else if verb == Verb::Patch {
            Some(PatchType::from_content_type(media_type)?)
        } else {
            None
        };
        let is_protobuf = call.resource.kind == ResourceType::NAMESPACE
            && verb == Verb::Create
            && body::is_protobuf(&call.headers);
        let format = match patch {
            None if !is_protobuf => Format::from_content_type(media_type)?,
            None | Some(_) => Format::Json,
        };
        let kind = match (verb, patch) {
            (_, Some(PatchType::Apply)) => WriteKind::Apply,
            (_, Some(PatchType::Json | PatchType::Merge)) => WriteKind::Patch,
            (Verb::Update, None) => WriteKind::Update,
            (_, None) => WriteKind::Create,
        };
        let options = call.query.write_options(kind)?;
        let agent = body::text(&call.headers, header::USER_AGENT);
        let manager = manager_name(options.field_manager.as_deref(), agent);
        let body = body::read(&call.headers, body).await?;
        if is_strategic && !namespaces::is_plain_merge(&body) {
            return Err(ApiError::unsupported_media_type(&MEDIA_TYPES));
        }
        let server = self.clone();
        blocking(move || {
            let Call { resource, shown, now, .. } = &call;
            let writer = Writer {
                store: &server.0.store,
                settings: &server.0.settings,
                resource,
                options: &options,
                manager: &manager,
                now,
            };
            let written = match (verb, patch) {
                (_, Some(patch)) => writer.patch(patch, &body),
                (Verb::Update, None) => writer.replace(&body, format),
                (_, None) if is_protobuf => {
                    let object = namespaces::from_protobuf(&body).ok_or_else(|| {
                        ApiError::unrecognized_object(resource.kind, "the body is damaged")
                    })?;
                    writer.create_object(object, Vec::new())
                }
                (_, None) => writer.create(&body, format),
            };
            let Written { object, is_new, warnings } = written?;
            let status = if is_new { StatusCode::CREATED } else { OK };
            let mut answer = answer::json(status, &shown.object(object, true));
            answer::warn(&mut answer, &warnings);
            Ok(answer)
        })
        .await
    }

    async fn delete(&self, call: Call, body: Body) -> Result<Answer, ApiError> {
        let options = delete_options(&call, body).await?;
        let server = self.clone();
        blocking(move || {
            let (store, settings) = (&server.0.store, &server.0.settings);
            let Call { resource, shown, now, .. } = &call;
            let name = resource.name.as_deref().unwrap_or_default();
            let gone = match resource.kind {
                ResourceType::NAMESPACE => {
                    let permanent = &settings.permanent_namespaces;
                    namespaces::delete(store, name, permanent, &options, now)
                }
                _ => writes::delete(store, resource, &options, now),
            };
            Ok(match gone? {
                Deleted::Gone(object) => {
                    let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
                    answer::json(OK, &deleted(resource.kind, name, uid.unwrap_or_default()))
                }
                Deleted::Marked(object) => answer::json(OK, &shown.object(object, true)),
            })
        })
        .await
    }

    async fn delete_collection(&self, call: Call, body: Body) -> Result<Answer, ApiError> {
        let list: ListOptions = call.query.list_options()?;
        let options = delete_options(&call, body).await?;
        let store = self.0.store.clone();
        blocking(move || {
            let Call { resource, shown, now, .. } = &call;
            let chosen = reads::list(&store, resource, &list)?;
            let items = writes::delete_all(&store, resource, &chosen.keys(), &options, now)?;
            let list = json!({
                "kind": format!("{}List", resource.kind.kind),
                "apiVersion": resource.kind.api_version(resource.version),
                "metadata": { "resourceVersion": store.revision().to_string() },
                "items": items,
            });
            Ok(answer::json(OK, &shown.list(list)))
        })
        .await
    }

    pub(super) async fn review(
        &self,
        user: &User,
        kind: ReviewKind,
        api_version: &str,
        request: Request<Body>,
    ) -> Result<Answer, ApiError> {
        let (parts, body) = request.into_parts();
        let is_protobuf = body::is_protobuf(&parts.headers);
        let media_type = body::media_type(&parts.headers);
        let format =
            if is_protobuf { Format::Json } else { Format::from_content_type(media_type)? };
        let body = body::read(&parts.headers, body).await?;
        let wrong = |why: &dyn std::fmt::Display| ApiError::bad_request(why.to_string());
        let review = if is_protobuf {
            Review::from_protobuf(kind, &body).map_err(|error| wrong(&error))?
        } else {
            let decoded = decode(&body, format).map_err(|error| wrong(&error))?;
            Review::from_json(kind, &decoded.value)
        };
        let answer = review.answer(api_version, &self.0.settings.roles, user);
        Ok(answer::json(StatusCode::CREATED, &answer.map_err(|error| wrong(&error))?))
    }
}

/// Who changed what, or was refused to.
fn report(user: &User, verb: Verb, what: &Resource, error: Option<&ApiError>) {
    let (user, verb, resource) = (&user.name, verb.as_str(), what.rule_name());
    let namespace = what.namespace.as_deref().unwrap_or_default();
    let name = what.name.as_deref().unwrap_or_default();
    match error {
        None => tracing::info!(user, verb, resource, namespace, name, "written through the API"),
        Some(error) => {
            let code = error.code();
            tracing::debug!(user, verb, resource, namespace, name, code, "refused by the API");
        }
    }
}

/// Most clients send options as the body, some send none.
async fn delete_options(call: &Call, body: Body) -> Result<DeleteOptions, ApiError> {
    let body = body::read(&call.headers, body).await?;
    if body.is_empty() {
        return call.query.delete_options(None);
    }
    let format = Format::from_content_type(body::media_type(&call.headers))?;
    let options = decode(&body, format)
        .map_err(|error| ApiError::bad_request(format!("DeleteOptions: {error}")))?;
    call.query.delete_options(Some(&options.value))
}
