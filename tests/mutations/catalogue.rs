//! The catalogue of mutations, and how one is applied to a text.

use serde_json::Value;

use crate::yaml;

/// One thing wrong.
#[derive(Debug, Clone)]
pub(crate) struct Mutation {
    pub(crate) name: String,
    /// What the right form is about.
    pub(crate) why: String,
    /// From the root of the project.
    pub(crate) file: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

/// All of them, in order.
pub(crate) fn read() -> Vec<Mutation> {
    let Value::Array(entries) = yaml::parse(include_str!("catalogue.yaml")) else {
        panic!("the catalogue is a list");
    };
    entries.into_iter().map(mutation).collect()
}

fn mutation(mut entry: Value) -> Mutation {
    let mut text = |name: &str| match entry.as_object_mut().and_then(|e| e.shift_remove(name)) {
        Some(Value::String(text)) => text,
        other => panic!("`{name}` of a mutation is {other:?}"),
    };
    let mutation = Mutation {
        name: text("name"),
        why: text("why"),
        file: text("file"),
        from: text("from"),
        to: text("to"),
    };
    assert!(entry.as_object().is_some_and(|rest| rest.is_empty()), "{entry} is too much");
    mutation
}

impl Mutation {
    /// The text with the mutation; how often `from` is there, where that is not once.
    pub(crate) fn apply(&self, text: &str) -> Result<String, usize> {
        match text.matches(&self.from).count() {
            1 => Ok(text.replacen(&self.from, &self.to, 1)),
            count => Err(count),
        }
    }
}
