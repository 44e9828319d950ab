//! The Status object: what went wrong with a call, with its HTTP code, reason, message and causes.
//!
//! Leaves to its callers what is wrong; the texts of the single fields are `field_error`'s.

use serde_json::{Map, Value, json};

pub use super::field_error::{CauseReason, FieldError};
pub use super::resource_type::ResourceType;

/// Why a call failed, in the API's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request makes no sense.
    BadRequest,
    /// Nobody known is calling.
    Unauthorized,
    /// The caller may not do that.
    Forbidden,
    /// No such object, or no such path.
    NotFound,
    /// The resource has no such verb.
    MethodNotAllowed,
    /// No media type that the caller accepts.
    NotAcceptable,
    /// An object of that name exists.
    AlreadyExists,
    /// The object changed meanwhile, a precondition does not hold, or others own the fields.
    Conflict,
    /// The resource version or continue token is too old.
    Expired,
    /// The body is too large.
    RequestEntityTooLarge,
    /// The body has a media type that is not read here.
    UnsupportedMediaType,
    /// The content of the object is wrong.
    Invalid,
    /// Too much at once.
    TooManyRequests,
    /// Our fault.
    InternalError,
    /// Not now.
    ServiceUnavailable,
    /// It took too long.
    Timeout,
}

impl Reason {
    /// The HTTP status code.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// The word of `status.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Expired => "Expired",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::Invalid => "Invalid",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
        }
    }
}

/// One cause in `details.causes`. Empty parts are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cause {
    /// A word for programs.
    pub reason: String,
    /// A text for people.
    pub message: String,
    /// The field, as a path.
    pub field: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Details {
    name: String,
    group: &'static str,
    kind: &'static str,
    uid: String,
    causes: Vec<Cause>,
    retry_after_seconds: Option<u32>,
}

impl Details {
    fn of(resource: ResourceType, name: &str) -> Self {
        let ResourceType { group, plural, .. } = resource;
        Self { name: name.to_owned(), group, kind: plural, ..Self::default() }
    }

    fn to_json(&self) -> Value {
        let mut details = Map::new();
        let mut text = |key: &str, text: &str| {
            if !text.is_empty() {
                details.insert(key.to_owned(), json!(text));
            }
        };
        text("name", &self.name);
        text("group", self.group);
        text("kind", self.kind);
        text("uid", &self.uid);
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(|cause| {
                let parts = [
                    ("reason", &cause.reason),
                    ("message", &cause.message),
                    ("field", &cause.field),
                ];
                parts
                    .into_iter()
                    .filter(|(_, text)| !text.is_empty())
                    .map(|(key, text)| (key.to_owned(), json!(text)))
                    .collect::<Value>()
            });
            details.insert("causes".to_owned(), causes.collect());
        }
        if let Some(seconds) = self.retry_after_seconds {
            details.insert("retryAfterSeconds".to_owned(), json!(seconds));
        }
        Value::Object(details)
    }
}

/// A call that failed. Displays as its message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    reason: Reason,
    message: String,
    details: Option<Box<Details>>,
}

