//! Lists of entries to the words that compiled rules are written in, each text kept once.
//!
//! Also says what key each entry has, so that entry and key stand side by side. What a field means
//! for a rule is `build`'s job.

use std::{borrow::Cow, collections::HashMap};

use ipnet::IpNet;

use crate::matcher::{
    MetadataMatch, NamespaceMatch, PathTemplate, PrincipalMatch, RequestPrincipalMatch,
    ServiceAccountMatch, Star, StringMatch, TrustDomainMatch,
};
use crate::model::{Located, StringList};
use crate::plan::index::key::{Case, Key};
use crate::plan::vocabulary::{Attribute, Form, Vocabulary, Word};

/// The patterns of one list.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// One or two for each entry.
    pub(super) words: Vec<Word>,
    /// One for each entry.
    pub(super) keys: Vec<Key>,
}

/// Collects a [`Vocabulary`].
#[derive(Debug, Default)]
pub(super) struct Words<'p> {
    attributes: Vec<Attribute>,
    numbers_of_attributes: HashMap<Attribute, u32>,
    text: String,
    starts: Vec<u32>,
    numbers_of_texts: HashMap<Cow<'p, str>, u32>,
    blocks: Vec<IpNet>,
    numbers_of_blocks: HashMap<IpNet, u32>,
    templates: Vec<PathTemplate>,
    numbers_of_templates: HashMap<&'p str, u32>,
}

/// `None` of these functions: more of something than a word can count.
impl<'p> Words<'p> {
    pub(super) fn attribute(&mut self, attribute: &Attribute) -> Option<u32> {
        if let Some(number) = self.numbers_of_attributes.get(attribute) {
            return Some(*number);
        }
        let number = count(self.attributes.len())?;
        self.attributes.push(attribute.clone());
        self.numbers_of_attributes.insert(attribute.clone(), number);
        Some(number)
    }

    pub(super) fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    fn text(&mut self, text: Cow<'p, str>) -> Option<u32> {
        if let Some(number) = self.numbers_of_texts.get(&text) {
            return Some(*number);
        }
        let number = count(self.starts.len())?;
        self.starts.push(u32::try_from(self.text.len()).ok()?);
        self.text.push_str(&text);
        self.numbers_of_texts.insert(text, number);
        Some(number)
    }

    fn string(&mut self, string: StringMatch<'p>) -> Option<Word> {
        let (form, text) = match string {
            StringMatch::Present => return Word::new(Form::Present, 0),
            StringMatch::OneOrMore => return Word::new(Form::OneOrMore, 0),
            StringMatch::Exact(text) => (Form::Exact, text),
            StringMatch::Prefix(text) => (Form::Prefix, text),
            StringMatch::Suffix(text) => (Form::Suffix, text),
        };
        Word::new(form, self.text(text.into())?)
    }

