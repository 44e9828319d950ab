//! Text to resources, each text once.
//!
//! What a text means is `manifest`'s to say. This knows which texts it was asked before: where one
//! object of thousands changes, one is read.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::control::{Decode, Decoded, Document};
use crate::manifest::{self, Options};
use crate::source::PolicyFile;

/// Decodes as [`manifest::decode_files`] does.
pub(super) fn decoder(options: Options) -> Decode {
    let known = Mutex::new(Known::default());
    Decode::new(move |files| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.decode(files, &options)
    })
}

/// What was made of each file the last time, by its name.
#[derive(Debug, Default)]
struct Known {
    files: HashMap<Arc<str>, File>,
    /// Whether all of them together say what each says.
    are_parts: bool,
}

#[derive(Debug, Clone)]
struct File {
    text: Arc<str>,
    decoded: Arc<Decoded>,
    /// Whether it says something that is about all files together.
    is_about_all: bool,
}

impl Known {
    fn decode(&mut self, files: &[PolicyFile], options: &Options) -> Decoded {
        let mut before = std::mem::take(&mut self.files);
        let mut parts = Vec::with_capacity(files.len());
        // Where there are no names that there were not, there are none twice.
        let mut are_parts = self.are_parts;
        for file in files {
            let decoded = match before.remove(&file.name) {
                Some(known) if known.text == file.text => known,
                known => {
                    let decoded = File::decode(file, options);
                    are_parts &= known.is_some_and(|known| decoded.is_about_what(&known));
                    decoded
                }
            };
            parts.push((file.name.clone(), decoded.clone()));
            are_parts &= self.files.insert(file.name.clone(), decoded).is_none();
        }
        self.are_parts = are_parts || is_sum_of_parts(&parts);
        if !self.are_parts {
            return decode(files, options);
        }
        parts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut all = Decoded::default();
        for (_, part) in parts {
            all.documents.extend(part.decoded.documents.iter().cloned());
            all.diagnostics.extend(part.decoded.diagnostics.iter().cloned());
        }
        all
    }
}

/// Some things are said of several files: that a resource is there twice, and how many of other
/// groups there are.
fn is_sum_of_parts(parts: &[(Arc<str>, File)]) -> bool {
    let mut names = HashSet::with_capacity(parts.len());
    let mut resources = HashSet::with_capacity(parts.len());
    parts.iter().all(|(name, part)| {
        let mut ids = part.decoded.documents.iter().filter_map(|document| document.id.as_ref());
        !part.is_about_all && names.insert(name) && ids.all(|id| resources.insert(id))
    })
}

impl File {
    /// Whether it names the same resources as another, and nothing else.
    fn is_about_what(&self, other: &Self) -> bool {
        let ids = |file: &Self| -> Vec<_> {
            file.decoded.documents.iter().map(|document| document.id.clone()).collect()
        };
        !self.is_about_all && ids(self) == ids(other)
    }

    fn decode(file: &PolicyFile, options: &Options) -> Self {
        let decoded = decode(std::slice::from_ref(file), options);
        let is_about_all = decoded.diagnostics.iter().any(|found| found.file.is_none());
        Self { text: file.text.clone(), decoded: Arc::new(decoded), is_about_all }
    }
}

fn decode(files: &[PolicyFile], options: &Options) -> Decoded {
    let texts = files.iter().map(|file| (&*file.name, file.text.as_bytes()));
    let decoded = manifest::decode_files(texts, options);
    let documents = decoded.documents.into_iter().map(|document| Document {
        file: document.file.clone().unwrap_or_default(),
        resource: document.accepted().cloned().map(Arc::new),
        id: document.id,
        attachment: document.attachment,
    });
    Decoded { documents: documents.collect(), diagnostics: decoded.diagnostics }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: usize, text: &str) -> PolicyFile {
        PolicyFile { name: format!("{name}.yaml").into(), text: text.into() }
    }

    fn policy(name: usize, action: &str) -> String {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{name}}}\n\
             spec: {{action: {action}, rules: [{{}}]}}\n"
        )
    }

    fn text() -> impl Strategy<Value = String> {
        let document = prop_oneof![
            (0..4_usize, prop_oneof![Just("ALLOW"), Just("DENY"), Just("BLOCK")])
                .prop_map(|(name, action)| policy(name, action)),
            Just("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n".to_owned()),
            Just("kind: [".to_owned()),
        ];
        proptest::collection::vec(document, 0..3).prop_map(|documents| documents.join("---\n"))
    }

    proptest! {
        /// Whatever changes: the same as reading all of it anew.
        #[test]
        fn what_is_kept_is_what_would_be_read(
            rounds in proptest::collection::vec(
                proptest::collection::vec((0..4_usize, text()), 0..5), 1..6)
        ) {
            let options = Options::default();
            let mut known = Known::default();
            for round in rounds {
                let mut files: Vec<_> = round.iter().map(|(name, text)| file(*name, text)).collect();
                files.dedup_by(|one, other| one.name == other.name);
                prop_assert_eq!(known.decode(&files, &options), decode(&files, &options));
            }
        }
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let options = Options::default();
        let mut known = Known::default();
        let mut files = vec![file(0, &policy(0, "ALLOW")), file(1, &policy(1, "ALLOW"))];
        let first = known.decode(&files, &options);
        files[1] = file(1, &policy(1, "DENY"));
        let second = known.decode(&files, &options);
        let resource =
            |decoded: &Decoded, at: usize| decoded.documents[at].resource.clone().unwrap();
        assert!(Arc::ptr_eq(&resource(&first, 0), &resource(&second, 0)));
        assert!(!Arc::ptr_eq(&resource(&first, 1), &resource(&second, 1)));
    }
}
