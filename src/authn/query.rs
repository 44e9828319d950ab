//! The query of a path, read and rebuilt as Envoy does it.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

/// Parameters by name, each with its values in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<Vec<u8>, Vec<Vec<u8>>>);

impl Query {
    /// Reads the query of a path; names and values are percent-decoded, `+` stays.
    pub(super) fn of(path: &str) -> Self {
        let mut query = Self::default();
        let Some((_, mut text)) = path.split_once('?') else { return query };
        // A trailing `&` starts no parameter; an empty one in the middle does.
        while !text.is_empty() {
            let (param, rest) = text.split_once('&').unwrap_or((text, ""));
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            query.0.entry(decode(name)).or_default().push(decode(value));
            text = rest;
        }
        query
    }

    /// The first value of a parameter.
    pub(super) fn first(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name.as_bytes()).and_then(|values| values.first()).map(Vec::as_slice)
    }

    /// The path with its query replaced by this one without `name`: sorted by name and not encoded
    /// again. Only bytes that cannot stand in a header keep an encoding.
    pub(super) fn path_without(mut self, path: &str, name: &str) -> String {
        self.0.remove(name.as_bytes());
        let mut rebuilt = path.split('?').next().unwrap_or_default().to_owned();
        let mut separator = '?';
        for (name, values) in &self.0 {
            for value in values {
                rebuilt.push(separator);
                separator = '&';
                push_bytes(&mut rebuilt, name);
                rebuilt.push('=');
                push_bytes(&mut rebuilt, value);
            }
        }
        rebuilt
    }
}

/// The path with parameters of its query set and others taken out, as Envoy's ext_authz filter does
/// it: as they were written, nothing decoded, sorted by name.
pub fn query_with(path: &str, set: &[(String, String)], remove: &[String]) -> String {
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let mut parameters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut rest = query;
    while !rest.is_empty() {
        let (parameter, after) = rest.split_once('&').unwrap_or((rest, ""));
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        parameters.entry(name).or_default().push(value);
        rest = after;
    }
    for (name, value) in set {
        parameters.insert(name, vec![value]);
    }
    for name in remove {
        parameters.remove(name.as_str());
    }
    let pairs = parameters.iter().flat_map(|(name, values)| values.iter().map(move |v| (name, v)));
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    if pairs.is_empty() { bare.to_owned() } else { format!("{bare}?{}", pairs.join("&")) }
}

fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_ascii_control() {
                out.push_str(&format!("%{:02X}", u32::from(c)));
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/p?tok=T", "/p")]
    #[case("/?x=1&tok=T&y=2", "/?x=1&y=2")]
    #[case("/p?b=2&tok=T&a=%20x&c", "/p?a= x&b=2&c=")]
    #[case("/p?b=1&tok=T&a=%2F&a=2&flag", "/p?a=/&a=2&b=1&flag=")]
    #[case("/p?tok=T&tok=U&a+b=+", "/p?a+b=+")]
    #[case("/p?tok=T&a=%0d%ff%zz", "/p?a=%0D%FF%zz")]
    #[case("/p?tok=T&", "/p")]
    fn removal(#[case] path: &str, #[case] expect: &str) {
        assert_eq!(Query::of(path).path_without(path, "tok"), expect);
    }

    #[test]
    fn names_are_decoded_and_keep_case() {
        let query = Query::of("/?access%5Ftoken=a%2Eb&Access_Token=c");
        assert_eq!(query.first("access_token"), Some(&b"a.b"[..]));
    }
}
