//! What Istio's webhook refuses in a VirtualService, as far as it concerns where requests go.
//!
//! Structure and rules of the schema are checked before. Nothing is refused here that Istio takes; what
//! only concerns how requests look on their way (names of headers, regular expressions, retries) is left
//! to Istio.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;

use super::meaning::Meaning;
use crate::api::field_error::FieldError;

/// Of an object whose structure is sound.
pub(super) fn meaning(object: &Value) -> Meaning {
    let nothing = Value::Null;
    let spec = object.get("spec").unwrap_or(&nothing);
    let mut routes = Routes { errors: Vec::new() };
    routes.check(spec);
    Meaning { errors: routes.errors, warnings: Vec::new() }
}

struct Routes {
    errors: Vec<FieldError>,
}

impl Routes {
    fn check(&mut self, spec: &Value) {
        let (hosts, gateways) = (texts(spec, "hosts"), texts(spec, "gateways"));
        let is_delegate = hosts.is_empty();
        if is_delegate {
            // Istio takes one without hosts for one that others delegate to.
            for part in ["gateways", "tls", "tcp"] {
                if is_set(spec, part) {
                    let why = format!(
                        "cannot be set without `hosts`: what others delegate to has no {part}"
                    );
                    self.forbid(format!("spec.{part}"), &why);
                }
            }
        }
        let is_for_mesh = gateways.is_empty() || gateways.contains(&"mesh");
        self.hosts(&hosts, is_for_mesh);
        self.gateways("spec.gateways", &gateways);
        if !["http", "tls", "tcp"].iter().any(|part| is_set(spec, part)) {
            self.require("spec", "one of `http`, `tls` and `tcp` must have a route");
        }
        for (route, path) in each(spec, "http", "spec") {
            self.http(route, &path, is_delegate);
        }
        for part in ["tls", "tcp"] {
            for (route, path) in each(spec, part, "spec") {
                self.connections(route, &path, part == "tls");
            }
        }
    }

    fn hosts(&mut self, hosts: &[&str], is_for_mesh: bool) {
        let mut seen = HashSet::new();
        for (index, host) in hosts.iter().copied().enumerate() {
            let path = || format!("spec.hosts[{index}]");
            if !is_wildcard_domain(host) && host.parse::<IpAddr>().is_err() {
                let why = "a host is a DNS name, one that begins with `*.`, `*`, or an address";
                self.refuse(path(), host, why);
            } else if host == "*" && is_for_mesh {
                let why = "`*` can only be used with gateways, and not with `mesh` among them";
                self.refuse(path(), host, why);
            } else if !seen.insert(host) {
                self.errors.push(FieldError::duplicate(path(), &host.into()));
            }
        }
    }

    fn gateways(&mut self, path: &str, gateways: &[&str]) {
        for (index, gateway) in gateways.iter().copied().enumerate() {
            let is_one = match gateway.split_once('/') {
                Some((namespace, name)) => is_label(namespace) && is_label(name),
                None => is_domain(gateway),
            };
            let is_short = !gateway.contains('/');
            if !is_one {
                let why = "a gateway is `namespace/name`, or the name of one in the same namespace";
                self.refuse(format!("{path}[{index}]"), gateway, why);
            }
            // Istio looks at none after that.
            if is_short {
                break;
            }
        }
    }

    fn http(&mut self, route: &Value, path: &str, is_delegate: bool) {
        for (matched, path) in each(route, "match", path) {
            self.matched(matched, &path);
        }
        let delegates = is_set(route, "delegate");
        if delegates && !is_delegate {
            self.alone("delegate", &["redirect", "route"], route, path);
        } else {
            if delegates {
                let why = "what others delegate to cannot delegate itself";
                self.forbid(format!("{path}.delegate"), why);
            }
            self.outcome(route, path);
        }
        self.destinations(route, path);
        self.mirrors(route, path);
    }

