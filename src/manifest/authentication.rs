//! The specs of `RequestAuthentication` and `PeerAuthentication`.
//!
//! Reads their structure; rules on the whole of them are `admission`'s job.

use std::{collections::BTreeMap, time::Duration};

use super::{
    address::parse_port,
    attachment, codes,
    cursor::{At, Fields, expect_mapping, one_of, string},
    problem::{Problem, Report, Spot},
    text::quoted,
    time::parse_duration,
};
use crate::model::{
    Attachment, ClaimToHeader, JwtHeader, JwtRule, Kind, Metadata, MutualTlsMode,
    PeerAuthentication, RequestAuthentication,
};

pub(crate) fn decode_request(
    metadata: Metadata,
    spec: Option<&At<'_>>,
    report: &mut Report<'_>,
) -> RequestAuthentication {
    let mut resource = RequestAuthentication {
        metadata,
        attachment: Attachment::default(),
        jwt_rules: Vec::new(),
    };
    if let Some(spec) = spec {
        let mut fields = Fields::open(spec, report);
        resource.attachment = attachment::decode(Kind::RequestAuthentication, &mut fields);
        resource.jwt_rules = fields.list("jwtRules", |at, report| Some(jwt_rule(at, report)));
        fields.close();
    }
    resource
}

fn jwt_rule(at: &At<'_>, report: &mut Report<'_>) -> JwtRule {
    let mut fields = Fields::open(at, report);
    let not_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
    let rule = JwtRule {
        issuer: fields.string("issuer").unwrap_or_default(),
        audiences: fields.strings("audiences"),
        jwks: not_empty(fields.string("jwks")),
        jwks_uri: {
            let (name, other_name) = (fields.string("jwksUri"), fields.string("jwks_uri"));
            not_empty(name.or(other_name))
        },
        from_headers: fields.list("fromHeaders", |at, report| Some(jwt_header(at, report))),
        from_params: fields.strings("fromParams"),
        from_cookies: fields.strings("fromCookies"),
        output_payload_to_header: not_empty(fields.string("outputPayloadToHeader"))
            .map(|name| name.to_ascii_lowercase()),
        output_claim_to_headers: fields
            .list("outputClaimToHeaders", |at, report| Some(claim_to_header(at, report))),
        forward_original_token: fields.boolean("forwardOriginalToken"),
        timeout: {
            let timeout = fields.optional("timeout");
            timeout.and_then(|at| duration(&at, fields.report)).unwrap_or(JwtRule::DEFAULT_TIMEOUT)
        },
        space_delimited_claims: fields.strings("spaceDelimitedClaims"),
        position: at.node.position,
    };
    if let Some(presence) = fields.optional("presence") {
        one_of(&presence, &[("OPTIONAL", ()), ("REQUIRED", ())], fields.report);
    }
    fields.close();
    rule
}

fn jwt_header(at: &At<'_>, report: &mut Report<'_>) -> JwtHeader {
    let mut fields = Fields::open(at, report);
    let header = JwtHeader {
        name: fields.required_string("name").to_ascii_lowercase(),
        prefix: fields.string("prefix").unwrap_or_default(),
    };
    fields.close();
    header
}

fn claim_to_header(at: &At<'_>, report: &mut Report<'_>) -> ClaimToHeader {
    let mut fields = Fields::open(at, report);
    let pair = ClaimToHeader {
        header: fields.required_string("header").to_ascii_lowercase(),
        claim: fields.required_string("claim"),
    };
    fields.close();
    pair
}

pub(super) fn duration(at: &At<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let text = string(at, report)?;
    let duration = parse_duration(&text);
    if duration.is_none() {
        let message = format!("{} is not a duration", quoted(&text));
        report.add(
            Problem::error(codes::BAD_DURATION, at, message).help("write it like `5s` or `500ms`"),
        );
    }
    duration
}

const MODES: [(&str, MutualTlsMode); 4] = [
    ("UNSET", MutualTlsMode::Unset),
    ("DISABLE", MutualTlsMode::Disable),
    ("PERMISSIVE", MutualTlsMode::Permissive),
    ("STRICT", MutualTlsMode::Strict),
];

pub(crate) fn decode_peer(
    metadata: Metadata,
    spec: Option<&At<'_>>,
    report: &mut Report<'_>,
) -> PeerAuthentication {
    let mut resource = PeerAuthentication {
        metadata,
        attachment: Attachment::default(),
        mtls: MutualTlsMode::Unset,
        port_level_mtls: BTreeMap::new(),
    };
    if let Some(spec) = spec {
        let mut fields = Fields::open(spec, report);
        resource.attachment = attachment::decode(Kind::PeerAuthentication, &mut fields);
        let mtls = fields.optional("mtls");
        resource.mtls = mtls.map(|at| mutual_tls(&at, fields.report)).unwrap_or_default();
        let ports = fields.optional("portLevelMtls");
        resource.port_level_mtls =
            ports.map(|at| port_level_mtls(&at, fields.report)).unwrap_or_default();
        fields.close_with(|name| {
            matches!(name, "targetRef" | "targetRefs")
                .then(|| "PeerAuthentication is attached by `selector` only".to_owned())
        });
    }
    resource
}

fn mutual_tls(at: &At<'_>, report: &mut Report<'_>) -> MutualTlsMode {
    let mut fields = Fields::open(at, report);
    let mode = fields.optional("mode");
    let mode = mode.and_then(|at| one_of(&at, &MODES, fields.report)).unwrap_or_default();
    fields.close();
    mode
}

fn port_level_mtls(at: &At<'_>, report: &mut Report<'_>) -> BTreeMap<u16, MutualTlsMode> {
    expect_mapping(at, report);
    let mut modes = BTreeMap::new();
    for (entry, at) in at.entries() {
        let port = parse_port(&entry.key).filter(|_| !entry.key.starts_with('0'));
        let mode = mutual_tls(&at, report);
        if let Some(port) = port {
            modes.insert(port, mode);
        } else {
            let spot = Spot {
                position: entry.key_position,
                width: entry.key_width,
                path: at.path.to_string(),
            };
            let message = format!("{} is not a port of a workload", quoted(&entry.key));
            report.add(
                Problem::error(codes::BAD_PORT, spot, message)
                    .help("write a number from 1 to 65535"),
            );
        }
    }
    modes
}
