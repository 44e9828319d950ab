//! Tokens of a request: what they say, how good they are, where they are put.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    patterns::near,
    policies::{OUTPUT_HEADERS, TOKEN_COOKIES, TOKEN_HEADERS, TOKEN_PARAMS},
    random::Chance,
    scenario::Scenario,
};

/// The token that a rule asks for, while a request is made to match.
pub(crate) struct Bearer {
    issuer: String,
    issuers: Vec<(String, String)>,
    audiences: Vec<String>,
    claims: Map<String, Value>,
    is_wanted: bool,
    /// A rule has a condition on it.
    is_asked_for: bool,
}

/// Where a token can be put.
#[derive(Clone)]
enum Place {
    Header(String, String),
    Param(String),
    Cookie(String),
}

impl Bearer {
    pub(crate) fn new(chance: &mut Chance, scenario: &Scenario) -> Self {
        let value = |chance: &mut Chance| chance.pick(&scenario.claim_values).clone();
        let mut claims = Map::new();
        claims.insert("sub".into(), chance.pick(&scenario.subjects).clone().into());
        let some = json!({
            "groups": [value(chance), value(chance)],
            "role": value(chance),
            "scope": format!("{} {}", value(chance), value(chance)),
            "permission": value(chance),
            "o": {"k": value(chance)},
            "num": 5,
            "flag": true,
            "float": chance.pick(&[1.5, 0.1, 1e20, -0.0]),
            "large": chance.pick(&[json!(9007199254740993_i64), json!(i64::MAX), json!(u64::MAX)]),
            "minus": -7,
            "nothing": null,
            "dot.ted": value(chance),
            "azp": "client",
            "custom": format!("{}  {}", value(chance), value(chance)),
        });
        for (name, claim) in some.as_object().into_iter().flatten() {
            if chance.percent(40) {
                claims.insert(name.clone(), claim.clone());
            }
        }
        let issuer = chance.pick(&scenario.issuers).0.clone();
        Self {
            issuer,
            issuers: scenario.issuers.clone(),
            audiences: scenario.audiences.clone(),
            claims,
            is_wanted: chance.percent(35),
            is_asked_for: false,
        }
    }

    /// Makes a condition on the token hold.
    pub(crate) fn meet(&mut self, key: &str, pattern: &str, text: &str) {
        self.is_wanted = true;
        self.is_asked_for = true;
        let claim = |value: &str| Value::from(value.to_owned());
        match key {
            "requestPrincipals" | "request.auth.principal" => {
                if let Some((issuer, subject)) = text.rsplit_once('/') {
                    if self.issuers.iter().any(|(known, _)| known == issuer) {
                        self.issuer = issuer.to_owned();
                    }
                    if pattern != "*" && !subject.is_empty() {
                        self.claims.insert("sub".into(), claim(subject));
                    }
                }
            }
            "request.auth.audiences" => drop(self.claims.insert("aud".into(), claim(text))),
            "request.auth.presenter" => drop(self.claims.insert("azp".into(), claim(text))),
            _ => {
                let names = key.strip_prefix("request.auth.claims[").unwrap_or_default();
                let names: Vec<_> = names.trim_end_matches(']').split("][").collect();
                match names.as_slice() {
                    ["groups"] => {
                        self.claims.insert("groups".into(), json!(["other", text]));
                    }
                    [name @ ("scope" | "permission" | "custom")] => {
                        self.claims.insert((*name).into(), format!("read {text}").into());
                    }
                    ["iss"] => {}
                    ["o", "l"] => drop(self.claims.insert("o".into(), json!({"l": [text]}))),
                    [outer, inner] => {
                        self.claims.insert((*outer).to_owned(), json!({ *inner: text }));
                    }
                    [name] => drop(self.claims.insert((*name).to_owned(), claim(text))),
                    _ => {}
                }
            }
        }
    }

    /// Writes the tokens into the request.
    pub(crate) fn place(
        &self,
        chance: &mut Chance,
        policies: &[Value],
        tokens: &mut BTreeMap<String, Value>,
        headers: &mut Vec<(String, String)>,
        query: &mut Vec<String>,
    ) {
        let rules: Vec<&Value> =
            policies.iter().filter_map(|p| p["spec"]["jwtRules"].as_array()).flatten().collect();
        if rules.is_empty() && !chance.percent(10) {
            return;
        }
        let number = match (self.is_wanted, rules.is_empty()) {
            (true, false) if rules.len() > 1 => [1, 2, 3, 0][chance.weighted(&[58, 32, 5, 5])],
            (true, false) => [1, 2, 3, 0][chance.weighted(&[78, 14, 2, 6])],
            (true, true) => 1,
            (false, _) => [0, 1][chance.weighted(&[85, 15])],
        };
        for number in 0..number {
            let recipe = if number == 0 || chance.percent(50) {
                self.recipe(chance)
            } else {
                Self { issuer: chance.pick(&self.issuers).0.clone(), ..self.copy() }.recipe(chance)
            };
            let name = format!("t{}", tokens.len());
            tokens.insert(name.clone(), recipe);
            let place = self.choose_place(chance, &rules);
            put(chance, &place, &format!("${{T:{name}}}"), headers, query);
        }
        // Forged outputs.
        if chance.percent(12) {
            let header = chance.word(&OUTPUT_HEADERS);
            headers.push((header, chance.word(&["alice", "forged", ""])));
        }
    }

