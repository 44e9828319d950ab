//! YAML from the events of `saphyr-parser`: documents, anchors, merge keys, limits.
//!
//! What a scalar without quotes means is `plain`'s job.

use std::collections::{HashMap, hash_map};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::{
    Content, Document, Entry, MAX_DEPTH, MAX_NODES, Node,
    json::duplicate,
    plain::{self, Plain},
};
use crate::manifest::{
    codes,
    problem::{Problem, Spot},
    text::{Positions, forbidden_character, lines, quoted},
};
use crate::model::Position;

/// Every document that is not empty. A syntax error ends its document only: the next one starts
/// at the next line with `---`, which cannot stand in the middle of anything.
pub(super) fn read(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    for (first_line, part) in parts(text) {
        Reader { part, first_line, documents: &mut documents }.read();
    }
    documents
}

/// The text cut before every `---` line (and before the directives that belong to it), each part
/// with the number of lines before it.
fn parts(text: &str) -> Vec<(u32, &str)> {
    let mut cuts = vec![(0, 0)];
    // Where a run of directives, comments and blank lines began that only a `---` may follow.
    let mut header: Option<(u32, usize)> = None;
    let mut may_start_header = true;
    for (number, (start, line)) in (0u32..).zip(lines(text)) {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if marker {
            cuts.push(header.take().unwrap_or((number, start)));
            may_start_header = false;
        } else if line.starts_with('%') && may_start_header {
            header = header.or(Some((number, start)));
        } else if line.starts_with("...") {
            (header, may_start_header) = (None, true);
        } else if !line.trim_start().is_empty() && !line.trim_start().starts_with('#') {
            (header, may_start_header) = (None, false);
        }
    }
    cuts.dedup();
    let ends = cuts.iter().skip(1).map(|(_, start)| *start).chain([text.len()]);
    cuts.iter()
        .zip(ends)
        .map(|((number, start), end)| (*number, text.get(*start..end).unwrap_or_default()))
        .collect()
}

struct Reader<'t, 'd> {
    part: &'t str,
    /// Lines before this part.
    first_line: u32,
    documents: &'d mut Vec<Document>,
}

impl Reader<'_, '_> {
    fn read(mut self) {
        if let Some((offset, c)) = forbidden_character(self.part) {
            let Position { line, column } = Positions::new(self.part).of(offset);
            let position = Position { line: line.saturating_add(self.first_line), column };
            let spot = Spot { position, width: 1, ..Spot::default() };
            let message = format!("the character U+{:04X} is not allowed in YAML", u32::from(c));
            let help = (c == '\0').then(|| "is the file UTF-16? save it as UTF-8".to_owned());
            let problem = Problem::error(codes::CONTROL_CHARACTER, spot, message).maybe_help(help);
            self.documents.push(Document::broken(problem));
            return;
        }
        let mut builder = Builder::new(self.first_line);
        for event in Parser::new_from_str(self.part) {
            let fatal = match event {
                Ok((event, span)) => match builder.event(event, span) {
                    Ok(None) => continue,
                    Ok(Some(root)) => {
                        let problems = std::mem::take(&mut builder.problems);
                        if root.content != Content::Null || !problems.is_empty() {
                            let root = Some(root);
                            self.documents.push(Document { root, complete: true, problems });
                        }
                        builder = Builder::new(self.first_line);
                        continue;
                    }
                    Err(problem) => *problem,
                },
                Err(error) => self.syntax_error(&builder, *error.marker(), error.info()),
            };
            builder.problems.push(fatal);
            let root = builder.unwind();
            let problems = builder.problems;
            self.documents.push(Document { root, complete: false, problems });
            return;
        }
    }

