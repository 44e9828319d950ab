//! A policy set that arrives object by object.
//!
//! Who sends the objects, and in what order, is `local`'s and `kube`'s job.

use std::collections::BTreeMap;
use std::sync::Arc;

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
        Corpus { files: self.0.values().cloned().collect(), problems: Vec::new() }
    }
}

/// What a person would have written. Without what others wrote about it, so that they may write it
/// anew without a new policy set.
pub(super) fn text(object: &Value) -> String {
    let mut object = object.clone();
    if let Value::Object(members) = &mut object {
        members.remove("status");
        if let Some(Value::Object(mut metadata)) = members.shift_remove("metadata") {
            metadata.remove("managedFields");
            metadata.remove("resourceVersion");
            // At the end, so that the lines of a policy stay where they are when its labels change.
            members.insert("metadata".into(), metadata.into());
        }
    }
    format!("{object:#}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
