//! Text to words: YAML and JSON documents to resources, and everything that is wrong with them.
//!
//! Reads no files and compiles nothing. Three stages: `node` reads the text, the decoders read the
//! structure of each kind, and `admission` checks what Istio's webhook and CRD schemas would refuse.

pub mod codes;
pub mod node;
pub mod schema;

mod address;
mod admission;
mod api_rule;
mod attachment;
mod authentication;
mod authorization;
mod condition_key;
pub(crate) mod cursor;
mod deny_annotations;
mod envelope;
mod metadata;
pub(crate) mod problem;
mod service;
mod suggest;
pub(crate) mod text;
pub(crate) mod time;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use self::api_rule::across;
pub use self::api_rule::across::Claims;
pub use self::api_rule::{ApiRuleOptions, JwtHandler};
use self::{
    envelope::Decoder,
    node::{Document, Node},
    problem::{Problem, Spot},
    text::{Positions, Text, quoted},
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::{Position, RefusedScope, Resource, ResourceId, Service};

/// What documents may leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The namespace of a resource whose metadata names none.
    pub default_namespace: Arc<str>,
    /// How APIRules are read.
    pub api_rules: ApiRuleOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self { default_namespace: Arc::from("default"), api_rules: ApiRuleOptions::default() }
    }
}

/// All that was read. A document of one of our kinds is here even if it is wrong; documents of other
/// groups are not.
#[derive(Debug, Default)]
pub struct Decoded {
    /// In the order of their files' names and of their places.
    pub documents: Vec<DecodedDocument>,
    /// Kubernetes Services, in the same order: what they select says which workloads APIRules are for.
    pub services: Vec<Service>,
    /// What these documents may share with others.
    pub claims: Claims,
    /// In the same order; those about no file are last.
    pub diagnostics: Vec<Diagnostic>,
}

impl Decoded {
    /// Whether anything was refused.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// The resources that Istio would accept.
    pub fn accepted(&self) -> impl Iterator<Item = &Resource> {
        self.documents.iter().filter_map(DecodedDocument::accepted)
    }

    /// Files with an error that belongs to no document whose identity is known: any resource may be
    /// missing from them.
    pub fn broken_files(&self) -> Vec<Arc<str>> {
        let mut files: Vec<_> = self
            .diagnostics
            .iter()
            .filter(|found| found.severity == Severity::Error && found.resource.is_none())
            .filter_map(|found| found.file.clone())
            .collect();
        files.dedup();
        files
    }
}

/// One document of one of our kinds.
#[derive(Debug, Clone)]
pub struct DecodedDocument {
    /// Which resource it is; `None` where its name could not be read.
    pub id: Option<ResourceId>,
    /// What it would be about if it is refused; `None` where that could not be read for sure.
    pub scope: Option<RefusedScope>,
    /// The resource, where its structure is sound. It is there also if it is not admitted: as istiod
    /// would see it with its webhook off.
    pub resource: Option<Resource>,
    /// Whether nothing at all is wrong with it.
    pub admitted: bool,
    /// The file, as the user named it.
    pub file: Option<Arc<str>>,
    /// Where it starts.
    pub position: Position,
}

impl DecodedDocument {
    /// The resource, if it is admitted.
    pub fn accepted(&self) -> Option<&Resource> {
        self.resource.as_ref().filter(|_| self.admitted)
    }
}

/// Reads one text. `file` names it in diagnostics and tells YAML from JSON by its extension.
pub fn decode(text: &str, file: Option<&str>, options: &Options) -> Decoded {
    let text = Text::new(text, file);
    let documents = node::read(&text);
    decode_texts(vec![(text, documents)], Vec::new(), options)
}

/// Resources that stand inside of a document of another kind.
#[derive(Debug, Clone, Copy)]
pub struct Embedded<'a> {
    /// The whole text.
    pub text: &'a str,
    /// Its file.
    pub file: &'a str,
    /// The resources.
    pub roots: &'a [Node],
}

/// Reads all files of one policy set: names and contents, in any order.
pub fn decode_files<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    options: &Options,
) -> Decoded {
    decode_files_and(files, None, options)
}

