//! Token recipes to tokens, good ones and bad ones.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Map, Value, json};

use crate::keys::{Keys, hmac_sign};

/// The token that a recipe describes.
pub(crate) fn mint(keys: &Keys, recipe: &Value) -> String {
    let mut recipe = recipe.as_object().expect("a recipe is a map").clone();
    if let Some(raw) = recipe.shift_remove("raw") {
        assert!(recipe.is_empty(), "a raw token has no other field");
        return raw.as_str().unwrap().to_owned();
    }
    let key_name = string(&mut recipe, "key").unwrap_or_else(|| "rsa1".into());
    let key = keys.get(&key_name);
    let algorithm =
        string(&mut recipe, "alg").unwrap_or_else(|| key.default_algorithm().to_owned());
    let sign_algorithm = string(&mut recipe, "sign_alg").unwrap_or_else(|| algorithm.clone());
    let tamper = string(&mut recipe, "tamper");
    let hmac_with = string(&mut recipe, "hmac_with");

    let mut header = json!({"typ": "JWT", "alg": algorithm});
    let kid = recipe.shift_remove("kid").unwrap_or_else(|| key_name.clone().into());
    merge(&mut header, json!({ "kid": kid }));
    merge(&mut header, recipe.shift_remove("header").unwrap_or_else(|| json!({})));
    let mut claims = json!({"iss": "issuer-a", "sub": "alice", "exp": "+3600"});
    merge(&mut claims, recipe.shift_remove("claims").unwrap_or_else(|| json!({})));
    resolve_times(&mut claims);
    let payload = string(&mut recipe, "payload_raw").unwrap_or_else(|| claims.to_string());
    assert!(recipe.is_empty(), "unknown {recipe:?} in a recipe");

    let message =
        format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(&payload));
    let mut signature = if sign_algorithm.eq_ignore_ascii_case("none") {
        Vec::new()
    } else if let Some(with) = hmac_with {
        assert_eq!(with, "pem");
        hmac_sign(&sign_algorithm, key.public_pem().as_bytes(), message.as_bytes())
    } else {
        key.sign(&sign_algorithm, message.as_bytes())
    };
    let whole =
        |message: &str, signature: &[u8]| format!("{message}.{}", BASE64URL.encode(signature));
    match tamper.as_deref() {
        None => whole(&message, &signature),
        Some("sig") => {
            signature[0] ^= 1;
            whole(&message, &signature)
        }
        Some("payload") => {
            merge(&mut claims, json!({"sub": "mallory"}));
            let (header, _) = message.split_once('.').unwrap();
            let message = format!("{header}.{}", BASE64URL.encode(claims.to_string()));
            whole(&message, &signature)
        }
        Some("header") => {
            merge(&mut header, json!({"tampered": "yes"}));
            let (_, payload) = message.split_once('.').unwrap();
            let message = format!("{}.{payload}", BASE64URL.encode(header.to_string()));
            whole(&message, &signature)
        }
        Some("nosig") => message,
        Some("emptysig") => format!("{message}."),
        Some(other) => panic!("tamper `{other}`"),
    }
}

/// Sets the fields of `changes`; null removes.
fn merge(target: &mut Value, changes: Value) {
    let (Value::Object(target), Value::Object(changes)) = (target, changes) else {
        panic!("only maps are merged")
    };
    for (name, value) in changes {
        if value.is_null() {
            target.shift_remove(&name);
        } else {
            target.insert(name, value);
        }
    }
}

/// `"+60"` and `"-60"` are seconds from now.
fn resolve_times(claims: &mut Value) {
    for name in ["exp", "nbf", "iat"] {
        let Some(claim) = claims.get_mut(name) else { continue };
        let relative = claim.as_str().filter(|text| text.starts_with(['+', '-']));
        if let Some(seconds) = relative.and_then(|text| text.parse::<i64>().ok()) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            *claim = (i64::try_from(now).unwrap() + seconds).into();
        }
    }
}

fn string(fields: &mut Map<String, Value>, name: &str) -> Option<String> {
    fields.shift_remove(name).map(|value| value.as_str().expect(name).to_owned())
}
