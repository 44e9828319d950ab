//! Looks for a request that one side allows and the other denies.
//!
//! A request is one setting of each part. What has to hold narrows the settings that are left; a
//! request of what is left either matches no rule that it must not match, or shows which tests have
//! to fail instead. So what is not found is not there, among these settings, unless the search was
//! given up.

use std::collections::BTreeSet;

use super::bits::Bits;
use super::rules::{KnownRule, KnownRules};
use super::side::{Side, TokenStatus};
use super::values::Part;
use crate::model::{Action, MutualTlsMode};

/// How many requests are looked at for one pair of rules.
const MOST_STEPS: usize = 3_000;

/// Requests of one pair of rules that are asked in vain before the pair is left.
const MOST_FAILURES: usize = 20;

/// With how many rules that allow, a rule that denies is shown.
const MOST_FOR_EACH: usize = 3;

/// Old and new.
pub(super) const SIDES: [usize; 2] = [0, 1];

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// The decision.
    Enforced,
    /// What it would be with dry-run policies enforced.
    Shadow,
    /// Whether an AUDIT rule matches.
    Audit,
}

/// All that requests have in common that are looked at together.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    is_http: bool,
    modes: [MutualTlsMode; 2],
    tokens: [TokenStatus; 2],
    /// Denied before or because of tokens, by each side.
    denied: [bool; 2],
    /// What is left of each part.
    left: Vec<Bits>,
}

impl Setup {
    /// Whether these are requests, not connections.
    pub(super) fn is_http(&self) -> bool {
        self.is_http
    }
}

/// A way to match a rule: settings of parts.
type Way<'k> = Vec<(usize, &'k Bits)>;

/// A rule as it is for a setup.
struct Applied<'k> {
    rule: &'k KnownRule,
    ways: Vec<Way<'k>>,
}

/// One way in which a side denies.
enum Denial<'a, 'k> {
    Setup,
    Rule(&'a Applied<'k>),
    NoAllowRule,
}

/// The search for one comparison.
pub(super) struct Search<'a> {
    pub(super) known: &'a KnownRules,
    pub(super) sides: [&'a Side<'a>; 2],
    /// Whether both sides see peers and tokens alike.
    pub(super) alike: bool,
    /// Pairs of rules that are still tried.
    pub(super) pairs_left: usize,
    /// Whether something was given up.
    pub(super) gave_up: bool,
}

impl<'a> Search<'a> {
    /// Every kind of request there is.
    pub(super) fn setups(&self) -> Vec<Setup> {
        let known = self.known;
        let whole: Vec<Bits> =
            known.parts.iter().map(|part| Bits::new(part.settings.len(), |_| true)).collect();
        let modes = |setting: usize| {
            let port = known
                .part(&Part::DestinationPort)
                .and_then(|at| known.parts.get(at)?.settings.get(setting));
            let port = match port {
                Some(super::values::Setting::Port(port)) => *port,
                Some(_) | None => None,
            };
            self.sides.map(|side| side.plan.peer.mode_of(port))
        };
        let settings_of =
            |part: &Part| known.part(part).and_then(|at| Some((at, known.parts.get(at)?)));
        let mut setups = Vec::new();
        let Some((token_at, tokens)) = settings_of(&Part::Token) else { return setups };
        let Some((port_at, ports)) = settings_of(&Part::DestinationPort) else { return setups };
        let Some((peer_at, peers)) = settings_of(&Part::Peer) else { return setups };
        let mut mode_pairs = Vec::new();
        for setting in 0..ports.settings.len() {
            if !mode_pairs.contains(&modes(setting)) {
                mode_pairs.push(modes(setting));
            }
        }
        for is_http in [true, false] {
            let statuses: BTreeSet<_> = if is_http {
                tokens.statuses.iter().copied().collect()
            } else {
                [[TokenStatus::Absent; 2]].into()
            };
            for tokens_of_sides in statuses {
                for modes_of_sides in &mode_pairs {
                    let strict = modes_of_sides.map(|mode| mode == MutualTlsMode::Strict);
                    let named: &[Option<bool>] =
                        if strict == [false; 2] { &[None] } else { &[Some(false), Some(true)] };
                    for named in named {
                        let mut left = whole.clone();
                        let mut keep = |at: usize, bits: Bits| {
                            left.get_mut(at).into_iter().for_each(|it| it.intersect(&bits));
                        };
                        keep(
                            token_at,
                            Bits::new(tokens.settings.len(), |setting| {
                                if is_http {
                                    tokens.statuses.get(setting) == Some(&tokens_of_sides)
                                } else {
                                    setting == 0
                                }
                            }),
                        );
                        keep(
                            port_at,
                            Bits::new(ports.settings.len(), |setting| {
                                modes(setting) == *modes_of_sides
                            }),
                        );
                        // The first is the peer without a name.
                        keep(
                            peer_at,
                            Bits::new(peers.settings.len(), |setting| {
                                named.is_none_or(|named| named == (setting > 0))
                            }),
                        );
                        let mut denied = SIDES.map(|_| false);
                        for (at, side) in self.sides.iter().enumerate() {
                            let nameless = strict.get(at) == Some(&true) && *named == Some(false);
                            let refused = tokens_of_sides.get(at) == Some(&TokenStatus::Refused);
                            if let Some(denied) = denied.get_mut(at) {
                                *denied = nameless || refused || !side.plan.invalid.is_empty();
                            }
                        }
                        let (modes, tokens) = (*modes_of_sides, tokens_of_sides);
                        if denied != [true; 2] {
                            setups.push(Setup { is_http, modes, tokens, denied, left });
                        }
                    }
                }
            }
        }
        setups
    }

