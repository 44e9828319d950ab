//! Chooses the dimension that each rule is filed under.
//!
//! A rule belongs where few others have its keys. Among dimensions that are good enough, the one
//! that serves most rules is taken, so that requests look in few places; what is still crowded
//! there becomes a node of its own and is told apart by what else its rules ask for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};

use super::filing::Filing;
use super::{AsHashed, Lists, count};
use crate::plan::Unknown;
use crate::plan::index::key::Lookup;
use crate::plan::index::{Dimension, Index, Node, Run, Table};
use crate::plan::rules::TooLarge;
use crate::plan::vocabulary::Attribute;

/// A list that is as good as none: trying this many rules costs no more than another look-up.
const SHORT: usize = 8;
/// How many dimensions are chosen for many rules at once.
const ROUNDS: usize = 8;
/// How deep nodes lie in nodes.
const DEPTH: u8 = 6;
/// How often a rule is filed, on average, before crowded lists stay as they are.
const FILED_PER_RULE: usize = 24;

/// The index of rules that are filed by no more than what `filing` says.
pub(super) fn index(
    filing: &Filing,
    unknown: Unknown,
    attributes: &[Attribute],
    lists: Lists,
    sets: Vec<Lookup>,
) -> Result<Index, TooLarge> {
    let rules: Vec<u32> = (0..count(filing.len())?).collect();
    let ranks = attributes.iter().map(cost_of_looking).collect();
    let mut builder = Builder {
        filing,
        unknown,
        ranks,
        lists,
        nodes: Vec::new(),
        dimensions: Vec::new(),
        filed: 0,
        crowded: VecDeque::new(),
    };
    if rules.len() <= SHORT {
        let always = builder.run(&rules)?;
        builder.nodes.push(Node { always, ..Node::default() });
    } else {
        let choice = builder.choose(&rules, 0);
        builder.node(choice, 0)?;
    }
    while let Some(crowd) = builder.crowded.pop_front() {
        builder.settle(crowd)?;
    }
    let Builder { lists, nodes, dimensions, .. } = builder;
    Ok(Index {
        nodes: nodes.into(),
        dimensions: dimensions.into(),
        table: Table::new(&lists.entries).ok_or(TooLarge)?,
        lists: lists.lists.into(),
        sets: sets.into(),
    })
}

struct Builder<'f> {
    filing: &'f Filing,
    unknown: Unknown,
    /// By attribute.
    ranks: Vec<u8>,
    lists: Lists,
    nodes: Vec<Node>,
    dimensions: Vec<Dimension>,
    /// How many times rules were filed.
    filed: usize,
    crowded: VecDeque<Crowd>,
}

/// Rules that share a key.
struct Crowd {
    hash: u64,
    rules: Vec<u32>,
    depth: u8,
}

/// What was chosen for each of some rules.
#[derive(Default)]
struct Choice {
    filed: Vec<(u32, usize)>,
    always: Vec<u32>,
    /// The longest list a request could be led to.
    longest: usize,
    /// How many keys all of it takes.
    keys: usize,
}

