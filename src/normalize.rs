//! Path normalisation, as the options of Istio's mesh config name it and Envoy does it.
//!
//! Envoy normally has done it before a path gets here; these are for Envoys that have not.
//! <https://istio.io/latest/docs/ops/best-practices/security/#customize-your-system-on-path-normalization>

use std::borrow::Cow;

/// `pathNormalization.normalization` of MeshConfig.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum PathNormalization {
    /// As it comes.
    #[default]
    None,
    /// Dot segments resolved, backslashes turned, escapes of unreserved characters decoded.
    Base,
    /// And runs of slashes made one.
    MergeSlashes,
    /// And `%2F` and `%5C` decoded first.
    DecodeAndMergeSlashes,
}

/// A path that Envoy would answer with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("path cannot be normalised")]
pub struct NotNormalizable;

impl PathNormalization {
    /// The name MeshConfig has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Base => "BASE",
            Self::MergeSlashes => "MERGE_SLASHES",
            Self::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        }
    }

    /// Reads the name; `DEFAULT` is Istio's default, `BASE`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "NONE" => Some(Self::None),
            "BASE" | "DEFAULT" => Some(Self::Base),
            "MERGE_SLASHES" => Some(Self::MergeSlashes),
            "DECODE_AND_MERGE_SLASHES" => Some(Self::DecodeAndMergeSlashes),
            _ => None,
        }
    }

    /// Normalises a path with its query, which stays as it is.
    ///
    /// # Errors
    /// An escaped NUL.
    pub fn apply(self, path: &str) -> Result<Cow<'_, str>, NotNormalizable> {
        if self == Self::None || !path.starts_with('/') {
            return Ok(path.into());
        }
        let end = path.find('?').unwrap_or(path.len());
        let (bare, query) = path.split_at_checked(end).unwrap_or((path, ""));
        let bare: Cow<'_, str> = if self == Self::DecodeAndMergeSlashes {
            decode_slashes(bare).into()
        } else {
            bare.into()
        };
        let mut resolved = resolve_dots(&canonical(&without_parameters_of_dots(&bare))?);
        if self != Self::Base {
            resolved = merge_slashes(&resolved);
        }
        Ok(format!("{resolved}{query}").into())
    }
}

fn decode_slashes(path: &str) -> String {
    let mut out = path.to_owned();
    for (escape, c) in [("%2F", "/"), ("%2f", "/"), ("%5C", "\\"), ("%5c", "\\")] {
        out = out.replace(escape, c);
    }
    out
}

/// `..;a=b` is `..`, while it is still as the client wrote it: only plain dots and slashes count.
fn without_parameters_of_dots(path: &str) -> String {
    let segments: Vec<&str> = path
        .split('/')
        .map(|segment| match segment.split_once(';') {
            Some((dots @ ("." | ".."), _)) => dots,
            _ => segment,
        })
        .collect();
    segments.join("/")
}

/// Decodes escapes of unreserved characters, escapes what may not stand in a path.
fn canonical(path: &str) -> Result<String, NotNormalizable> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    // Where a `%` stands that starts no escape.
    let mut lone_percent = None;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => out.push('/'),
            b'%' => match after.first_chunk::<2>().and_then(|hex| hex_byte(*hex)) {
                Some(0) => return Err(NotNormalizable),
                Some(decoded) if is_unreserved(decoded) => {
                    out.push(char::from(decoded));
                    rest = after.get(2..).unwrap_or_default();
                    if let Some(at) = lone_percent
                        && starts_an_escape(&out, at, rest.first().copied())
                    {
                        out.insert_str(at + 1, "25");
                    }
                }
                Some(_) => out.push('%'),
                None => {
                    lone_percent = Some(out.len());
                    out.push('%');
                }
            },
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f.. | ..=0x20 => {
                out.push_str(&format!("%{byte:02X}"));
            }
            _ => out.push(char::from(byte)),
        }
    }
    Ok(out)
}

/// Whether the `%` there has become the start of an escape by what was decoded behind it, which ends
/// `out`; `next` comes after that.
fn starts_an_escape(out: &str, percent: usize, next: Option<u8>) -> bool {
    let hex = match (out.as_bytes().get(percent + 1..), next) {
        (Some(&[high, low]), _) | (Some(&[high]), Some(low)) => [high, low],
        (Some(_) | None, _) => return false,
    };
    hex_byte(hex).is_some()
}