    fn syntax_error(&mut self, builder: &Builder, marker: Marker, info: &str) -> Problem {
        let mut position = builder.position(marker);
        let line = |number: u32| {
            let index = usize::try_from(number.saturating_sub(self.first_line)).unwrap_or(1);
            lines(self.part).nth(index.saturating_sub(1)).map_or("", |(_, line)| line)
        };
        // Errors of unfinished things are found at the end of the text, after its last line.
        let count = u32::try_from(lines(self.part).count()).unwrap_or(u32::MAX);
        let last = self.first_line.saturating_add(count);
        if position.line > last {
            let column = u32::try_from(line(last).chars().count()).unwrap_or(u32::MAX);
            position = Position { line: last, column: column.saturating_add(1) };
        }
        let indent = |text: &str| text.len() - text.trim_start().len();
        let written = line(position.line);
        let help = if written.get(..indent(written)).is_some_and(|indent| indent.contains('\t')) {
            Some("indent with spaces; YAML does not allow tabs there")
        } else if info.contains("mapping values are not allowed") {
            Some("quote a value that contains `: `, and check the indentation")
        } else if info.contains("unknown anchor") {
            Some("define the anchor before the alias, in the same document")
        } else {
            None
        };
        let spot = Spot { position, width: 1, ..Spot::default() };
        Problem::error(codes::INVALID_YAML, spot, format!("not valid YAML: {info}"))
            .maybe_help(help.map(str::to_owned))
    }
}

/// A list or mapping that has begun.
struct Open {
    position: Position,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<Entry>,
        seen: HashMap<String, Position>,
        key: Option<Key>,
        merges: Vec<Node>,
    },
}

struct Key {
    text: String,
    position: Position,
    width: usize,
    /// `<<`, written without quotes.
    is_merge: bool,
}

/// Something complete: a node, and whether it was a scalar without quotes, and its own text if so.
struct Complete {
    node: Node,
    plain: Option<String>,
}

struct Builder {
    first_line: u32,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    problems: Vec<Problem>,
}

type Fatal = Box<Problem>;

impl Builder {
    fn new(first_line: u32) -> Self {
        Self {
            first_line,
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            problems: Vec::new(),
        }
    }

    fn position(&self, marker: Marker) -> Position {
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(marker.col()).unwrap_or(u32::MAX);
        Position { line: line.saturating_add(self.first_line), column: column.saturating_add(1) }
    }

    fn spot(&self, span: Span) -> Spot {
        let one_line = span.start.line() == span.end.line();
        let width = if one_line { span.len().max(1) } else { 1 };
        Spot { position: self.position(span.start), width, path: String::new() }
    }

