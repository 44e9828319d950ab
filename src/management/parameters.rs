//! Parameters of a query, and names as Kubernetes has them.
//!
//! What is put into a path or a query for somebody else is held to these first.

use percent_encoding::percent_decode_str;

use super::failure::Failure;

/// The parameter with a kubeconfig.
pub const KUBECONFIG: &str = "kubeconfig";

/// The parameters of one query, none of them twice.
#[derive(Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

/// Names only: a value may be a kubeconfig.
impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Parameters {
    /// Reads a query. Parameters beside `known` are refused, since one with a slip in its name would
    /// mean something else than was asked.
    pub fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Failure> {
        let mut read: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                return Err(Failure::BadRequest("the query is not UTF-8".into()));
            };
            let Some(known) = known.iter().find(|known| **known == name) else {
                let known = match known {
                    [] => "there are none here".to_owned(),
                    known => format!("here are `{}`", known.join("`, `")),
                };
                return Err(Failure::BadRequest(format!("unknown parameter: {known}")));
            };
            if read.iter().any(|(name, _)| name == known) {
                return Err(Failure::BadRequest(format!("`{known}` is there twice")));
            }
            read.push((name, value));
        }
        Ok(Self(read))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// One that must be there.
    fn needed(&self, name: &str) -> Result<&str, Failure> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Failure::BadRequest(format!("`{name}` is needed")))
    }

    /// `namespace`
    pub fn namespace(&self) -> Result<&str, Failure> {
        namespace(self.needed("namespace")?)
    }

    /// `service`
    pub fn service(&self) -> Result<&str, Failure> {
        name("service", self.needed("service")?)
    }
}

/// Whether a query has this parameter, however odd the rest of it is.
pub fn has(query: Option<&str>, name: &str) -> bool {
    let names = query.unwrap_or_default().split('&').map(|pair| pair.split('=').next());
    names.flatten().any(|it| decoded(it).as_deref() == Some(name))
}

fn decoded(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// A namespace (RFC 1123 label).
pub fn namespace(text: &str) -> Result<&str, Failure> {
    if is_label(text) {
        return Ok(text);
    }
    Err(Failure::BadRequest(
        "`namespace` must be lower case letters, digits and `-`, at most 63, as namespaces are"
            .into(),
    ))
}

/// The name of an object or a service (RFC 1123 subdomain).
pub fn name<'t>(parameter: &str, text: &'t str) -> Result<&'t str, Failure> {
    if text.len() <= 253 && text.split('.').all(is_label) {
        return Ok(text);
    }
    Err(Failure::BadRequest(format!(
        "`{parameter}` must be lower case letters, digits, `-` and `.`, as names are"
    )))
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const KNOWN: [&str; 2] = ["namespace", "service"];

    #[rstest]
    #[case::missing(None, "`namespace` is needed")]
    #[case::empty(Some("namespace="), "`namespace` is needed")]
    #[case::bare(Some("namespace"), "`namespace` is needed")]
    #[case::twice(Some("namespace=a&namespace=b"), "`namespace` is there twice")]
    #[case::twice_by_other_spelling(Some("namespace=a&names%70ace=b"), "twice")]
    #[case::unknown(Some("namespace=a&Namespace=b"), "unknown parameter: here are `namespace`")]
    #[case::not_utf8(Some("namespace=%ff"), "not UTF-8")]
    #[case::upper(Some("namespace=A"), "must be lower case")]
    #[case::space(Some("namespace=a+b"), "must be lower case")]
    #[case::dot(Some("namespace=a.b"), "must be lower case")]
    #[case::query(Some("namespace=a%22%7D"), "must be lower case")]
    fn refused(#[case] query: Option<&str>, #[case] expected: &str) {
        let read = Parameters::read(query, &KNOWN);
        let error = read.and_then(|read| read.namespace().map(str::to_owned)).unwrap_err();
        assert_eq!(error.status(), 400);
        assert!(error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn read() {
        let read = Parameters::read(Some("service=a.b-c&&namespace=%61"), &KNOWN).unwrap();
        assert_eq!((read.namespace(), read.service()), (Ok("a"), Ok("a.b-c")));
        assert_eq!(format!("{read:?}"), r#"["service", "namespace"]"#);
    }

    proptest! {
        /// Whatever is taken can be put between the quotes of a query language and into a path.
        #[test]
        fn names_are_harmless(text in ".{0,4}|[a-z0-9.\"{}/%-]{0,6}") {
            if let Ok(name) = name("name", &text) {
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)));
                prop_assert!(name != "." && name != "..");
            }
        }
    }
}
