use std::borrow::Cow;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::model::{Attributes, Exchange, Headers, Http, Missing, Peer, StartTime, Value};

fn request() -> Attributes<'static> {
    let lines: [(&str, &[u8]); 6] = [
        ("x-user", b"alice"),
        ("x-user", b"second"),
        ("x-empty", b""),
        ("x-url", b"/a?b=c?d"),
        ("x-evil", b"a\r\nb\0c"),
        ("x-latin", b"caf\xe9"),
    ];
    let lines = lines.map(|(name, value)| (Cow::from(name), Cow::from(value)));
    let metadata = Value::Object(vec![
        ("text".into(), Value::String("v".into())),
        ("number".into(), Value::Number(7.0)),
        (
            "nested".into(),
            Value::Object(vec![
                ("b".into(), Value::List(vec![Value::Bool(true), Value::Null])),
                ("a".into(), Value::String("q\"\\\n".into())),
            ]),
        ),
    ]);
    Attributes {
        source_ip: Some([10, 0, 0, 1].into()),
        remote_ip: Some([203, 0, 113, 7].into()),
        destination_ip: Some("2001:db8::1".parse().unwrap()),
        destination_port: Some(8443),
        sni: "shop.example".into(),
        peer: Peer {
            names: vec!["spiffe://td/ns/a/sa/b".into(), "dns.example".into(), "CN=a:b".into()],
        },
        http: Some(Http {
            method: "GET".into(),
            path: "/a/b?c=1&d=%2Fx&c=2".into(),
            host: "Shop.example:80".into(),
            scheme: "https".into(),
            headers: Headers::new(lines.into(), false),
        }),
        filter_metadata: vec![("my.filter".into(), metadata)],
        exchange: Exchange {
            protocol: "HTTP/2".into(),
            start_time: Some(StartTime { seconds: 1_700_000_000, nanoseconds: 5_000_000 }),
            source_port: Some(4711),
            remote_port: Some(0),
        },
        missing: Missing::default(),
    }
}