    /// What becomes of a request, which is one thing.
    fn outcome(&mut self, route: &Value, path: &str) {
        if is_set(route, "redirect") {
            let others = ["route", "fault", "rewrite", "directResponse"];
            self.alone("redirect", &others, route, path);
        } else if is_set(route, "directResponse") {
            self.alone("directResponse", &["route", "fault", "rewrite"], route, path);
        } else if !is_set(route, "route") {
            let why = "a route needs `route`, `redirect`, `directResponse` or `delegate`";
            self.require(format!("{path}.route"), why);
        }
        if is_set(route, "mirror") {
            self.alone("mirror", &["mirrors"], route, path);
        }
        if let Some(redirect) = route.get("redirect").filter(|it| it.is_object()) {
            self.redirect(redirect, &format!("{path}.redirect"));
        }
        let status = route.pointer("/directResponse/status");
        let is_status = |it: &Value| it.as_i64().is_some_and(|it| (200..=600).contains(&it));
        if let Some(status) = status.filter(|it| !is_status(it)) {
            let path = format!("{path}.directResponse.status");
            self.errors.push(FieldError::invalid_value(path, status, "a status is 200 to 599"));
        }
    }

    fn alone(&mut self, name: &str, others: &[&str], route: &Value, path: &str) {
        for other in others.iter().filter(|other| is_set(route, other)) {
            self.forbid(format!("{path}.{other}"), &format!("cannot stand beside `{name}`"));
        }
    }

    fn redirect(&mut self, redirect: &Value, path: &str) {
        let has_text = |name: &str| redirect.get(name).is_some_and(|text| text != "");
        let elsewhere = ["uri", "prefixRewrite", "authority", "scheme", "port", "derivePort"];
        if !elsewhere.into_iter().any(has_text) {
            let why = "a redirect leads to another `uri`, `authority`, `scheme` or `port`";
            self.require(path, why);
        }
        let code = redirect.get("redirectCode").and_then(Value::as_i64).unwrap_or_default();
        if code != 0 && !(300..=399).contains(&code) {
            self.refuse_number(format!("{path}.redirectCode"), code, "a redirect is 300 to 399");
        }
        let scheme = redirect.get("scheme").and_then(Value::as_str).unwrap_or_default();
        if !["", "http", "https"].contains(&scheme) {
            self.refuse(format!("{path}.scheme"), scheme, "the scheme is `http` or `https`");
        }
    }

    fn connections(&mut self, route: &Value, path: &str, needs_match: bool) {
        if needs_match && !is_set(route, "match") {
            self.require(format!("{path}.match"), "a route for TLS needs server names");
        }
        for (matched, path) in each(route, "match", path) {
            self.matched(matched, &path);
            if needs_match && !is_set(matched, "sniHosts") {
                self.require(format!("{path}.sniHosts"), "a route for TLS needs server names");
            }
        }
        if !is_set(route, "route") {
            self.require(format!("{path}.route"), "connections have to go somewhere");
        }
        self.destinations(route, path);
    }

    fn matched(&mut self, matched: &Value, path: &str) {
        self.port(matched.get("port"), &format!("{path}.port"), true);
        self.gateways(&format!("{path}.gateways"), &texts(matched, "gateways"));
    }

    fn destinations(&mut self, route: &Value, path: &str) {
        let mut total = 0_i64;
        let mut count = 0_usize;
        for (to, path) in each(route, "route", path) {
            count = count.saturating_add(1);
            self.destination(to.get("destination"), &format!("{path}.destination"));
            let weight = to.get("weight").and_then(Value::as_i64).unwrap_or_default();
            if weight < 0 {
                let why = "a weight cannot be negative";
                self.refuse_number(format!("{path}.weight"), weight, why);
            }
            total = total.saturating_add(weight);
        }
        if count > 1 && total == 0 {
            let why = "the weights of several destinations cannot all be 0";
            self.errors.push(FieldError::invalid(format!("{path}.route"), "array", why));
        }
    }