    /// Takes the next event. Gives the root when the document is complete.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Fatal> {
        let spot = self.spot(span);
        let complete = match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => return Ok(None),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    let message = "an alias stands inside the node it refers to";
                    return Err(Box::new(Problem::error(codes::SELF_ALIAS, spot, message)));
                };
                let (size, depth) = (node.size(), node.depth());
                self.spend(size, &spot)?;
                self.check_depth(depth, &spot)?;
                let node = self.anchors.get(&anchor).cloned();
                node.map(|node| Complete { node, plain: None })
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.spend(1, &spot)?;
                self.check_depth(1, &spot)?;
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let content = self.scalar(&text, style, tag.as_deref(), &spot);
                let node = Node { position: spot.position, width: spot.width, content };
                if anchor > 0 {
                    self.anchors.insert(anchor, node.clone());
                }
                Some(Complete { node, plain: plain.then(|| text.into_owned()) })
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), "seq", OpenContent::Sequence(Vec::new()), &spot)?;
                None
            }
            Event::MappingStart(anchor, tag) => {
                let content = OpenContent::Mapping {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    key: None,
                    merges: Vec::new(),
                };
                self.open(anchor, tag.as_deref(), "map", content, &spot)?;
                None
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(open) => Some(Complete { node: self.close(open)?, plain: None }),
                None => None,
            },
        };
        complete.map_or(Ok(None), |complete| self.place(complete, &spot))
    }

    fn open(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        own_tag: &str,
        content: OpenContent,
        spot: &Spot,
    ) -> Result<(), Fatal> {
        self.spend(1, spot)?;
        self.check_depth(1, spot)?;
        if let Some(Open { content: OpenContent::Mapping { key: None, .. }, .. }) =
            self.stack.last()
        {
            let message = "a key must be text";
            return Err(Box::new(Problem::error(codes::KEY_NOT_TEXT, spot.clone(), message)));
        }
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == own_tag)) {
            self.unsupported(tag, spot);
        }
        self.stack.push(Open { position: spot.position, anchor, content });
        Ok(())
    }

    fn close(&mut self, open: Open) -> Result<Node, Fatal> {
        let Open { position, anchor, content } = open;
        let content = match content {
            OpenContent::Sequence(items) => Content::Sequence(items),
            OpenContent::Mapping { mut entries, mut seen, merges, .. } => {
                for entry in merges.into_iter().flat_map(|merged| match merged.content {
                    Content::Mapping(entries) => entries,
                    Content::Null
                    | Content::Bool(_)
                    | Content::OldBool { .. }
                    | Content::Number(_)
                    | Content::String(_)
                    | Content::Sequence(_) => Vec::new(),
                }) {
                    // What is written here wins over what is merged in, and the first merge wins.
                    if let hash_map::Entry::Vacant(vacant) = seen.entry(entry.key.clone()) {
                        vacant.insert(entry.key_position);
                        entries.push(entry);
                    }
                }
                Content::Mapping(entries)
            }
        };
        let node = Node { position, width: 1, content };
        if anchor > 0 {
            self.spend(node.size(), &Spot::from(&node))?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Puts something complete where it belongs; gives it back if it is the root. `spot` is where it
    /// stands, which for an alias is not where its node stands.
    fn place(&mut self, complete: Complete, spot: &Spot) -> Result<Option<Node>, Fatal> {
        let Complete { mut node, plain } = complete;
        let Some(open) = self.stack.last_mut() else { return Ok(Some(node)) };
        match &mut open.content {
            OpenContent::Sequence(items) => items.push(node),
            OpenContent::Mapping { key: key @ None, .. } => {
                let (text, problem) = key_text(node, plain.as_deref(), spot)?;
                *key = Some(Key {
                    is_merge: plain.as_deref() == Some("<<"),
                    text,
                    position: spot.position,
                    width: spot.width,
                });
                self.problems.extend(problem);
            }
            OpenContent::Mapping { entries, seen, key, merges } => {
                let Some(key) = key.take() else { return Ok(None) };
                if plain.as_deref() == Some("") {
                    // Nothing was written: the key is the nearest thing to point at.
                    (node.position, node.width) = (key.position, key.width);
                }
                let spot = Spot { position: key.position, width: key.width, path: String::new() };
                if key.is_merge {
                    let is_mapping = |node: &Node| matches!(node.content, Content::Mapping(_));
                    if is_mapping(&node) {
                        merges.push(node);
                    } else if !node.items().is_empty() && node.items().iter().all(is_mapping) {
                        merges.extend(node.items().iter().cloned());
                    } else {
                        let message =
                            "the value of a merge key `<<` must be a mapping or a list of mappings";
                        self.problems.push(
                            Problem::error(codes::BAD_MERGE, spot, message)
                                .help("write `<<: *anchor`, or quote the key"),
                        );
                    }
                    return Ok(None);
                }
                match seen.entry(key.text.clone()) {
                    hash_map::Entry::Occupied(first) => {
                        self.problems.push(duplicate(&key.text, *first.get(), spot));
                    }
                    hash_map::Entry::Vacant(vacant) => {
                        vacant.insert(key.position);
                        let Key { text, position, width, .. } = key;
                        entries.push(Entry {
                            key: text,
                            key_position: position,
                            key_width: width,
                            value: node,
                        });
                    }
                }
            }
        }
        Ok(None)
    }

    /// The root as far as it is complete: entries of the outermost mapping whose values had ended.
    fn unwind(&mut self) -> Option<Node> {
        self.stack.truncate(1);
        self.stack.pop().and_then(|open| self.close(open).ok())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        spot: &Spot,
    ) -> Content {
        let string = || Content::String(text.to_owned());
        let resolved = || match plain::resolve(text) {
            Plain::Null => Content::Null,
            Plain::Bool(value) => Content::Bool(value),
            Plain::OldBool(value) => Content::OldBool { value, text: text.to_owned() },
            Plain::Number => Content::Number(text.to_owned()),
            Plain::String => string(),
        };
        let Some(tag) = tag else {
            return if style == ScalarStyle::Plain { resolved() } else { string() };
        };
        if tag.is_yaml_core_schema() {
            let content = match tag.suffix.as_str() {
                "str" => Some(string()),
                "null" => Some(resolved()).filter(|c| *c == Content::Null),
                "bool" => Some(resolved())
                    .filter(|c| matches!(c, Content::Bool(_) | Content::OldBool { .. })),
                "int" | "float" => Some(resolved()).filter(|c| matches!(c, Content::Number(_))),
                _ => None,
            };
            if let Some(content) = content {
                return content;
            }
        } else if tag.handle == "!" && tag.suffix.is_empty()
            || tag.handle.is_empty() && tag.suffix == "!"
        {
            return string();
        }
        self.unsupported(tag, spot);
        string()
    }

    fn unsupported(&mut self, tag: &Tag, spot: &Spot) {
        let written = if tag.is_yaml_core_schema() {
            format!("!!{}", tag.suffix)
        } else {
            format!("{}{}", tag.handle, tag.suffix)
        };
        let message = format!("the tag {} has no meaning here", quoted(&written));
        self.problems
            .push(Problem::error(codes::UNSUPPORTED_TAG, spot.clone(), message).help("remove it"));
    }

    fn spend(&mut self, nodes: usize, spot: &Spot) -> Result<(), Fatal> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message =
            format!("more than {MAX_NODES} nodes, counting aliases as often as they stand");
        Err(Box::new(Problem::error(codes::TOO_LARGE, spot.clone(), message)))
    }

    fn check_depth(&self, more: usize, spot: &Spot) -> Result<(), Fatal> {
        if self.stack.len() + more <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!("more than {MAX_DEPTH} levels of nesting");
        Err(Box::new(Problem::error(codes::TOO_DEEP, spot.clone(), message)))
    }
}

