//! Turns away requests that name a host of somebody else's.
//!
//! A page can make its own name point to 127.0.0.1 and then have the browser ask here in its name
//! (DNS rebinding). Its name still stands in the `Host` header.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::Request,
    http::{StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// Lets requests pass that name an IP address, `localhost`, or no host at all.
pub(super) async fn refuse_names(request: Request, next: Next) -> Response {
    let mut named = request
        .headers()
        .get_all(header::HOST)
        .iter()
        .map(|host| host.to_str().unwrap_or_default())
        .chain(request.uri().authority().map(Authority::as_str));
    if named.all(is_local) {
        return next.run(request).await;
    }
    let text = "the Host header must be an IP address or `localhost`\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

fn is_local(host: &str) -> bool {
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    host.parse::<SocketAddr>().is_ok()
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || without_port.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
        || without_port.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_local;

    #[rstest]
    #[case("127.0.0.1:8282", true)]
    #[case("127.0.0.1", true)]
    #[case("[::1]:8282", true)]
    #[case("[::1]", true)]
    #[case("localhost", true)]
    #[case("LOCALHOST:8282", true)]
    #[case("10.0.0.7:8282", true)]
    #[case::rebound("attacker.example:8282", false)]
    #[case::below("localhost.attacker.example", false)]
    #[case::below_address("127.0.0.1.attacker.example", false)]
    #[case::user("127.0.0.1@attacker.example", false)]
    #[case::empty("", false)]
    fn only_addresses_and_localhost(#[case] host: &str, #[case] expected: bool) {
        assert_eq!(is_local(host), expected);
    }
}
