//! Path normalisation as Envoy's connection manager does it, for runs without an Envoy.
//!
//! Only paths that Envoy accepts get here: what it answers with 400 is left out of those runs.

use std::borrow::Cow;

use crate::cases::PathNormalization;

/// The `:path` that filters see.
pub(crate) fn normalize(path_and_query: &str, mode: PathNormalization) -> String {
    if mode == PathNormalization::None || path_and_query == "*" {
        return path_and_query.to_owned();
    }
    let (path, query) = match path_and_query.find('?') {
        Some(at) => path_and_query.split_at(at),
        None => (path_and_query, ""),
    };
    let unescaped = match mode {
        PathNormalization::DecodeAndMergeSlashes => Cow::Owned(unescape_slashes(path)),
        _ => Cow::Borrowed(path),
    };
    let mut path = resolve_dots(&decode_unreserved(&plain_dots(&unescaped)));
    if mode >= PathNormalization::MergeSlashes && path.chars().any(|c| c != '/') {
        while path.contains("//") {
            path = path.replace("//", "/");
        }
    }
    if mode >= PathNormalization::MergeSlashes && path.starts_with("///") {
        path.truncate(2);
    }
    path + query
}

/// Dot segments lose their parameters, if they are written plainly.
fn plain_dots(path: &str) -> String {
    let mut out = String::new();
    for segment in path.split_inclusive('/') {
        let end = if segment.ends_with('/') { "/" } else { "" };
        if segment.starts_with("..;") {
            out.push_str("..");
            out.push_str(end);
        } else if segment.starts_with(".;") {
            out.push('.');
            out.push_str(end);
        } else {
            out.push_str(segment);
        }
    }
    out
}

fn unescape_slashes(path: &str) -> String {
    path.replace("%2F", "/").replace("%2f", "/").replace("%5C", "\\").replace("%5c", "\\")
}

/// Escapes of unreserved characters (RFC 3986 section 2.3) are decoded, what may not stand in a
/// path is escaped, backslashes are slashes.
fn decode_unreserved(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = String::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        let escaped = (byte == b'%')
            .then(|| path.get(at..at + 2))
            .flatten()
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            b'%' => match escaped {
                Some(c) if c.is_ascii_alphanumeric() || b"-._~".contains(&c) => {
                    out.push(c.into());
                    at += 2;
                }
                _ => out.push('%'),
            },
            b'\\' => out.push('/'),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.push_str(&format!("%{byte:02X}"));
            }
            _ => out.push(byte.into()),
        }
    }
    out
}

fn resolve_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Rows of what a real Envoy did, for BASE, MERGE_SLASHES and DECODE_AND_MERGE_SLASHES.
    #[rstest]
    #[case("//a//b", ["//a//b", "/a/b", "/a/b"])]
    #[case("/a/../b", ["/b", "/b", "/b"])]
    #[case("/a/%2e%2e/b?x=/../", ["/b?x=/../", "/b?x=/../", "/b?x=/../"])]
    #[case("/a/./b", ["/a/b", "/a/b", "/a/b"])]
    #[case("/a//../b", ["/a/b", "/a/b", "/a/b"])]
    #[case("/a\\b", ["/a/b", "/a/b", "/a/b"])]
    #[case("/%61bc%41%7E", ["/abcA~", "/abcA~", "/abcA~"])]
    #[case("/a%2fb", ["/a%2fb", "/a%2fb", "/a/b"])]
    #[case("/a/..%2f..%2fb", ["/a/..%2f..%2fb", "/a/..%2f..%2fb", "/b"])]
    #[case("/a%252fb", ["/a%252fb", "/a%252fb", "/a%252fb"])]
    #[case("/a%", ["/a%", "/a%", "/a%"])]
    #[case("/..", ["/", "/", "/"])]
    fn as_envoy_does(#[case] sent: &str, #[case] seen: [&str; 3]) {
        let modes = [
            PathNormalization::Base,
            PathNormalization::MergeSlashes,
            PathNormalization::DecodeAndMergeSlashes,
        ];
        assert_eq!(modes.map(|mode| normalize(sent, mode)), seen);
        assert_eq!(normalize(sent, PathNormalization::None), sent);
    }
}
