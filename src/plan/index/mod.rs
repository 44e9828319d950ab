//! Where rules are found by the keys of a request.
//!
//! Each rule is filed under one of its dimensions, by keys one of which a request must have for the
//! rule to hold. A list that stays long is a node of its own, filed by another dimension. `compile`
//! chooses and builds, `decide` walks.

pub mod key;
mod table;

pub use table::{Entry, Table, Target};

use super::at;
use key::Lookup;

/// A run of [`Index::lists`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// The first element.
    pub start: u32,
    /// Behind the last.
    pub end: u32,
}

/// Rules to be told apart.
#[derive(Debug, Clone, Copy, Default)]
pub struct Node {
    /// Its dimensions, a run of [`Index::dimensions`].
    pub dimensions: Run,
    /// Rules, ascending, that have no key here.
    pub always: Run,
}

/// The rules of a node that are filed by one attribute.
#[derive(Debug, Default)]
pub struct Dimension {
    /// The number of the attribute in the vocabulary.
    pub attribute: u32,
    /// The first of the rules.
    pub first: u32,
    /// All of the rules, ascending: for requests whose attribute is not known. Empty where unknown
    /// conditions count as not matching.
    pub all: Run,
    /// What keys there are.
    pub lookup: Lookup,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Index {
    /// The first is the root.
    pub nodes: Box<[Node]>,
    /// Of all nodes.
    pub dimensions: Box<[Dimension]>,
    /// Numbers of rules.
    pub lists: Box<[u32]>,
    /// Keys of all nodes and sets.
    pub table: Table,
    /// What keys the long lists of patterns have.
    pub sets: Box<[Lookup]>,
}

impl Index {
    /// A node by its number.
    pub fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(at(number))
    }

    /// The list at [`Target::List`].
    pub fn list_at(&self, start: u32) -> &[u32] {
        let list = self.lists.get(at(start)..).and_then(<[u32]>::split_first);
        list.and_then(|(length, list)| list.get(..at(*length))).unwrap_or_default()
    }

    /// The rules of a run.
    pub fn list(&self, run: Run) -> &[u32] {
        self.lists.get(at(run.start)..at(run.end)).unwrap_or_default()
    }

    /// The dimensions of a node.
    pub fn dimensions_of(&self, node: &Node) -> &[Dimension] {
        self.dimensions.get(at(node.dimensions.start)..at(node.dimensions.end)).unwrap_or_default()
    }

    /// What it holds on the heap, in bytes.
    pub fn heap_size(&self) -> usize {
        let lookups = self.dimensions.iter().map(|d| &d.lookup).chain(&self.sets);
        size_of_val(&*self.nodes)
            + size_of_val(&*self.dimensions)
            + size_of_val(&*self.lists)
            + self.table.heap_size()
            + size_of_val(&*self.sets)
            + lookups.map(Lookup::heap_size).sum::<usize>()
    }
}
