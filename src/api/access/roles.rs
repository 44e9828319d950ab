//! Roles, and who has them where.
//!
//! viewer reads; editor also writes policies; admin also writes their status and makes and takes away
//! namespaces. Each holds for some namespaces or for all.

use std::collections::BTreeSet;

use super::{AUTHENTICATED, Action, MASTERS, User};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// get, list, watch.
    Viewer,
    /// And create, update, patch, delete, deletecollection of policies.
    Editor,
    /// And `/status`, and namespaces.
    Admin,
}

/// Where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// Everywhere, and in lists of all namespaces.
    All,
    /// In these.
    Only(BTreeSet<String>),
}

impl Namespaces {
    /// As the configuration has them.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::All => vec!["*"],
            Self::Only(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// Gives a role to users and groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What they may do.
    pub role: Role,
    /// Where.
    pub namespaces: Namespaces,
    /// Names of users.
    pub users: BTreeSet<String>,
    /// Names of groups.
    pub groups: BTreeSet<String>,
}

/// Why a grant is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// Not a role.
    #[error("`{0}` is not a role: viewer, editor or admin")]
    Role(String),
    /// It would be given to nobody.
    #[error("neither `users` nor `groups` name anybody")]
    Nobody,
    /// It would hold nowhere.
    #[error("`namespaces` is empty; `[\"*\"]` is all")]
    Nowhere,
    /// A star beside names.
    #[error("`*` is all namespaces; leave the others out")]
    StarAndOthers,
}

impl Role {
    /// By its name in the configuration.
    pub fn from_name(name: &str) -> Result<Self, InvalidGrant> {
        match name {
            "viewer" => Ok(Self::Viewer),
            "editor" => Ok(Self::Editor),
            "admin" => Ok(Self::Admin),
            other => Err(InvalidGrant::Role(other.to_owned())),
        }
    }

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The least role that may do this.
    fn needed_for(action: &Action<'_>) -> Self {
        let reads = READ.contains(&action.verb);
        let is_status = action.resource.ends_with("/status");
        let is_namespace = action.group.is_empty();
        match (reads, is_status || is_namespace) {
            (true, _) => Self::Viewer,
            (false, false) => Self::Editor,
            (false, true) => Self::Admin,
        }
    }
}

/// Verbs that change nothing.
pub(super) const READ: [&str; 3] = ["get", "list", "watch"];

/// Verbs that do.
pub(super) const WRITE: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

impl Grant {
    /// From its parts as written: `*` is every namespace.
    pub fn new(
        role: &str,
        namespaces: impl IntoIterator<Item = String>,
        users: impl IntoIterator<Item = String>,
        groups: impl IntoIterator<Item = String>,
    ) -> Result<Self, InvalidGrant> {
        let role = Role::from_name(role)?;
        let names: BTreeSet<_> = namespaces.into_iter().collect();
        let namespaces = match (names.contains("*"), names.len()) {
            (true, 1) => Namespaces::All,
            (true, _) => return Err(InvalidGrant::StarAndOthers),
            (false, 0) => return Err(InvalidGrant::Nowhere),
            (false, _) => Namespaces::Only(names),
        };
        let (users, groups): (BTreeSet<_>, BTreeSet<_>) =
            (users.into_iter().collect(), groups.into_iter().collect());
        if users.is_empty() && groups.is_empty() {
            return Err(InvalidGrant::Nobody);
        }
        Ok(Self { role, namespaces, users, groups })
    }

    fn is_given_to(&self, user: &User) -> bool {
        self.users.contains(&user.name)
            || self.groups.contains(AUTHENTICATED)
            || user.groups.iter().any(|group| self.groups.contains(group))
    }

    /// An empty namespace is all of them, and a namespace itself is in itself.
    fn holds_for(&self, action: &Action<'_>) -> bool {
        let place = match (action.group, action.namespace) {
            ("", "") => action.name,
            (_, namespace) => namespace,
        };
        match &self.namespaces {
            Namespaces::All => true,
            Namespaces::Only(names) => names.contains(place),
        }
    }
}

/// All grants. [`MASTERS`] need none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles {
    /// In any order: each only adds.
    pub grants: Vec<Grant>,
}

impl Roles {
    /// Whether the user may do this.
    pub fn allow(&self, user: &User, action: &Action<'_>) -> bool {
        let needed = Role::needed_for(action);
        is_master(user)
            || self.grants.iter().any(|grant| {
                grant.role >= needed && grant.is_given_to(user) && grant.holds_for(action)
            })
    }

    /// The user's strongest role in a namespace; an empty one is all of them.
    pub fn role_in(&self, user: &User, namespace: &str) -> Option<Role> {
        if is_master(user) {
            return Some(Role::Admin);
        }
        let action = Action { verb: "", group: "any", resource: "", namespace, name: "" };
        let held = self.grants.iter().filter(|it| it.is_given_to(user) && it.holds_for(&action));
        held.map(|grant| grant.role).max()
    }
}

