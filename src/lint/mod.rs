//! What in a set of policies is probably not meant: rules that never match, that others make
//! pointless, or that let more through than they say.
//!
//! A function of accepted resources. What is wrong with one document is `manifest`'s to say; how
//! findings are shown, the command's.

pub mod codes;

mod access;
mod cover;
mod filing;
mod identity;
mod ignore;
mod meaning;
mod never;
mod pattern;
mod policies;
mod request_path;
mod scope;
mod services;
mod shape;
mod steps;
mod tokens;
mod values;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use ignore::{ANNOTATION, Sorted, sort};

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::manifest::text::Text;
use crate::model::{Mesh, Metadata, Position, Resource, ResourceId, Service, Workload};
use policies::Policies;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Accepted resources, in any order.
    pub resources: &'a [Arc<Resource>],
    /// What gives them their meaning beside themselves.
    pub mesh: &'a Mesh,
    /// The Services that are known: where there are any, APIRules hold by Service, and these are all.
    pub services: &'a [Service],
    /// Whether these are all. Where some were refused or could not be read, nothing is said to be
    /// missing.
    pub complete: bool,
}

/// Everything that is probably not meant, by file and place. The annotations that ignore findings
/// are not looked at: [`sort`] does that.
pub fn lint(subject: Subject<'_>) -> Vec<Diagnostic> {
    let policies = Policies::new(subject);
    let mut findings = Vec::new();
    for family in [
        never::find,
        cover::find,
        tokens::find,
        identity::find,
        values::find,
        shape::find,
        access::find,
        services::find,
    ] {
        family(&policies, &mut findings);
    }
    let mut found: Vec<_> = findings.into_iter().map(Finding::into_diagnostic).collect();
    found.sort_by_cached_key(place);
    found.dedup();
    found
}

/// Rules of one APIRule that no request reaches as they are meant, as far as its annotations do not
/// ignore it: others of it come before, or no request has such a path.
pub fn overlaps(resource: &Arc<Resource>) -> Vec<Diagnostic> {
    let Resource::ApiRule(api_rule) = &**resource else { return Vec::new() };
    not_ignored(access::of(api_rule), resource)
}

/// Rules of one APIRule for Services that lead to none of the workloads, which are all there are, as
/// far as its annotations do not ignore it. Nothing where no Service leads to any: there APIRules hold
/// by host.
pub fn without_workload(resource: &Arc<Resource>, workloads: &[Workload]) -> Vec<Diagnostic> {
    let Resource::ApiRule(api_rule) = &**resource else { return Vec::new() };
    not_ignored(services::of_workloads(api_rule, workloads), resource)
}

/// Nothing is said about the annotations: what they ignore may be what others find.
fn not_ignored(
    findings: impl IntoIterator<Item = Finding>,
    resource: &Arc<Resource>,
) -> Vec<Diagnostic> {
    let found: Vec<_> = findings.into_iter().map(Finding::into_diagnostic).collect();
    let codes: Vec<_> = found.iter().map(|finding| finding.code).collect();
    let mut shown = sort(found, std::slice::from_ref(resource)).shown;
    shown.retain(|finding| codes.contains(&finding.code));
    shown
}

fn place(found: &Diagnostic) -> impl Ord + use<> {
    let file = (found.file.is_none(), found.file.clone());
    (file, found.position, found.code, found.resource.clone(), found.message.clone())
}

/// Adds the line that each finding points at. `texts` are the names of files and what they hold.
pub fn add_excerpts<'t>(
    findings: &mut [Diagnostic],
    texts: impl IntoIterator<Item = (&'t str, &'t str)>,
) {
    let texts: HashMap<&str, &str> = texts.into_iter().collect();
    let mut read: HashMap<Arc<str>, Text<'t>> = HashMap::new();
    for found in findings.iter_mut().filter(|found| found.excerpt.is_none()) {
        let Some(file) = found.file.clone().filter(|_| found.position.line > 0) else { continue };
        let Some(content) = texts.get(&*file) else { continue };
        let text = read.entry(file).or_insert_with_key(|file| Text::new(content, Some(file)));
        let line = text.line(found.position.line).unwrap_or_default();
        found.excerpt = text.excerpt(found.position, width_at(line, found.position));
    }
}

/// How wide the value is that begins there, on its line.
fn width_at(line: &str, position: Position) -> usize {
    let column = usize::try_from(position.column).unwrap_or(usize::MAX).saturating_sub(1);
    let mut rest = line.chars().skip(column).peekable();
    let length = match rest.peek().copied() {
        Some(quote @ ('"' | '\'')) => {
            rest.skip(1).take_while(|c| *c != quote).count().saturating_add(2)
        }
        _ => rest.take_while(|c| !matches!(c, ' ' | ',' | ']' | '}' | '#')).count(),
    };
    length.max(1)
}

/// One finding in the making.
#[derive(Debug)]
struct Finding {
    code: Code,
    severity: Severity,
    id: ResourceId,
    file: Option<Arc<str>>,
    position: Position,
    message: String,
    help: Option<String>,
    path: String,
}

impl Finding {
    fn warning(
        code: Code,
        (id, metadata): (ResourceId, &Metadata),
        position: Position,
        message: impl Into<String>,
    ) -> Self {
        let position = if position.line == 0 { metadata.position } else { position };
        Self {
            code,
            severity: Severity::Warning,
            id,
            file: metadata.file.clone(),
            position,
            message: message.into(),
            help: None,
            path: String::new(),
        }
    }

    fn note(self) -> Self {
        Self { severity: Severity::Note, ..self }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Where in the resource, such as `spec.rules[0]`.
    fn path(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    fn into_diagnostic(self) -> Diagnostic {
        Diagnostic {
            severity: self.severity,
            code: self.code,
            message: self.message,
            help: self.help,
            file: self.file,
            position: self.position,
            excerpt: None,
            resource: Some(self.id),
            path: self.path,
        }
    }
}
