//! What an `Accept` header asks for: JSON, in some form.

/// The parameters of a range of media types that JSON is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct MediaRange<'h> {
    /// `as`: the form.
    pub(super) form: Option<&'h str>,
    /// `g`: the group of the form.
    pub(super) group: Option<&'h str>,
    /// `v`: its version.
    pub(super) version: Option<&'h str>,
}

impl<'h> MediaRange<'h> {
    /// The ranges of a header that JSON is in and that are wanted at all, in their order. No header
    /// accepts anything.
    pub(super) fn all(accept: Option<&'h str>) -> impl Iterator<Item = Self> {
        let accept = accept.filter(|accept| !accept.trim().is_empty()).unwrap_or("*/*");
        accept.split(',').filter_map(Self::parse)
    }

    fn parse(range: &'h str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let known = ["application/json", "application/*", "*/*"];
        if !known.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
            return None;
        }
        let mut parsed = Self::default();
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "as" => parsed.form = Some(value),
                "g" => parsed.group = Some(value),
                "v" => parsed.version = Some(value),
                "q" if value.trim().parse::<f32>().is_ok_and(|quality| quality <= 0.0) => {
                    return None;
                }
                _ => {}
            }
        }
        Some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const JSON: MediaRange<'static> = MediaRange { form: None, group: None, version: None };

    #[rstest]
    #[case::none(None, &[JSON])]
    #[case::blank(Some(" "), &[JSON])]
    #[case::any(Some("*/*"), &[JSON])]
    #[case::case(Some("Application/JSON"), &[JSON])]
    #[case::other(Some("application/yaml, text/html"), &[])]
    #[case::unwanted(Some("application/json;q=0"), &[])]
    #[case::wanted(Some("application/json; q=0.1"), &[JSON])]
    #[case::in_order(
        Some("application/json;as=Table;g=meta.k8s.io;v=v1, application/json"),
        &[MediaRange { form: Some("Table"), group: Some("meta.k8s.io"), version: Some("v1") }, JSON]
    )]
    fn ranges_of_json(#[case] accept: Option<&str>, #[case] expected: &[MediaRange<'_>]) {
        assert_eq!(MediaRange::all(accept).collect::<Vec<_>>(), expected);
    }
}
