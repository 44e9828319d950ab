//! Tokens of case files: signed for the run with a key of the run, which takes the place of the
//! issuer's own keys in the policies. So no test needs the private key of an identity provider, and
//! none asks one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use crate::authn::KeyLookup;
use crate::case_file::{CaseFile, KeysText, Signer, TokenPlace, TokenRecipe};
use crate::cli::jwt::{Algorithm, PrivateKey};
use crate::key_set::KeySet;
use crate::model::Resource;
use crate::plan::KeySourceId;
use crate::request_file::RequestFile;

/// The name of the keys of the run.
const KEY_ID: &str = "postern-test";
/// The name of a key that no set has.
const STRANGE_KEY_ID: &str = "postern-test-stranger";

/// The keys of one run.
pub(super) struct Tokens {
    /// Key sets by issuer, in place of those of the policies.
    sets: BTreeMap<String, Vec<Json>>,
    /// The same, read, and those of all issuers together.
    read: BTreeMap<String, Arc<KeySet>>,
    all: Option<Arc<KeySet>>,
    keys: Option<Keys>,
}

struct Keys {
    issuer: PrivateKey,
    forger: PrivateKey,
    stranger: PrivateKey,
    /// The public half of the first.
    public: Json,
}

impl Tokens {
    /// Makes keys where they are needed, and reads the given ones.
    pub(super) fn new(
        cases: &CaseFile,
        folder: &Path,
        paths: &mut BTreeSet<PathBuf>,
    ) -> Result<Self> {
        let mut sets = BTreeMap::new();
        for given in &cases.keys {
            let issuer = &given.issuer;
            let text = match &given.source {
                KeysText::Inline(text) => text.clone(),
                KeysText::Path(path) => {
                    let path = folder.join(path);
                    let text = fs::read_to_string(&path)
                        .with_context(|| format!("cannot read `{}`", path.display()))?;
                    paths.insert(path);
                    text
                }
            };
            KeySet::parse(&text).with_context(|| format!("keys of `{issuer}`: no key set"))?;
            sets.insert(issuer.clone(), keys_of(&text));
        }
        let recipes: Vec<_> =
            cases.requests.iter().filter_map(|case| case.token.as_ref()).collect();
        let keys = if recipes.is_empty() { None } else { Some(Keys::generate()?) };
        for (recipe, keys) in recipes.iter().flat_map(|recipe| Some((recipe, keys.as_ref()?))) {
            let set = sets.entry(recipe.issuer().to_owned()).or_default();
            if !set.contains(&keys.public) {
                set.push(keys.public.clone());
            }
        }
        let read = |keys: &[Json]| KeySet::parse(&json!({ "keys": keys }).to_string());
        let mut all: Vec<Json> = Vec::new();
        for key in sets.values().flatten() {
            if !all.contains(key) {
                all.push(key.clone());
            }
        }
        let all = if all.is_empty() { None } else { Some(Arc::new(read(&all)?)) };
        let of_issuers = sets.iter().map(|(of, keys)| Ok((of.clone(), Arc::new(read(keys)?))));
        let read = of_issuers.collect::<Result<_>>()?;
        Ok(Self { sets, read, all, keys })
    }

    /// Gives the rules of these issuers the keys of the run, beside those they have inline.
    pub(super) fn replace_keys(&self, resource: &mut Resource) {
        let rules = match resource {
            Resource::RequestAuthentication(authentication) => &mut authentication.jwt_rules,
            Resource::AuthorizationPolicy(_)
            | Resource::PeerAuthentication(_)
            | Resource::ApiRule(_) => return,
        };
        for rule in rules {
            // A rule without an issuer takes the tokens of all.
            let sets = self
                .sets
                .iter()
                .filter(|(issuer, _)| rule.issuer.is_empty() || **issuer == rule.issuer);
            let mut keys: Vec<Json> = sets.flat_map(|(_, keys)| keys).cloned().collect();
            if keys.is_empty() {
                continue;
            }
            keys.extend(rule.jwks.as_deref().map(keys_of).unwrap_or_default());
            rule.jwks = Some(json!({ "keys": keys }).to_string());
            rule.jwks_uri = None;
        }
    }

    /// Puts a token into a request that is sent at this time.
    pub(super) fn put(
        &self,
        recipe: &TokenRecipe,
        now: u64,
        request: &mut RequestFile,
    ) -> Result<()> {
        let keys = self.keys.as_ref().context("there is no key to sign a token with")?;
        let key = match recipe.signed_by {
            Signer::Issuer => &keys.issuer,
            Signer::Forger => &keys.forger,
            Signer::Stranger => &keys.stranger,
        };
        let mut claims = recipe.claims.clone();
        claims.entry("iat").or_insert_with(|| now.into());
        if let Some(seconds) = recipe.expires_in {
            claims.insert("exp".to_owned(), now.saturating_add_signed(seconds).into());
        }
        let token = key.sign(&Json::Object(claims))?;
        let mut header = |name: &str, value: String| request.headers.push((name.to_owned(), value));
        match &recipe.place {
            TokenPlace::Authorization => header("authorization", format!("Bearer {token}")),
            TokenPlace::Header(name) => header(name, token),
            TokenPlace::Cookie(name) => header("cookie", format!("{name}={token}")),
            TokenPlace::Param(name) => {
                let mark = if request.path.contains('?') { '&' } else { '?' };
                let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
                request.path.push_str(&format!("{mark}{name}={token}"));
            }
        }
        Ok(())
    }
}

/// The keys of access strategies, which are not inline. Those of Oathkeeper's `jwt` are anybody's.
impl KeyLookup for Tokens {
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>> {
        if source.issuer.is_empty() {
            self.all.clone()
        } else {
            self.read.get(&*source.issuer).cloned()
        }
    }
}

impl Keys {
    fn generate() -> Result<Self> {
        let generate = |name| PrivateKey::generate(Algorithm::Es256, Some(name));
        let issuer = generate(KEY_ID)?;
        let public = keys_of(&issuer.to_jwks()?.to_string()).into_iter().next();
        Ok(Self {
            public: public.context("a key without a public half")?,
            issuer,
            forger: generate(KEY_ID)?,
            stranger: generate(STRANGE_KEY_ID)?,
        })
    }
}

fn keys_of(text: &str) -> Vec<Json> {
    let set: Option<Json> = serde_json::from_str(text).ok();
    set.and_then(|mut set| set.get_mut("keys").map(Json::take))
        .and_then(|keys| if let Json::Array(keys) = keys { Some(keys) } else { None })
        .unwrap_or_default()
}
