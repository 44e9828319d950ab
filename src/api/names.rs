//! The grammar of names: of objects, namespaces, labels and annotations.
//!
//! Says what is wrong with a text; which field it stood in is for the callers.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
    characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
    'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
    '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex \
    used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex \
    used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const QUALIFIED: &str = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
    regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS \
    subdomain prefix and '/' (e.g. 'example.com/MyName')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, \
    '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
    'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with the name of an object.
pub(super) fn subdomain_problems(text: &str) -> Vec<String> {
    let is_valid = text.split('.').all(is_label);
    problems(text.len(), 253, is_valid, SUBDOMAIN)
}

/// What is wrong with the name of a namespace.
pub(super) fn label_problems(text: &str) -> Vec<String> {
    problems(text.len(), 63, is_label(text), LABEL)
}

/// What is wrong with the value of a label.
pub(super) fn label_value_problems(text: &str) -> Vec<String> {
    problems(text.len(), 63, text.is_empty() || is_name_part(text), LABEL_VALUE)
}

/// What is wrong with the key of a label, or the name of a finalizer.
pub(super) fn qualified_name_problems(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut parts = text.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                found.push("prefix part must be non-empty".to_owned());
            } else {
                found.extend(
                    subdomain_problems(prefix).iter().map(|found| format!("prefix part {found}")),
                );
            }
            name
        }
        _ => return vec![QUALIFIED.to_owned()],
    };
    if name.is_empty() {
        found.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        found.push(format!("name part {}", too_long(63)));
    }
    if !is_name_part(name) {
        found.push(NAME_PART.to_owned());
    }
    found
}

fn problems(length: usize, longest: usize, is_valid: bool, grammar: &str) -> Vec<String> {
    let mut found = Vec::new();
    if length > longest {
        found.push(too_long(longest));
    }
    if !is_valid {
        found.push(grammar.to_owned());
    }
    found
}

fn too_long(longest: usize) -> String {
    format!("must be no more than {longest} characters")
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_name_part(text: &str) -> bool {
    let outer = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(outer)
        && text.ends_with(outer)
        && text.chars().all(|c| outer(c) || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a", true)]
    #[case("a.b-c.9", true)]
    #[case("", false)]
    #[case("A", false)]
    #[case("a..b", false)]
    #[case("-a", false)]
    #[case("a-", false)]
    #[case("a/b", false)]
    #[case("a_b", false)]
    #[case(&"a".repeat(253), true)]
    #[case(&"a".repeat(254), false)]
    fn names_of_objects(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(subdomain_problems(text).is_empty(), valid);
    }

    #[rstest]
    #[case("a-1", true)]
    #[case("a.b", false)]
    #[case(&"a".repeat(63), true)]
    #[case(&"a".repeat(64), false)]
    fn names_of_namespaces(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(label_problems(text).is_empty(), valid);
    }

    #[rstest]
    #[case("app", true)]
    #[case("app.kubernetes.io/Name_1", true)]
    #[case("", false)]
    #[case("/a", false)]
    #[case("a/", false)]
    #[case("a/b/c", false)]
    #[case("UPPER/a", false)]
    #[case(".a", false)]
    #[case("a b", false)]
    #[case(&"a".repeat(63), true)]
    #[case(&"a".repeat(64), false)]
    #[case(&format!("{}/b", "a".repeat(253)), true)]
    #[case(&format!("{}/b", "a".repeat(254)), false)]
    fn keys_of_labels(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(qualified_name_problems(text).is_empty(), valid);
    }

    #[rstest]
    #[case("", true)]
    #[case("a.B_c-1", true)]
    #[case("-", false)]
    #[case("a b", false)]
    #[case("\u{e9}", false)]
    #[case(&"a".repeat(63), true)]
    #[case(&"a".repeat(64), false)]
    fn values_of_labels(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(label_value_problems(text).is_empty(), valid);
    }
}