fn hex_byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn resolve_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => {
                segments.push(part);
                continue;
            }
        }
        // What ends in a dot segment is a folder.
        if is_last {
            segments.push("");
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in segments {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

/// Of nothing but slashes Envoy leaves two, the first and the last.
fn merge_slashes(path: &str) -> String {
    if path.len() > 1 && path.bytes().all(|byte| byte == b'/') {
        return "//".to_owned();
    }
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if !(c == '/' && out.ends_with('/')) {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // The rows of Envoy's answers: as sent, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES.
    #[rstest]
    #[case("//a//b", "//a//b", "/a/b", "/a/b")]
    #[case("/a/../b", "/b", "/b", "/b")]
    #[case("/a/%2e%2e/b", "/b", "/b", "/b")]
    #[case("/a/./b", "/a/b", "/a/b", "/a/b")]
    #[case("/a//../b", "/a/b", "/a/b", "/a/b")]
    #[case("/a\\b", "/a/b", "/a/b", "/a/b")]
    #[case("/%61bc", "/abc", "/abc", "/abc")]
    #[case("/%41", "/A", "/A", "/A")]
    #[case("/a%7Eb", "/a~b", "/a~b", "/a~b")]
    #[case("/a%2fb", "/a%2fb", "/a%2fb", "/a/b")]
    #[case("/a%5cb", "/a%5cb", "/a%5cb", "/a/b")]
    #[case("/a/..%2f..%2fb", "/a/..%2f..%2fb", "/a/..%2f..%2fb", "/b")]
    #[case("/a%252fb", "/a%252fb", "/a%252fb", "/a%252fb")]
    #[case("/a;p=1/b", "/a;p=1/b", "/a;p=1/b", "/a;p=1/b")]
    #[case("/a/b/", "/a/b/", "/a/b/", "/a/b/")]
    #[case("/a%", "/a%", "/a%", "/a%")]
    #[case("/..", "/", "/", "/")]
    #[case("/a/.", "/a/", "/a/", "/a/")]
    #[case("/one/{x}", "/one/%7Bx%7D", "/one/%7Bx%7D", "/one/%7Bx%7D")]
    #[case("/a%2Fb", "/a%2Fb", "/a%2Fb", "/a/b")]
    #[case("/%c3%a9", "/%c3%a9", "/%c3%a9", "/%c3%a9")]
    #[case("//", "//", "//", "//")]
    #[case("///?//", "///?//", "//?//", "//?//")]
    #[case("/%2F", "/%2F", "/%2F", "//")]
    #[case("/a^b|c", "/a%5Eb%7Cc", "/a%5Eb%7Cc", "/a%5Eb%7Cc")]
    #[case("/a/..;/b", "/b", "/b", "/b")]
    #[case("/a/..;x=1/b", "/b", "/b", "/b")]
    #[case("/a/.;x/b", "/a/b", "/a/b", "/a/b")]
    #[case("/a/..;", "/", "/", "/")]
    #[case("/a/..;%2fb/c", "/c", "/c", "/b/c")]
    #[case("/a/%2e%2e;/b", "/a/..;/b", "/a/..;/b", "/a/..;/b")]
    #[case("/a\\..;x/b", "/a/..;x/b", "/a/..;x/b", "/a/..;x/b")]
    #[case("/%%41", "/%A", "/%A", "/%A")]
    #[case("/%%41%42", "/%25AB", "/%25AB", "/%25AB")]
    #[case("/%2%65", "/%252e", "/%252e", "/%252e")]
    #[case("/%%341", "/%2541", "/%2541", "/%2541")]
    #[case("/%0%30", "/%2500", "/%2500", "/%2500")]
    #[case("/a/../b?c=/../d//", "/b?c=/../d//", "/b?c=/../d//", "/b?c=/../d//")]
    fn as_envoy(#[case] path: &str, #[case] base: &str, #[case] merge: &str, #[case] decode: &str) {
        let apply = |mode: PathNormalization| mode.apply(path).unwrap().into_owned();
        assert_eq!(apply(PathNormalization::None), path);
        assert_eq!(apply(PathNormalization::Base), base);
        assert_eq!(apply(PathNormalization::MergeSlashes), merge);
        assert_eq!(apply(PathNormalization::DecodeAndMergeSlashes), decode);
    }

    #[test]
    fn an_escaped_nul_is_refused() {
        assert_eq!(PathNormalization::Base.apply("/a%00b"), Err(NotNormalizable));
    }
}