    fn copy(&self) -> Self {
        Self {
            issuer: self.issuer.clone(),
            issuers: self.issuers.clone(),
            audiences: self.audiences.clone(),
            claims: self.claims.clone(),
            is_wanted: self.is_wanted,
            is_asked_for: self.is_asked_for,
        }
    }

    fn choose_place(&self, chance: &mut Chance, rules: &[&Value]) -> Place {
        let mut own = Vec::new();
        for rule in rules.iter().filter(|rule| rule["issuer"] == self.issuer.as_str()) {
            own.extend(places(rule));
        }
        if !own.is_empty() && chance.percent(90) {
            return chance.pick(&own).clone();
        }
        let all: Vec<_> = rules.iter().flat_map(|rule| places(rule)).collect();
        if !all.is_empty() && chance.percent(60) {
            return chance.pick(&all).clone();
        }
        match chance.below(4) {
            0 => Place::Param(chance.word(&TOKEN_PARAMS)),
            1 => Place::Cookie(chance.word(&TOKEN_COOKIES)),
            2 => Place::Header(chance.word(&TOKEN_HEADERS), chance.word(&["", "Bearer ", "JWT "])),
            _ => Place::Header("authorization".into(), "Bearer ".into()),
        }
    }

    fn recipe(&self, chance: &mut Chance) -> Value {
        let key = self.issuers.iter().find(|(issuer, _)| *issuer == self.issuer);
        let key = key.map_or("ec256a", |(_, key)| key);
        let mut claims = self.claims.clone();
        claims.insert("iss".into(), self.issuer.clone().into());
        if !claims.contains_key("aud") && chance.percent(60) {
            let audience = chance.pick(&self.audiences).clone();
            let aud = match chance.below(4) {
                0 => json!([audience, "other"]),
                1 => near(chance, &audience).into(),
                _ => audience.into(),
            };
            claims.insert("aud".into(), aud);
        }
        if chance.percent(10) {
            let name = chance.pick(&["sub", "groups", "role", "scope", "aud", "azp"]).to_string();
            let odd = chance
                .pick(&[
                    json!(null),
                    json!(5),
                    json!(true),
                    json!([]),
                    json!({}),
                    json!(""),
                    json!([1, "gold"]),
                    json!([["gold"]]),
                    json!({"k": "gold"}),
                    json!(-7),
                    json!(1e20),
                    json!("a\tb gold"),
                ])
                .clone();
            claims.insert(name, odd);
        }
        if chance.percent(9) {
            claims.shift_remove("sub");
        }
        let mut recipe = json!({ "key": key });
        let algorithms: &[&str] = match key {
            "rsa1" => &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
            "oct1" => &["HS256", "HS384", "HS512"],
            _ => &[],
        };
        if !algorithms.is_empty() && chance.percent(40) {
            recipe["alg"] = chance.word(algorithms).into();
        }
        if chance.percent(if self.is_asked_for { 8 } else { 22 }) {
            spoil(chance, &mut recipe, &mut claims);
        } else if chance.percent(6) {
            recipe["kid"] = Value::Null;
        }
        recipe["claims"] = claims.into();
        if chance.percent(2) {
            return json!({"raw": chance.word(&["abc", "a.b.c", "..", "x", "e30.e30.e30"])});
        }
        recipe
    }
}