    pub(super) fn strings(
        &mut self,
        list: &'p StringList,
        star: Star,
        case: Case,
    ) -> Option<Patterns> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            let string = StringMatch::parse(entry, star);
            patterns.add(self.string(string)?, string_key(string, case));
        }
        Some(patterns)
    }

    /// Paths and templates; `Some(None)` where an entry can be neither.
    pub(super) fn paths(&mut self, list: &'p StringList) -> Option<Option<Patterns>> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            if PathTemplate::is_template(entry) {
                let number = match self.numbers_of_templates.get(&***entry) {
                    Some(number) => *number,
                    None => {
                        // A field with one unusable entry says nothing certain about any path.
                        let Some(template) = PathTemplate::parse(entry) else {
                            return Some(None);
                        };
                        let number = count(self.templates.len())?;
                        self.templates.push(template);
                        self.numbers_of_templates.insert(entry, number);
                        number
                    }
                };
                patterns.add(Word::new(Form::Number, number)?, self.template_key(number));
            } else {
                let string = StringMatch::parse(entry, Star::OneOrMore);
                patterns.add(self.string(string)?, string_key(string, Case::Counts));
            }
        }
        Some(Some(patterns))
    }

    /// The longer of what all its paths begin with and of what they end with.
    fn template_key(&self, number: u32) -> Key {
        let template = usize::try_from(number).ok().and_then(|at| self.templates.get(at));
        let (start, end) = template.map_or(("", ""), |t| (t.start(), t.end()));
        if end.len() > start.len() {
            Key::suffix(end, Case::Counts)
        } else {
            Key::prefix(start, Case::Counts)
        }
    }

    pub(super) fn principals(&mut self, list: &'p StringList) -> Option<Patterns> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            let string = match PrincipalMatch::parse(entry) {
                PrincipalMatch::Any => StringMatch::Present,
                PrincipalMatch::Exact(text) => StringMatch::Exact(text),
                PrincipalMatch::Prefix(text) => StringMatch::Prefix(text),
                PrincipalMatch::Suffix(text) => StringMatch::Suffix(text),
            };
            patterns.add(self.string(string)?, string_key(string, Case::Counts));
        }
        Some(patterns)
    }

    /// Keys are of what stands behind `/ns/`.
    pub(super) fn namespaces(&mut self, list: &'p StringList) -> Option<Patterns> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            let framed = NamespaceMatch::frame(entry);
            let behind = framed.strip_prefix("/ns/").unwrap_or_default();
            let key = Key::prefix(behind.split('*').next().unwrap_or_default(), Case::Counts);
            let text = self.text(framed.into())?;
            patterns.add(Word::new(Form::Exact, text)?, key);
        }
        Some(patterns)
    }

    /// Keys are of the segments behind `ns` and `sa`.
    pub(super) fn service_accounts(
        &mut self,
        list: &'p StringList,
        policy_namespace: &str,
    ) -> Option<Patterns> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            let (namespace, account) = ServiceAccountMatch::split(entry, policy_namespace);
            let key = Key::pair(first_segment(namespace), first_segment(account));
            let (namespace, account) = ServiceAccountMatch::frame(namespace, account);
            let (namespace, account) = (self.text(namespace.into())?, self.text(account.into())?);
            patterns.words.push(Word::new(Form::Exact, namespace)?);
            patterns.add(Word::new(Form::Exact, account)?, key);
        }
        Some(patterns)
    }

    /// Keys are of what stands behind `spiffe://`.
    pub(super) fn trust_domains(&mut self, list: &'p StringList) -> Option<Patterns> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            let none = Word::new(Form::Present, 0)?;
            let (first, second, key) = match TrustDomainMatch::parse(entry) {
                TrustDomainMatch::Any => (none, none, Key::present()),
                TrustDomainMatch::Exact(text) => {
                    let key = Key::prefix(&format!("{text}/"), Case::Counts);
                    (Word::new(Form::Exact, self.text(text.into())?)?, none, key)
                }
                TrustDomainMatch::Glob(start, end) => (
                    Word::new(Form::Prefix, self.text(start.into())?)?,
                    Word::new(Form::Suffix, self.text(end.into())?)?,
                    Key::prefix(start, Case::Counts),
                ),
            };
            patterns.words.push(first);
            patterns.add(second, key);
        }
        Some(patterns)
    }

    pub(super) fn request_principals(&mut self, list: &'p StringList) -> Option<Patterns> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            let RequestPrincipalMatch { issuer, subject } = RequestPrincipalMatch::parse(entry);
            let key = match (issuer, subject) {
                (StringMatch::Exact(issuer), StringMatch::Exact(subject)) => {
                    Key::pair(issuer, subject)
                }
                (StringMatch::Exact(issuer), _) => Key::first(issuer),
                (_, StringMatch::Exact(subject)) => Key::second(subject),
                (_, _) => Key::present(),
            };
            patterns.words.push(self.string(issuer)?);
            patterns.add(self.string(subject)?, key);
        }
        Some(patterns)
    }

    pub(super) fn metadata(&mut self, list: &'p StringList) -> Option<Patterns> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            let (word, string) = match MetadataMatch::parse(entry) {
                MetadataMatch::String(string) => (self.string(string)?, string),
                MetadataMatch::OneOf(string) => (self.string(string)?.of_list(), string),
            };
            patterns.add(word, string_key(string, Case::Counts));
        }
        Some(patterns)
    }

    pub(super) fn blocks(&mut self, list: &[Located<IpNet>]) -> Option<Patterns> {
        let mut patterns = Patterns::with(list.len());
        for entry in list {
            let number = match self.numbers_of_blocks.get(&entry.value) {
                Some(number) => *number,
                None => {
                    let number = count(self.blocks.len())?;
                    self.blocks.push(entry.value);
                    self.numbers_of_blocks.insert(entry.value, number);
                    number
                }
            };
            patterns.add(Word::new(Form::Number, number)?, Key::block(entry.value));
        }
        Some(patterns)
    }

    /// The vocabulary of all that was asked for.
    pub(super) fn finish(mut self) -> Option<Vocabulary> {
        self.starts.push(u32::try_from(self.text.len()).ok()?);
        let Self { attributes, text, starts, blocks, templates, .. } = self;
        Some(Vocabulary::new(attributes, text, starts, blocks, templates))
    }
}

/// Ports need no vocabulary.
pub(super) fn ports(list: &[Located<u16>]) -> Option<Patterns> {
    let mut patterns = Patterns::with(list.len());
    for entry in list {
        patterns.add(Word::new(Form::Number, entry.value.into())?, Key::number(entry.value));
    }
    Some(patterns)
}

impl Patterns {
    fn with(entries: usize) -> Self {
        Self { words: Vec::with_capacity(entries), keys: Vec::with_capacity(entries) }
    }

    fn add(&mut self, word: Word, key: Key) {
        self.words.push(word);
        self.keys.push(key);
    }
}

fn string_key(string: StringMatch<'_>, case: Case) -> Key {
    match string {
        StringMatch::Present | StringMatch::OneOrMore => Key::present(),
        StringMatch::Exact(text) => Key::exact(text, case),
        StringMatch::Prefix(text) => Key::prefix(text, case),
        StringMatch::Suffix(text) => Key::suffix(text, case),
    }
}

fn first_segment(text: &str) -> &str {
    text.split('/').next().unwrap_or_default()
}

fn count(number: usize) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number < Word::NUMBERS)
}
