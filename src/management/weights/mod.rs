//! New weights for the destinations of a route: what was asked for, and the patch that does it.
//!
//! Which route that is, is `choice`'s job; that nothing has changed meanwhile is for those to see who
//! patch.

mod choice;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, TestOperation};
use serde_json::Value;

use super::parameters::KUBECONFIG;
use super::shown::list;
use crate::api::strict::{Decoded, Format, decode};

pub use choice::{NoRoute, choose};

/// The most destinations of one request.
const MOST: usize = 100;

/// A destination, and the share of the traffic that it shall have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its subset, its host, or `host/subset`.
    pub destination: String,
    /// In percent.
    pub weight: u64,
}

/// Which of several HTTP routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteRef {
    /// Its place in the list, from 0.
    Place(usize),
    /// Its name.
    Name(String),
}

/// What was asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct Asked {
    /// At least one, none of them twice, 100 % together.
    pub weights: Vec<Wanted>,
    /// The route, where it is said.
    pub route: Option<RouteRef>,
    /// A cluster of the caller's own; not looked at here.
    pub kubeconfig: Option<String>,
}

/// Never the kubeconfig.
impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked")
            .field("weights", &self.weights)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

/// A body that asks for nothing that can be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidWeights(String);

fn invalid<T>(message: impl Into<String>) -> Result<T, InvalidWeights> {
    Err(InvalidWeights(message.into()))
}

impl Asked {
    /// Reads a body: `{"weights": [{"destination", "weight"}], "route", "kubeconfig"}`.
    pub fn read(body: &[u8]) -> Result<Self, InvalidWeights> {
        // What the reader says could quote a kubeconfig.
        let Ok(Decoded { value, duplicates }) = decode(body, Format::Json) else {
            return invalid("the body is no JSON");
        };
        if !duplicates.is_empty() {
            return invalid("a member is there twice");
        }
        let Value::Object(members) = &value else { return invalid("the body must be an object") };
        if members.keys().any(|name| !["weights", "route", KUBECONFIG].contains(&name.as_str())) {
            return invalid("the body has `weights`, `route` and `kubeconfig`, and nothing else");
        }
        let Some(Value::Array(weights)) = members.get("weights") else {
            return invalid("`weights` must be a list");
        };
        if weights.is_empty() || weights.len() > MOST {
            return invalid(format!("`weights` must have 1 to {MOST} entries"));
        }
        let weights = weights.iter().map(wanted).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<_> = weights.iter().map(|it| it.destination.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return invalid("`weights`: a `destination` is there twice");
        }
        let sum: u64 = weights.iter().map(|it| it.weight).sum();
        if sum != 100 {
            return invalid(format!("`weights` must sum to 100, and sum to {sum}"));
        }
        let route = members.get("route").map(route).transpose()?;
        let kubeconfig = match members.get(KUBECONFIG) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            // None that can be used, and one that was sent.
            Some(Value::Null) => Some(String::new()),
            Some(_) => return invalid("`kubeconfig` must be a text"),
        };
        Ok(Self { weights, route, kubeconfig })
    }
}

fn wanted(entry: &Value) -> Result<Wanted, InvalidWeights> {
    let Value::Object(members) = entry else {
        return invalid("`weights` must hold `destination` and `weight`");
    };
    if members.keys().any(|name| !["destination", "weight"].contains(&name.as_str())) {
        return invalid("`weights` must hold `destination` and `weight`, and nothing else");
    }
    let destination = members.get("destination").and_then(Value::as_str).unwrap_or_default();
    if destination.is_empty() {
        return invalid("`destination` must be a text that is not empty");
    }
    let Some(weight) = members.get("weight").and_then(percentage) else {
        return invalid("`weight` must be a whole number from 0 to 100");
    };
    Ok(Wanted { destination: destination.to_owned(), weight })
}

/// However it is written: `20`, `20.0` and `2e1` are one number in JSON.
fn percentage(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    (0..=100_u32).find(|whole| f64::from(*whole) == number).map(u64::from)
}

fn route(value: &Value) -> Result<RouteRef, InvalidWeights> {
    let place = value.as_u64().and_then(|place| usize::try_from(place).ok());
    match (value.as_str(), place) {
        (Some(name), _) if !name.is_empty() => Ok(RouteRef::Name(name.to_owned())),
        (_, Some(place)) => Ok(RouteRef::Place(place)),
        _ => invalid("`route` must be the name of an HTTP route, or its place from 0"),
    }
}

/// A change of one VirtualService.
#[derive(Debug, Clone)]
pub struct Change {
    /// Tests that the route is still the one that was read, and sets its weights.
    pub patch: Patch,
    /// Its place in the list.
    pub route: usize,
    /// `stable=90 canary=10`
    pub before: String,
    /// Likewise.
    pub after: String,
}

impl Change {
    /// What was asked for, as a change of this object.
    pub fn of(object: &Value, asked: &Asked) -> Result<Self, NoRoute> {
        let http = list(object, "/spec/http");
        let (place, weights) = choose(http, asked)?;
        let route = http.get(place).and_then(|rule| rule.get("route")).unwrap_or(&Value::Null);
        let mut operations = Vec::new();
        let test = |path, value: &Value| {
            PatchOperation::Test(TestOperation { path, value: value.clone() })
        };
        if let Some(version) = object.pointer("/metadata/resourceVersion") {
            operations.push(test(pointer(&["metadata", "resourceVersion"]), version));
        }
        let rule = place.to_string();
        let path = ["spec", "http", &rule, "route"];
        operations.push(test(pointer(&path), route));
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (number, weight) in weights.iter().enumerate() {
            let path = ["spec", "http", &rule, "route", &number.to_string(), "weight"];
            let value = Value::from(*weight);
            operations.push(PatchOperation::Add(AddOperation { path: pointer(&path), value }));
            let entry = route.get(number).unwrap_or(&Value::Null);
            let name = ["/destination/subset", "/destination/host"];
            let name = name.into_iter().find_map(|pointer| entry.pointer(pointer)?.as_str());
            let name = name.unwrap_or_default();
            let old = entry.get("weight").map_or_else(|| "unset".to_owned(), Value::to_string);
            before.push(format!("{name}={old}"));
            after.push(format!("{name}={weight}"));
        }
        let patch = Patch(operations);
        Ok(Self { patch, route: place, before: before.join(" "), after: after.join(" ") })
    }
}

fn pointer(tokens: &[&str]) -> PointerBuf {
    PointerBuf::from_tokens(tokens.iter().copied())
}

#[cfg(test)]
mod tests;
