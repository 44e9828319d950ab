//! The query string of a call, and the options of lists, watches, writes and deletes in it.
//!
//! What is asked for only; `selector` and `continue_token` read their own texts.

use std::num::NonZeroUsize;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::continue_token::ContinueToken;
use super::selector::{FieldSelector, LabelSelector};
use super::status::{ApiError, FieldError};

/// The longest name of a field manager, in bytes.
pub const MAX_FIELD_MANAGER: usize = 128;

/// The parameters of a query string, in its order. Those that nobody knows are harmless.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query(Vec<(String, String)>);

/// How a list's resource version is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceVersionMatch {
    /// That very version.
    Exact,
    /// That version or a later one.
    NotOlderThan,
}

/// The options of a list, a watch or a deletecollection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOptions {
    /// Which objects, by labels.
    pub label_selector: LabelSelector,
    /// Which objects, by name and namespace.
    pub field_selector: FieldSelector,
    /// How many objects at most.
    pub limit: Option<NonZeroUsize>,
    /// Where the page before ended.
    pub continue_token: Option<ContinueToken>,
    /// `None` where it is not given; 0 stands for any.
    pub resource_version: Option<u64>,
    /// How the resource version is meant.
    pub resource_version_match: Option<ResourceVersionMatch>,
    /// Whether this is a watch.
    pub watch: bool,
    /// Whether the watcher wants bookmarks.
    pub allow_watch_bookmarks: bool,
    /// Whether a watch starts with what there is; `None` leaves it to the resource version.
    pub send_initial_events: Option<bool>,
    /// When a watch ends.
    pub timeout_seconds: Option<u64>,
}

/// What becomes of fields that the kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// They are dropped in silence.
    Ignore,
    /// They are dropped with a warning.
    #[default]
    Warn,
    /// They are refused.
    Strict,
}

/// The ways to write, as far as their options differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// POST
    Create,
    /// PUT
    Update,
    /// PATCH of any type but apply
    Patch,
    /// PATCH of type apply
    Apply,
}

/// The options of a write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// Whether to do everything but store.
    pub dry_run: bool,
    /// Who writes, where the caller says so.
    pub field_manager: Option<String>,
    /// What becomes of unknown fields.
    pub field_validation: FieldValidation,
    /// Whether an apply takes fields from others.
    pub force: bool,
}

/// The options of a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    /// Whether to do everything but delete.
    pub dry_run: bool,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The resource version that the object must have.
    pub resource_version: Option<String>,
    /// What becomes of dependents, of which there are none here.
    pub propagation_policy: Option<PropagationPolicy>,
}

/// What becomes of the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationPolicy {
    /// They stay.
    Orphan,
    /// They go later.
    Background,
    /// They go first.
    Foreground,
}

/// How much of the object a row of a table carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IncludeObject {
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
    /// Nothing.
    None,
}