/// Makes a token bad, or almost.
fn spoil(chance: &mut Chance, recipe: &mut Value, claims: &mut Map<String, Value>) {
    let mut claim = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
    match chance.below(22) {
        0 => claim("exp", "-3600".into()),
        1 => claim("exp", "-30".into()),
        2 => claim("nbf", "+3600".into()),
        3 => claim("nbf", "+30".into()),
        4 => claim("exp", json!(0)),
        5 => {
            let name = chance.word(&["exp", "nbf", "iat"]);
            let odd = [json!("soon"), json!(null), json!(-1), json!(1e30), json!(1.5), json!([])];
            claim(&name, chance.pick(&odd).clone());
        }
        6 => claim("iss", "issuer-z".into()),
        7 => claim("iss", json!(null)),
        8 => claim("jti", chance.pick(&[json!("x"), json!(5), json!(null)]).clone()),
        9 | 10 => {
            let tamper = chance.word(&["sig", "payload", "header", "nosig", "emptysig"]);
            recipe["tamper"] = tamper.into();
        }
        11 if recipe.get("alg").is_none() => {
            recipe["key"] = chance.word(&["ec256b", "ec256a", "rsa1", "ec384a", "ed1"]).into();
        }
        12 => recipe["kid"] = chance.word(&["nobody", "ec256a", "ec256b", "", "other"]).into(),
        13 => {
            recipe["alg"] = chance.word(&["none", "HS256", "XX256", "es256", ""]).into();
            recipe["sign_alg"] = "none".into();
        }
        14 => recipe["header"] = json!({"typ": null, "extra": 1}),
        15 => {
            let odd =
                [json!({"kid": 5}), json!({"kid": []}), json!({"alg": null}), json!({"alg": 5})];
            recipe["header"] = chance.pick(&odd).clone();
        }
        16 => claim("aud", json!([])),
        17 => claim("exp", json!(1e12)),
        18 => claim("aud", chance.pick(&[json!([5]), json!({"a": 1}), json!([""])]).clone()),
        _ => {
            let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default().to_owned();
            let odd = [
                r#"{"iss":"ISS","iss":"ISS","sub":"alice"}"#,
                r#"{"iss":"ISS","sub":"alice"} "#,
                r#"{"iss":"ISS","sub":"alice"}x"#,
                r#"{"iss":"ISS","sub":"a\u006cice","groups":["\u0067old"]}"#,
                r#"{"iss":"ISS","sub":"alice","role":"\ud800"}"#,
                r#"{"iss":"ISS","sub":"alice","role":"\u0000"}"#,
                r#"{"iss":"ISS","sub":"alice","o":{"k":"gold","k":"silver"}}"#,
                r#"{"iss":"ISS","sub":"alice","num":1e400}"#,
                r#"{"iss":"ISS","sub":"alice","num":18446744073709551616}"#,
                r#"{"iss":"ISS","sub":"alice","":"x","a.b":{"c":"gold"}}"#,
                r#"{"iss":"ISS","sub":"alice",,}"#,
                r#"["ISS"]"#,
                "\u{feff}{\"iss\":\"ISS\"}",
                "{}",
                "",
            ];
            recipe["payload_raw"] = chance.word(&odd).replace("ISS", &issuer).into();
        }
    }
}

fn places(rule: &Value) -> Vec<Place> {
    let list = |name: &str| rule[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for header in list("fromHeaders") {
        all.push(Place::Header(text(&header["name"]), text(&header["prefix"])));
    }
    all.extend(list("fromParams").iter().map(|name| Place::Param(text(name))));
    all.extend(list("fromCookies").iter().map(|name| Place::Cookie(text(name))));
    if all.is_empty() {
        all.push(Place::Header("authorization".into(), "Bearer ".into()));
        all.push(Place::Header("authorization".into(), "Bearer ".into()));
        all.push(Place::Param("access_token".into()));
    }
    all
}

fn put(
    chance: &mut Chance,
    place: &Place,
    token: &str,
    headers: &mut Vec<(String, String)>,
    query: &mut Vec<String>,
) {
    match place {
        Place::Header(name, prefix) => {
            let value = match chance.below(40) {
                0 => format!("{}{token}", prefix.to_lowercase()),
                1 => format!("{prefix} {token}"),
                2 => format!("X{prefix}{token}"),
                3 => token.to_owned(),
                4 => format!("{prefix}{token} junk"),
                5 => prefix.clone(),
                6 => format!("{prefix}{token}="),
                7 => format!("{prefix}.{token}."),
                8 => format!("{prefix}\"{token}\""),
                9 => format!("Basic x, {prefix}{token}"),
                _ => format!("{prefix}{token}"),
            };
            headers.push((name.clone(), value));
        }
        Place::Param(name) => {
            let name = if chance.percent(5) { name.replacen('t', "%74", 1) } else { name.clone() };
            let value = match chance.below(30) {
                0 => String::new(),
                1 => format!("{token}%20"),
                2 => format!("%22{token}"),
                3 => token.replacen('.', "%2E", 1),
                _ => token.to_owned(),
            };
            let at = chance.below(query.len() + 1);
            query.insert(at, format!("{name}={value}"));
            if chance.percent(5) {
                query.push(format!("{name}=second"));
            }
            // What is left is written anew.
            if chance.percent(40) {
                let word =
                    chance.word(&["flag", "b=2&a=1", "a=%2F", "c=%20%41", "a=", "=v", "a&a"]);
                query.push(word);
            }
        }
        Place::Cookie(name) => {
            let value = match chance.below(12) {
                0 => format!("\"{token}\""),
                1 => String::new(),
                _ => token.to_owned(),
            };
            let line = match chance.below(9) {
                3 => format!(" {name} = {value} ;b"),
                4 => format!("{name}={value};{name}2=x"),
                5 => format!("{}={value}", name.to_uppercase()),
                6 => format!("{name}= {value} ; b=\"2\""),
                0 => format!("a=1; {name}={value}"),
                1 => format!("{name}={value}; b=2"),
                2 => format!("{name}={value}; {name}=x"),
                _ => format!("{name}={value}"),
            };
            headers.push(("cookie".into(), line));
        }
    }
}
