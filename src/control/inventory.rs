//! The last accepted form of every resource.
//!
//! Pure: a corpus and the inventory before it give the inventory after it. The order in which
//! resources stand in files, or arrive, never matters.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    sync::Arc,
};

use tokio::time::Instant;

use crate::compile::Rejected;
use crate::diagnostic::Diagnostic;
use crate::model::{RefusedScope, Resource, ResourceId, Service};
use crate::source::SourceProblem;

use super::{
    decoding::{Decoded, Document},
    status::{Problem, Rejection, Subject},
};

/// What is known of every resource that the files name.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Inventory {
    /// By resource. One list: there are thousands, and almost all stay as they are.
    entries: Vec<Entry>,
    /// The Services that the files name, in the order of their names.
    services: Vec<Service>,
    /// What is refused in its present form, by subject.
    pub(super) rejections: Vec<Rejection>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    id: ResourceId,
    /// Where the resource last stood.
    file: Arc<str>,
    form: Form,
    /// What the present form would be about, where it is refused and is an APIRule: its hosts may be
    /// others than those of the accepted form.
    refused: Option<RefusedScope>,
}

#[derive(Debug, Clone)]
enum Form {
    /// The last accepted form.
    Accepted(Arc<Resource>),
    /// There never was one. What the refused form would be about, if that could be told.
    Never(Option<RefusedScope>),
}

impl Form {
    /// The form after one that there may have been. `only` is the resource as it stands, if nothing
    /// is wrong with it; of one that stands there twice, none of them is the one, and what they select
    /// together is not for us to guess.
    fn after(
        before: Option<&Self>,
        only: Option<Arc<Resource>>,
        scope: Option<RefusedScope>,
    ) -> Self {
        let accepted_before = match before {
            Some(Self::Accepted(resource)) => Some(resource),
            Some(Self::Never(_)) | None => None,
        };
        match (only, accepted_before) {
            // The same, as it mostly is, or at least alike.
            (Some(resource), Some(before)) if Arc::ptr_eq(before, &resource) => {
                Self::Accepted(resource)
            }
            (Some(resource), Some(before)) if *before == resource => Self::Accepted(before.clone()),
            (Some(resource), _) => Self::Accepted(resource),
            (None, Some(before)) => Self::Accepted(before.clone()),
            (None, None) => Self::Never(scope),
        }
    }
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // Of thousands, most are the very same.
            (Self::Accepted(one), Self::Accepted(other)) => Arc::ptr_eq(one, other) || one == other,
            (Self::Never(one), Self::Never(other)) => one == other,
            (Self::Accepted(_), Self::Never(_)) | (Self::Never(_), Self::Accepted(_)) => false,
        }
    }
}

impl Inventory {
    /// The inventory after a corpus. `now` is the beginning of what is refused from now on.
    pub(super) fn next(
        &self,
        decoded: Decoded,
        unreadable: &[SourceProblem],
        now: Instant,
    ) -> Self {
        let mut decoded = decoded;
        let services = std::mem::take(&mut decoded.services);
        let Reading { documents, broken, problems } = Reading::of(decoded, unreadable);
        let mut next = Self { services, ..Self::default() };
        if !broken.is_empty() || !unreadable.is_empty() {
            // They may stand where nothing could be read.
            let gone = |it: &&Service| {
                !next
                    .services
                    .iter()
                    .any(|new| (&new.namespace, &new.name) == (&it.namespace, &it.name))
            };
            let kept: Vec<_> = self.services.iter().filter(gone).cloned().collect();
            next.services.extend(kept);
        }
        next.services.sort();
        next.services.dedup();
        // What the files do not name any more is gone, unless it may stand where nothing could be
        // read.
        let may_stand = |entry: &&Entry| {
            broken.contains(&entry.file)
                || unreadable.iter().any(|problem| problem.covers(&entry.file))
        };
        let mut before = self.entries.iter().peekable();
        let mut documents = documents.into_iter().peekable();
        while let Some((id, document)) = documents.next() {
            let mut others = 0_usize;
            while documents.next_if(|(other, _)| *other == id).is_some() {
                others += 1;
            }
            while let Some(gone) = before.next_if(|entry| entry.id < id) {
                next.entries.extend(Some(gone).filter(may_stand).cloned());
            }
            let known = before.next_if(|entry| entry.id == id);
            let only = (others == 0).then_some(document.resource).flatten();
            let scope = document.scope.filter(|_| others == 0);
            let is_api_rule = matches!(scope, Some(RefusedScope::ApiRule { .. }));
            let refused = scope.clone().filter(|_| is_api_rule && only.is_none());
            let form = Form::after(known.map(|entry| &entry.form), only, scope);
            next.entries.push(Entry { id, file: document.file, form, refused });
        }
        next.entries.extend(before.filter(may_stand).cloned());
        next.rejections = problems
            .into_iter()
            .map(|(subject, problems)| Rejection {
                kept: next.kept(&subject),
                since: self.refused_since(&subject).unwrap_or(now),
                subject,
                problems,
            })
            .collect();
        next
    }