    fn destination(&mut self, destination: Option<&Value>, path: &str) {
        let Some(destination) = destination else { return };
        let text = |name: &str| destination.get(name).and_then(Value::as_str).unwrap_or_default();
        let (host, subset) = (text("host"), text("subset"));
        if host.is_empty() {
            self.require(format!("{path}.host"), "requests have to go somewhere");
        } else if host == "*" || !is_wildcard_domain(host) {
            let why = "a destination is the DNS name of a service";
            self.refuse(format!("{path}.host"), host, why);
        }
        if !subset.is_empty() && !is_label(subset) {
            let why = "a subset is named by small letters, digits and `-`";
            self.refuse(format!("{path}.subset"), subset, why);
        }
        if let Some(port) = destination.get("port").filter(|it| it.is_object()) {
            let number = port.get("number");
            self.port(Some(number.unwrap_or(&Value::Null)), &format!("{path}.port.number"), false);
        }
    }

    fn mirrors(&mut self, route: &Value, path: &str) {
        self.destination(route.get("mirror"), &format!("{path}.mirror"));
        let mut percentages = vec![
            (route.get("mirrorPercent"), format!("{path}.mirrorPercent")),
            (route.get("mirror_percent"), format!("{path}.mirror_percent")),
            (route.pointer("/mirrorPercentage/value"), format!("{path}.mirrorPercentage.value")),
        ];
        for (mirror, path) in each(route, "mirrors", path) {
            self.destination(mirror.get("destination"), &format!("{path}.destination"));
            percentages
                .push((mirror.pointer("/percentage/value"), format!("{path}.percentage.value")));
        }
        for (share, path) in percentages {
            let is_share = |share: &Value| {
                share.is_null() || share.as_f64().is_some_and(|it| (0.0..=100.0).contains(&it))
            };
            if let Some(share) = share.filter(|share| !is_share(share)) {
                self.errors.push(FieldError::invalid_value(path, share, "a share is 0 to 100"));
            }
        }
    }

    /// `may_be_zero`: it is none then.
    fn port(&mut self, port: Option<&Value>, path: &str, may_be_zero: bool) {
        let Some(port) = port else { return };
        let number = port.as_i64().unwrap_or_default();
        let is_port = (1..=65535).contains(&number) || (may_be_zero && number == 0);
        if !is_port {
            self.refuse_number(path, number, "a port is 1 to 65535");
        }
    }

    fn refuse(&mut self, path: impl Into<String>, value: &str, why: &str) {
        self.errors.push(FieldError::invalid(path, value, why));
    }

    fn refuse_number(&mut self, path: impl Into<String>, value: i64, why: &str) {
        self.errors.push(FieldError::invalid_value(path, &value.into(), why));
    }

    fn require(&mut self, path: impl Into<String>, why: &str) {
        self.errors.push(FieldError::required(path, why));
    }

    fn forbid(&mut self, path: impl Into<String>, why: &str) {
        self.errors.push(FieldError::forbidden(path, why));
    }
}

/// Whether a field says something; an empty list does not.
fn is_set(value: &Value, name: &str) -> bool {
    match value.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => true,
    }
}

fn items<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn texts<'v>(value: &'v Value, name: &str) -> Vec<&'v str> {
    items(value, name).iter().map(|item| item.as_str().unwrap_or_default()).collect()
}

/// The items of a list, each with its path.
fn each<'v>(
    value: &'v Value,
    name: &'static str,
    path: &str,
) -> impl Iterator<Item = (&'v Value, String)> + use<'v> {
    let path = format!("{path}.{name}");
    items(value, name).iter().enumerate().map(move |(index, it)| (it, format!("{path}[{index}]")))
}

/// A domain, or `*`, or a domain whose first label begins so, or is that.
fn is_wildcard_domain(text: &str) -> bool {
    let rest = text.strip_prefix('*').unwrap_or(text);
    let is_label = rest.len() < text.len() && rest.starts_with('.');
    text == "*" || is_domain(if is_label { rest.trim_start_matches('.') } else { rest })
}

/// Labels with dots between; a dot at the end is allowed, and so are capital letters.
fn is_domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.len() <= 255 && text.split('.').all(is_any_label)
}

/// A label as Istio takes it in hosts: it may begin and end with `-`, and have `_`.
fn is_any_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A DNS label of Kubernetes.
fn is_label(label: &str) -> bool {
    is_any_label(label)
        && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}
