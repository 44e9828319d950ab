//! What the index leads requests to, on rules that are nothing but keys.

use std::collections::BTreeSet;

use super::*;
use crate::plan::index::key::{Case, Key};

const UNKNOWN: [Unknown; 2] = [Unknown::Match, Unknown::NoMatch];

/// Attributes of these tests by number.
const ATTRIBUTES: [Attribute; 3] = [Attribute::Method, Attribute::Principal, Attribute::Path];
const METHOD: u32 = 0;
const PRINCIPAL: u32 = 1;
const PATH: u32 = 2;

fn test(attribute: u32, texts: &[&str]) -> TestDraft {
    let keys = texts.iter().map(|text| Key::exact(text, Case::Counts)).collect();
    TestDraft { attribute, negated: false, set: None, patterns: Vec::new(), keys }
}

fn not(test: TestDraft) -> TestDraft {
    TestDraft { negated: true, ..test }
}

/// A rule of conditions.
fn all(conditions: impl IntoIterator<Item = TestDraft>) -> RuleDraft {
    RuleDraft { conditions: conditions.into_iter().collect(), ..RuleDraft::default() }
}

/// A rule of alternatives.
fn any(sources: impl IntoIterator<Item = Vec<TestDraft>>) -> RuleDraft {
    RuleDraft { sources: sources.into_iter().collect(), ..RuleDraft::default() }
}

fn tree(unknown: Unknown, rules: impl IntoIterator<Item = RuleDraft>) -> DecisionTree {
    let mut builder = TreeBuilder::new(unknown);
    for (rule, number) in rules.into_iter().zip(0..) {
        builder.push(RuleId { policy: 0, rule: number }, rule).unwrap();
    }
    builder.finish(&ATTRIBUTES).unwrap()
}

/// The rules that a request with these values is led to.
fn candidates(tree: &DecisionTree, values: &[(u32, &str)]) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut nodes = vec![0];
    while let Some(number) = nodes.pop() {
        let index = &tree.index;
        let node = index.node(number).unwrap();
        found.extend(index.list(node.always));
        for dimension in index.dimensions_of(node) {
            for (_, text) in values.iter().filter(|(a, _)| *a == dimension.attribute) {
                dimension.lookup.text(text.as_bytes(), Case::Counts, |key| {
                    let hash = Table::hash(number, dimension.attribute, key);
                    index.table.find(hash, |target| {
                        match target {
                            Target::One(rule) => found.extend([rule]),
                            Target::List(start) => found.extend(index.list_at(start)),
                            Target::Node(node) => nodes.push(node),
                        }
                        false
                    })
                });
            }
        }
    }
    found
}

fn name(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number}")
}

#[test]
fn few_rules_are_not_filed() {
    let tree = tree(Unknown::Match, (0..3).map(|_| all([test(PATH, &["/a"])])));
    assert_eq!(candidates(&tree, &[]), BTreeSet::from([0, 1, 2]));
    assert!(tree.index.dimensions.is_empty());
}

#[test]
fn rules_are_filed_where_few_others_are() {
    for unknown in UNKNOWN {
        let rules = (0..100).map(|n| all([test(METHOD, &["GET"]), test(PATH, &[&name("p", n)])]));
        let tree = tree(unknown, rules);
        assert_eq!(candidates(&tree, &[(METHOD, "GET"), (PATH, "p-7")]), BTreeSet::from([7]));
        assert_eq!(candidates(&tree, &[(METHOD, "GET")]), BTreeSet::new());
        assert_eq!(tree.index.nodes.len(), 1);
        assert_eq!(tree.index.dimensions.len(), 1);
    }
}

#[test]
fn what_is_crowded_is_told_apart_by_something_else() {
    for unknown in UNKNOWN {
        // Each principal has 20 rules, and so has each path.
        let rules = (0..400).map(|n| {
            let (principal, path) = (name("s", n / 20), name("p", n % 20));
            all([test(PRINCIPAL, &[&principal]), test(PATH, &[&path]), test(METHOD, &["GET"])])
        });
        let tree = tree(unknown, rules);
        assert_eq!(tree.index.nodes.len(), 21);
        let values = [(METHOD, "GET"), (PRINCIPAL, "s-3"), (PATH, "p-5")];
        assert_eq!(candidates(&tree, &values), BTreeSet::from([65]));
    }
}

