//! Which endpoint a path is.

use percent_encoding::percent_decode_str;

use super::metric::Metric;

/// Where the API is.
pub const BASE: &str = "/api/v1/istio";

/// Where its description is, which everybody may read.
pub const DESCRIPTION: &str = "/openapi.json";

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Whether there is a mesh.
    Status,
    /// Its VirtualServices.
    VirtualServices,
    /// One of them.
    VirtualService,
    /// How it splits its traffic.
    Weights,
    /// PeerAuthentications.
    PeerAuthentications,
    /// AuthorizationPolicies.
    AuthorizationPolicies,
    /// What Prometheus measured.
    Metric(Metric),
    /// Who sends to whom.
    Topology,
    /// What this API is.
    Description,
}

/// Every endpoint with its method and the template of its path, below [`BASE`].
pub const ROUTES: [(&str, &str, Endpoint); 11] = [
    ("GET", "/status", Endpoint::Status),
    ("GET", "/virtual-services", Endpoint::VirtualServices),
    ("GET", "/virtual-services/{namespace}/{name}", Endpoint::VirtualService),
    ("PATCH", "/virtual-services/{namespace}/{name}/weights", Endpoint::Weights),
    ("GET", "/peer-authentications", Endpoint::PeerAuthentications),
    ("GET", "/authorization-policies", Endpoint::AuthorizationPolicies),
    ("GET", "/metrics/rps", Endpoint::Metric(Metric::Rps)),
    ("GET", "/metrics/error-rate", Endpoint::Metric(Metric::ErrorRate)),
    ("GET", "/metrics/latency", Endpoint::Metric(Metric::Latency)),
    ("GET", "/topology", Endpoint::Topology),
    ("GET", DESCRIPTION, Endpoint::Description),
];

/// A path that is one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub method: &'static str,
    /// The template of its path.
    pub template: &'static str,
    /// What it is for.
    pub endpoint: Endpoint,
    /// What stands in the places of its template, in their order. Not checked yet.
    pub places: Vec<String>,
}

impl Route {
    /// The route of a path; `None` is none.
    pub fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix(BASE)?;
        ROUTES.iter().find_map(|(method, template, endpoint)| {
            let places = places(template, path)?;
            Some(Self { method, template, endpoint: *endpoint, places })
        })
    }
}

/// What a path has in the places of a template; `None` where it is another path. What cannot be read
/// as text has an odd character in its place, so that it is nothing's name.
fn places(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    let mut places = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(places),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => {
                places.push(percent_decode_str(given).decode_utf8_lossy().into_owned());
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(_) | None, Some(_) | None) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/api/v1/istio/status", Endpoint::Status, &[])]
    #[case("/api/v1/istio/virtual-services", Endpoint::VirtualServices, &[])]
    #[case("/api/v1/istio/virtual-services/a/b%2Ec", Endpoint::VirtualService, &["a", "b.c"])]
    #[case("/api/v1/istio/virtual-services/a%2Fb/", Endpoint::VirtualService, &["a/b", ""])]
    #[case("/api/v1/istio/virtual-services/a/b/weights", Endpoint::Weights, &["a", "b"])]
    #[case("/api/v1/istio/metrics/rps", Endpoint::Metric(Metric::Rps), &[])]
    fn paths(#[case] path: &str, #[case] endpoint: Endpoint, #[case] places: &[&str]) {
        let route = Route::of(path).unwrap();
        assert_eq!(route.endpoint, endpoint);
        assert_eq!(route.places, places);
    }

    #[rstest]
    #[case("/api/v1/istio")]
    #[case("/api/v1/istio/")]
    #[case("/api/v1/istio/status/")]
    #[case("//api/v1/istio/status")]
    #[case("/api/v1/istio/%73tatus")]
    #[case("/api/v1/istiostatus")]
    #[case("/api/v1/istio/virtual-services/a/b/c")]
    #[case("/api/v1/istio/metrics/other")]
    fn other_paths(#[case] path: &str) {
        assert_eq!(Route::of(path), None);
    }
}