impl Query {
    /// Reads what stands after the `?`. Empty parts are skipped: some clients send `?&watch=true`.
    pub fn parse(raw: Option<&str>) -> Result<Self, ApiError> {
        let parts = raw.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let pairs = parts.map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decoded(name)?, decoded(value)?))
        });
        Ok(Self(pairs.collect::<Result<_, ApiError>>()?))
    }

    /// The first value of a parameter.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, unless it is empty.
    fn text(&self, name: &str) -> Option<&str> {
        self.first(name).filter(|text| !text.is_empty())
    }

    /// A boolean is false only where it is absent, `false` or `0`.
    fn bool(&self, name: &str) -> Option<bool> {
        self.first(name).map(|text| !(text.eq_ignore_ascii_case("false") || text == "0"))
    }

    fn integer(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number: i64 = text.parse().map_err(|error: std::num::ParseIntError| {
            ApiError::bad_request(number_message("strconv.ParseInt", text, &error))
        })?;
        // Kubernetes takes what is below zero for nothing.
        Ok(u64::try_from(number).ok())
    }

    fn resource_version(&self) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text("resourceVersion") else { return Ok(None) };
        text.parse().map(Some).map_err(|error: std::num::ParseIntError| {
            let why = number_message("strconv.ParseUint", text, &error);
            let field = FieldError::invalid("resourceVersion", text, &why);
            ApiError::bad_request(format!("invalid resource version: {field}"))
        })
    }

    /// Whether a GET of a collection is a watch.
    pub fn is_watch(&self) -> bool {
        self.bool("watch").unwrap_or_default()
    }

    /// The options of a list, a watch or a deletecollection.
    pub fn list_options(&self) -> Result<ListOptions, ApiError> {
        let resource_version = self.resource_version()?;
        let continue_token = self.text("continue").map(ContinueToken::decode).transpose()?;
        let watch = self.is_watch();
        let options = ListOptions {
            label_selector: LabelSelector::parse(self.text("labelSelector").unwrap_or_default())?,
            field_selector: FieldSelector::parse(self.text("fieldSelector").unwrap_or_default())?,
            limit: self
                .integer("limit")?
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX))
                .and_then(NonZeroUsize::new),
            continue_token,
            resource_version,
            resource_version_match: match self.text("resourceVersionMatch") {
                Some("Exact") => Some(ResourceVersionMatch::Exact),
                Some("NotOlderThan") => Some(ResourceVersionMatch::NotOlderThan),
                Some(other) => {
                    let allowed = ["Exact", "NotOlderThan", ""];
                    let error = FieldError::not_supported("resourceVersionMatch", other, &allowed);
                    return Err(ApiError::invalid_options("ListOptions", &[error]));
                }
                None => None,
            },
            watch,
            allow_watch_bookmarks: self.bool("allowWatchBookmarks").unwrap_or_default(),
            send_initial_events: self.bool("sendInitialEvents"),
            timeout_seconds: self.integer("timeoutSeconds")?,
        };
        let errors = if watch { options.watch_errors() } else { options.list_errors() };
        if !errors.is_empty() {
            return Err(ApiError::invalid_options("ListOptions", &errors));
        }
        if options.continue_token.is_some() && resource_version.is_some_and(|version| version > 0) {
            let message = "specifying resource version is not allowed when using continue";
            return Err(ApiError::bad_request(message));
        }
        Ok(options)
    }

    /// The resource version of a get: the object must be at least that new.
    pub fn get_resource_version(&self) -> Result<Option<u64>, ApiError> {
        self.resource_version()
    }

    /// How much of the objects the rows of a table carry.
    pub fn include_object(&self) -> Result<IncludeObject, ApiError> {
        match self.text("includeObject") {
            None | Some("Metadata") => Ok(IncludeObject::Metadata),
            Some("Object") => Ok(IncludeObject::Object),
            Some("None") => Ok(IncludeObject::None),
            Some(_) => Err(ApiError::bad_request("unrecognized includeObject value")),
        }
    }

    /// The options of a write.
    pub fn write_options(&self, kind: WriteKind) -> Result<WriteOptions, ApiError> {
        let mut errors = Vec::new();
        let dry_run = self.dry_run(&mut errors);
        let field_validation = match self.text("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let allowed = ["Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", other, &allowed));
                FieldValidation::default()
            }
        };
        let field_manager = self.text("fieldManager");
        if kind == WriteKind::Apply && field_manager.is_none() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        if let Some(name) = field_manager {
            if name.len() > MAX_FIELD_MANAGER {
                errors.push(FieldError::too_long("fieldManager", MAX_FIELD_MANAGER));
            }
            if !name.chars().all(is_printable) {
                let detail = "should only contain printable characters";
                errors.push(FieldError::invalid("fieldManager", name, detail));
            }
        }
        let force = self.bool("force");
        if kind == WriteKind::Patch && force.is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        if !errors.is_empty() {
            let options = match kind {
                WriteKind::Create => "CreateOptions",
                WriteKind::Update => "UpdateOptions",
                WriteKind::Patch | WriteKind::Apply => "PatchOptions",
            };
            return Err(ApiError::invalid_options(options, &errors));
        }
        Ok(WriteOptions {
            dry_run,
            field_manager: field_manager.map(str::to_owned),
            field_validation,
            force: kind == WriteKind::Apply && force.unwrap_or_default(),
        })
    }

    fn dry_run(&self, errors: &mut Vec<FieldError>) -> bool {
        let values = self.0.iter().filter(|(key, value)| key == "dryRun" && !value.is_empty());
        let values: Vec<_> = values.map(|(_, value)| value.as_str()).collect();
        check_dry_run(&values, errors)
    }

    /// The options of a delete: those of its body, and where it is silent, those of the query.
    pub fn delete_options(&self, body: Option<&Value>) -> Result<DeleteOptions, ApiError> {
        let mut errors = Vec::new();
        let mut options = DeleteOptions {
            dry_run: self.dry_run(&mut errors),
            ..body.map_or_else(|| Ok(DeleteOptions::default()), |b| delete_body(b, &mut errors))?
        };
        // Either may ask for a rehearsal; what only rehearses does no harm.
        if let Some(values) = body.and_then(|body| body.get("dryRun")).and_then(Value::as_array) {
            let values: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            options.dry_run |= check_dry_run(&values, &mut errors);
        }
        if options.propagation_policy.is_none()
            && let Some(policy) = self.text("propagationPolicy")
        {
            options.propagation_policy = propagation_policy(policy, &mut errors);
        }
        self.integer("gracePeriodSeconds")?;
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(ApiError::invalid_options("DeleteOptions", &errors))
        }
    }
}

impl ListOptions {
    /// Whether a selector leaves any object out.
    pub fn selects_all(&self) -> bool {
        self.label_selector.is_empty() && self.field_selector.is_empty()
    }

    /// Whether the object is among those asked for.
    pub fn matches(&self, object: &Value) -> bool {
        self.label_selector.matches(object) && self.field_selector.matches(object)
    }