#[test]
fn what_nothing_tells_apart_is_a_list_in_order() {
    for unknown in UNKNOWN {
        let rules = (0..50).map(|_| all([test(METHOD, &["GET"]), test(PATH, &["/a"])]));
        let tree = tree(unknown, rules);
        assert_eq!(candidates(&tree, &[(METHOD, "GET"), (PATH, "/a")]).len(), 50);
        assert_eq!(candidates(&tree, &[(METHOD, "PUT"), (PATH, "/b")]).len(), 0);
        let lists = tree.index.lists.windows(50).filter(|run| run.is_sorted()).count();
        assert!(lists > 0);
    }
}

#[test]
fn negated_tests_lead_to_nothing() {
    for unknown in UNKNOWN {
        let rules = (0..50).map(|n| all([not(test(PATH, &[&name("p", n)]))]));
        let tree = tree(unknown, rules);
        assert_eq!(candidates(&tree, &[(PATH, "p-3")]).len(), 50);
    }
}

#[test]
fn a_rule_is_filed_under_all_of_its_alternatives() {
    for unknown in UNKNOWN {
        let rules = (0..50).map(|n| {
            let (a, b) = (name("a", n), name("b", n));
            match n % 3 {
                // Both have the attribute,
                0 => any([vec![test(PATH, &[&a])], vec![test(PATH, &[&b])]]),
                // not both,
                1 => any([vec![test(PATH, &[&a])], vec![test(PRINCIPAL, &[&b])]]),
                // or one has nothing to be found by.
                _ => any([vec![test(PATH, &[&a])], vec![not(test(PATH, &[&b]))]]),
            }
        });
        let tree = tree(unknown, rules);
        let always: BTreeSet<u32> = (0..50).filter(|n| n % 3 == 2).collect();
        let with = |rule: u32| always.iter().copied().chain([rule]).collect::<BTreeSet<_>>();
        assert_eq!(candidates(&tree, &[]), always);
        assert_eq!(candidates(&tree, &[(PATH, "a-3")]), with(3));
        assert_eq!(candidates(&tree, &[(PATH, "b-3")]), with(3));
        assert_eq!(candidates(&tree, &[(PATH, "a-4")]), with(4));
        assert_eq!(candidates(&tree, &[(PRINCIPAL, "b-4")]), with(4));
        assert_eq!(candidates(&tree, &[(PATH, "b-4")]), always);
    }
}

#[test]
fn a_list_of_one_rule_names_it_once() {
    let rules = (0..50).map(|n| all([test(PATH, &[&name("p", n), &name("p", n)])]));
    let tree = tree(Unknown::NoMatch, rules);
    let mut found = 0;
    let hash = Table::hash(0, PATH, Key::exact("p-3", Case::Counts).hash);
    tree.index.table.find(hash, |target| {
        assert_eq!(target, Target::One(3));
        found += 1;
        false
    });
    assert_eq!(found, 1);
}

#[test]
fn what_may_be_unknown_leads_to_all_rules_that_ask_for_it() {
    for (unknown, expected) in [(Unknown::Match, 50), (Unknown::NoMatch, 0)] {
        let tree = tree(unknown, (0..50).map(|n| all([test(PATH, &[&name("p", n)])])));
        let [dimension] = &*tree.index.dimensions else { panic!("one dimension") };
        assert_eq!(tree.index.list(dimension.all).len(), expected);
        assert_eq!(dimension.first, 0);
    }
}

#[test]
fn long_lists_are_sets() {
    let texts: Vec<_> = (0..SHORT_LIST + 1).map(|n| name("p", n)).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let (short, long) = (texts.get(1..).unwrap(), &texts[..]);
    let rules = [not(test(PATH, short)), not(test(PATH, long)), test(METHOD, long)];
    let tree = tree(Unknown::Match, rules.map(|test| all([test])));
    assert_eq!(tree.index.sets.len(), 2);
    let set = |rule| tree.rules.get(rule).unwrap().conditions.next().unwrap().set;
    assert_eq!(set(0), None);
    let owner = set(2).unwrap();
    assert_eq!(Table::place_of_set(owner), 1);
    let ordinals = |key: &Key| {
        let mut found = Vec::new();
        tree.index.table.find(Table::hash(owner, METHOD, key.hash), |target| {
            found.push(target);
            false
        });
        found
    };
    assert_eq!(ordinals(&Key::exact("p-9", Case::Counts)), [Target::One(9)]);
    assert_eq!(ordinals(&Key::exact("p-99", Case::Counts)), []);
}
