//! Compares what came with what was recorded, and adds it up.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    cases::{Request, Set},
    servers::Upstream,
};

/// What a client saw; all empty with status 0 when the connection was refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// What reached the upstream; `None` when nothing did (or HEAD hides it).
    pub(crate) upstream: Option<Upstream>,
}

/// Every way in which an answer differs from the recorded one, as `what: expected, got`.
fn differences(status: u16, request: &Request, observed: &Observed) -> Vec<String> {
    let expect = &request.expect;
    let mut found = Vec::new();
    let mut compare = |what: &str, expected: Option<&str>, got: Option<&str>| {
        if expected != got {
            let show = |v: Option<&str>| v.map_or_else(|| "nothing".into(), |v| format!("`{v}`"));
            found.push(format!("{what}: expected {}, got {}", show(expected), show(got)));
        }
    };
    compare("status", Some(&status.to_string()), Some(&observed.status.to_string()));
    if let Some(body) = &expect.body {
        compare("body", Some(body), Some(&observed.body));
    }
    for (name, value) in &expect.headers {
        compare(name, value.as_deref(), joined(&observed.headers, name).as_deref());
    }
    let upstream = observed.upstream.as_ref();
    if let Some(path) = &expect.path {
        compare("upstream path", Some(path), upstream.map(|u| u.path.as_str()));
    }
    if !expect.upstream.is_empty() && upstream.is_none() {
        compare("upstream", Some("a request"), None);
    }
    for (name, value) in &expect.upstream {
        let got = upstream.and_then(|u| joined(&u.headers, name));
        compare(&format!("upstream {name}"), value.as_deref(), got.as_deref());
    }
    found
}

/// A recorded refusal of the connection is a 403 here: behind ext_authz the connection stands, and
/// STRICT can only refuse the requests on it.
fn expected_status(set: &Set, request: &Request) -> u16 {
    const STRICT: [&str; 5] = [
        "strict-namespace",
        "workload-beats-namespace",
        "unset-inherits",
        "port-level-strict-over-permissive",
        "strict-and-authorization",
    ];
    match request.expect.status {
        0 if STRICT.contains(&set.name.as_str()) => 403,
        status => status,
    }
}

/// All lines of a name, as one value.
fn joined(headers: &[(String, String)], name: &str) -> Option<String> {
    let values: Vec<&str> =
        headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
    if values.is_empty() { None } else { Some(values.join(",")) }
}

/// The counts of a run and everything that did not agree.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Whether it is about native filters, which can refuse connections.
    is_native: bool,
    files: BTreeMap<String, (usize, usize)>,
    mismatches: Vec<String>,
    /// Differences in sets whose file says that a server may differ.
    tolerated: Vec<String>,
    /// Requests that Envoy answers before any filter, where there is no Envoy.
    left_out: usize,
}

impl Report {
    /// Of answers that native filters gave.
    pub(crate) fn of_native_filters() -> Self {
        Self { is_native: true, ..Self::default() }
    }

    /// Counts one answer.
    pub(crate) fn add(
        &mut self,
        file: &str,
        set: &Set,
        index: usize,
        request: &Request,
        observed: &Observed,
    ) {
        let status =
            if self.is_native { request.expect.status } else { expected_status(set, request) };
        let differences = differences(status, request, observed);
        let title = |detail: &str| {
            let named = if request.name.is_empty() { "" } else { " " };
            let Request { name, method, path, .. } = request;
            let path: String = path.chars().take(80).collect();
            format!("{file} {} #{index}{named}{name} ({method} {path}): {detail}", set.name)
        };
        if let Some(reason) = &set.skip {
            if !differences.is_empty() {
                self.tolerated
                    .push(title(&format!("{} (because: {reason})", differences.join("; "))));
            }
            return;
        }
        let (agree, all) = self.files.entry(file.to_owned()).or_default();
        *all += 1;
        if differences.is_empty() {
            *agree += 1;
        } else {
            self.mismatches.push(title(&differences.join("; ")));
        }
    }

    /// Notes a whole set that could not be asked.
    pub(crate) fn add_failure(&mut self, file: &str, set: &Set, problem: &str) {
        self.files.entry(file.to_owned()).or_default().1 += set.requests.len();
        self.mismatches.push(format!("{file} {}: {problem}", set.name));
    }

    /// Notes a request that only Envoy can answer.
    pub(crate) fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// Whether everything agreed, and something was asked.
    pub(crate) fn passed(&self) -> bool {
        self.mismatches.is_empty() && self.files.values().any(|(_, all)| *all > 0)
    }

    /// For people; the last line is `agree A/B`.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for (file, (agree, all)) in &self.files {
            writeln!(out, "{file}: {agree}/{all}").unwrap();
        }
        if self.left_out > 0 {
            writeln!(out, "answered by Envoy itself, not asked: {}", self.left_out).unwrap();
        }
        for line in &self.tolerated {
            writeln!(out, "differs, as it may: {line}").unwrap();
        }
        for line in &self.mismatches {
            writeln!(out, "MISMATCH {line}").unwrap();
        }
        let (agree, all) =
            self.files.values().fold((0, 0), |(a, b), (agree, all)| (a + agree, b + all));
        write!(out, "agree {agree}/{all}").unwrap();
        out
    }
}
