//! A policy set that arrives object by object.
//!
//! Who sends the objects, and in what order, is `local`'s and `kube`'s job.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

use super::{Corpus, PolicyFile};

/// Objects of an API as the files that a [`Corpus`] is made of, one for each.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Objects(BTreeMap<Arc<str>, PolicyFile>);

impl Objects {
    /// Adds an object, or its new form.
    #[cfg(any(feature = "api", test))]
    pub(super) fn insert(&mut self, name: &str, object: &Value) {
        let name: Arc<str> = name.into();
        self.insert_file(PolicyFile { name, text: text(object).into() });
    }

    /// The same, where the text is known; tells whether that is another one than before.
    pub(super) fn insert_file(&mut self, file: PolicyFile) -> bool {
        match self.0.get_mut(&file.name) {
            // As it was: who has seen it knows it by its address.
            Some(known) if known.text == file.text => return false,
            Some(known) => known.text = file.text,
            None => drop(self.0.insert(file.name.clone(), file)),
        }
        true
    }

    /// Takes one away.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// What is as it was in `before` is the same text from now on, not an equal one.
    #[cfg(feature = "kube")]
    pub(super) fn keep(&mut self, before: &Self) {
        for (name, file) in &mut self.0 {
            if let Some(before) = before.0.get(name).filter(|before| before.text == file.text) {
                file.text = before.text.clone();
            }
        }
    }

    /// The text of one.
    #[cfg(feature = "kube")]
    pub(super) fn text(&self, name: &str) -> Option<Arc<str>> {
        self.0.get(name).map(|file| file.text.clone())
    }

    /// Takes those of `other` in as well.
    #[cfg(feature = "kube")]
    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(name, file)| (name.clone(), file.clone())));
    }

    /// All of them, by name.
    pub(super) fn corpus(&self) -> Corpus {
        Corpus { files: self.0.values().cloned().collect(), ..Corpus::default() }
    }
}

/// What a person would have written. Without what others wrote about it, so that they may write it
/// anew without a new policy set.
pub(super) fn text(object: &Value) -> String {
    // A map whose names are texts can always be written.
    serde_json::to_string_pretty(&AsWritten(object)).unwrap_or_default()
}

/// An object of which nothing is copied to leave something out: there are thousands.
struct AsWritten<'o>(&'o Value);

impl Serialize for AsWritten<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(members) = self.0 else { return self.0.serialize(serializer) };
        let mut map = serializer.serialize_map(None)?;
        for (name, member) in members {
            if name != "status" && name != "metadata" {
                map.serialize_entry(name, member)?;
            }
        }
        // At the end, so that the lines of a policy stay where they are when its labels change.
        if let Some(metadata) = members.get("metadata") {
            map.serialize_entry("metadata", &MetadataAsWritten(metadata))?;
        }
        map.end()
    }
}

struct MetadataAsWritten<'o>(&'o Value);

impl Serialize for MetadataAsWritten<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(members) = self.0 else { return self.0.serialize(serializer) };
        let ours = ["managedFields", "resourceVersion"];
        serializer.collect_map(members.iter().filter(|(name, _)| !ours.contains(&name.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_come_last() {
        let object = json!({
            "kind": "A",
            "metadata": { "name": "a", "managedFields": [{}], "labels": {} },
            "spec": { "b": [1] },
            "status": {},
        });
        let written = json!({
            "kind": "A",
            "spec": { "b": [1] },
            "metadata": { "name": "a", "labels": {} },
        });
        assert_eq!(text(&object), format!("{written:#}"));
        for odd in [json!({ "metadata": 1 }), json!([1]), json!("a")] {
            assert_eq!(text(&odd), format!("{odd:#}"));
        }
    }

    #[test]
    fn what_others_write_about_a_policy_is_not_the_policy() {
        let mut objects = Objects::default();
        objects.insert("a", &json!({ "metadata": { "name": "a" }, "spec": {} }));
        let before = objects.corpus();
        let metadata = json!({ "name": "a", "managedFields": [], "resourceVersion": "3" });
        objects.insert("a", &json!({ "metadata": metadata, "spec": {}, "status": { "x": 1 } }));
        assert_eq!(objects.corpus(), before);
        objects.insert("a", &json!({ "metadata": { "name": "a" }, "spec": { "action": "DENY" } }));
        assert_ne!(objects.corpus(), before);
        objects.remove("a");
        assert_eq!(objects.corpus(), Corpus::default());
    }
}
