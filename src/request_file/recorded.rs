//! CheckRequests that somebody kept: as protobuf's JSON has them, or as bytes.
//!
//! Reads them; what they say is `extauthz`'s job.

use std::sync::LazyLock;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};

use crate::extauthz::DESCRIPTORS;

const NAME: &str = "envoy.service.auth.v3.CheckRequest";

/// Why something is no CheckRequest, although it looks like one.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is no CheckRequest: {problem}")]
pub struct NoCheckRequest {
    name: String,
    problem: String,
}

static DESCRIPTOR: LazyLock<Option<MessageDescriptor>> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).ok()?.get_message_by_name(NAME));

/// A CheckRequest in JSON, as protobuf writes it, or in bytes. Nothing where the content is a text
/// that is something else: a JSON object is a CheckRequest if it has `attributes`. `name` is for the
/// error.
pub fn check_request(content: &[u8], name: &str) -> Result<Option<CheckRequest>, NoCheckRequest> {
    let wrong = |problem: String| NoCheckRequest { name: name.to_owned(), problem };
    let is_text = str::from_utf8(content).is_ok_and(|text| {
        !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    });
    if !is_text {
        return CheckRequest::decode(content).map(Some).map_err(|error| wrong(error.to_string()));
    }
    let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(content) else {
        return Ok(None);
    };
    if !members.contains_key("attributes") {
        return Ok(None);
    }
    from_json(content).map(Some).map_err(|error| wrong(error.to_string()))
}

/// A CheckRequest in protobuf's JSON. Fields that this Postern does not know may be there: Envoys are
/// newer, at times.
///
/// # Errors
/// Where it is none: why. The error shows nothing of the text but names of fields.
pub fn from_json(text: &[u8]) -> Result<CheckRequest, serde_json::Error> {
    let message = message(text)?;
    message.transcode_to().map_err(serde::de::Error::custom)
}

/// The same in bytes.
///
/// # Errors
/// As of [`from_json`].
pub fn bytes_from_json(text: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    Ok(message(text)?.encode_to_vec())
}

fn message(text: &[u8]) -> Result<DynamicMessage, serde_json::Error> {
    let error = <serde_json::Error as serde::de::Error>::custom;
    let descriptor = DESCRIPTOR.clone().ok_or_else(|| error("its description is not there"))?;
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut json = serde_json::Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut json, &options)?;
    json.end()?;
    if !message.has_field_by_name("attributes") {
        return Err(error("it has no `attributes`"));
    }
    Ok(message)
}

/// The other way, on one line.
///
/// # Errors
/// What is wrong with it, in words.
pub fn to_json(check: &CheckRequest) -> Result<String, String> {
    let descriptor = DESCRIPTOR.clone().ok_or("its description is not there")?;
    let mut message = DynamicMessage::new(descriptor);
    message.transcode_from(check).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut text);
    message
        .serialize_with_options(&mut serializer, &SerializeOptions::new())
        .map_err(|error| error.to_string())?;
    String::from_utf8(text).map_err(|error| error.to_string())
}
