//! Whom tokens are sent to that only their issuer can read, as configured.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::Reader;
use super::values::{self, show_duration, text};
use crate::outbound::Target;

/// Everything about introspection that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntrospectionConfig {
    /// URLs of the servers that tokens may be sent to, by host and port; no others.
    pub destinations: Vec<String>,
    /// The endpoint of rules that name none.
    pub url: Option<Arc<str>>,
    /// How long one attempt may take.
    pub timeout: Duration,
}

impl IntrospectionConfig {
    pub(super) fn read(read: &mut Reader<'_>) -> Self {
        Self {
            destinations: read.setting("introspectionDestinations", Vec::new(), destinations),
            url: read.setting("introspectionUrl", None, |v| Ok(Some(url(text(v)?)?.into()))),
            timeout: read.setting("introspectionTimeout", Duration::from_millis(500), |v| {
                values::duration(v, Duration::from_millis(1), Duration::from_secs(10))
            }),
        }
    }

    /// Adds the settings as they are in effect, without what stands in URLs beside their hosts.
    pub(super) fn show(&self, settings: &mut Map<String, Value>) {
        let shown =
            |url: &str| Target::parse(url).map_or(Value::Null, |url| url.to_string().into());
        let destinations: Vec<_> = self.destinations.iter().map(|url| shown(url)).collect();
        let all = [
            ("introspectionDestinations", destinations.into()),
            ("introspectionUrl", self.url.as_deref().map_or(Value::Null, shown)),
            ("introspectionTimeout", show_duration(self.timeout).into()),
        ];
        settings.extend(all.map(|(name, value)| (name.to_owned(), value)));
    }
}

/// A list, or a text with commas.
fn destinations(value: &Value) -> Result<Vec<String>, String> {
    match value.as_array() {
        Some(list) => list.iter().map(|entry| url(text(entry)?)).collect(),
        None => text(value)?.split(',').map(url).collect(),
    }
}

fn url(text: &str) -> Result<String, String> {
    let text = text.trim();
    match Target::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be a URL, such as `https://hydra.example.com:4445`".to_owned()),
    }
}
