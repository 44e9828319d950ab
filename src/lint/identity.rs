//! Matches on the caller's identity where there may be none, because mutual TLS is not asked for.
//!
//! Says nothing where the policies do not tell for sure which mode holds.

use super::meaning::{Meaning, Test};
use super::policies::{Peers, Policies, Policy};
use super::{Finding, codes};
use crate::model::MutualTlsMode;

/// What the policies say of mutual TLS, for all workloads of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// No PeerAuthentication speaks of them: plaintext is taken.
    Unsaid,
    Known(MutualTlsMode),
    /// It differs from workload to workload, or from port to port.
    Differs,
}

pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    for policy in &policies.authorization {
        let mode = mode_of(policies, policy);
        for (rule, meaning) in policy.known() {
            let Some(test) = meaning.tests().find(|test| test.is_of_peer()) else { continue };
            match mode {
                Mode::Known(MutualTlsMode::Disable) => {
                    findings.push(no_identity(policy, rule, test));
                }
                Mode::Unsaid if policies.complete => {
                    let found = escaped(policy, rule, meaning, "PERMISSIVE by default");
                    findings.extend(found.map(Finding::note));
                }
                Mode::Known(MutualTlsMode::Permissive) => {
                    findings.extend(escaped(policy, rule, meaning, "PERMISSIVE"));
                }
                Mode::Known(MutualTlsMode::Strict | MutualTlsMode::Unset)
                | Mode::Unsaid
                | Mode::Differs => {}
            }
        }
    }
}

pub(super) fn mode_of(policies: &Policies<'_>, policy: &Policy<'_>) -> Mode {
    let about: Vec<&Peers<'_>> = policies
        .peers
        .iter()
        // One with a selector in the root namespace is ignored.
        .filter(|peers| peers.scope.is_wide() || !peers.scope.is_of_root())
        .filter(|peers| peers.scope.may_overlap(&policy.scope))
        .collect();
    if about.is_empty() {
        return Mode::Unsaid;
    }
    // The mode of each level, the oldest of it; and whether it holds for all workloads here.
    let mut mode = MutualTlsMode::Permissive;
    let levels: [fn(&Peers<'_>) -> bool; 3] = [
        |peers| peers.scope.is_of_root(),
        |peers| !peers.scope.is_of_root() && peers.scope.is_wide(),
        |peers| !peers.scope.is_wide(),
    ];
    for level in levels {
        let mut of_level = about.iter().filter(|peers| level(peers));
        let Some(first) = of_level.next() else { continue };
        let alone = first.scope.covers(&policy.scope) && first.policy.port_level_mtls.is_empty();
        let modes = || std::iter::once(first).chain(about.iter().filter(|peers| level(peers)));
        let same = modes().all(|peers| {
            peers.policy.port_level_mtls.is_empty() && inherited(peers.policy.mtls, mode) == mode
        });
        if alone {
            mode = inherited(first.policy.mtls, mode);
        } else if !same {
            return Mode::Differs;
        }
    }
    Mode::Known(mode)
}

fn inherited(mode: MutualTlsMode, parent: MutualTlsMode) -> MutualTlsMode {
    match mode {
        MutualTlsMode::Unset => parent,
        MutualTlsMode::Disable | MutualTlsMode::Permissive | MutualTlsMode::Strict => mode,
    }
}

fn no_identity(policy: &Policy<'_>, rule: usize, test: &Test) -> Finding {
    let effect = if test.negated { "always holds" } else { "never matches" };
    let field = &test.field;
    let message =
        format!("`{field}` {effect}: mutual TLS is disabled, so callers have no identity");
    policy
        .warning(codes::NO_PEER_IDENTITY, rule, test.position(), message)
        .help("set `mtls.mode` of the PeerAuthentication to STRICT, or match something else")
}

/// Where plaintext, which has no identity, fares better than a caller with one.
fn escaped(policy: &Policy<'_>, rule: usize, meaning: &Meaning, mode: &str) -> Option<Finding> {
    let of_peer = |tests: &[Test]| tests.iter().any(|test| test.is_of_peer() && !test.negated);
    let (test, message) = if policy.is_deny() {
        // Not if some way asks for no identity.
        let needed = of_peer(&meaning.conditions)
            || !meaning.sources.is_empty() && meaning.sources.iter().all(|s| of_peer(&s.tests));
        let test = meaning.tests().find(|test| test.is_of_peer() && !test.negated)?;
        (test, needed.then(|| format!("who `{}` denies gets around it by plaintext", test.field))?)
    } else if policy.is_allow() && !of_peer(&meaning.conditions) {
        // A source that excludes callers by name lets in all that have none.
        let test = meaning
            .sources
            .iter()
            .filter(|source| !of_peer(&source.tests))
            .flat_map(|source| &source.tests)
            .chain(
                meaning
                    .conditions
                    .iter()
                    .filter(|_| meaning.sources_or_any().any(|source| !of_peer(&source.tests))),
            )
            .find(|test| test.is_of_peer() && test.negated)?;
        (test, format!("who `{}` excludes gets in by plaintext", test.field))
    } else {
        return None;
    };
    let message = format!("{message}: mutual TLS is {mode}");
    Some(
        policy
            .warning(codes::PLAINTEXT_ESCAPES, rule, test.position(), message)
            .help("set `mtls.mode` of a PeerAuthentication to STRICT"),
    )
}
