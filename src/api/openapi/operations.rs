//! The operations of a document: paths, methods and parameters of a resource.

use serde_json::{Map, Value, json};

use super::schemas::{GROUP_VERSION_KIND, group_version_kind, name, reference};
use crate::api::discovery::Resource;

/// A query parameter: name, type, what it does.
type Parameter = (&'static str, &'static str, &'static str);

const DRY_RUN: Parameter = ("dryRun", "string", "With `All`, everything is done but storing.");
const FIELD_MANAGER: Parameter =
    ("fieldManager", "string", "Who owns the fields that are written.");
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: `Ignore`, `Warn` or `Strict`.",
);
const FORCE: Parameter = ("force", "boolean", "Take fields from their owners; of an apply only.");
const SELECTORS: [Parameter; 2] = [
    ("fieldSelector", "string", "Only objects with that `metadata.name` or `metadata.namespace`."),
    ("labelSelector", "string", "Only objects with such labels."),
];
const LIST: [Parameter; 8] = [
    ("allowWatchBookmarks", "boolean", "Of a watch: tell from time to time how far it got."),
    ("continue", "string", "Where the page before ended."),
    ("limit", "integer", "How many objects a page has at most."),
    ("resourceVersion", "string", "How old the answer may be, or where a watch goes on."),
    ("resourceVersionMatch", "string", "`Exact` or `NotOlderThan`."),
    ("sendInitialEvents", "boolean", "Of a watch: tell first what is there."),
    ("timeoutSeconds", "integer", "How long a watch lasts."),
    ("watch", "boolean", "Tell changes as they happen."),
];
const WRITE: [Parameter; 3] = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: [Parameter; 4] = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];

const PATCH_TYPES: [&str; 3] =
    ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Adds the operations on a resource.
pub(super) fn of(base: &str, version: &str, resource: &Resource, paths: &mut Map<String, Value>) {
    let plural = resource.names.plural;
    let operations = Operations { version, resource, item: name(version, resource) };
    let parent = if resource.namespaced {
        let path = format!("/{base}/{plural}");
        paths.insert(path, operations.path(&[], &["list"]));
        format!("/{base}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("/{base}/{plural}")
    };
    let namespace: &[_] = if resource.namespaced { &["namespace"] } else { &[] };
    let name = &[namespace, &["name"]].concat();
    let (of_all, of_one) =
        (["list", "create", "deletecollection"], ["get", "update", "patch", "delete"]);
    paths.insert(parent.clone(), operations.path(namespace, &of_all));
    paths.insert(format!("{parent}/{{name}}"), operations.path(name, &of_one));
    if !resource.status_verbs.is_empty() {
        let path = format!("{parent}/{{name}}/status");
        paths.insert(path, operations.path(name, resource.status_verbs));
    }
}

struct Operations<'a> {
    version: &'a str,
    resource: &'a Resource,
    /// The name of the schema of one object.
    item: String,
}

impl Operations<'_> {
    /// One path: what of `verbs` the resource has.
    fn path(&self, parameters: &[&str], verbs: &[&str]) -> Value {
        let parameters: Vec<_> = parameters
            .iter()
            .map(|name| {
                let schema = json!({ "type": "string" });
                json!({ "name": name, "in": "path", "required": true, "schema": schema })
            })
            .collect();
        let mut path = Map::new();
        for verb in verbs {
            if self.resource.verbs.contains(verb)
                && let Some((method, operation)) = self.operation(verb)
            {
                path.insert(method.to_owned(), operation);
            }
        }
        path.insert("parameters".to_owned(), Value::Array(parameters));
        Value::Object(path)
    }

    fn operation(&self, verb: &str) -> Option<(&'static str, Value)> {
        let meta = |name: &str| format!("{META}.{name}");
        let list = format!("{}List", self.item);
        let json_of = |schema: &str| json!({ "application/json": { "schema": reference(schema) } });
        let object_body = || json!({ "application/json": { "schema": reference(&self.item) }, "application/yaml": { "schema": reference(&self.item) } });
        let lists = [&SELECTORS[..], &LIST].concat();
        let (method, action, parameters, body, answer) = match verb {
            "list" => ("get", "list", lists, None, list.as_str()),
            "get" => ("get", "get", Vec::new(), None, self.item.as_str()),
            "create" => ("post", "post", WRITE.to_vec(), Some(object_body()), &*self.item),
            "update" => ("put", "put", WRITE.to_vec(), Some(object_body()), &*self.item),
            "patch" => {
                let schema = json!({ "schema": reference(&meta("Patch")) });
                let types = PATCH_TYPES.map(|name| (name.to_owned(), schema.clone()));
                let body = Value::Object(types.into_iter().collect());
                ("patch", "patch", PATCH.to_vec(), Some(body), &*self.item)
            }
            "delete" => {
                let body = Some(json_of(&meta("DeleteOptions")));
                ("delete", "delete", vec![DRY_RUN], body, &*meta("Status"))
            }
            "deletecollection" => {
                let body = Some(json_of(&meta("DeleteOptions")));
                let parameters = [&SELECTORS[..], &[DRY_RUN]].concat();
                ("delete", "deletecollection", parameters, body, list.as_str())
            }
            _ => return None,
        };
        let parameters: Vec<_> = parameters
            .into_iter()
            .map(|(name, kind, description)| {
                let schema = json!({ "type": kind, "uniqueItems": true });
                json!({ "name": name, "in": "query", "description": description, "schema": schema })
            })
            .collect();
        let unauthorized = json!({ "description": "Nobody known is calling." });
        let mut answers = Map::new();
        let done = if verb == "create" { "201" } else { "200" };
        answers
            .insert(done.to_owned(), json!({ "description": "Done.", "content": json_of(answer) }));
        answers.insert("401".to_owned(), unauthorized);
        let mut operation = json!({
            "parameters": parameters,
            "responses": answers,
            "x-kubernetes-action": action,
            GROUP_VERSION_KIND: group_version_kind(self.version, self.resource),
        });
        if let (Some(body), Value::Object(operation)) = (body, &mut operation) {
            operation.insert("requestBody".to_owned(), json!({ "content": body }));
        }
        Some((method, operation))
    }
}
