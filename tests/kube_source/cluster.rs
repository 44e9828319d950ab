//! The API of a Postern on a store that forgets quickly, in this process, behind a [`Proxy`].

use std::{future::Future, path::PathBuf, time::Duration};

use http::Uri;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use postern::api::access::{Roles, StaticTokens};
use postern::api::server::{ApiServer, Settings, Transport, serve};
use postern::authn::clock::Clock;
use postern::manifest::schema;
use postern::model::Kind;
use postern::shutdown::Shutdown;
use postern::store::{History, Store};
use serde_json::json;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::proxy::Proxy;

pub(crate) const NAMESPACE: &str = "default";

/// How many changes the store remembers.
const HISTORY: usize = 4;

/// Fails where it never happens.
pub(crate) async fn within<T>(happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), happens).await.expect("it never happens")
}

pub(crate) struct Cluster {
    folder: TempDir,
    pub(crate) proxy: Proxy,
    /// Past the proxy.
    client: Option<Client>,
    server: Option<(Shutdown, JoinHandle<()>)>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::start().await;
        let mut cluster = Self { folder, proxy, client: None, server: None };
        cluster.bring_up().await;
        cluster
    }

    /// For who goes by the proxy.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let path = self.folder.path().join("by-proxy");
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "c",
                "cluster": { "server": format!("http://{}", self.proxy.address) },
            }],
            "users": [{ "name": "u", "user": {} }],
            "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
            "current-context": "x",
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    /// Ends the server; its store stays.
    pub(crate) async fn take_down(&mut self) {
        self.proxy.lead_to(None);
        if let Some((shutdown, serving)) = self.server.take() {
            shutdown.begin();
            serving.await.unwrap();
        }
        self.client = None;
    }

    /// Starts it, on another port, if it is down.
    pub(crate) async fn bring_up(&mut self) {
        if self.server.is_some() {
            return;
        }
        let folder = self.folder.path().join("store");
        // What was under way when the last one ended lets go of the store in its own time.
        let store = within(async {
            loop {
                match Store::open(&folder, History { changes: HISTORY }) {
                    Ok(store) => break store,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await;
        let settings = Settings {
            roles: Roles::default(),
            tokens: StaticTokens::default(),
            create_namespaces: true,
            permanent_namespaces: vec![NAMESPACE.into()],
            most_watches: 100,
            open: true,
            jwt: None,
        };
        let shutdown = Shutdown::default();
        let server = ApiServer::new(store, settings, Clock::system(), shutdown.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving =
            serve(server, listener, Transport::Plain, shutdown.clone(), Duration::from_secs(5));
        self.server = Some((shutdown, tokio::spawn(serving)));
        let config = Config::new(format!("http://{address}").parse::<Uri>().unwrap());
        self.client = Some(Client::try_from(config).unwrap());
        self.proxy.lead_to(Some(address));
    }

    pub(crate) fn api(&self, kind: Kind) -> Option<Api<DynamicObject>> {
        let resource = resource(kind);
        Some(Api::namespaced_with(self.client.clone()?, NAMESPACE, &resource))
    }

    /// Creates the object, or changes it; tells whether the server took it.
    pub(crate) async fn put(&self, kind: Kind, name: &str, value: u32) -> bool {
        let Some(api) = self.api(kind) else { return false };
        let mut object = DynamicObject::new(name, &resource(kind)).within(NAMESPACE);
        let value = [("value".to_owned(), value.to_string())];
        object.metadata.annotations = Some(value.clone().into());
        object.data = json!({ "spec": {} });
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let patch = json!({ "metadata": { "annotations": { "value": value[0].1 } } });
                let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
                patched.unwrap();
                true
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Deletes it; tells whether it was there.
    pub(crate) async fn delete(&self, kind: Kind, name: &str) -> bool {
        let Some(api) = self.api(kind) else { return false };
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 404 => false,
            Err(error) => panic!("{error}"),
        }
    }
}

fn resource(kind: Kind) -> ApiResource {
    let [version, ..] = schema::VERSIONS;
    let gvk = GroupVersionKind::gvk(schema::GROUP, version, kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, &schema::of(kind).plural)
}