/// As [`decode_files`], with some more resources in the same set.
pub fn decode_files_and<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    embedded: Option<Embedded<'a>>,
    options: &Options,
) -> Decoded {
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_unstable_by_key(|(path, _)| *path);
    let mut texts = Vec::new();
    let mut unreadable = Vec::new();
    for (path, bytes) in files {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let text = Text::new(text, Some(path));
                let documents = node::read(&text);
                texts.push((text, documents));
            }
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                unreadable.push(not_utf8(path, &String::from_utf8_lossy(valid)));
            }
        }
    }
    if let Some(Embedded { text, file, roots }) = embedded {
        let whole = |root: &Node| Document {
            root: Some(root.clone()),
            complete: true,
            problems: Vec::new(),
        };
        texts.push((Text::new(text, Some(file)), roots.iter().map(whole).collect()));
    }
    decode_texts(texts, unreadable, options)
}

fn decode_texts(
    texts: Vec<(Text<'_>, Vec<Document>)>,
    diagnostics: Vec<Diagnostic>,
    options: &Options,
) -> Decoded {
    let mut decoded = Decoded { diagnostics, ..Decoded::default() };
    let mut ignored = std::collections::BTreeMap::new();
    // The index of the text that each document came from.
    let mut origins = Vec::new();
    let (texts, documents): (Vec<_>, Vec<_>) = texts.into_iter().unzip();
    for (index, (text, documents)) in texts.iter().zip(documents).enumerate() {
        let mut decoder = Decoder::new(text, options, &mut ignored);
        documents.into_iter().for_each(|document| decoder.document(document));
        let (documents, services, diagnostics) = decoder.finish();
        decoded.services.extend(services);
        origins.resize(origins.len() + documents.len(), index);
        decoded.documents.extend(documents);
        decoded.diagnostics.extend(diagnostics);
    }
    refuse_duplicates(&mut decoded, &texts, &origins);
    across::check(&mut decoded, (&texts, &origins), &options.api_rules);
    decoded.diagnostics.sort_by(|a, b| {
        let place = |found: &Diagnostic| (found.file.is_none(), found.file.clone(), found.position);
        place(a).cmp(&place(b))
    });
    if !ignored.is_empty() {
        let total: usize = ignored.values().sum();
        let kinds: Vec<_> = ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let plural = if total == 1 { "" } else { "s" };
        decoded.diagnostics.push(Diagnostic {
            severity: Severity::Note,
            code: codes::IGNORED_KINDS,
            message: format!(
                "ignored {total} document{plural} of other groups: {}",
                kinds.join(", ")
            ),
            help: None,
            file: None,
            position: Position::default(),
            excerpt: None,
            resource: None,
            path: String::new(),
        });
    }
    decoded
}

/// Neither of two documents with one identity is admitted: which one was meant is anyone's guess.
fn refuse_duplicates(decoded: &mut Decoded, texts: &[Text<'_>], origins: &[usize]) {
    let mut firsts: HashMap<ResourceId, usize> = HashMap::new();
    let mut refused = Vec::new();
    for (index, document) in decoded.documents.iter().enumerate() {
        let Some(id) = &document.id else { continue };
        let Some(&first) = firsts.get(id) else {
            firsts.insert(id.clone(), index);
            continue;
        };
        refused.extend([first, index]);
        let (Some(first), Some(text)) =
            (decoded.documents.get(first), origins.get(index).and_then(|at| texts.get(*at)))
        else {
            continue;
        };
        let Position { line, column } = first.position;
        let file = first.file.as_ref().map_or_else(String::new, |file| format!("{file}:"));
        let spot = Spot { position: document.position, width: 1, path: String::new() };
        let problem = Problem::error(
            codes::DUPLICATE_RESOURCE,
            spot,
            format!("{} is defined twice", quoted(&id.to_string())),
        )
        .help(format!("rename or remove one of the two; the first is at {file}{line}:{column}"));
        let mut report = problem::Report::new(text);
        report.resource = Some(id.clone());
        report.add(problem);
        decoded.diagnostics.extend(report.diagnostics);
    }
    for index in refused {
        if let Some(document) = decoded.documents.get_mut(index) {
            document.admitted = false;
        }
    }
}

fn not_utf8(path: &str, valid: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: codes::NOT_UTF8,
        message: "the file is not UTF-8 text".to_owned(),
        help: Some("save it as UTF-8".to_owned()),
        file: Some(Arc::from(path)),
        position: Positions::new(valid).of(valid.len()),
        excerpt: None,
        resource: None,
        path: String::new(),
    }
}