    /// Requests that side `allowing` allows and the other denies, as settings of each part. `found`
    /// says whether one is of any use; of a pair of rules the first that is counts.
    pub(super) fn run(
        &mut self,
        view: View,
        setup: &Setup,
        allowing: usize,
        found: &mut dyn FnMut(&Setup, &[usize]) -> bool,
    ) {
        let denying = 1 - allowing;
        let is = |list: [bool; 2], side: usize| list.get(side).copied().unwrap_or_default();
        if is(setup.denied, allowing) {
            return;
        }
        let blocks = [0, 1].map(|side| self.applied(setup, side, |rule| blocks(view, rule)));
        let allows = [0, 1].map(|side| self.applied(setup, side, |rule| allows(view, rule)));
        let ([Some(own_blocks), Some(other_blocks)], [Some(own_allows), Some(other_allows)]) = (
            [blocks.get(allowing), blocks.get(denying)],
            [allows.get(allowing), allows.get(denying)],
        ) else {
            return;
        };
        let mut denials = Vec::new();
        if is(setup.denied, denying) {
            denials.push(Denial::Setup);
        } else {
            denials.extend(other_blocks.iter().map(Denial::Rule));
            if self.has_allow(view, denying) {
                denials.push(Denial::NoAllowRule);
            }
        }
        let same = |list: &[Applied<'_>], it: &Applied<'_>| {
            self.alike && list.iter().any(|other| other.rule.canonical == it.rule.canonical)
        };
        let picks: Vec<Option<&Applied<'_>>> = if self.has_allow(view, allowing) {
            own_allows.iter().map(Some).collect()
        } else {
            vec![None]
        };
        let mut left_of_pairs = self.pairs_left;
        let mut gave_up = false;
        for denial in &denials {
            let mut must_not: Vec<&Applied<'_>> = own_blocks.iter().collect();
            match denial {
                Denial::Rule(rule) if same(own_blocks, rule) => continue,
                Denial::Rule(_) | Denial::Setup => {}
                // What a DENY rule of the other side denies is found by that rule.
                Denial::NoAllowRule => must_not.extend(other_allows.iter().chain(other_blocks)),
            }
            let one = [Vec::new()];
            let ways_denied = match denial {
                Denial::Rule(rule) => rule.ways.as_slice(),
                Denial::Setup | Denial::NoAllowRule => &one,
            };
            let mut successes = 0;
            for pick in &picks {
                let is_same = pick.is_some_and(|pick| same(other_allows, pick));
                if is_same && matches!(denial, Denial::NoAllowRule) {
                    continue;
                }
                let ways_allowed = pick.map_or(one.as_slice(), |pick| pick.ways.as_slice());
                let mut pair = Pair {
                    must_not: &must_not,
                    steps_left: MOST_STEPS,
                    failures_left: MOST_FAILURES,
                };
                let works = ways_denied.iter().any(|denied| {
                    ways_allowed.iter().any(|allowed| {
                        let mut left = setup.left.clone();
                        narrow(&mut left, denied) && narrow(&mut left, allowed) && {
                            left_of_pairs = left_of_pairs.saturating_sub(1);
                            left_of_pairs > 0 && pair.solve(left, &mut |point| found(setup, point))
                        }
                    })
                });
                gave_up |= !works && (pair.steps_left == 0 || left_of_pairs == 0);
                successes += usize::from(works);
                if successes >= MOST_FOR_EACH || left_of_pairs == 0 {
                    break;
                }
            }
        }
        self.pairs_left = left_of_pairs;
        self.gave_up |= gave_up;
    }

    fn has_allow(&self, view: View, side: usize) -> bool {
        let plan = self.sides.get(side).map(|side| side.plan);
        plan.is_some_and(|plan| match view {
            View::Enforced => plan.has_allow(),
            View::Shadow => plan.has_allow() || plan.has_shadow_allow(),
            View::Audit => true,
        })
    }

