//! Tokens that a case describes instead of holding them.

use serde_json::{Map, Value as Json};

use super::{Signer, TokenPlace, TokenRecipe};
use crate::manifest::codes;
use crate::manifest::cursor::{At, Fields, expect_mapping, one_of, string};
use crate::manifest::problem::{Problem, Report};
use crate::manifest::text::quoted;

const SIGNERS: [(&str, Signer); 3] =
    [("issuer", Signer::Issuer), ("forger", Signer::Forger), ("stranger", Signer::Stranger)];

/// Claims that would be lost if the recipe named them too.
const TIMES: [&str; 2] = ["exp", "iat"];

pub(super) fn recipe(at: &At<'_>, report: &mut Report<'_>) -> Option<TokenRecipe> {
    let mut fields = Fields::open(at, report);
    let claims = fields.required("claims").map(|at| claims(&at, fields.report));
    let has_end = claims.as_ref().is_some_and(|claims| claims.contains_key("exp"));
    let expires_in = match fields.optional("expiresIn") {
        Some(at) => {
            if has_end {
                let message = "`claims` has an `exp` already";
                fields.report.add(
                    Problem::error(codes::REQUEST_CONFLICT, &at, message)
                        .help("remove one of the two"),
                );
            }
            seconds(&at, fields.report)
        }
        None => (!has_end).then_some(TokenRecipe::DEFAULT_LIFE.as_secs().cast_signed()),
    };
    let signer = fields.optional("signedBy");
    let signed_by = signer.and_then(|at| one_of(&at, &SIGNERS, fields.report)).unwrap_or_default();
    let place = fields.optional("in").and_then(|at| place(&at, fields.report)).unwrap_or_default();
    fields.close_with(|name| {
        let is_claim =
            ["iss", "sub", "aud", "scope", "groups"].contains(&name) || TIMES.contains(&name);
        is_claim.then(|| "write it below `claims`".to_owned())
    });
    Some(TokenRecipe { claims: claims?, expires_in, signed_by, place })
}

fn claims(at: &At<'_>, report: &mut Report<'_>) -> Map<String, Json> {
    expect_mapping(at, report);
    let claims = at.entries().map(|(entry, value)| (entry.key.clone(), value.node.to_json()));
    let claims: Map<_, _> = claims.collect();
    if !claims.get("iss").is_some_and(Json::is_string) {
        let message = "a token needs the issuer that it claims to be from";
        report.add(
            Problem::error(codes::MISSING_FIELD, at, message)
                .help("write `iss`, as the `issuer` of a RequestAuthentication"),
        );
    }
    claims
}

/// A time with a sign, as `-5m`.
fn seconds(at: &At<'_>, report: &mut Report<'_>) -> Option<i64> {
    let text = string(at, report)?;
    let (sign, length) = match text.strip_prefix('-') {
        Some(length) => (-1, length),
        None => (1, text.strip_prefix('+').unwrap_or(&text)),
    };
    let unit = length.chars().last();
    let factor = match unit {
        Some('s') => Some(1),
        Some('m') => Some(60),
        Some('h') => Some(3_600),
        Some('d') => Some(86_400),
        Some(_) | None => None,
    };
    let number: Option<i64> = length
        .strip_suffix(|c: char| Some(c) == unit)
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|number| number.parse().ok());
    let seconds = factor
        .zip(number)
        .and_then(|(factor, number)| number.checked_mul(factor)?.checked_mul(sign));
    if seconds.is_none() {
        let message = format!("{} is no length of time", quoted(&text));
        report.add(
            Problem::error(codes::BAD_DURATION, at, message)
                .help("write it like `10m`, or `-5m` for a token that has expired"),
        );
    }
    seconds
}

fn place(at: &At<'_>, report: &mut Report<'_>) -> Option<TokenPlace> {
    let mut fields = Fields::open(at, report);
    let header = fields.string("header").map(|name| TokenPlace::Header(name.to_ascii_lowercase()));
    let param = fields.string("param").map(TokenPlace::Param);
    let cookie = fields.string("cookie").map(TokenPlace::Cookie);
    let mut places = [header, param, cookie].into_iter().flatten();
    let first = places.next();
    if first.is_none() || places.next().is_some() {
        let message = "a token is in one place";
        fields.report.add(
            Problem::error(codes::REQUEST_CONFLICT, at, message)
                .help("write one of `header`, `param`, `cookie` with its name"),
        );
    }
    fields.close();
    first
}
