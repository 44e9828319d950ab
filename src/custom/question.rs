//! What a provider is told of a request: a CheckRequest as Envoy makes it where Istio configures it, or
//! an HTTP request as Envoy's `http_service` makes one.
//!
//! Sending it is `grpc`'s and `http`'s job.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use http::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};

use super::answer::Trouble;
use super::settings::{ExtensionProvider, HttpCheck, RequestBody};

/// Says whether `body` is only the beginning of a request's; Envoy adds it where it sends a body.
const PARTIAL_BODY: &str = "x-envoy-auth-partial-body";

/// What is between Envoy and Postern, and nobody else's: `context_extensions` that begin like this.
const OWN_EXTENSIONS: &str = "postern.";

/// The CheckRequest for a gRPC provider. `hidden` is a header that it does not see.
pub(super) fn check_request(
    check: &CheckRequest,
    provider: &ExtensionProvider,
    hidden: Option<&str>,
) -> Result<CheckRequest, Trouble> {
    let mut check = check.clone();
    let Some(attributes) = &mut check.attributes else { return Err(Trouble::Unaskable) };
    attributes.context_extensions.retain(|name, _| !name.starts_with(OWN_EXTENSIONS));
    let Some(http) = attributes.request.as_mut().and_then(|request| request.http.as_mut()) else {
        return Ok(check);
    };
    let body = body(http, provider.request_body)?;
    let mut headers = headers(http, hidden);
    http.header_map = None;
    http.body.clear();
    http.raw_body.clear();
    if let (Some(Body { bytes, is_partial }), Some(settings)) = (body, provider.request_body) {
        headers.insert(PARTIAL_BODY.to_owned(), is_partial.to_string());
        if settings.pack_as_bytes {
            http.raw_body = bytes;
        } else {
            http.body = String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        }
    }
    http.headers = headers.into_iter().collect();
    Ok(check)
}

/// The request for an HTTP provider, whose URL begins with `base`.
pub(super) fn http_request(
    check: &CheckRequest,
    provider: &ExtensionProvider,
    settings: &HttpCheck,
    base: &str,
    hidden: Option<&str>,
) -> Result<http::Request<Bytes>, Trouble> {
    let http = check
        .attributes
        .as_ref()
        .and_then(|attributes| attributes.request.as_ref()?.http.as_ref())
        .ok_or(Trouble::Unaskable)?;
    let body = body(http, provider.request_body)?;
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| -> Result<(), Trouble> {
        let name = HeaderName::try_from(name).map_err(|_| Trouble::Unaskable)?;
        let value = HeaderValue::try_from(value).map_err(|_| Trouble::Unaskable)?;
        headers.insert(name, value);
        Ok(())
    };
    let includes = |name: &str| {
        name == "authorization"
            || settings.include_request_headers.iter().any(|pattern| pattern.matches(name))
    };
    for (name, value) in self::headers(http, hidden) {
        if !name.starts_with(':') && !is_of_a_connection(&name) && includes(&name) {
            put(&name, &value)?;
        }
    }
    if let Some(Body { is_partial, .. }) = &body {
        put(PARTIAL_BODY, if *is_partial { "true" } else { "false" })?;
    }
    put(HOST.as_str(), &http.host)?;
    for (name, value) in &settings.additional_headers {
        put(name, value)?;
    }
    let body = body.map(|body| body.bytes).unwrap_or_default();
    put(CONTENT_LENGTH.as_str(), &body.len().to_string())?;
    // What follows a `#` would not be sent.
    if http.path.contains('#') {
        return Err(Trouble::Unaskable);
    }
    let uri = format!("{base}{}{}", settings.path_prefix, http.path);
    let mut request = http::Request::new(Bytes::from(body));
    *request.method_mut() = Method::try_from(&*http.method).map_err(|_| Trouble::Unaskable)?;
    *request.uri_mut() = Uri::try_from(uri).map_err(|_| Trouble::Unaskable)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Headers that are about one connection, and the length, which is the check's own.
pub(super) fn is_of_a_connection(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name)
}

struct Body {
    bytes: Vec<u8>,
    is_partial: bool,
}

/// The body as a provider sees it; `None` where it sees none.
fn body(http: &HttpRequest, settings: Option<RequestBody>) -> Result<Option<Body>, Trouble> {
    let Some(settings) = settings else { return Ok(None) };
    let given = if http.raw_body.is_empty() { http.body.as_bytes() } else { &http.raw_body };
    if given.is_empty() {
        // Deciding about a body that is not there would be a guess.
        let has_body = any_line(http, "content-length", |length| length != "0");
        return if has_body { Err(Trouble::Unaskable) } else { Ok(None) };
    }
    let is_cut = given.len() > settings.max_request_bytes;
    // A client may have sent such a header too, and its line may be first.
    let is_partial = is_cut || any_line(http, PARTIAL_BODY, |value| value == "true");
    if is_partial && !settings.allow_partial_message {
        return Err(Trouble::BodyTooLarge);
    }
    let bytes = given.get(..settings.max_request_bytes).unwrap_or(given).to_vec();
    Ok(Some(Body { bytes, is_partial }))
}

/// Whether any value of a header is like this.
fn any_line(http: &HttpRequest, name: &str, is_it: impl Fn(&str) -> bool) -> bool {
    let lines = http.header_map.iter().flat_map(|map| &map.headers);
    let mut raw = lines.filter(|line| line.key == name).map(|line| match &*line.raw_value {
        [] => Cow::Borrowed(line.value.as_str()),
        value => String::from_utf8_lossy(value),
    });
    let joined = http.headers.get(name).into_iter().flat_map(|joined| joined.split(','));
    raw.any(|value| is_it(value.trim())) || joined.map(str::trim).any(is_it)
}

/// The headers as Envoy sends them without `encode_raw_headers`, which is what providers of Istio
/// get: lines of one name joined with a comma, and bytes that are no text replaced. Without what is
/// said of the body.
fn headers(http: &HttpRequest, hidden: Option<&str>) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let lines = http.header_map.iter().flat_map(|map| &map.headers);
    for line in lines {
        let value = if line.raw_value.is_empty() {
            Cow::Borrowed(line.value.as_str())
        } else {
            sanitized(&line.raw_value)
        };
        match headers.get_mut(&line.key) {
            Some(joined) => {
                joined.push(',');
                joined.push_str(&value);
            }
            None => drop(headers.insert(line.key.clone(), value.into_owned())),
        }
    }
    if headers.is_empty() {
        headers.extend(http.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
    headers.retain(|name, _| name != PARTIAL_BODY && hidden != Some(name.as_str()));
    headers
}

/// As Envoy writes what is no UTF-8: an exclamation mark for each such byte.
fn sanitized(value: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(value) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '!'));
    }
    Cow::Owned(text)
}
