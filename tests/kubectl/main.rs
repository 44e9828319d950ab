//! Sessions of a real kubectl with the built binary: over TLS, with tokens, as people type them.
//!
//! A session is a file of `sessions/`: commands and what they print, exactly but for ages, times,
//! identifiers and versions (`session`). With `POSTERN_UPDATE_SESSIONS=1` the files are written anew,
//! to be reviewed as a diff. Each one has a server, a store and a home of its own.
//!
//! kubectl is that of `$KUBECTL` or PATH. Further minors, as `kubectl.1.NN` beside it (where some
//! distributions have them) or in the folder that `$KUBECTLS` names, run `every_minor.session`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test support functions")]

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
fn prints_what_it_says(#[case] name: &str) {
    session::run(name, &Server::start(), &Kubectl::reference());
}

#[test]
fn explore() {
    for kubectl in Kubectl::all() {
        for name in ["discovery", "objects", "refusals", "apply", "watch", "access"] {
            if let Err(error) =
                std::panic::catch_unwind(|| session::run(name, &Server::start(), &kubectl))
            {
                drop(error);
            }
        }
    }
}
