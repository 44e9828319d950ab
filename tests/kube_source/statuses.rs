//! What the writer of statuses relies on holds for the embedded API, too.

use kube::api::{Patch, PatchParams};
use postern::model::Kind;
use serde_json::{Value, json};

use crate::cluster::Cluster;

#[tokio::test]
async fn a_status_is_written_to_the_version_that_it_is_about_and_to_no_other() {
    let kind = Kind::AuthorizationPolicy;
    let mut cluster = Cluster::start().await;
    assert!(cluster.put(kind, "p0", 1).await);
    let api = cluster.api(kind).unwrap();
    let before = api.get("p0").await.unwrap();
    let parameters =
        PatchParams { field_manager: Some("postern".into()), ..PatchParams::default() };
    let status = json!({ "conditions": [{ "type": "Accepted", "status": "True" }], "gone": null });
    let patch = json!({
        "metadata": {
            "uid": before.metadata.uid,
            "resourceVersion": before.metadata.resource_version,
        },
        "status": status,
    });
    let written = api.patch_status("p0", &parameters, &Patch::Merge(&patch)).await.unwrap();
    assert_eq!(written.data["status"]["conditions"], status["conditions"]);
    assert_eq!(written.data["status"]["gone"], Value::Null);
    assert_eq!(written.metadata.generation, before.metadata.generation);
    let managers = written.metadata.managed_fields.unwrap();
    let ours = managers.iter().find(|entry| entry.manager.as_deref() == Some("postern")).unwrap();
    assert_eq!(ours.subresource.as_deref(), Some("status"));
    let again = api.patch_status("p0", &parameters, &Patch::Merge(&patch)).await.unwrap_err();
    let kube::Error::Api(refused) = again else { panic!("{again}") };
    assert_eq!(refused.code, 409);
    cluster.take_down().await;
}