fn value(format: &str) -> Option<String> {
    let attributes = request();
    let claims = Value::Object(vec![
        ("sub".into(), Value::String("alice".into())),
        ("n".into(), Value::Number(1.5)),
    ]);
    let context = Context { attributes: &attributes, claims: Some(&claims), hostname: "postern-0" };
    let value = Format::parse(format).unwrap().value(&context)?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

#[rstest]
#[case("some-data", "some-data")]
#[case("100%%", "100%")]
#[case("%%REQ(x-user)%%", "%REQ(x-user)%")]
#[case("%REQ(X-User)%", "alice")]
#[case("<%REQ(x-user)%>", "<alice>")]
#[case("%REQ(x-none?x-user)%", "alice")]
#[case("%REQ(x-user?x-url)%", "alice")]
#[case("%REQ(x-user):3%", "ali")]
#[case("%REQ(x-user):30%", "alice")]
#[case("%REQ(:path)%", "/a/b?c=1&d=%2Fx&c=2")]
#[case("%REQ(:AUTHORITY)%", "Shop.example:80")]
#[case("%REQ(x-evil)%", "abc")]
#[case("%REQ(x-latin)%", "caf\u{fffd}")]
#[case("%REQ_WITHOUT_QUERY(x-url)%", "/a")]
#[case("%REQ_WITHOUT_QUERY(:path):2%", "/a")]
#[case("%PATH(NQ)%", "/a/b")]
#[case("%PATH(NQ:PATH)%%PATH(WQ):1%", "/a/b/")]
#[case("%QUERY_PARAM(d)%", "/x")]
#[case("%QUERY_PARAM(c)%", "1")]
#[case("%PROTOCOL%", "HTTP/2")]
#[case("%START_TIME%", "2023-11-14T22:13:20.005Z")]
#[case("%START_TIME(%Y/%m/%d)% %START_TIME(%s.%3f)%", "2023/11/14 1700000000.005")]
#[case("%DOWNSTREAM_REMOTE_ADDRESS%", "203.0.113.7:0")]
#[case("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "203.0.113.7")]
#[case("%DOWNSTREAM_REMOTE_PORT%", "0")]
#[case("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "10.0.0.1:4711")]
#[case("%DOWNSTREAM_LOCAL_ADDRESS%", "[2001:db8::1]:8443")]
#[case("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "2001:db8::1")]
#[case("%DOWNSTREAM_LOCAL_PORT%", "8443")]
#[case("%DOWNSTREAM_PEER_URI_SAN%", "spiffe://td/ns/a/sa/b")]
#[case("%REQUESTED_SERVER_NAME%", "shop.example")]
#[case("%DYNAMIC_METADATA(my.filter:text)%", "v")]
#[case("%DYNAMIC_METADATA([\"my.filter\", \"text\"])%", "v")]
#[case("%DYNAMIC_METADATA(my.filter:number)%", "7")]
#[case("%DYNAMIC_METADATA(my.filter:nested)%", "{\"a\":\"q\\\"\\\\\\n\",\"b\":[true,null]}")]
#[case("%DYNAMIC_METADATA(my.filter:nested:b):3%", "[tr")]
#[case("%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:sub)%", "alice")]
#[case("%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:n)%", "1.5")]
#[case("%HOSTNAME%", "postern-0")]
fn comes_to(#[case] format: &str, #[case] expect: &str) {
    assert_eq!(value(format).as_deref(), Some(expect));
}

#[rstest]
#[case("")]
#[case("%REQ(x-none)%")]
#[case("%REQ(x-none?x-none)%")]
#[case("%REQ(x-empty?x-user)%")]
#[case("%REQ(x-user):0%")]
#[case("\r\n\0")]
#[case("%DYNAMIC_METADATA(other:text)%")]
#[case("%DYNAMIC_METADATA(my.filter:text:more)%")]
#[case("%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:https://issuer:sub)%")]
#[case("%QUERY_PARAM(e)%")]
fn comes_to_nothing(#[case] format: &str) {
    assert_eq!(value(format), None);
}

#[rstest]
#[case("100%", "`%` at character 4 begins no command operator; a percent sign is written `%%`")]
#[case("é%x", "`%` at character 2 begins no command operator; a percent sign is written `%%`")]
#[case(
    "%REQ(x-user%",
    "`%` at character 1 begins no command operator; a percent sign is written `%%`"
)]
#[case("%req(x)%", "`%` at character 1 begins no command operator; a percent sign is written `%%`")]
#[case(
    "%REQ(x):%",
    "`%` at character 1 begins no command operator; a percent sign is written `%%`"
)]
#[case("%REQ%", "`%REQ%`: it needs the name of a header")]
#[case("%REQ()%", "`%REQ%`: it needs the name of a header")]
#[case("%REQ(a?b?c)%", "`%REQ%`: it takes a header and at most one other in its place")]
#[case("%REQ(a):99999999999999999999999%", "`%REQ%`: the length is too large")]
#[case("%PROTOCOL()%", "`%PROTOCOL%`: it takes no arguments")]
#[case("%START_TIME(%Q)%", "`%START_TIME%`: the format has a conversion that is not known here")]
#[case("%START_TIME:3%", "`%START_TIME%`: it takes no length")]
#[case("%DYNAMIC_METADATA()%", "`%DYNAMIC_METADATA%`: it needs the name of a filter")]
#[case("%NO_SUCH%", "`%NO_SUCH%` is not a command operator of Envoy that is known here")]
#[case(
    "%RESP(x)%",
    "`%RESP%` is about the upstream or the response, which there is not yet when a request is decided"
)]
#[case(
    "%UPSTREAM_HOST%",
    "`%UPSTREAM_HOST%` is about the upstream or the response, which there is not yet when a request \
     is decided"
)]
#[case(
    "%FILTER_STATE(a)%",
    "`%FILTER_STATE%` is not among what Envoy tells when it asks about a request"
)]
#[case(
    "%DOWNSTREAM_PEER_SUBJECT%",
    "`%DOWNSTREAM_PEER_SUBJECT%` is not among what Envoy tells when it asks about a request"
)]
#[case("%ENVIRONMENT(PATH)%", "`%ENVIRONMENT%` would show the environment of the server")]
fn refused(#[case] format: &str, #[case] expect: &str) {
    assert_eq!(Format::parse(format).unwrap_err().to_string(), expect);
}

proptest! {
    #[test]
    fn nothing_that_a_header_cannot_hold_comes_out(format in "[%:?()A-Zaxe\\-\r\n\0 ]{0,20}") {
        if let Ok(format) = Format::parse(&format) {
            let attributes = request();
            let context = Context { attributes: &attributes, claims: None, hostname: "" };
            let value = format.value(&context).unwrap_or_default();
            prop_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }

    #[test]
    fn text_without_operators_is_itself(text in "[a-z %]{1,12}") {
        let format = Format::parse(&text.replace('%', "%%")).unwrap();
        let attributes = request();
        let context = Context { attributes: &attributes, claims: None, hostname: "" };
        prop_assert!(format.is_constant());
        prop_assert_eq!(format.value(&context).unwrap(), text.into_bytes());
    }
}

/// `;` ends a cookie: what a client says must not go on behind it.
#[test]
fn a_client_adds_no_cookies() {
    let mut attributes = request();
    let http = attributes.http.as_mut().unwrap();
    http.headers.append("x-name".into(), b"a; role=admin".as_slice().into());
    let context = Context { attributes: &attributes, claims: None, hostname: "" };
    let text = "role=user; name=%REQ(x-name)%; host=%REQ(x-name):2%";
    let cookies = Format::parse_cookies(text).unwrap().value(&context).unwrap();
    assert_eq!(String::from_utf8(cookies).unwrap(), "role=user; name=a role=admin; host=a");
    let header = Format::parse(text).unwrap().value(&context).unwrap();
    assert_eq!(String::from_utf8(header).unwrap(), "role=user; name=a; role=admin; host=a;");
}
