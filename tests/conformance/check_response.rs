//! What Envoy 1.40 makes of a `CheckResponse`, for runs without an Envoy.

use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, OkHttpResponse, check_response::HttpResponse,
};

use crate::{judge::Observed, servers::Upstream};

/// The answer that the client would get, and the request that the upstream would.
pub(crate) fn apply(request: &CheckRequest, response: &CheckResponse) -> Observed {
    // Envoy takes an absent status for OK.
    let allowed = response.status.as_ref().is_none_or(|status| status.code == 0);
    let Some(http) = request.attributes.as_ref().unwrap().request.as_ref() else {
        // A connection passes or is closed.
        let status = if allowed { 200 } else { 0 };
        return Observed { status, ..Observed::default() };
    };
    let headers = &http.http.as_ref().unwrap().header_map.as_ref().unwrap().headers;
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|h| (h.key.clone(), String::from_utf8_lossy(&h.raw_value).into_owned()))
        .collect();

    match &response.http_response {
        Some(HttpResponse::OkResponse(ok)) if allowed => passed(headers, ok),
        _ if allowed => passed(headers, &OkHttpResponse::default()),
        Some(HttpResponse::DeniedResponse(denied)) => {
            let status = denied.status.as_ref().map_or(403, |status| status.code);
            let added = denied
                .headers
                .iter()
                .filter_map(|option| option.header.as_ref())
                .map(|h| (h.key.to_ascii_lowercase(), h.value.clone()))
                .collect();
            refused(&headers, u16::try_from(status).unwrap(), &denied.body, added)
        }
        _ => refused(&headers, 403, "", Vec::new()),
    }
}

fn refused(
    request: &[(String, String)],
    status: u16,
    body: &str,
    mut headers: Vec<(String, String)>,
) -> Observed {
    let grpc = request
        .iter()
        .any(|(name, value)| name == "content-type" && value.starts_with("application/grpc"));
    if !grpc {
        if !body.is_empty() {
            headers.push(("content-type".into(), "text/plain".into()));
            headers.push(("content-length".into(), body.len().to_string()));
        }
        let is_head = request.iter().any(|(name, value)| name == ":method" && value == "HEAD");
        let body = if is_head { String::new() } else { body.to_owned() };
        return Observed { status, body, headers, upstream: None };
    }
    headers.push(("content-type".into(), "application/grpc".into()));
    let grpc_status = match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    };
    headers.push(("grpc-status".into(), grpc_status.to_string()));
    headers.push(("grpc-message".into(), body.into()));
    Observed { status: 200, body: String::new(), headers, upstream: None }
}

fn passed(mut headers: Vec<(String, String)>, ok: &OkHttpResponse) -> Observed {
    let options = || {
        ok.headers.iter().filter_map(|option| {
            let header = option.header.as_ref()?;
            #[expect(deprecated, reason = "the only way to append that Envoy 1.40 heeds")]
            let append = option.append.as_ref().is_some_and(|append| append.value);
            Some((header.key.to_ascii_lowercase(), header.value.clone(), append))
        })
    };
    if let Some((name, ..)) = options().find(|(_, value, _)| value.contains(['\n', '\r', '\0'])) {
        let body = format!("invalid header value for: {name}");
        return Observed { status: 503, body, ..Observed::default() };
    }
    for (name, value, _) in options().filter(|(.., append)| !append) {
        headers.retain(|(n, _)| *n != name);
        headers.push((name, value));
    }
    for (name, value, _) in options().filter(|(.., append)| *append) {
        // To append to nothing is to do nothing.
        if let Some((_, old)) = headers.iter_mut().find(|(n, _)| *n == name) {
            *old = format!("{old},{value}");
        }
    }
    for name in &ok.headers_to_remove {
        let name = name.to_ascii_lowercase();
        if !name.starts_with(':') && name != "host" {
            headers.retain(|(n, _)| *n != name);
        }
    }
    let path = headers.iter().find(|(name, _)| name == ":path").map(|(_, path)| path.clone());
    let path = rewrite_query(path.unwrap_or_default(), ok);
    headers.retain(|(name, _)| !name.starts_with(':'));
    let upstream = Some(Upstream { path, headers });
    Observed { status: 200, upstream, ..Observed::default() }
}

/// Any use of the two fields writes the whole query anew, sorted by name.
fn rewrite_query(path: String, ok: &OkHttpResponse) -> String {
    if ok.query_parameters_to_remove.is_empty() && ok.query_parameters_to_set.is_empty() {
        return path;
    }
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let mut parameters: Vec<(&str, &str)> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .filter(|(name, _)| !ok.query_parameters_to_remove.iter().any(|n| n == name))
        .collect();
    for set in &ok.query_parameters_to_set {
        parameters.retain(|(name, _)| *name != set.key);
        parameters.push((&set.key, &set.value));
    }
    parameters.sort_by_key(|(name, _)| *name);
    let query: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if query.is_empty() { path.into() } else { format!("{path}?{}", query.join("&")) }
}
