//! What a change of policies changes: requests that two plans decide differently.
//!
//! Requests are made up from what the rules of both sides say, and asked of both; nothing is said of
//! a request that was not asked. Reading policies, and showing what was found, is for others.

mod access;
mod access_tokens;
mod bits;
mod canonical;
mod credentials;
mod decision;
mod paths;
mod question;
mod report;
mod rules;
mod samples;
mod search;
mod side;
mod values;

pub use canonical::CanonicalPlan;
pub use decision::Decision;
pub use question::{Place, Question, Token};
pub use report::{human, json, markdown};
pub use search::View;
pub use side::{Answer, Side};

use std::collections::BTreeSet;

use crate::extauthz::RequestSettings;
use crate::model::{AccessRuleId, Outcome, Reason, RuleId};
use crate::plan::WorkloadPlan;
use rules::KnownRules;
use search::{SIDES, Search, Setup};
use values::Maker;

/// How many pairs of rules are looked at, at most.
const MOST_PAIRS: usize = 200_000;

/// How many requests are asked at random beside those that are searched for.
const RANDOM_REQUESTS: usize = 300;

/// A request that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What of it.
    pub view: View,
    /// The request: nothing can be left out of it.
    pub question: Question,
    /// Before.
    pub old: Answer,
    /// After.
    pub new: Answer,
    /// Before, by name.
    pub before: Decision,
    /// After, by name.
    pub after: Decision,
    /// The rule that the other side has not, or what else it is about.
    pub about: String,
}

