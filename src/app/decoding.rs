//! Text to resources, each text once.
//!
//! What a text means is `manifest`'s to say. This knows which texts it was asked before: where one
//! object of thousands changes, one is read.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::control::{Decode, Decoded, Document};
use crate::manifest::{self, Claims, Options};
use crate::source::PolicyFile;

/// Decodes as [`manifest::decode_files`] does.
pub(super) fn decoder(options: Options) -> Decode {
    let known = Mutex::new(Known::default());
    Decode::new(move |files| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.decode(files, &options)
    })
}

/// What was made of each file the last time.
#[derive(Debug, Default)]
struct Known {
    /// By name.
    files: Vec<File>,
    /// Whether all of them together say what each says.
    are_parts: bool,
}

#[derive(Debug)]
struct File {
    name: Arc<str>,
    text: Arc<str>,
    decoded: Decoded,
    /// What others may claim too.
    claims: Claims,
    /// Whether it says something that is about all files together.
    is_about_all: bool,
}

impl Known {
    fn decode(&mut self, files: &[PolicyFile], options: &Options) -> Decoded {
        let mut ordered: Vec<&PolicyFile> = files.iter().collect();
        ordered.sort_by(|one, other| one.name.cmp(&other.name));
        let mut before = std::mem::take(&mut self.files).into_iter().peekable();
        // Where there are no names that there were not, there are none twice.
        let mut are_parts = self.are_parts;
        let mut after: Vec<File> = Vec::with_capacity(files.len());
        for file in ordered {
            // Most are the very same, which is found at once.
            while before
                .next_if(|known| known.name != file.name && known.name < file.name)
                .is_some()
            {}
            let decoded = match before.next_if(|known| known.name == file.name) {
                Some(known) if known.text == file.text => known,
                known => {
                    let decoded = File::decode(file, options);
                    are_parts &= known.is_some_and(|known| decoded.is_about_what(&known));
                    decoded
                }
            };
            are_parts &= after.last().is_none_or(|last| last.name != decoded.name);
            after.push(decoded);
        }
        self.are_parts = are_parts || is_sum_of_parts(&after);
        self.files = after;
        if !self.are_parts {
            return decode(files, options);
        }
        let mut all = Decoded { documents: Vec::with_capacity(files.len()), ..Decoded::default() };
        for File { decoded, .. } in &self.files {
            all.services.extend(decoded.services.iter().cloned());
            all.documents.extend(decoded.documents.iter().cloned());
            all.diagnostics.extend(decoded.diagnostics.iter().cloned());
        }
        all
    }
}

/// Some things are said of several files: that a resource is there twice, and how many of other
/// groups there are. `files` are by name.
fn is_sum_of_parts(files: &[File]) -> bool {
    let mut resources = HashSet::with_capacity(files.len());
    let names_differ = files.is_sorted_by(|one, other| one.name < other.name);
    names_differ
        && !Claims::meet(files.iter().map(|file| &file.claims))
        && files.iter().all(|file| {
            let mut ids = file.decoded.documents.iter().filter_map(|document| document.id.as_ref());
            !file.is_about_all && ids.all(|id| resources.insert(id))
        })
}

impl File {
    /// Whether it names the same resources as another, and nothing else.
    fn is_about_what(&self, other: &Self) -> bool {
        let ids = |file: &Self| -> Vec<_> {
            file.decoded.documents.iter().map(|document| document.id.clone()).collect()
        };
        !self.is_about_all && self.claims == other.claims && ids(self) == ids(other)
    }

    fn decode(file: &PolicyFile, options: &Options) -> Self {
        let (decoded, claims) = read(std::slice::from_ref(file), options);
        let is_about_all = decoded.diagnostics.iter().any(|found| found.file.is_none());
        Self { name: file.name.clone(), text: file.text.clone(), decoded, claims, is_about_all }
    }
}

fn decode(files: &[PolicyFile], options: &Options) -> Decoded {
    read(files, options).0
}

/// Also what the documents claim that those of other files may claim.
fn read(files: &[PolicyFile], options: &Options) -> (Decoded, Claims) {
    let texts = files.iter().map(|file| (&*file.name, file.text.as_bytes()));
    let decoded = manifest::decode_files(texts, options);
    let documents = decoded.documents.into_iter().map(|document| Document {
        file: document.file.clone().unwrap_or_default(),
        resource: document.accepted().cloned().map(Arc::new),
        id: document.id,
        scope: document.scope,
    });
    let (diagnostics, services) = (decoded.diagnostics, decoded.services);
    (Decoded { documents: documents.collect(), diagnostics, services }, decoded.claims)
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

    /// With one of a few hosts, ages and forms of `jwt`: what it may have in common with others.
    fn api_rule((name, host, day, is_istio): (usize, usize, usize, bool)) -> String {
        let config = if is_istio {
            "{authentications: [{issuer: i, jwksUri: 'https://i/k'}]}"
        } else {
            "{jwks_urls: ['https://i/k']}"
        };
        format!(
            "apiVersion: gateway.kyma-project.io/v1beta1\nkind: APIRule\nmetadata: {{name: r{name}, \
             creationTimestamp: '2024-01-0{day}T00:00:00Z'}}\nspec: {{gateway: a/b, host: h{host}.b, \
             service: {{name: a, port: 1}}, rules: [{{path: /, methods: [GET], accessStrategies: \
             [{{handler: jwt, config: {config}}}]}}]}}\n"
        )
    }

    fn text() -> impl Strategy<Value = String> {
        let document = prop_oneof![
            (0..4_usize, prop_oneof![Just("ALLOW"), Just("DENY"), Just("BLOCK")])
                .prop_map(|(name, action)| policy(name, action)),
            Just("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n".to_owned()),
            proptest::sample::select(vec!["{}", "{app: a}"]).prop_map(|selector| format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{selector: {selector}}}\n"
            )),
            (0..3_usize, 0..2_usize, 1..3_usize, any::<bool>()).prop_map(api_rule),
            (0..3_usize, 0..2_usize, 1..3_usize, any::<bool>()).prop_map(api_rule),
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
