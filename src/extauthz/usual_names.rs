//! Names that stand in nearly every request.
//!
//! Such a name is known to be text in lower case as soon as it is known; every other name has to be
//! looked through. Which names are listed changes how quickly a request is read, and nothing else.

/// Writes a `match`, of which the compiler makes a tree of lengths and bytes.
macro_rules! usual_names {
    ($($bytes:literal $text:literal,)*) => {
        /// The same name, where it is one of them.
        pub(super) fn usual_name(name: &[u8]) -> Option<&'static str> {
            match name {
                $($bytes => Some($text),)*
                _ => None,
            }
        }

        #[cfg(test)]
        const ALL: &[(&[u8], &str)] = &[$(($bytes, $text)),*];
    };
}

usual_names! {
    b":authority" ":authority",
    b":method" ":method",
    b":path" ":path",
    b":scheme" ":scheme",
    b"accept" "accept",
    b"accept-encoding" "accept-encoding",
    b"accept-language" "accept-language",
    b"authorization" "authorization",
    b"baggage" "baggage",
    b"cache-control" "cache-control",
    b"content-length" "content-length",
    b"content-type" "content-type",
    b"cookie" "cookie",
    b"dnt" "dnt",
    b"if-modified-since" "if-modified-since",
    b"if-none-match" "if-none-match",
    b"origin" "origin",
    b"pragma" "pragma",
    b"priority" "priority",
    b"range" "range",
    b"referer" "referer",
    b"sec-ch-ua" "sec-ch-ua",
    b"sec-ch-ua-mobile" "sec-ch-ua-mobile",
    b"sec-ch-ua-platform" "sec-ch-ua-platform",
    b"sec-fetch-dest" "sec-fetch-dest",
    b"sec-fetch-mode" "sec-fetch-mode",
    b"sec-fetch-site" "sec-fetch-site",
    b"sec-fetch-user" "sec-fetch-user",
    b"te" "te",
    b"traceparent" "traceparent",
    b"tracestate" "tracestate",
    b"upgrade-insecure-requests" "upgrade-insecure-requests",
    b"user-agent" "user-agent",
    b"x-b3-parentspanid" "x-b3-parentspanid",
    b"x-b3-sampled" "x-b3-sampled",
    b"x-b3-spanid" "x-b3-spanid",
    b"x-b3-traceid" "x-b3-traceid",
    b"x-envoy-attempt-count" "x-envoy-attempt-count",
    b"x-envoy-external-address" "x-envoy-external-address",
    b"x-envoy-internal" "x-envoy-internal",
    b"x-envoy-original-path" "x-envoy-original-path",
    b"x-forwarded-client-cert" "x-forwarded-client-cert",
    b"x-forwarded-for" "x-forwarded-for",
    b"x-forwarded-host" "x-forwarded-host",
    b"x-forwarded-port" "x-forwarded-port",
    b"x-forwarded-proto" "x-forwarded-proto",
    b"x-real-ip" "x-real-ip",
    b"x-request-id" "x-request-id",
    b"x-requested-with" "x-requested-with",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_itself_in_lower_case() {
        for (bytes, text) in ALL {
            assert_eq!(text.as_bytes(), *bytes);
            assert_eq!(text.to_ascii_lowercase(), *text);
            assert_eq!(usual_name(bytes), Some(*text));
        }
        assert_eq!(usual_name(b"x-tenant"), None);
        assert_eq!(usual_name(b"Accept"), None);
        assert_eq!(usual_name(b""), None);
    }
}
