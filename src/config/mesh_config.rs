//! The part of Istio's MeshConfig that gives policies their meaning.
//!
//! The rest is known by name and left alone: users bring the file that their istiod reads.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Problems, document,
    layer::{Layer, Origin},
    read, values,
};

/// <https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig>
#[derive(Debug, Default)]
pub(super) struct MeshConfig {
    /// What has the same meaning as a setting of ours.
    pub(super) layer: Layer,
    /// `defaultConfig.gatewayTopology.numTrustedProxies`
    pub(super) num_trusted_proxies: Option<u32>,
}

const FIELDS: [&str; 50] = [
    "accessLogEncoding",
    "accessLogFile",
    "accessLogFormat",
    "ca",
    "caCertificates",
    "certificates",
    "configSources",
    "connectTimeout",
    "defaultConfig",
    "defaultDestinationRuleExportTo",
    "defaultHttpRetryPolicy",
    "defaultProviders",
    "defaultServiceExportTo",
    "defaultTrafficPolicy",
    "defaultVirtualServiceExportTo",
    "disableEnvoyListenerLog",
    "discoverySelectors",
    "dnsRefreshRate",
    "enableAutoMtls",
    "enableEnvoyAccessLogService",
    "enablePrometheusMerge",
    "enableTracing",
    "extensionProviders",
    "h2UpgradePolicy",
    "hboneIdleTimeout",
    "inboundClusterStatName",
    "inboundTrafficPolicy",
    "ingressClass",
    "ingressControllerMode",
    "ingressSelector",
    "ingressService",
    "localityLbSetting",
    "meshMTLS",
    "outboundClusterStatName",
    "outboundTrafficPolicy",
    "pathNormalization",
    "protocolDetectionTimeout",
    "proxyHttpPort",
    "proxyInboundListenPort",
    "proxyListenPort",
    "rootNamespace",
    "serviceEntryVisibility",
    "serviceScopeConfigs",
    "serviceSettings",
    "tcpKeepalive",
    "tlsDefaults",
    "trustDomain",
    "trustDomainAliases",
    "verifyCertificateAtClient",
    "zoneAwareLbSetting",
];

impl MeshConfig {
    pub(super) fn read(path: &Path, problems: &mut Problems) -> Self {
        let file = path.display().to_string();
        let layer = Layer::new(Origin::File(file.clone()));
        let mut config = Self { layer, ..Self::default() };
        match read(path) {
            Ok(text) => config.fields(&file, document::object(&file, &text, problems), problems),
            Err(problem) => problems.add(file, problem),
        }
        config
    }

    fn fields(&mut self, file: &str, fields: Map<String, Value>, problems: &mut Problems) {
        if fields.contains_key("apiVersion") || fields.contains_key("kind") {
            problems.add(
                file,
                "is a Kubernetes object, not a MeshConfig: save the text of its `data.mesh` or \
                 `spec.meshConfig` alone",
            );
            return;
        }
        for (key, value) in fields {
            let name = camel_case(&key);
            if !FIELDS.contains(&name.as_str()) {
                problems.add(file, document::unknown(&key, &FIELDS));
                continue;
            }
            // A field at its default is a field that is not set.
            if is_default(&value) {
                continue;
            }
            match name.as_str() {
                "rootNamespace" => self.layer.set("rootNamespace", value),
                "trustDomain" => self.layer.set("trustDomain", value),
                "trustDomainAliases" => self.layer.set("trustDomainAliases", value),
                "pathNormalization" => self.path_normalization(file, &value, problems),
                "extensionProviders" => self.layer.set("extensionProviders", value),
                "defaultConfig" => self.default_config(file, &value, problems),
                _ => {}
            }
        }
    }

    fn path_normalization(&mut self, file: &str, value: &Value, problems: &mut Problems) {
        let path = format!("{file}: pathNormalization");
        for (key, value) in members(&path, value, problems) {
            match camel_case(key).as_str() {
                "normalization" => self.layer.set("pathNormalization", value.clone()),
                _ => problems.add(&path, document::unknown(key, &["normalization"])),
            }
        }
    }

    /// Of ProxyConfig, only the topology concerns us; the rest is not looked at.
    fn default_config(&mut self, file: &str, value: &Value, problems: &mut Problems) {
        let path = format!("{file}: defaultConfig");
        for (key, value) in members(&path, value, problems) {
            if camel_case(key) == "gatewayTopology" && !is_default(value) {
                self.topology(&format!("{path}.{key}"), value, problems);
            }
        }
    }

    fn topology(&mut self, path: &str, value: &Value, problems: &mut Problems) {
        const TOPOLOGY: [&str; 3] =
            ["forwardClientCertDetails", "numTrustedProxies", "proxyProtocol"];
        for (key, value) in members(path, value, problems) {
            match camel_case(key).as_str() {
                "numTrustedProxies" => match values::hops(value) {
                    Ok(proxies) => self.num_trusted_proxies = Some(proxies),
                    Err(problem) => problems.add(format!("{path}.{key}"), problem),
                },
                name if TOPOLOGY.contains(&name) => {}
                _ => problems.add(path, document::unknown(key, &TOPOLOGY)),
            }
        }
    }
}

fn members<'v>(
    path: &str,
    value: &'v Value,
    problems: &mut Problems,
) -> Vec<(&'v String, &'v Value)> {
    let members = value.as_object();
    if members.is_none() {
        problems.add(path, "must hold settings by name");
    }
    members.into_iter().flatten().collect()
}

pub(super) fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Protobuf's JSON takes `root_namespace` for `rootNamespace`.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    let mut upper = false;
    for character in name.chars() {
        match character {
            '_' => upper = true,
            other if upper => {
                camel.push(other.to_ascii_uppercase());
                upper = false;
            }
            other => camel.push(other),
        }
    }
    camel
}
