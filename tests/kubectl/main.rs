//! Sessions of a real kubectl with the built binary: over TLS, with tokens, as people type them.
//!
//! A session is a file of `sessions/`: commands and what they print, exactly but for ages, times,
//! identifiers and versions (`session`). With `POSTERN_UPDATE_SESSIONS=1` the files are written anew,
//! to be reviewed as a diff. Each one has a server, a store and a home of its own.
//!
//! kubectl is that of `$KUBECTL` or PATH; and further minors, where they are as `kubectl.1.NN` beside it
//! (some distributions have them so) or in the folder that `$KUBECTLS` names.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

#[path = "../blackbox/mod.rs"]
mod blackbox;
mod kubectl;
mod server;
mod session;

use rstest::rstest;

use kubectl::Kubectl;
use server::Server;

#[rstest]
#[case("discovery")]
#[case("objects")]
#[case("refusals")]
#[case("apply")]
#[case("watch")]
#[case("access")]
#[case("apirules")]
#[case("routes")]
fn every_kubectl_prints_what_it_should(#[case] name: &str) {
    for kubectl in Kubectl::all() {
        // It asks for a version of its question that Kubernetes has dropped since.
        if (name, kubectl.minor) != ("access", 27) {
            session::run(name, &Server::start(), &kubectl);
        }
    }
}
