//! `grpc.health.v1`, in agreement with `/readyz`.

use tokio::{sync::watch, task::JoinHandle};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::admin::{Checks, Readiness};

/// The whole server, and the service that Envoy asks.
const SERVICES: [&str; 2] = ["", "envoy.service.auth.v3.Authorization"];

/// Follows the readiness until ended.
#[derive(Debug)]
pub(super) struct Health {
    reporter: HealthReporter,
    following: JoinHandle<()>,
}

impl Health {
    /// The follower, and the service that shows what it saw. It has seen the present state already.
    pub(super) async fn follow(readiness: &Readiness) -> (Self, HealthServer<HealthService>) {
        let reporter = HealthReporter::new();
        let service = HealthService::from_health_reporter(reporter.clone());
        let mut checks = readiness.subscribe();
        report(&reporter, *checks.borrow_and_update()).await;
        let following = tokio::spawn(follow(reporter.clone(), checks));
        (Self { reporter, following }, HealthServer::new(service))
    }

    /// Reports NOT_SERVING, and ends the streams of those who watch: an open one would keep the
    /// server from draining.
    pub(super) async fn end(mut self) {
        self.following.abort();
        let draining = Checks { draining: true, ..Checks::default() };
        report(&self.reporter, draining).await;
        for service in SERVICES {
            self.reporter.clear_service_status(service).await;
            // Who asks now gets the same answer.
            self.reporter.set_service_status(service, ServingStatus::NotServing).await;
        }
    }
}

async fn follow(reporter: HealthReporter, mut checks: watch::Receiver<Checks>) {
    while checks.changed().await.is_ok() {
        let now = *checks.borrow_and_update();
        report(&reporter, now).await;
    }
}

async fn report(reporter: &HealthReporter, checks: Checks) {
    let status = if checks.ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