fn is_master(user: &User) -> bool {
    user.groups.iter().any(|group| group == MASTERS)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    fn grant(role: &str, namespaces: &[&str], users: &[&str], groups: &[&str]) -> Grant {
        Grant::new(role, texts(namespaces), texts(users), texts(groups)).unwrap()
    }

    fn roles() -> Roles {
        Roles {
            grants: vec![
                grant("viewer", &["*"], &[], &["auditors"]),
                grant("editor", &["shop"], &["ann"], &[]),
                grant("admin", &["shop"], &["adam"], &[]),
                grant("viewer", &["open"], &[], &[AUTHENTICATED]),
            ],
        }
    }

    fn user(name: &str, groups: &[&str]) -> User {
        User { name: name.into(), groups: texts(groups), ..User::default() }
    }

    const POLICIES: (&str, &str) = ("security.istio.io", "authorizationpolicies");
    const STATUS: (&str, &str) = ("security.istio.io", "authorizationpolicies/status");
    const CORE: (&str, &str) = ("", "namespaces");

    #[rstest]
    #[case::viewer_reads("vic", &["auditors"], "list", POLICIES, "shop", true)]
    #[case::everywhere("vic", &["auditors"], "watch", POLICIES, "", true)]
    #[case::reads_status("vic", &["auditors"], "get", STATUS, "shop", true)]
    #[case::viewer_does_not_write("vic", &["auditors"], "create", POLICIES, "shop", false)]
    #[case::of_the_group("vic", &["auditor"], "list", POLICIES, "shop", false)]
    #[case::editor_writes("ann", &[], "patch", POLICIES, "shop", true)]
    #[case::editor_elsewhere("ann", &[], "patch", POLICIES, "pay", false)]
    #[case::editor_in_all("ann", &[], "list", POLICIES, "", false)]
    #[case::editor_and_status("ann", &[], "update", STATUS, "shop", false)]
    #[case::admin_and_status("adam", &[], "update", STATUS, "shop", true)]
    #[case::unknown_verbs_write("vic", &["auditors"], "impersonate", POLICIES, "shop", false)]
    #[case::everybody("eve", &[], "get", POLICIES, "open", true)]
    #[case::not_everything("eve", &[], "delete", POLICIES, "open", false)]
    #[case::masters("root", &[MASTERS], "delete", STATUS, "kube-system", true)]
    #[case::no_user_of_that_name(MASTERS, &[], "get", POLICIES, "shop", false)]
    fn who_may_what(
        #[case] name: &str,
        #[case] groups: &[&str],
        #[case] verb: &str,
        #[case] (group, resource): (&str, &str),
        #[case] namespace: &str,
        #[case] expected: bool,
    ) {
        let action = Action { verb, group, resource, namespace, name: "" };
        assert_eq!(roles().allow(&user(name, groups), &action), expected);
    }

    #[rstest]
    #[case::own("adam", "delete", "shop", true)]
    #[case::others("adam", "delete", "pay", false)]
    #[case::editor("ann", "delete", "shop", false)]
    #[case::seen("ann", "get", "shop", true)]
    #[case::list("ann", "list", "", false)]
    fn namespaces_are_in_themselves(
        #[case] name: &str,
        #[case] verb: &str,
        #[case] namespace: &str,
        #[case] expected: bool,
    ) {
        let (group, resource) = CORE;
        let action = Action { verb, group, resource, namespace: "", name: namespace };
        assert_eq!(roles().allow(&user(name, &[]), &action), expected);
    }

    #[test]
    fn the_strongest_role_counts() {
        let ann = user("ann", &["auditors"]);
        assert_eq!(roles().role_in(&ann, "shop"), Some(Role::Editor));
        assert_eq!(roles().role_in(&ann, "pay"), Some(Role::Viewer));
        assert_eq!(roles().role_in(&user("eve", &[]), ""), None);
        assert_eq!(roles().role_in(&user("eve", &[MASTERS]), ""), Some(Role::Admin));
    }

    #[rstest]
    #[case::role("owner", &["*"], &["a"], InvalidGrant::Role("owner".into()))]
    #[case::nobody("viewer", &["*"], &[], InvalidGrant::Nobody)]
    #[case::nowhere("viewer", &[], &["a"], InvalidGrant::Nowhere)]
    #[case::star("viewer", &["*", "shop"], &["a"], InvalidGrant::StarAndOthers)]
    fn bad_grants_are_errors(
        #[case] role: &str,
        #[case] namespaces: &[&str],
        #[case] users: &[&str],
        #[case] error: InvalidGrant,
    ) {
        assert_eq!(Grant::new(role, texts(namespaces), texts(users), []), Err(error));
    }
}
