//! What an introspection endpoint says of a token, and whether that is enough.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ScopeStrategy, TokenRefused};

/// The members of an answer that decide (RFC 7662 section 2.2), and those that are handed on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Introspected {
    /// Whether the token is good now.
    #[serde(default)]
    pub active: bool,
    /// Who it is for.
    #[serde(default, rename = "sub")]
    pub subject: String,
    /// What it may be used for: names with blanks between.
    #[serde(default)]
    pub scope: String,
    /// Whom it is meant for.
    #[serde(default, rename = "aud", deserialize_with = "one_or_more")]
    pub audiences: Vec<String>,
    /// Who issued it.
    #[serde(default, rename = "iss")]
    pub issuer: String,
    /// Which client it was issued to.
    #[serde(default)]
    pub client_id: String,
    /// A name of its owner for people.
    #[serde(default)]
    pub username: String,
    /// `access_token`, or something that is none. Not standard; Ory Hydra says it.
    #[serde(default)]
    pub token_use: String,
    /// When it ends, in seconds since 1970; `None` where that is not said.
    #[serde(default, rename = "exp", deserialize_with = "seconds")]
    pub expires: Option<u64>,
    /// What the provider adds in `ext`.
    #[serde(default, rename = "ext")]
    pub extra: Map<String, Value>,
}

/// What a rule asks of a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Requirements {
    /// All of them must be granted.
    pub required_scope: Vec<String>,
    /// How that is found out; `None` leaves it to the endpoint, which is sent the scopes.
    pub scope_strategy: Option<ScopeStrategy>,
    /// All of them must be among its audiences.
    pub target_audience: Vec<String>,
    /// It must come from one of them; empty takes any.
    pub trusted_issuers: Vec<String>,
}

impl Introspected {
    /// Reads an answer. It must be a JSON object; what it does not say is as if it were empty, and
    /// a token that is not said to be active is not.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        // Members may come as a list in serde's reading of a struct; in an answer they may not.
        body.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(body).ok())?
    }

    /// Whether the token is good at `now` for a rule that asks this of it. In Oathkeeper's order,
    /// so that the first reason is the same.
    pub fn check(&self, requirements: &Requirements, now: u64) -> Result<(), TokenRefused> {
        if !self.token_use.is_empty() && self.token_use != "access_token" {
            return Err(TokenRefused::OtherUse);
        }
        if !self.active {
            return Err(TokenRefused::Inactive);
        }
        if self.expires.is_some_and(|end| end <= now) {
            return Err(TokenRefused::Expired);
        }
        if let Some(missing) =
            requirements.target_audience.iter().find(|wanted| !self.audiences.contains(wanted))
        {
            return Err(TokenRefused::Audience(missing.clone()));
        }
        let issuers = &requirements.trusted_issuers;
        if !issuers.is_empty() && !issuers.contains(&self.issuer) {
            return Err(TokenRefused::Issuer);
        }
        if let Some(strategy) = requirements.scope_strategy {
            let granted: Vec<_> = self.scope.split(' ').collect();
            let scopes = &requirements.required_scope;
            if let Some(missing) = scopes.iter().find(|scope| !strategy.grants(&granted, scope)) {
                return Err(TokenRefused::Scope(missing.clone()));
            }
        }
        Ok(())
    }
}

fn one_or_more<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        More(Vec<String>),
    }
    Ok(match Option::deserialize(input)? {
        None => Vec::new(),
        Some(Audience::One(audience)) => vec![audience],
        Some(Audience::More(audiences)) => audiences,
    })
}

