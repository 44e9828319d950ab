//! What to try while the demo stays up.

use std::{collections::HashSet, net::SocketAddr, path::Path};

use super::envoy::Envoy;
use super::envoy_config::METADATA_HEADER;
use super::story::{self, Caller, Request};

/// A curl line for each kind of answer.
pub(super) fn with_envoy(folder: &Path, envoy: &Envoy, admin: SocketAddr) -> String {
    let mut text = String::from("\nStill up, until Ctrl-C. To try it yourself:\n\n");
    let mut put = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    put(&format!("  cd {}   # certificates, keys and tokens of this run", folder.display()));
    put("");
    let mut shown = HashSet::new();
    for request in story::requests() {
        let kind = (request.expected.reason.clone(), request.token.map(story::Token::name));
        if shown.insert(kind) {
            let answer = &request.expected;
            let why = answer.jwt_error.as_ref().unwrap_or(&answer.reason);
            put(&format!("  # {} {}: {why}", answer.status, answer.decision));
            put(&format!("  {}", curl(&request, envoy.listener(request.to))));
        }
    }
    put("");
    put(&format!(
        "The response header {METADATA_HEADER} tells why. Change a file in policies/ and ask"
    ));
    put(&format!("again. Postern: http://{admin}/readyz?verbose, /config_dump, /metrics."));
    put(&format!("Envoy: {}. The folder goes when the demo ends.", envoy.configuration.display()));
    text
}

/// Where to ask.
pub(super) fn without(folder: &Path, postern: SocketAddr, admin: SocketAddr) -> String {
    format!(
        "\nStill up, until Ctrl-C. Postern answers envoy.service.auth.v3.Authorization/Check on \
         {postern}:\npoint the ext_authz filter of an Envoy there. Postern: http://{admin}/readyz?verbose, \
         /config_dump, /metrics.\nCertificates, keys, tokens and policies of this run are in {}\n\
         and go when the demo ends.\n",
        folder.display()
    )
}

fn curl(request: &Request, to: SocketAddr) -> String {
    let mut line = String::from("curl -i");
    if request.method != "GET" {
        line.push_str(&format!(" -X {}", request.method));
    }
    if request.caller.spiffe_id().is_some() {
        line.push_str(&format!(" --cert {0}.crt --key {0}.key", request.caller));
    }
    let scheme = match request.caller {
        Caller::Plaintext => "http",
        Caller::Gateway
        | Caller::Productpage
        | Caller::Details
        | Caller::Reviews
        | Caller::NoCertificate => {
            line.push_str(" --cacert ca.crt");
            "https"
        }
    };
    if let Some(token) = request.token {
        line.push_str(&format!(" -H \"authorization: Bearer $(cat {})\"", token.file()));
    }
    for (name, value) in request.headers {
        line.push_str(&format!(" -H '{name}: {value}'"));
    }
    line.push_str(&format!(" {scheme}://{to}{}", request.path));
    line
}