impl Builder<'_> {
    fn choose(&self, rules: &[u32], owner: u32) -> Choice {
        let frequency = self.frequencies(rules, owner);
        let crowding = |dimension: usize| {
            let keys = self.filing.keys(dimension).iter();
            keys.map(|(attribute, key)| Table::hash(owner, *attribute, key.hash))
                .filter_map(|hash| frequency.get(&hash).copied())
                .max()
                .unwrap_or_default()
        };
        // Each rule's dimensions: how crowded, which.
        let mut ends = Vec::with_capacity(rules.len());
        let mut crowdings = Vec::with_capacity(rules.len() * 4);
        for rule in rules {
            crowdings.extend(self.filing.dimensions_of(*rule).map(|d| (crowding(d), d)));
            ends.push(crowdings.len());
        }
        let of = |at: usize| {
            let start = at.checked_sub(1).and_then(|at| ends.get(at)).copied().unwrap_or_default();
            let end = ends.get(at).copied().unwrap_or_default();
            crowdings.get(start..end).unwrap_or_default()
        };

        let mut choice = Choice::default();
        let mut left: Vec<usize> = (0..rules.len()).collect();
        let take = |choice: &mut Choice, at: usize, (crowd, dimension): (usize, usize)| {
            choice.longest = choice.longest.max(crowd);
            choice.keys += self.filing.keys(dimension).len();
            if let Some(rule) = rules.get(at) {
                choice.filed.push((*rule, dimension));
            }
        };
        for _ in 0..ROUNDS {
            let mut served = BTreeMap::<u32, usize>::new();
            for at in &left {
                let mut last = None;
                for (_, dimension) in of(*at).iter().filter(|(crowd, _)| *crowd <= SHORT) {
                    let attribute = self.filing.attribute(*dimension);
                    if let Some(attribute) = attribute.filter(|_| attribute != last) {
                        *served.entry(attribute).or_default() += 1;
                    }
                    last = attribute;
                }
            }
            let best = served.iter().max_by_key(|(a, served)| (**served, Reverse(self.rank(**a))));
            let Some((best, _)) = best else { break };
            left.retain(|at| {
                let here = of(*at)
                    .iter()
                    .filter(|(crowd, d)| {
                        *crowd <= SHORT && self.filing.attribute(*d) == Some(*best)
                    })
                    .min();
                if let Some(here) = here {
                    take(&mut choice, *at, *here);
                }
                here.is_none()
            });
        }
        for at in left {
            let least = of(at).iter().min_by_key(|(crowd, dimension)| {
                let rank = self.filing.attribute(*dimension).map_or(u8::MAX, |a| self.rank(a));
                (*crowd, rank, *dimension)
            });
            match least {
                Some(least) => take(&mut choice, at, *least),
                None => choice.always.extend(rules.get(at)),
            }
        }
        choice
    }

    /// How many of the rules have each key.
    fn frequencies(&self, rules: &[u32], owner: u32) -> HashMap<u64, usize, AsHashed> {
        let mut frequency = HashMap::with_capacity_and_hasher(rules.len() * 2, AsHashed::default());
        for dimension in rules.iter().flat_map(|rule| self.filing.dimensions_of(*rule)) {
            for (attribute, key) in self.filing.keys(dimension) {
                *frequency.entry(Table::hash(owner, *attribute, key.hash)).or_default() += 1;
            }
        }
        frequency
    }

    /// Makes a node of what was chosen.
    fn node(&mut self, mut choice: Choice, depth: u8) -> Result<u32, TooLarge> {
        let number = count(self.nodes.len())?;
        choice.filed.sort_unstable();
        choice.always.sort_unstable();
        let mut places = BTreeMap::<(u8, u32), (Vec<u32>, Lookup)>::new();
        let mut postings = Vec::with_capacity(choice.keys);
        for (rule, dimension) in &choice.filed {
            for (attribute, key) in self.filing.keys(*dimension) {
                let place = places.entry((self.rank(*attribute), *attribute)).or_default();
                place.1.note(key);
                if place.0.last() != Some(rule) {
                    place.0.push(*rule);
                }
                postings.push((Table::hash(number, *attribute, key.hash), *rule));
            }
        }
        let start = count(self.dimensions.len())?;
        for ((_, attribute), (rules, lookup)) in places {
            let first = rules.first().copied().unwrap_or_default();
            let all = match self.unknown {
                Unknown::Match => self.run(&rules)?,
                Unknown::NoMatch => Run::default(),
            };
            self.dimensions.push(Dimension { attribute, first, all, lookup });
        }
        let dimensions = Run { start, end: count(self.dimensions.len())? };
        let always = self.run(&choice.always)?;
        self.nodes.push(Node { dimensions, always });
        self.filed += postings.len();
        let Self { lists, crowded, .. } = self;
        lists.file(postings, |hash, same| {
            (same.len() > SHORT && depth < DEPTH).then(|| {
                let rules = same.iter().map(|(_, rule)| *rule).collect();
                crowded.push_back(Crowd { hash, rules, depth: depth + 1 });
            })
        })?;
        Ok(number)
    }

    /// Makes a node of a crowded list, where that helps; else leaves it a list.
    fn settle(&mut self, crowd: Crowd) -> Result<(), TooLarge> {
        let Crowd { hash, rules, depth } = crowd;
        let affordable = (FILED_PER_RULE * self.filing.len()).saturating_sub(self.filed);
        // Rules have a key or more; it takes time to find out how many.
        if rules.len() <= affordable {
            let choice = self.choose(&rules, count(self.nodes.len())?);
            let thinner = 2 * (choice.longest + choice.always.len()) <= rules.len();
            if thinner && choice.keys <= affordable {
                let node = self.node(choice, depth)?;
                self.lists.node(hash, node);
                return Ok(());
            }
        }
        self.lists.list(hash, rules.into_iter())
    }

    fn run(&mut self, rules: &[u32]) -> Result<Run, TooLarge> {
        let start = count(self.lists.lists.len())?;
        self.lists.lists.extend(rules);
        Ok(Run { start, end: count(self.lists.lists.len())? })
    }

    fn rank(&self, attribute: u32) -> u8 {
        let at = usize::try_from(attribute).unwrap_or(usize::MAX);
        self.ranks.get(at).copied().unwrap_or(u8::MAX)
    }
}

/// Orders attributes by what it costs to compute the keys of a request's values.
fn cost_of_looking(attribute: &Attribute) -> u8 {
    match attribute {
        Attribute::DestinationPort => 0,
        Attribute::Method => 1,
        Attribute::Principal => 2,
        Attribute::Path => 3,
        Attribute::Host => 4,
        Attribute::Sni => 5,
        Attribute::SourceIp | Attribute::RemoteIp | Attribute::DestinationIp => 6,
        Attribute::TrustDomain => 7,
        Attribute::Namespace => 8,
        Attribute::ServiceAccount => 9,
        Attribute::RequestPrincipal => 10,
        Attribute::Header(_) => 11,
        Attribute::Claim(_) => 12,
        Attribute::Metadata { .. } => 13,
        Attribute::Unknowable => 14,
    }
}