    fn list_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut forbid = |field: &str, detail: &str| {
            errors.push(FieldError::forbidden(field, detail));
        };
        let field = "resourceVersionMatch";
        if let Some(how) = self.resource_version_match {
            if self.resource_version.is_none() {
                forbid(
                    field,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if self.continue_token.is_some() {
                forbid(field, "resourceVersionMatch is forbidden when continue is provided");
            }
            if how == ResourceVersionMatch::Exact && self.resource_version == Some(0) {
                forbid(
                    field,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                );
            }
        }
        if self.send_initial_events.is_some() {
            forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
        errors
    }

    fn watch_errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let field = "resourceVersionMatch";
        let how = self.resource_version_match;
        if self.send_initial_events.is_some() {
            if how != Some(ResourceVersionMatch::NotOlderThan) {
                let detail =
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                errors.push(FieldError::forbidden(field, detail));
            }
        } else if how.is_some() {
            let detail =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(field, detail));
        }
        if how.is_some() && self.continue_token.is_some() {
            let detail = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(field, detail));
        }
        errors
    }
}

fn delete_body(body: &Value, errors: &mut Vec<FieldError>) -> Result<DeleteOptions, ApiError> {
    let wrong = |what: &str| ApiError::bad_request(format!("DeleteOptions: {what}"));
    let absent = |value: &&Value| !value.is_null();
    let text = |value: Option<&Value>, name: &str| match value.filter(absent) {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(&format!("{name} must be a string"))),
    };
    let Some(fields) = body.as_object() else { return Err(wrong("must be an object")) };
    match text(fields.get("kind"), "kind")?.as_deref() {
        None | Some("DeleteOptions") => {}
        Some(_) => return Err(wrong("the body must be of kind DeleteOptions")),
    }
    let dry_run = fields.get("dryRun").filter(absent);
    if dry_run.is_some_and(|dry_run| {
        !dry_run.as_array().is_some_and(|values| values.iter().all(Value::is_string))
    }) {
        return Err(wrong("dryRun must be a list of strings"));
    }
    let grace = fields.get("gracePeriodSeconds").filter(absent);
    if grace.is_some_and(|seconds| seconds.as_i64().is_none()) {
        return Err(wrong("gracePeriodSeconds must be an integer"));
    }
    let preconditions = match fields.get("preconditions").filter(absent) {
        None => None,
        Some(Value::Object(preconditions)) => Some(preconditions),
        Some(_) => return Err(wrong("preconditions must be an object")),
    };
    let precondition = |name: &str| text(preconditions.and_then(|p| p.get(name)), name);
    let policy = text(fields.get("propagationPolicy"), "propagationPolicy")?;
    Ok(DeleteOptions {
        dry_run: false,
        uid: precondition("uid")?,
        resource_version: precondition("resourceVersion")?,
        propagation_policy: policy.and_then(|policy| propagation_policy(&policy, errors)),
    })
}

fn propagation_policy(text: &str, errors: &mut Vec<FieldError>) -> Option<PropagationPolicy> {
    match text {
        "Orphan" => Some(PropagationPolicy::Orphan),
        "Background" => Some(PropagationPolicy::Background),
        "Foreground" => Some(PropagationPolicy::Foreground),
        other => {
            let allowed = ["Foreground", "Background", "Orphan"];
            errors.push(FieldError::not_supported("propagationPolicy", other, &allowed));
            None
        }
    }
}

fn check_dry_run(values: &[&str], errors: &mut Vec<FieldError>) -> bool {
    for value in values.iter().filter(|value| **value != "All") {
        errors.push(FieldError::not_supported("dryRun", value, &["All"]));
    }
    !values.is_empty()
}

/// Who writes: the field manager of the options, or else the first part of the user agent.
pub fn manager_name(field_manager: Option<&str>, user_agent: Option<&str>) -> String {
    if let Some(name) = field_manager.filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let program = user_agent.unwrap_or_default().split('/').next().unwrap_or_default();
    let mut name = String::new();
    for c in program.chars().filter(|c| is_printable(*c)) {
        if name.len() + c.len_utf8() > MAX_FIELD_MANAGER {
            break;
        }
        name.push(c);
    }
    if name.is_empty() { "unknown".to_owned() } else { name }
}

fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace())
}

/// What Go says of a text that is not a number.
pub(super) fn number_message(
    function: &str,
    text: &str,
    error: &std::num::ParseIntError,
) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let too_large = matches!(error.kind(), PosOverflow | NegOverflow);
    let why = if too_large { "value out of range" } else { "invalid syntax" };
    format!("{function}: parsing {}: {why}", super::field_error::quote(text))
}

fn decoded(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let invalid = || ApiError::bad_request("the query string is not valid");
    let mut rest = spaced.split('%');
    rest.next();
    let is_escape = |part: &str| {
        part.get(..2).is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
    };
    if !rest.all(is_escape) {
        return Err(invalid());
    }
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| invalid())
}

#[cfg(test)]
mod tests;