/// A number of seconds from 0 on. 0 says nothing, as many servers send it for no end.
fn seconds<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range; a second that has begun is not yet over"
    )]
    let whole = |seconds: f64| seconds as u64;
    match Option::<f64>::deserialize(input)? {
        None => Ok(None),
        Some(0.0) => Ok(None),
        Some(seconds) if seconds > 0.0 && seconds < u64::MAX as f64 => Ok(Some(whole(seconds))),
        Some(_) => Err(serde::de::Error::custom("`exp` is out of range")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: u64 = 1_000;

    fn requirements(
        scopes: &[&str],
        strategy: Option<ScopeStrategy>,
        audiences: &[&str],
        issuers: &[&str],
    ) -> Requirements {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Requirements {
            required_scope: owned(scopes),
            scope_strategy: strategy,
            target_audience: owned(audiences),
            trusted_issuers: owned(issuers),
        }
    }

    fn check(answer: &str, requirements: &Requirements) -> Result<(), TokenRefused> {
        Introspected::parse(answer.as_bytes()).unwrap().check(requirements, NOW)
    }

    #[rstest]
    #[case::good(r#"{"active":true}"#, Ok(()))]
    #[case::not_active(r#"{"active":false,"sub":"a"}"#, Err(TokenRefused::Inactive))]
    #[case::not_said("{}", Err(TokenRefused::Inactive))]
    #[case::ended(r#"{"active":true,"exp":1000}"#, Err(TokenRefused::Expired))]
    #[case::ending(r#"{"active":true,"exp":1001}"#, Ok(()))]
    #[case::no_end(r#"{"active":true,"exp":0}"#, Ok(()))]
    #[case::null_end(r#"{"active":true,"exp":null,"aud":null}"#, Ok(()))]
    #[case::refresh_token(
        r#"{"active":true,"token_use":"refresh_token"}"#,
        Err(TokenRefused::OtherUse)
    )]
    #[case::inactive_refresh_token(r#"{"token_use":"refresh_token"}"#, Err(TokenRefused::OtherUse))]
    #[case::access_token(r#"{"active":true,"token_use":"access_token"}"#, Ok(()))]
    fn by_itself(#[case] answer: &str, #[case] expect: Result<(), TokenRefused>) {
        assert_eq!(check(answer, &Requirements::default()), expect);
    }

    #[rstest]
    #[case::audience_list(r#"{"active":true,"aud":["a","b"]}"#, requirements(&[], None, &["b", "a"], &[]), Ok(()))]
    #[case::audience_text(r#"{"active":true,"aud":"a"}"#, requirements(&[], None, &["a"], &[]), Ok(()))]
    #[case::audience_lacks_one(r#"{"active":true,"aud":["a"]}"#, requirements(&[], None, &["a", "b"], &[]), Err(TokenRefused::Audience("b".into())))]
    #[case::issuer(r#"{"active":true,"iss":"i"}"#, requirements(&[], None, &[], &["h", "i"]), Ok(()))]
    #[case::other_issuer(r#"{"active":true,"iss":"j"}"#, requirements(&[], None, &[], &["i"]), Err(TokenRefused::Issuer))]
    #[case::no_issuer(r#"{"active":true}"#, requirements(&[], None, &[], &["i"]), Err(TokenRefused::Issuer))]
    #[case::scopes(r#"{"active":true,"scope":"a b c"}"#, requirements(&["c", "a"], Some(ScopeStrategy::Exact), &[], &[]), Ok(()))]
    #[case::scope_lacks_one(r#"{"active":true,"scope":"a b"}"#, requirements(&["a", "c"], Some(ScopeStrategy::Exact), &[], &[]), Err(TokenRefused::Scope("c".into())))]
    #[case::scope_left_to_the_endpoint(r#"{"active":true}"#, requirements(&["a"], None, &[], &[]), Ok(()))]
    fn for_a_rule(
        #[case] answer: &str,
        #[case] requirements: Requirements,
        #[case] expect: Result<(), TokenRefused>,
    ) {
        assert_eq!(check(answer, &requirements), expect);
    }

    #[rstest]
    #[case("")]
    #[case("[]")]
    #[case("true")]
    #[case(r#"{"active":"true"}"#)]
    #[case(r#"{"active":1}"#)]
    #[case(r#"{"active":true,"exp":"soon"}"#)]
    #[case(r#"{"active":true,"exp":-1}"#)]
    #[case(r#"{"active":true,"exp":1e400}"#)]
    #[case(r#"{"active":true,"aud":[1]}"#)]
    #[case(r#"{"active":true,"scope":["a"]}"#)]
    #[case(r#"{"active":true,"active":true}"#)]
    #[case(r#"{"active":true} x"#)]
    fn no_answers(#[case] answer: &str) {
        assert_eq!(Introspected::parse(answer.as_bytes()), None);
    }
}