impl Difference {
    /// Whether more is allowed, or audited, than before.
    pub fn gains(&self) -> bool {
        is_allowed(self.view, &self.new)
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Comparison {
    /// Both plans say the same, so that no request can change.
    pub equal: bool,
    /// What changes: one request for each pair of rules, by view.
    pub differences: Vec<Difference>,
    /// How many requests were asked of both sides.
    pub requests: usize,
    /// How many values those were made of.
    pub values: usize,
    /// Whether some combinations were left out for their number.
    pub gave_up: bool,
    /// Rules of APIRules that decide what others decided before, where strategies would ask somebody
    /// whom nobody asks here.
    pub unasked: BTreeSet<String>,
}

fn is_allowed(view: View, answer: &Answer) -> bool {
    match view {
        View::Enforced => answer.outcome() == Outcome::Allow,
        View::Shadow => answer.shadow.outcome() == Outcome::Allow,
        View::Audit => answer.audited_by.is_some(),
    }
}

/// The rule that decided, of a policy or of an APIRule.
type Deciding = (Option<RuleId>, Option<AccessRuleId>);

fn deciding(reason: Reason) -> Deciding {
    (reason.rule(), reason.access_rule())
}

/// What tells differences apart, so that one of each is shown.
fn kind(view: View, old: &Answer, new: &Answer) -> (View, [Deciding; 2], [&'static str; 2]) {
    let of = |answer: &Answer| match view {
        View::Enforced => (deciding(answer.reason), answer.reason.as_str()),
        View::Shadow => (deciding(answer.shadow), answer.shadow.as_str()),
        View::Audit => ((answer.audited_by, None), "audit"),
    };
    let (old, new) = (of(old), of(new));
    (view, [old.0, new.0], [old.1, new.1])
}

/// Compares two plans of one workload; requests are read with `settings`.
pub fn compare(old: &WorkloadPlan, new: &WorkloadPlan, settings: &RequestSettings) -> Comparison {
    let canonical = [CanonicalPlan::new(old), CanonicalPlan::new(new)];
    let [old_canonical, new_canonical] = &canonical;
    let mut comparison = Comparison {
        equal: old_canonical == new_canonical,
        differences: Vec::new(),
        requests: 0,
        values: 0,
        gave_up: false,
        unasked: BTreeSet::new(),
    };
    if comparison.equal {
        return comparison;
    }
    let beside = old_canonical.differs_beside_api_rules(new_canonical);
    let about_api_rules = access::requests([old, new], settings, beside);
    let sides = [old, new].map(|plan| Side::new(plan, settings));
    let [old, new] = &sides;
    let maker = Maker { sides: [old, new], settings, outputs: values::outputs([old, new]) };
    let alike = old_canonical.sees_alike(new_canonical);
    let flags = |side: &Side<'_>| (side.plan.has_allow(), side.plan.has_shadow_allow());
    let known = KnownRules::new(&maker, alike && flags(old) == flags(new));
    comparison.values = known.parts.iter().map(|part| part.settings.len()).sum();
    let mut search =
        Search { known: &known, sides: [old, new], alike, pairs_left: MOST_PAIRS, gave_up: false };
    let mut asker = Asker {
        known: &known,
        sides: [old, new],
        found: Vec::new(),
        kinds: BTreeSet::new(),
        asked: 0,
    };
    let has_shadow = [old, new].iter().any(|side| side.plan.has_shadow());
    let views = [View::Enforced, View::Shadow, View::Audit];
    let views = views.into_iter().filter(|view| *view != View::Shadow || has_shadow);
    let setups = search.setups();
    for view in views {
        for setup in &setups {
            for allowing in SIDES {
                let mut found =
                    |setup: &Setup, point: &[usize]| asker.ask(view, setup.is_http(), point);
                search.run(view, setup, allowing, &mut found);
            }
        }
    }
    for question in &about_api_rules.questions {
        asker.put(question);
    }
    asker.ask_at_random();
    comparison.gave_up = search.gave_up || about_api_rules.gave_up || beside;
    comparison.unasked = about_api_rules.unasked;
    comparison.requests = asker.asked;
    comparison.differences = asker.found;
    comparison
}

/// Asks both sides, and keeps what changes.
struct Asker<'a> {
    known: &'a KnownRules,
    sides: [&'a Side<'a>; 2],
    found: Vec<Difference>,
    kinds: BTreeSet<String>,
    asked: usize,
}

impl Asker<'_> {
    fn question(&self, is_http: bool, point: &[usize]) -> Question {
        let mut question = Question::default();
        question.request.connection = !is_http;
        // A token before its claims: parts are in that order.
        for (values, at) in self.known.parts.iter().zip(point) {
            if (is_http || !values.part.is_http())
                && let Some(setting) = values.settings.get(*at)
            {
                setting.apply(&values.part, &mut question);
            }
        }
        question
    }

    fn answers(&mut self, question: &Question) -> Option<[Answer; 2]> {
        self.asked += 1;
        let [old, new] = self.sides;
        Some([old.ask(question)?, new.ask(question)?])
    }

    /// Whether this request changes; it is kept then, as small as it can be.
    fn ask(&mut self, view: View, is_http: bool, point: &[usize]) -> bool {
        let question = self.question(is_http, point);
        let Some([old, new]) = self.answers(&question) else { return false };
        if !changes(view, &old, &new) {
            return false;
        }
        let wanted = kind(view, &old, &new);
        if !self.kinds.insert(format!("{wanted:?}")) {
            return true;
        }
        // Whatever it changes without is left out.
        let mut point = point.to_vec();
        for part in 0..point.len() {
            let mut less = point.clone();
            match less.get_mut(part) {
                Some(setting) if *setting != 0 => *setting = 0,
                Some(_) | None => continue,
            }
            let question = self.question(is_http, &less);
            if let Some([old, new]) = self.answers(&question)
                && changes(view, &old, &new)
                && kind(view, &old, &new) == wanted
            {
                point = less;
            }
        }
        let question = self.question(is_http, &point);
        self.keep(view, question);
        true
    }

    /// Asks about a request that is as small as it can be.
    fn put(&mut self, question: &Question) {
        let Some([old, new]) = self.answers(question) else { return };
        for view in [View::Enforced, View::Shadow] {
            if changes(view, &old, &new)
                && self.kinds.insert(format!("{:?}", kind(view, &old, &new)))
            {
                self.keep(view, question.clone());
            }
        }
    }

    fn keep(&mut self, view: View, question: Question) {
        if let Some([old, new]) = self.answers(&question) {
            let [old_side, new_side] = self.sides;
            self.found.push(Difference {
                view,
                question,
                before: Decision::new(view, old_side, &old),
                after: Decision::new(view, new_side, &new),
                about: decision::about(view, self.known, self.sides, [&old, &new]),
                old,
                new,
            });
        }
    }

    /// What depends on more than was thought of: tokens that change headers, say.
    fn ask_at_random(&mut self) {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bound = u64::try_from(bound.max(1)).unwrap_or(1);
            usize::try_from((state >> 33) % bound).unwrap_or_default()
        };
        for _ in 0..RANDOM_REQUESTS {
            let point: Vec<usize> = self
                .known
                .parts
                .iter()
                .map(|part| if below(3) == 0 { 0 } else { below(part.settings.len()) })
                .collect();
            let is_http = below(8) > 0;
            for view in [View::Enforced, View::Shadow, View::Audit] {
                self.ask(view, is_http, &point);
            }
        }
    }
}

fn changes(view: View, old: &Answer, new: &Answer) -> bool {
    let differs = |view| is_allowed(view, old) != is_allowed(view, new);
    match view {
        View::Enforced => differs(View::Enforced),
        // What is enforced says it already.
        View::Shadow => differs(View::Shadow) && !differs(View::Enforced),
        View::Audit => differs(View::Audit) && !differs(View::Enforced),
    }
}

#[cfg(test)]
mod tests;
