//! Callers by JSON Web Token: the verifier of requests, with rules of the API's own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::User;
use crate::authn::clock::Clock;
use crate::authn::{Authentication, KeyLookup, Verifier, authenticate};
use crate::compile::{Settings, compile};
use crate::diagnostic::Severity;
use crate::manifest::{self, Options};
use crate::model::{Headers, Http, Mesh, Resource, Value, Workload};
use crate::plan::{KeySource, WorkloadPlan};

/// How long a call waits for a key that its token names and that is not there.
const KEY_WAIT: Duration = Duration::from_secs(2);

/// Why rules are of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwtRules {
    /// They are no rules of a RequestAuthentication.
    #[error("{0}")]
    Refused(String),
    /// Any token of that issuer would do, whoever it was meant for.
    #[error(
        "the rule for `{0}` needs `audiences`: tokens that are meant for others are not for the API"
    )]
    NoAudience(String),
    /// Any issuer would do.
    #[error("a rule needs an `issuer`")]
    NoIssuer,
}

/// Rules, ready to use.
#[derive(Debug, Clone)]
pub struct JwtRules {
    plan: Arc<WorkloadPlan>,
    /// The key sets that have to be fetched for them.
    pub key_sources: Vec<KeySource>,
}

impl JwtRules {
    /// From a list as `jwtRules` of a RequestAuthentication.
    ///
    /// Every rule names an issuer and an audience.
    pub fn parse(rules: &serde_json::Value) -> Result<Self, InvalidJwtRules> {
        let text = json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "RequestAuthentication",
            "metadata": { "name": "api", "namespace": "default" },
            "spec": { "jwtRules": rules },
        });
        let text = text.to_string();
        let decoded = manifest::decode(&text, Some("jwtRules.json"), &Options::default());
        let error = decoded.diagnostics.iter().find(|found| found.severity == Severity::Error);
        if let Some(error) = error {
            let path = error.path.trim_start_matches("spec.");
            return Err(InvalidJwtRules::Refused(format!("{path}: {}", error.message)));
        }
        let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
        for resource in &resources {
            let Resource::RequestAuthentication(policy) = &**resource else { continue };
            for rule in &policy.jwt_rules {
                if rule.issuer.is_empty() {
                    return Err(InvalidJwtRules::NoIssuer);
                }
                if rule.audiences.is_empty() {
                    return Err(InvalidJwtRules::NoAudience(rule.issuer.to_string()));
                }
            }
        }
        let workload = Workload {
            namespace: "default".into(),
            labels: Default::default(),
            ..Workload::default()
        };
        let settings = Settings { mesh: Mesh::default(), workloads: vec![workload] };
        let snapshot = compile(1, &resources, &[], &settings);
        let plan = snapshot.workloads.into_iter().next();
        let plan = plan.ok_or_else(|| InvalidJwtRules::Refused("there is no rule".into()))?;
        Ok(Self { plan, key_sources: snapshot.key_sources })
    }
}

/// Knows callers by their tokens.
#[derive(Clone)]
pub struct JwtCallers {
    rules: JwtRules,
    keys: Arc<dyn KeyLookup + Send + Sync>,
    clock: Clock,
    max_token_size: usize,
}

impl fmt::Debug for JwtCallers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtCallers").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl JwtCallers {
    /// By these rules and keys.
    pub fn new(
        rules: JwtRules,
        keys: Arc<dyn KeyLookup + Send + Sync>,
        clock: Clock,
        max_token_size: usize,
    ) -> Self {
        Self { rules, keys, clock, max_token_size }
    }

    /// Whose token it is: `ISSUER#SUBJECT`, with the groups of its claim `groups`.
    pub async fn user(&self, token: &str) -> Option<User> {
        let claims = self.claims(token).await?;
        user(&claims)
    }

    /// What a good token says.
    pub async fn claims(&self, token: &str) -> Option<Arc<Value>> {
        let mut answer = self.verify(token);
        if answer.error.is_some() && !answer.wanted.is_empty() {
            self.keys.seek(&answer.wanted, KEY_WAIT).await;
            answer = self.verify(token);
        }
        answer.claims.filter(|_| answer.error.is_none())
    }

    fn verify(&self, token: &str) -> Authentication {
        let line = format!("Bearer {token}").into_bytes();
        let mut http = Http {
            method: "GET".into(),
            path: "/".into(),
            host: "".into(),
            scheme: "https".into(),
            headers: Headers::new(vec![("authorization".into(), line.into())], false),
        };
        let now = self.clock.unix_seconds();
        let verifier =
            Verifier { keys: &*self.keys, cache: None, now, max_token_size: self.max_token_size };
        authenticate(&self.rules.plan.jwt, &mut http, &verifier)
    }
}

/// A token that never expires is nobody's, and groups of the system are not for others to give.
fn user(claims: &Value) -> Option<User> {
    let text = |name: &str| match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.as_str()),
        _ => None,
    };
    let Some(Value::Number(_)) = claims.get("exp") else { return None };
    let groups: Vec<&str> = match claims.get("groups") {
        // One that is no text makes all of them doubtful.
        Some(Value::List(groups)) => groups
            .iter()
            .map(|it| if let Value::String(it) = it { Some(it.as_str()) } else { None })
            .collect::<Option<_>>()?,
        Some(Value::String(group)) => vec![group],
        Some(_) => return None,
        None => Vec::new(),
    };
    let given = groups.into_iter().filter(|group| !group.starts_with("system:"));
    Some(User {
        name: format!("{}#{}", text("iss")?, text("sub")?),
        uid: String::new(),
        groups: given.map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::issuer(json!([{ "jwksUri": "https://i.example/keys", "audiences": ["a"] }]), "a rule needs an `issuer`")]
    #[case::audience(json!([{ "issuer": "i" }]), "needs `audiences`")]
    #[case::unknown(json!([{ "issuer": "i", "audience": ["a"] }]), "jwtRules[0]")]
    fn rules_that_let_too_many_in_are_refused(
        #[case] rules: serde_json::Value,
        #[case] expected: &str,
    ) {
        let error = JwtRules::parse(&rules).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    fn claims(members: &[(&str, Value)]) -> Value {
        let base = [
            ("iss", Value::String("i".into())),
            ("sub", Value::String("s".into())),
            ("exp", Value::Number(1.0)),
        ];
        let all = members.iter().cloned().chain(base);
        let mut seen: Vec<(String, Value)> = Vec::new();
        for (name, value) in all {
            if !seen.iter().any(|(known, _)| known == name) {
                seen.push((name.to_owned(), value));
            }
        }
        Value::Object(seen)
    }

    #[test]
    fn claims_become_users() {
        let text = |text: &str| Value::String(text.into());
        let groups = Value::List(vec![text("a"), text("system:masters")]);
        let known = user(&claims(&[("groups", groups)])).unwrap();
        assert_eq!((known.name.as_str(), known.groups), ("i#s", vec!["a".to_owned()]));
        let known = user(&claims(&[("groups", text("a"))])).unwrap();
        assert_eq!(known.groups, ["a"]);
        assert_eq!(user(&claims(&[("groups", Value::List(vec![text("a"), Value::Null]))])), None);
        assert_eq!(user(&claims(&[("groups", Value::Number(1.0))])), None);
        assert_eq!(user(&claims(&[("sub", text(""))])), None);
        assert_eq!(user(&claims(&[("exp", Value::Null)])), None);
    }
}