impl ApiError {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None }
    }

    fn about(reason: Reason, resource: ResourceType, name: &str, message: String) -> Self {
        Self { reason, message, details: Some(Box::new(Details::of(resource, name))) }
    }

    fn causes(mut self, causes: Vec<Cause>) -> Self {
        self.details.get_or_insert_default().causes = causes;
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = Some(seconds);
        self
    }

    /// A request that makes no sense; `message` says what does not.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// A body that is not an object of that kind in that version.
    pub fn cannot_be_handled(resource: ResourceType, version: &str, why: &str) -> Self {
        let kind = resource.kind;
        Self::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
        ))
    }

    /// A body of which not even the kind could be read.
    pub fn unrecognized_object(resource: ResourceType, why: &str) -> Self {
        let kind = resource.kind;
        Self::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why}"
        ))
    }

    /// Nobody known is calling.
    pub fn unauthorized() -> Self {
        Self::new(Reason::Unauthorized, "Unauthorized")
    }

    /// `why` names the user, the verb and the resource.
    pub fn forbidden(resource: ResourceType, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} \"{name}\" is forbidden: {why}")
        };
        Self::about(Reason::Forbidden, resource, name, message)
    }

    /// No object of that name.
    pub fn not_found(resource: ResourceType, name: &str) -> Self {
        let message = format!("{resource} \"{name}\" not found");
        Self::about(Reason::NotFound, resource, name, message)
    }

    /// No such path.
    pub fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self { details: Some(Box::default()), ..Self::new(Reason::NotFound, message) }
    }

    /// The resource has no such verb.
    pub fn method_not_allowed(resource: ResourceType, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{resource}\"");
        Self::about(Reason::MethodNotAllowed, resource, "", message)
    }

    /// The path has no such method.
    pub fn method_not_allowed_here() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self { details: Some(Box::default()), ..Self::new(Reason::MethodNotAllowed, message) }
    }

    /// None of the media types that the caller accepts can be given.
    pub fn not_acceptable(supported: &[&str]) -> Self {
        let types = supported.join(", ");
        let message = format!("only the following media types are accepted: {types}");
        Self::new(Reason::NotAcceptable, message)
    }

    /// The body has another media type than those.
    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        let types = supported.join(", ");
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {types}"
        );
        Self::new(Reason::UnsupportedMediaType, message)
    }

    /// An object of that name exists.
    pub fn already_exists(resource: ResourceType, name: &str) -> Self {
        let message = format!("{resource} \"{name}\" already exists");
        Self::about(Reason::AlreadyExists, resource, name, message)
    }

    /// A name made from `generateName` exists by chance.
    pub fn generated_name_exists(resource: ResourceType, name: &str) -> Self {
        let message = format!(
            "{resource} \"{name}\" already exists, the server was not able to generate a unique name \
             for the object"
        );
        Self::about(Reason::AlreadyExists, resource, name, message).retry_after(1)
    }

    /// The object is not as the caller supposes; `why` says in what.
    pub fn conflict(resource: ResourceType, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::about(Reason::Conflict, resource, name, message)
    }

    /// The resource version is not the current one.
    pub fn modified(resource: ResourceType, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and \
                   try again";
        Self::conflict(resource, name, why)
    }

    /// Others own fields that an apply would change.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        Self::new(Reason::Conflict, message).causes(causes)
    }

    /// Too old to be answered.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// The changes after that resource version are no longer known.
    pub fn too_old_resource_version(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// The list that a continue token belongs to is no longer kept.
    pub fn expired_continue_token() -> Self {
        Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You must \
             start a new list without the continue parameter.",
        )
    }

    /// A resource version that does not exist yet.
    pub fn too_large_resource_version(requested: u64, current: u64) -> Self {
        let message =
            format!("Timeout: Too large resource version: {requested}, current: {current}");
        Self::new(Reason::Timeout, message).retry_after(1).causes(vec![Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        }])
    }

    /// It took too long.
    pub fn timeout(message: &str, retry_after_seconds: u32) -> Self {
        Self::new(Reason::Timeout, format!("Timeout: {message}")).retry_after(retry_after_seconds)
    }

    /// The body, or what it makes of the object, is too large.
    pub fn request_entity_too_large(message: &str) -> Self {
        Self::new(Reason::RequestEntityTooLarge, format!("Request entity too large: {message}"))
    }

    /// The content of an object is wrong. There must be at least one error.
    pub fn invalid(resource: ResourceType, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_kind(resource.kind, resource.group, name, errors)
    }

    /// The options of a call are wrong: `kind` is `PatchOptions` or the like.
    pub fn invalid_options(kind: &'static str, errors: &[FieldError]) -> Self {
        Self::invalid_kind(kind, "meta.k8s.io", "", errors)
    }

    /// What a patch made of an object cannot be read as an object of its kind.
    pub fn invalid_patch_result(errors: &[FieldError]) -> Self {
        Self::invalid_kind("", "", "", errors)
    }

    fn invalid_kind(
        kind: &'static str,
        group: &'static str,
        name: &str,
        errors: &[FieldError],
    ) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(FieldError::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let text = match texts.as_slice() {
            [one] => one.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        let message = format!(
            "{} \"{name}\" is invalid: {text}",
            super::resource_type::qualified(kind, group)
        );
        let causes = errors.iter().map(FieldError::cause).collect();
        let details = Details { name: name.to_owned(), group, kind, ..Details::default() };
        Self { details: Some(Box::new(details)), ..Self::new(Reason::Invalid, message) }
            .causes(causes)
    }

    /// A JSON patch that cannot be carried out.
    pub fn unprocessable_patch() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self { details: Some(Box::default()), ..Self::new(Reason::Invalid, message) }
    }

    /// Too much at once.
    pub fn too_many_requests(message: &str, retry_after_seconds: u32) -> Self {
        Self::new(Reason::TooManyRequests, message).retry_after(retry_after_seconds)
    }

    /// Our fault. `why` is shown to the caller.
    pub fn internal(why: &str) -> Self {
        let cause = Cause { message: why.to_owned(), ..Cause::default() };
        Self::new(Reason::InternalError, format!("Internal error occurred: {why}"))
            .causes(vec![cause])
    }

    /// Not now.
    pub fn service_unavailable(message: &str) -> Self {
        Self::new(Reason::ServiceUnavailable, message)
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.reason.code()
    }

    /// What the `Retry-After` header says, if anything.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.details.as_ref()?.retry_after_seconds
    }

    /// The Status object, as body or as object of a watch's ERROR event.
    pub fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason.as_str(),
        });
        if let Some(status) = status.as_object_mut() {
            if let Some(details) = &self.details {
                status.insert("details".to_owned(), details.to_json());
            }
            status.insert("code".to_owned(), json!(self.code()));
        }
        status
    }
}

/// The Status object that answers a completed delete.
pub fn deleted(resource: ResourceType, name: &str, uid: &str) -> Value {
    let details = Details { uid: uid.to_owned(), ..Details::of(resource, name) };
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details.to_json(),
    })
}

#[cfg(test)]
mod tests;
