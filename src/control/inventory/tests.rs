use proptest::prelude::*;

use crate::diagnostic::{Code, Severity};
use crate::model::{
    Action, ApiRule, ApiRuleVersion, Attachment, AuthorizationPolicy, Kind, Metadata, Position,
};
use crate::source::ReadError;

use super::*;

/// A document of the toy language of these tests: `name`, `name!` (refused), `!` (not even a name);
/// what follows `=` tells one form from the next.
fn document(file: &str, text: &str) -> (Document, Option<Diagnostic>) {
    let (name, form) = text.split_once('=').unwrap_or((text, ""));
    let refused = name.ends_with('!');
    let name = name.trim_end_matches('!');
    let metadata = Metadata {
        namespace: "shop".into(),
        name: name.into(),
        annotations: BTreeMap::from([("form".into(), form.into())]),
        ..Metadata::default()
    };
    let attachment = Attachment {
        selector: Some(BTreeMap::from([("app".into(), name.into())])),
        target_refs: Vec::new(),
    };
    let resource = Resource::AuthorizationPolicy(Arc::new(AuthorizationPolicy {
        metadata,
        attachment: attachment.clone(),
        action: Action::Allow,
        rules: Vec::new(),
        dry_run: false,
        deny_response: None,
    }));
    let id = (!name.is_empty()).then(|| id(name));
    let diagnostic = refused.then(|| Diagnostic {
        severity: Severity::Error,
        code: Code(1),
        message: format!("`{text}` is refused"),
        help: None,
        file: Some(file.into()),
        position: Position { line: 1, column: 1 },
        excerpt: None,
        resource: id.clone(),
        path: String::new(),
    });
    let document = Document {
        file: file.into(),
        scope: id.is_some().then_some(RefusedScope::Attached(attachment)),
        id,
        resource: (!refused).then(|| Arc::new(resource)),
    };
    (document, diagnostic)
}

fn id(name: &str) -> ResourceId {
    ResourceId { kind: Kind::AuthorizationPolicy, namespace: "shop".into(), name: name.into() }
}

/// Files as `name: document document`.
fn decoded(files: &[&str]) -> Decoded {
    let mut decoded = Decoded::default();
    for file in files {
        let (name, documents) = file.split_once(':').unwrap();
        for text in documents.split_whitespace() {
            let (document, diagnostic) = document(name, text);
            decoded.documents.push(document);
            decoded.diagnostics.extend(diagnostic);
        }
    }
    decoded
}

fn after(before: &Inventory, files: &[&str]) -> Inventory {
    before.next(decoded(files), &[], Instant::now())
}

fn accepted(inventory: &Inventory) -> Vec<String> {
    let shown = |resource: Arc<Resource>| {
        let metadata = resource.metadata();
        match metadata.annotations["form"].as_str() {
            "" => metadata.name.to_string(),
            form => format!("{}={form}", metadata.name),
        }
    };
    inventory.resources().into_iter().map(shown).collect()
}

fn never(inventory: &Inventory) -> Vec<String> {
    inventory
        .never_accepted()
        .iter()
        .map(|rejected| match &rejected.scope {
            Some(_) => rejected.id.name.to_string(),
            None => format!("{} (anywhere)", rejected.id.name),
        })
        .collect()
}

fn refused(inventory: &Inventory) -> Vec<String> {
    let shown = |r: &Rejection| format!("{} keeps {}", r.subject, r.kept);
    inventory.rejections.iter().map(shown).collect()
}

#[test]
fn a_broken_form_keeps_the_last_accepted_one() {
    let first = after(&Inventory::default(), &["a: x=1 y=1"]);
    let broken = after(&first, &["a: x!=2 y=2"]);
    assert_eq!(accepted(&broken), ["x=1", "y=2"]);
    assert_eq!(refused(&broken), ["AuthorizationPolicy/shop/x keeps 1"]);
    let mended = after(&broken, &["a: x=3 y=2"]);
    assert_eq!(accepted(&mended), ["x=3", "y=2"]);
    assert_eq!(refused(&mended), [] as [&str; 0]);
}

#[test]
fn what_was_never_accepted_is_told_apart() {
    let inventory = after(&Inventory::default(), &["a: x y!"]);
    assert_eq!(accepted(&inventory), ["x"]);
    assert_eq!(never(&inventory), ["y"]);
    assert_eq!(refused(&inventory), ["AuthorizationPolicy/shop/y keeps 0"]);
    assert_eq!(never(&after(&inventory, &["a: x"])), [] as [&str; 0]);
}

#[test]
fn a_resource_that_is_gone_is_gone() {
    let first = after(&Inventory::default(), &["a: x y", "b: z"]);
    assert_eq!(accepted(&after(&first, &["a: y"])), ["y"]);
}

#[test]
fn a_file_that_cannot_be_made_out_keeps_what_came_from_it() {
    let first = after(&Inventory::default(), &["a: x=1 y", "b: z"]);
    let broken = after(&first, &["a: ! x=2", "c: z=2"]);
    assert_eq!(accepted(&broken), ["x=2", "y", "z=2"]);
    assert_eq!(refused(&broken), ["a keeps 2"]);
}

