//! A policy set that arrives object by object.
//!
//! Who sends the objects, and in what order, is `local`'s job.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Corpus, PolicyFile};

/// Objects of an API as the files that a [`Corpus`] is made of, one for each.
#[derive(Debug, Clone, Default)]
pub(super) struct Objects(BTreeMap<Arc<str>, PolicyFile>);

impl Objects {
    /// Adds an object, or its new form.
    pub(super) fn insert(&mut self, name: &str, object: &Value) {
        let text = text(object);
        match self.0.get_mut(name) {
            // As it was: who has seen it knows it by its address.
            Some(known) if *known.text == *text => {}
            Some(known) => known.text = text.into(),
            None => {
                let name: Arc<str> = name.into();
                self.0.insert(name.clone(), PolicyFile { name, text: text.into() });
            }
        }
    }

    /// Takes one away.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// All of them.
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
