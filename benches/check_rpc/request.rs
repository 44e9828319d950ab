//! What is asked: requests as Envoy sends them, and their tokens.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, Metadata, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request, TlsSession,
};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use envoy_types::pb::google::protobuf::Timestamp;

use crate::scenarios::{Call, HEADERS};

/// As Envoy sends it.
pub(crate) fn check_request(call: &Call, token: Token) -> CheckRequest {
    let authorization =
        keys().token(token).map(|token| ("authorization", format!("Bearer {token}")));
    let headers = HEADERS
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .chain([("x-tenant", call.tenant.clone())])
        .chain(authorization)
        .map(|(name, value)| HeaderValue {
            key: name.to_owned(),
            raw_value: value.into_bytes(),
            ..HeaderValue::default()
        });
    let http = HttpRequest {
        id: "1234567890".into(),
        method: "GET".into(),
        path: call.path.clone(),
        host: "shop.example.com".into(),
        scheme: "https".into(),
        protocol: "HTTP/2".into(),
        header_map: Some(HeaderMap { headers: headers.collect() }),
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                address: address("10.1.2.3", 43_210),
                principal: format!("spiffe://{}", call.principal),
                ..Peer::default()
            }),
            destination: Some(Peer {
                address: address("10.9.8.7", 8080),
                principal: "spiffe://cluster.local/ns/shop/sa/api".into(),
                ..Peer::default()
            }),
            request: Some(Request {
                time: Some(Timestamp { seconds: 1_790_000_000, nanos: 123_456_789 }),
                http: Some(http),
            }),
            tls_session: Some(TlsSession { sni: "shop.example.com".into() }),
            metadata_context: Some(Metadata::default()),
            route_metadata_context: Some(Metadata::default()),
            ..AttributeContext::default()
        }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    None,
    Rs256,
    Es256,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        })
    }
}

pub(crate) struct Keys {
    pub(crate) manifest: String,
    rs256: String,
    es256: String,
}

/// Made once: an RSA key takes a while.
pub(crate) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(Keys::new)
}

impl Keys {
    fn new() -> Self {
        let random = SystemRandom::new();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let modulus = rsa.public_key().modulus().big_endian_without_leading_zero();
        // Uncompressed point: 4, x, y.
        let (x, y) = ec.public_key().as_ref()[1..].split_at(32);
        let manifest = format!(
            "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
             metadata: {{name: jwt, namespace: shop}}\nspec:\n  jwtRules:\n  - issuer: issuer\n    \
             jwks: '{{\"keys\":[{{\"kty\":\"RSA\",\"kid\":\"rsa\",\"e\":\"AQAB\",\"n\":\"{}\"}},\
             {{\"kty\":\"EC\",\"kid\":\"ec\",\"crv\":\"P-256\",\"x\":\"{}\",\"y\":\"{}\"}}]}}'\n",
            BASE64URL.encode(modulus),
            BASE64URL.encode(x),
            BASE64URL.encode(y)
        );
        let rs256 = token("RS256", "rsa", &|input| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).unwrap();
            signature
        });
        let es256 =
            token("ES256", "ec", &|input| ec.sign(&random, input).unwrap().as_ref().to_vec());
        Self { manifest, rs256, es256 }
    }

    fn token(&self, token: Token) -> Option<&str> {
        match token {
            Token::None => None,
            Token::Rs256 => Some(&self.rs256),
            Token::Es256 => Some(&self.es256),
        }
    }
}

fn token(algorithm: &str, kid: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>) -> String {
    let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"JWT"}}"#);
    let claims = r#"{"iss":"issuer","sub":"alice","aud":["shop","api"],"exp":4102444800,
        "iat":1700000000,"scope":"read write","groups":["admins","staff"],"email":"a@example.com"}"#;
    let input = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let signature = sign(input.as_bytes());
    format!("{input}.{}", BASE64URL.encode(signature))
}

fn address(ip: &str, port: u32) -> Option<Address> {
    Some(Address {
        address: Some(AddressKind::SocketAddress(SocketAddress {
            address: ip.into(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    })
}
