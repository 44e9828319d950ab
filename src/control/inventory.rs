//! The last accepted form of every resource.
//!
//! Pure: a corpus and the inventory before it give the inventory after it. The order in which
//! resources stand in files, or arrive, never matters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

use crate::compile::Rejected;
use crate::diagnostic::Diagnostic;
use crate::model::{Attachment, Resource, ResourceId};
use crate::source::SourceProblem;

use super::{
    decoding::{Decoded, Document},
    status::{Problem, Rejection, Subject},
};

/// What is known of every resource that the files name.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Inventory {
    entries: BTreeMap<ResourceId, Entry>,
    /// What is refused in its present form, by subject.
    pub(super) rejections: Vec<Rejection>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    /// Where the resource last stood.
    file: Arc<str>,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// The last accepted form.
    Accepted(Arc<Resource>),
    /// There never was one. What the refused form is attached to, if that could be told.
    Never(Option<Attachment>),
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
        let Reading { present, broken, problems } = Reading::of(decoded, unreadable);
        let mut next = Self::default();
        for (id, documents) in present {
            let entry = self.entry_after(&id, documents);
            next.entries.insert(id, entry);
        }
        // What the files do not name any more is gone, unless it may stand where nothing could be
        // read.
        for (id, entry) in &self.entries {
            let unknown = broken.contains(&entry.file)
                || unreadable.iter().any(|problem| problem.covers(&entry.file));
            if unknown && !next.entries.contains_key(id) {
                next.entries.insert(id.clone(), entry.clone());
            }
        }
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

    fn entry_after(&self, id: &ResourceId, documents: Vec<Document>) -> Entry {
        let before = self.entries.get(id);
        let file = documents.first().map(|document| document.file.clone()).unwrap_or_default();
        let accepted_before = match before.map(|entry| &entry.form) {
            Some(Form::Accepted(resource)) => Some(resource),
            Some(Form::Never(_)) | None => None,
        };
        let mut documents = documents.into_iter();
        let form = match (documents.next(), documents.next()) {
            (Some(Document { resource: Some(resource), .. }), None) => {
                Form::Accepted(match accepted_before {
                    // The same, as it mostly is, or at least alike.
                    Some(before) if Arc::ptr_eq(before, &resource) => resource,
                    Some(before) if *before == resource => before.clone(),
                    Some(_) | None => resource,
                })
            }
            (only, None) => match accepted_before {
                Some(before) => Form::Accepted(before.clone()),
                None => Form::Never(only.and_then(|document| document.attachment)),
            },
            // Twice: none of them is the one, and what they select together is not for us to guess.
            (_, Some(_)) => match accepted_before {
                Some(before) => Form::Accepted(before.clone()),
                None => Form::Never(None),
            },
        };
        Entry { file, form }
    }

    fn kept(&self, subject: &Subject) -> usize {
        let accepted = |entry: &&Entry| matches!(entry.form, Form::Accepted(_));
        match subject {
            Subject::Resource(id) => self.entries.get(id).iter().copied().filter(accepted).count(),
            Subject::Path(path) => {
                let below =
                    |entry: &&Entry| std::path::Path::new(&*entry.file).starts_with(&**path);
                self.entries.values().filter(below).filter(accepted).count()
            }
        }
    }

    fn refused_since(&self, subject: &Subject) -> Option<Instant> {
        self.rejections.iter().find(|r| r.subject == *subject).map(|rejection| rejection.since)
    }

    /// The accepted resources, by kind, namespace and name.
    pub(super) fn resources(&self) -> Vec<Arc<Resource>> {
        self.entries
            .values()
            .filter_map(|entry| match &entry.form {
                Form::Accepted(resource) => Some(resource.clone()),
                Form::Never(_) => None,
            })
            .collect()
    }

    /// The resources that never had an accepted form, in the same order.
    pub(super) fn never_accepted(&self) -> Vec<Rejected> {
        self.entries
            .iter()
            .filter_map(|(id, entry)| match &entry.form {
                Form::Accepted(_) => None,
                Form::Never(attachment) => {
                    Some(Rejected { id: id.clone(), attachment: attachment.clone() })
                }
            })
            .collect()
    }

    /// Whether both lead to the same snapshot.
    pub(super) fn same_meaning(&self, other: &Self) -> bool {
        let pairs = self.entries.iter().zip(&other.entries);
        self.entries.len() == other.entries.len()
            && pairs.into_iter().all(|((one, a), (other, b))| one == other && a.form == b.form)
    }
}

/// A corpus, sorted by what it says about whom.
struct Reading {
    /// The documents of each resource that the files name.
    present: BTreeMap<ResourceId, Vec<Document>>,
    /// Files in which there may be resources that could not be made out.
    broken: BTreeSet<Arc<str>>,
    problems: BTreeMap<Subject, Vec<Problem>>,
}

impl Reading {
    fn of(decoded: Decoded, unreadable: &[SourceProblem]) -> Self {
        let mut reading =
            Self { present: BTreeMap::new(), broken: BTreeSet::new(), problems: BTreeMap::new() };
        for problem in unreadable {
            let subject = Subject::Path(problem.path.clone());
            reading.problem(subject, Problem::Read(problem.clone()));
        }
        for diagnostic in decoded.errors() {
            reading.error(diagnostic);
        }
        for document in decoded.documents {
            match document.id.clone() {
                Some(id) => reading.present.entry(id).or_default().push(document),
                None => {
                    reading.broken.insert(document.file);
                }
            }
        }
        reading.distrust_refused();
        reading
    }

    /// A resource with an error has no acceptable form, whatever its documents say; one with an error
    /// and without a document may still stand in that file.
    fn distrust_refused(&mut self) {
        for (subject, problems) in &self.problems {
            let Subject::Resource(id) = subject else { continue };
            match self.present.get_mut(id) {
                Some(documents) => {
                    for document in documents {
                        document.resource = None;
                    }
                }
                None => self.broken.extend(problems.iter().filter_map(|problem| match problem {
                    Problem::Text(diagnostic) => diagnostic.file.clone(),
                    Problem::Read(problem) => Some(problem.path.clone()),
                })),
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

#[cfg(test)]
mod tests;