    fn kept(&self, subject: &Subject) -> usize {
        let accepted = |entry: &&Entry| matches!(entry.form, Form::Accepted(_));
        match subject {
            Subject::Resource(id) => {
                let found = self.entries.binary_search_by(|entry| entry.id.cmp(id)).ok();
                found.and_then(|at| self.entries.get(at)).iter().copied().filter(accepted).count()
            }
            Subject::Path(path) => {
                let below = |entry: &&Entry| Path::new(&*entry.file).starts_with(&**path);
                self.entries.iter().filter(below).filter(accepted).count()
            }
        }
    }

    fn refused_since(&self, subject: &Subject) -> Option<Instant> {
        self.rejections.iter().find(|r| r.subject == *subject).map(|rejection| rejection.since)
    }

    /// The accepted resources, by kind, namespace and name.
    pub(super) fn resources(&self) -> Vec<Arc<Resource>> {
        self.entries
            .iter()
            .filter_map(|entry| match &entry.form {
                Form::Accepted(resource) => Some(resource.clone()),
                Form::Never(_) => None,
            })
            .collect()
    }

    /// The resources that never had an accepted form, in the same order, and APIRules whose present form
    /// is refused and may have other hosts.
    pub(super) fn never_accepted(&self) -> Vec<Rejected> {
        self.entries
            .iter()
            .filter_map(|entry| match &entry.form {
                // Without hosts that can be read, nothing is known that the accepted form has not.
                Form::Accepted(_) => {
                    let has_hosts = |scope: &&RefusedScope| {
                        matches!(scope, RefusedScope::ApiRule { hosts: Some(_), services: Some(_) })
                    };
                    let scope = entry.refused.as_ref().filter(has_hosts)?.clone();
                    Some(Rejected { id: entry.id.clone(), scope: Some(scope) })
                }
                Form::Never(scope) => Some(Rejected { id: entry.id.clone(), scope: scope.clone() }),
            })
            .collect()
    }

    /// The Services that are known.
    pub(super) fn services(&self) -> &[Service] {
        &self.services
    }

    /// Whether both lead to the same snapshot.
    pub(super) fn same_meaning(&self, other: &Self) -> bool {
        let pairs = self.entries.iter().zip(&other.entries);
        self.services == other.services
            && self.entries.len() == other.entries.len()
            && pairs
                .into_iter()
                .all(|(a, b)| a.id == b.id && a.form == b.form && a.refused == b.refused)
    }
}

/// A corpus, sorted by what it says about whom.
struct Reading {
    /// By resource; those of one resource in the order of the files.
    documents: Vec<(ResourceId, Document)>,
    /// Files in which there may be resources that could not be made out.
    broken: BTreeSet<Arc<str>>,
    problems: BTreeMap<Subject, Vec<Problem>>,
}

impl Reading {
    fn of(decoded: Decoded, unreadable: &[SourceProblem]) -> Self {
        let documents = Vec::with_capacity(decoded.documents.len());
        let mut reading = Self { documents, broken: BTreeSet::new(), problems: BTreeMap::new() };
        for problem in unreadable {
            let subject = Subject::Path(problem.path.clone());
            reading.problem(subject, Problem::Read(problem.clone()));
        }
        for diagnostic in decoded.errors() {
            reading.error(diagnostic);
        }
        for mut document in decoded.documents {
            match document.id.take() {
                Some(id) => reading.documents.push((id, document)),
                None => {
                    reading.broken.insert(document.file);
                }
            }
        }
        reading.documents.sort_by(|(one, _), (other, _)| one.cmp(other));
        reading.distrust_refused();
        reading
    }

    /// A resource with an error has no acceptable form, whatever its documents say; one with an error
    /// and without a document may still stand in that file.
    fn distrust_refused(&mut self) {
        for (subject, problems) in &self.problems {
            let Subject::Resource(id) = subject else { continue };
            let range = range_of(&self.documents, id);
            let refused = self.documents.get_mut(range).unwrap_or_default();
            for (_, document) in &mut *refused {
                document.resource = None;
            }
            if refused.is_empty() {
                self.broken.extend(problems.iter().filter_map(|problem| match problem {
                    Problem::Text(diagnostic) => diagnostic.file.clone(),
                    Problem::Read(problem) => Some(problem.path.clone()),
                }));
            }
        }
    }

    fn error(&mut self, diagnostic: &Diagnostic) {
        let file = || diagnostic.file.clone().unwrap_or_default();
        let subject = match &diagnostic.resource {
            Some(id) => Subject::Resource(id.clone()),
            None => {
                self.broken.insert(file());
                Subject::Path(file())
            }
        };
        self.problem(subject, Problem::Text(diagnostic.clone()));
    }

    fn problem(&mut self, subject: Subject, problem: Problem) {
        self.problems.entry(subject).or_default().push(problem);
    }
}

/// Where the documents of a resource are.
fn range_of(documents: &[(ResourceId, Document)], id: &ResourceId) -> Range<usize> {
    let start = documents.partition_point(|(other, _)| other < id);
    let rest = documents.get(start..).unwrap_or_default();
    start..start + rest.partition_point(|(other, _)| other == id)
}

#[cfg(test)]
mod tests;