    /// The rules of a side as they are for a setup.
    fn applied(
        &self,
        setup: &Setup,
        side: usize,
        wanted: impl Fn(&KnownRule) -> bool,
    ) -> Vec<Applied<'a>> {
        let known: &'a KnownRules = self.known;
        let Some(rules) = known.rules.get(side) else { return Vec::new() };
        let forgets_peer = setup.modes.get(side) == Some(&MutualTlsMode::Disable);
        let accepts = setup.tokens.get(side) == Some(&TokenStatus::Accepted);
        let wanted = rules.iter().filter(|rule| wanted(rule));
        let reachable = wanted
            .filter(|rule| setup.is_http || !rule.is_http || !matches!(rule.action, Action::Allow));
        let way = |rule: &KnownRule, tests: &[usize]| -> Option<Way<'a>> {
            let before_tokens = matches!(rule.action, Action::Custom { .. });
            let mut way = Vec::new();
            for test in tests {
                let test = known.tests.get(*test)?;
                let part = &known.parts.get(test.part)?.part;
                if !setup.is_http && part.is_http() {
                    continue;
                }
                let is_without = match part {
                    Part::Peer => forgets_peer,
                    Part::Token | Part::Claim(_) => !accepts || before_tokens,
                    Part::Method
                    | Part::Host
                    | Part::Path
                    | Part::Scheme
                    | Part::Header(_)
                    | Part::SourceIp
                    | Part::Client
                    | Part::DestinationIp
                    | Part::DestinationPort
                    | Part::Sni
                    | Part::Metadata(..) => false,
                };
                match (is_without, test.holds_without) {
                    (false, _) => way.push((test.part, &test.holds)),
                    (true, true) => {}
                    (true, false) => return None,
                }
            }
            Some(way)
        };
        reachable
            .map(|rule| Applied {
                rule,
                ways: rule.ways.iter().filter_map(|tests| way(rule, tests)).collect(),
            })
            .collect()
    }
}

fn blocks(view: View, rule: &KnownRule) -> bool {
    match &rule.action {
        Action::Custom { .. } => !rule.dry_run,
        Action::Deny => match view {
            View::Enforced => !rule.dry_run,
            View::Shadow => true,
            View::Audit => false,
        },
        Action::Allow | Action::Audit => false,
    }
}

fn allows(view: View, rule: &KnownRule) -> bool {
    match (&rule.action, view) {
        (Action::Allow, View::Enforced) | (Action::Audit, View::Audit) => !rule.dry_run,
        (Action::Allow, View::Shadow) => true,
        (Action::Allow, View::Audit)
        | (Action::Audit, View::Enforced | View::Shadow)
        | (Action::Deny | Action::Custom { .. }, _) => false,
    }
}

/// Whether something is left.
fn narrow(left: &mut [Bits], way: &Way<'_>) -> bool {
    way.iter().all(|(part, holds)| {
        left.get_mut(*part).is_some_and(|left| {
            left.intersect(holds);
            left.first().is_some()
        })
    })
}

/// The search for one pair of rules.
struct Pair<'p, 'k> {
    must_not: &'p [&'p Applied<'k>],
    steps_left: usize,
    failures_left: usize,
}

impl Pair<'_, '_> {
    /// Whether a request of what is left is found that is of use.
    fn solve(&mut self, left: Vec<Bits>, found: &mut dyn FnMut(&[usize]) -> bool) -> bool {
        if self.steps_left == 0 {
            return false;
        }
        self.steps_left -= 1;
        let Some(point) = left.iter().map(Bits::first).collect::<Option<Vec<usize>>>() else {
            return false;
        };
        let matches = |way: &&Way<'_>| {
            way.iter().all(|(part, holds)| point.get(*part).is_some_and(|at| holds.contains(*at)))
        };
        let ways = || self.must_not.iter().flat_map(|rule| &rule.ways);
        // Of those that match, the one that leaves the least to try.
        let matching = ways().filter(matches).min_by_key(|way| way.len());
        let Some(way) = matching else {
            // Where both sides see more than settings say, such as tokens that change headers.
            let works = found(&point);
            self.failures_left = self.failures_left.saturating_sub(usize::from(!works));
            if self.failures_left == 0 {
                self.steps_left = 0;
            }
            return works;
        };
        let way = way.clone();
        let mut left = left;
        for (part, holds) in &way {
            let mut without = left.clone();
            let Some(bits) = without.get_mut(*part) else { return false };
            bits.remove(holds);
            if bits.first().is_some() && self.solve(without, found) {
                return true;
            }
            // From here on it holds, and another one fails.
            let Some(bits) = left.get_mut(*part) else { return false };
            bits.intersect(holds);
        }
        false
    }
}