#[test]
fn a_path_that_cannot_be_read_keeps_what_came_from_below() {
    let first = after(&Inventory::default(), &["p/a: x", "p/b: y!", "q: z"]);
    let gone = [SourceProblem { path: "p".into(), error: ReadError::Missing }];
    let inventory = first.next(decoded(&["q: "]), &gone, Instant::now());
    assert_eq!(accepted(&inventory), ["x"]);
    assert_eq!(never(&inventory), ["y"], "what denied goes on denying");
    assert_eq!(refused(&inventory), ["p keeps 1"]);
}

#[test]
fn twice_is_refused() {
    let mut twice = decoded(&["a: x=1", "b: x=2"]);
    let (_, diagnostic) = document("b", "x!");
    twice.diagnostics.extend(diagnostic);
    let inventory = Inventory::default().next(twice.clone(), &[], Instant::now());
    assert_eq!(accepted(&inventory), [] as [&str; 0]);
    assert_eq!(never(&inventory), ["x (anywhere)"]);
    let first = after(&Inventory::default(), &["a: x=0"]);
    assert_eq!(accepted(&first.next(twice, &[], Instant::now())), ["x=0"]);
}

#[test]
fn an_error_without_a_document_removes_nothing() {
    let first = after(&Inventory::default(), &["a: x"]);
    let (_, diagnostic) = document("a", "x!");
    let lost = Decoded { diagnostics: diagnostic.into_iter().collect(), ..Decoded::default() };
    assert_eq!(accepted(&first.next(lost, &[], Instant::now())), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_remembers_its_beginning() {
    let first = after(&Inventory::default(), &["a: x!=1"]);
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    let second = after(&first, &["a: x!=2"]);
    assert_eq!(first.rejections[0].since, second.rejections[0].since);
    assert_ne!(first.rejections[0].problems, second.rejections[0].problems);
}

proptest! {
    /// Neither the order of documents nor their spread over files changes what is in force.
    #[test]
    fn order_does_not_matter(
        steps in prop::collection::vec(prop::collection::btree_map("[a-d]", "!?(=[12])?", 0..4), 1..5),
    ) {
        let (mut forward, mut backward) = (Inventory::default(), Inventory::default());
        for step in steps {
            let documents: Vec<_> =
                step.iter().map(|(name, form)| format!("{name}{form}")).collect();
            let one_file = format!("f: {}", documents.join(" "));
            let reversed: Vec<_> = documents.iter().rev().cloned().collect();
            let other = format!("f: {}", reversed.join(" "));
            forward = after(&forward, &[&one_file]);
            backward = after(&backward, &[&other]);
            prop_assert!(forward.same_meaning(&backward));
            prop_assert_eq!(refused(&forward), refused(&backward));
        }
    }
}

#[test]
fn services_stay_where_files_cannot_be_read() {
    let service = |name: &str, app: &str| Service {
        namespace: "shop".into(),
        name: name.into(),
        selector: [("app".to_owned(), app.to_owned())].into(),
    };
    let with = |services: &[Service]| Decoded { services: services.to_vec(), ..Decoded::default() };
    let now = Instant::now();
    let first = Inventory::default().next(with(&[service("b", "1"), service("a", "1")]), &[], now);
    assert_eq!(first.services(), [service("a", "1"), service("b", "1")]);
    let second = first.next(with(&[service("a", "2")]), &[], now);
    assert_eq!(second.services(), [service("a", "2")]);
    assert!(!second.same_meaning(&first));
    let (_, diagnostic) = document("a", "x!");
    let diagnostics = diagnostic.into_iter().collect();
    let broken = Decoded { services: vec![service("a", "2")], diagnostics, ..Decoded::default() };
    assert_eq!(first.next(broken, &[], now).services(), [service("a", "2"), service("b", "1")]);
}

/// An edit that renames the host and is refused leaves the new host closed, not open to all.
#[test]
fn a_refused_edit_of_an_api_rule_closes_its_new_host() {
    let id = ResourceId { kind: Kind::ApiRule, namespace: "shop".into(), name: "a".into() };
    let metadata = Metadata { namespace: "shop".into(), name: "a".into(), ..Metadata::default() };
    let api_rule = ApiRule {
        metadata,
        version: ApiRuleVersion::V2,
        hosts: vec!["old.example.com".to_owned().into()],
        rules: Vec::new(),
    };
    let scope = |host: &str| RefusedScope::ApiRule {
        hosts: Some([host.to_owned()].into()),
        services: Some([("shop".to_owned(), "web".to_owned())].into()),
    };
    let of = |host: &str, resource: Option<ApiRule>| Decoded {
        documents: vec![Document {
            file: "a.yaml".into(),
            id: Some(id.clone()),
            resource: resource.map(|it| Arc::new(Resource::ApiRule(Arc::new(it)))),
            scope: Some(scope(host)),
        }],
        ..Decoded::default()
    };
    let now = Instant::now();
    let first = Inventory::default().next(of("old.example.com", Some(api_rule)), &[], now);
    assert!(first.never_accepted().is_empty());
    let second = first.next(of("new.example.com", None), &[], now);
    assert_eq!(second.resources().len(), 1, "the accepted form stays");
    let closed = [Rejected { id, scope: Some(scope("new.example.com")) }];
    assert_eq!(second.never_accepted(), closed);
    assert!(!second.same_meaning(&first));
}
