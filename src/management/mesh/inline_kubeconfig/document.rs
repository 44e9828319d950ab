//! What stands in a kubeconfig: a few members, and an error for every other.
//!
//! What their values are good for is the module above's to see.

use std::fmt;

use super::InvalidKubeconfig;
use crate::manifest::node::{Content, Entry, Node, parse_documents};

/// Where something stands, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member(String);

impl Member {
    /// Keys come from the caller, too.
    fn new(place: &str, key: &str) -> Self {
        const MOST: usize = 64;
        let key: String = key.chars().filter(|char| !char.is_control()).take(MOST).collect();
        Self(if place.is_empty() { key } else { format!("{place}.{key}") })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the current context comes to.
pub(super) struct Chosen {
    pub(super) server: String,
    /// PEM in base64, as all that follow but the token.
    pub(super) authority: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) token: Option<String>,
}

/// Named things of a list.
type Named<T> = Vec<(String, T)>;

struct Server {
    url: String,
    authority: Option<String>,
}

#[derive(Default)]
struct Credentials {
    certificate: Option<String>,
    key: Option<String>,
    token: Option<String>,
}

struct Context {
    cluster: String,
    user: String,
}

/// Reads all of it, also what the current context does not use.
pub(super) fn read(text: &str) -> Result<Chosen, InvalidKubeconfig> {
    let documents = parse_documents(text, None).map_err(|found| InvalidKubeconfig::Syntax {
        line: found.first().map_or(1, |found| found.position.line),
    })?;
    let [document] = documents.as_slice() else { return Err(InvalidKubeconfig::Documents) };
    let mut clusters = Vec::new();
    let mut users = Vec::new();
    let mut contexts = Vec::new();
    let mut current = None;
    for Entry { key, value, .. } in members(document, "kubeconfig")? {
        let place = key.as_str();
        match place {
            "apiVersion" => expect(value, place, "v1")?,
            "kind" => expect(value, place, "Config")?,
            "clusters" => clusters = named(value, "clusters", "cluster", server)?,
            "users" => users = named(value, "users", "user", credentials)?,
            "contexts" => contexts = named(value, "contexts", "context", context)?,
            "current-context" => current = Some(string(value, "", place)?),
            // kubectl and kubeadm write it, and while it is empty it means nothing.
            "preferences" if members(value, place)?.is_empty() => {}
            _ => return Err(InvalidKubeconfig::Unknown(Member::new("", key))),
        }
    }
    let context = match current.filter(|name| !name.is_empty()) {
        Some(current) => only(contexts, &current, "current-context")?,
        None => return Err(InvalidKubeconfig::Missing("current-context")),
    };
    let Server { url, authority } = only(clusters, &context.cluster, "cluster")?;
    let credentials = if context.user.is_empty() {
        Credentials::default()
    } else {
        only(users, &context.user, "user")?
    };
    let Credentials { certificate, key, token } = credentials;
    Ok(Chosen { server: url, authority, certificate, key, token })
}

fn server(node: &Node, place: &str) -> Result<Server, InvalidKubeconfig> {
    let (mut url, mut authority) = (None, None);
    for Entry { key, value, .. } in members(node, place)? {
        match key.as_str() {
            "server" => url = Some(string(value, place, key)?),
            "certificate-authority-data" => authority = Some(string(value, place, key)?),
            _ => return Err(InvalidKubeconfig::Unknown(Member::new(place, key))),
        }
    }
    let url = url.filter(|url| !url.is_empty()).ok_or(InvalidKubeconfig::Missing("server"))?;
    Ok(Server { url, authority })
}

fn credentials(node: &Node, place: &str) -> Result<Credentials, InvalidKubeconfig> {
    let mut read = Credentials::default();
    for Entry { key, value, .. } in members(node, place)? {
        let member = match key.as_str() {
            "client-certificate-data" => &mut read.certificate,
            "client-key-data" => &mut read.key,
            "token" => &mut read.token,
            _ => return Err(InvalidKubeconfig::Unknown(Member::new(place, key))),
        };
        *member = Some(string(value, place, key)?);
    }
    Ok(read)
}

fn context(node: &Node, place: &str) -> Result<Context, InvalidKubeconfig> {
    let (mut cluster, mut user) = (None, String::new());
    for Entry { key, value, .. } in members(node, place)? {
        match key.as_str() {
            "cluster" => cluster = Some(string(value, place, key)?),
            "user" => user = string(value, place, key)?,
            // Calls name theirs.
            "namespace" => drop(string(value, place, key)?),
            _ => return Err(InvalidKubeconfig::Unknown(Member::new(place, key))),
        }
    }
    Ok(Context { cluster: cluster.ok_or(InvalidKubeconfig::Missing("cluster"))?, user })
}

/// A list of `name` and one other member.
fn named<T>(
    node: &Node,
    list: &str,
    member: &'static str,
    read: impl Fn(&Node, &str) -> Result<T, InvalidKubeconfig>,
) -> Result<Named<T>, InvalidKubeconfig> {
    let Content::Sequence(items) = &node.content else {
        return Err(InvalidKubeconfig::Type(Member::new("", list), "a list"));
    };
    let mut all = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let place = format!("{list}[{index}]");
        let (mut name, mut content) = (None, None);
        for Entry { key, value, .. } in members(item, &place)? {
            match key.as_str() {
                "name" => name = Some(string(value, &place, key)?),
                key if key == member => content = Some(read(value, &format!("{place}.{member}"))?),
                _ => return Err(InvalidKubeconfig::Unknown(Member::new(&place, key))),
            }
        }
        let name = name.ok_or(InvalidKubeconfig::Missing("name"))?;
        all.push((name, content.ok_or(InvalidKubeconfig::Missing(member))?));
    }
    Ok(all)
}

/// The one of that name.
fn only<T>(all: Named<T>, name: &str, what: &'static str) -> Result<T, InvalidKubeconfig> {
    let mut found = all.into_iter().filter(|(known, _)| known == name);
    match (found.next(), found.next()) {
        (Some((_, found)), None) => Ok(found),
        (None | Some(_), _) => Err(InvalidKubeconfig::Name(what)),
    }
}

fn members<'n>(node: &'n Node, place: &str) -> Result<&'n [Entry], InvalidKubeconfig> {
    if let Content::Mapping(entries) = &node.content {
        Ok(entries)
    } else {
        Err(InvalidKubeconfig::Type(Member::new("", place), "a mapping"))
    }
}

fn string(node: &Node, place: &str, key: &str) -> Result<String, InvalidKubeconfig> {
    if let Content::String(text) = &node.content {
        Ok(text.clone())
    } else {
        Err(InvalidKubeconfig::Type(Member::new(place, key), "a string"))
    }
}

fn expect(node: &Node, key: &str, text: &'static str) -> Result<(), InvalidKubeconfig> {
    if string(node, "", key)? == text {
        Ok(())
    } else {
        Err(InvalidKubeconfig::Type(Member::new("", key), text))
    }
}