/// The text of a key, and what is wrong with it. Kubernetes' parser would turn `on:` into `true:`.
fn key_text(
    node: Node,
    plain: Option<&str>,
    spot: &Spot,
) -> Result<(String, Option<Problem>), Fatal> {
    let not_text = |code, what: &str, text: &str| {
        let message = format!("the key {} is {what}, not text", quoted(text));
        Some(Problem::error(code, spot.clone(), message).help(format!("quote it: `\"{text}\"`")))
    };
    let canonical = |text: &str| {
        text == "0"
            || (!text.starts_with('0')
                && text.len() < 19
                && text.chars().all(|c| c.is_ascii_digit()))
    };
    match node.content {
        Content::String(text) => Ok((text, None)),
        Content::Number(text) if canonical(&text) => Ok((text, None)),
        Content::Number(text) => {
            let problem = not_text(codes::KEY_NOT_TEXT, "a number", &text);
            Ok((text, problem))
        }
        Content::Bool(value) => {
            let text = plain.map_or_else(|| value.to_string(), str::to_owned);
            let problem = not_text(codes::KEY_NOT_TEXT, "a boolean", &text);
            Ok((text, problem))
        }
        Content::OldBool { text, .. } => {
            let problem = not_text(codes::OLD_BOOL_KEY, "a boolean to Kubernetes", &text);
            Ok((text, problem))
        }
        Content::Null => {
            let text = plain.unwrap_or_default().to_owned();
            let message = "a key is missing before the `:`";
            Ok((text, Some(Problem::error(codes::KEY_NOT_TEXT, spot.clone(), message))))
        }
        Content::Sequence(_) | Content::Mapping(_) => {
            let message = "a key must be text";
            Err(Box::new(Problem::error(codes::KEY_NOT_TEXT, spot.clone(), message)))
        }
    }
}
