//! Who calls, and whether as an administrator: by bearer token, and by nothing else.

use http::{HeaderMap, header};

use crate::api::access::JwtCallers;
use crate::model::Value;

/// The role that may change things.
const ADMIN: &str = "admin";

/// Where roles are looked for, unless told otherwise.
pub const DEFAULT_ADMIN_CLAIMS: [&str; 3] = ["roles", "realm_access.roles", "role"];

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `ISSUER#SUBJECT`
    pub name: String,
    /// Whether it has the admin role.
    pub is_admin: bool,
}

/// Knows callers by their tokens.
#[derive(Debug, Clone)]
pub struct Callers {
    jwt: JwtCallers,
    admin_claims: Vec<String>,
}

impl Callers {
    /// Those whose tokens these rules take. The claims that may hold roles are names, or paths with
    /// dots.
    pub fn new(jwt: JwtCallers, admin_claims: Vec<String>) -> Self {
        Self { jwt, admin_claims }
    }

    /// Whose token a request has; `None` is nobody.
    pub async fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let claims = self.jwt.claims(token.trim()).await?;
        caller(&claims, &self.admin_claims)
    }
}

/// A token that never expires is nobody's.
fn caller(claims: &Value, admin_claims: &[String]) -> Option<Caller> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
    let Some(Value::Number(_)) = claims.get("exp") else { return None };
    let name = format!("{}#{}", text("iss")?, text("sub")?);
    let is_admin = admin_claims.iter().any(|path| find(claims, path).is_some_and(holds_admin));
    Some(Caller { name, is_admin })
}

/// A claim of this name, or else behind this path.
fn find<'c>(claims: &'c Value, path: &str) -> Option<&'c Value> {
    claims.get(path).or_else(|| path.split('.').try_fold(claims, |claims, name| claims.get(name)))
}

/// A text of roles with spaces between them, or a list of roles.
fn holds_admin(roles: &Value) -> bool {
    match roles {
        Value::String(roles) => roles.split(' ').any(|role| role == ADMIN),
        Value::List(roles) => roles.iter().any(|role| role.as_str() == Some(ADMIN)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn value(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(it) => Value::Bool(*it),
            serde_json::Value::Number(it) => Value::Number(it.as_f64().unwrap()),
            serde_json::Value::String(it) => Value::String(it.clone()),
            serde_json::Value::Array(it) => Value::List(it.iter().map(value).collect()),
            serde_json::Value::Object(it) => {
                Value::Object(it.iter().map(|(name, it)| (name.clone(), value(it))).collect())
            }
        }
    }

    fn of(mut claims: serde_json::Value) -> Option<Caller> {
        let members = claims.as_object_mut().unwrap();
        for (name, claim) in [("iss", "i".into()), ("sub", "s".into()), ("exp", 1.into())] {
            members.entry(name).or_insert(claim);
        }
        caller(&value(&claims), &DEFAULT_ADMIN_CLAIMS.map(str::to_owned))
    }

    #[rstest]
    #[case::text(r#"{"role":"admin"}"#)]
    #[case::among_others(r#"{"roles":"viewer admin"}"#)]
    #[case::list(r#"{"roles":["viewer","admin"]}"#)]
    #[case::list_of_one(r#"{"role":["admin"]}"#)]
    #[case::keycloak(r#"{"realm_access":{"roles":["admin"]}}"#)]
    #[case::literal_name(r#"{"realm_access.roles":"admin"}"#)]
    #[case::any_of_them(r#"{"role":"viewer","roles":["admin"]}"#)]
    fn administrators(#[case] claims: &str) {
        let caller = of(serde_json::from_str(claims).unwrap()).unwrap();
        assert_eq!(caller, Caller { name: "i#s".into(), is_admin: true });
    }

    #[rstest]
    #[case::nothing("{}")]
    #[case::part(r#"{"role":"administrator"}"#)]
    #[case::case(r#"{"role":"Admin"}"#)]
    #[case::comma(r#"{"roles":"viewer,admin"}"#)]
    #[case::yes(r#"{"role":true}"#)]
    #[case::map(r#"{"roles":{"admin":true}}"#)]
    #[case::deeper(r#"{"roles":[["admin"]]}"#)]
    #[case::elsewhere(r#"{"groups":["admin"],"scope":"admin"}"#)]
    fn others(#[case] claims: &str) {
        assert!(!of(serde_json::from_str(claims).unwrap()).unwrap().is_admin);
    }

    #[rstest]
    #[case::no_subject(r#"{"sub":"","role":"admin"}"#)]
    #[case::odd_subject(r#"{"sub":1,"role":"admin"}"#)]
    #[case::no_end(r#"{"exp":null,"role":"admin"}"#)]
    fn nobody(#[case] claims: &str) {
        assert_eq!(of(serde_json::from_str(claims).unwrap()), None);
    }
}
