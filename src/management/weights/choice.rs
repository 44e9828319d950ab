//! The HTTP route that a list of destinations means.

use serde_json::Value;

use super::{Asked, RouteRef, Wanted};
use crate::management::shown::list;

/// Why no route is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No route has just these destinations.
    #[error("no HTTP route has just these destinations{0}")]
    None(String),
    /// The route that was named is not there.
    #[error("there is no such `route`")]
    Unknown,
    /// The route that was named has others.
    #[error("that `route` has other destinations{0}")]
    Other(String),
    /// Several have them.
    #[error(
        "several HTTP routes have these destinations: `route` must name one, or its place from 0"
    )]
    Several,
}

/// The place of the route in the list, and the new weight of each of its destinations.
pub fn choose(http: &[Value], asked: &Asked) -> Result<(usize, Vec<u64>), NoRoute> {
    let assigned = |rule: &Value| assign(list(rule, "/route"), &asked.weights);
    if let Some(named) = &asked.route {
        let is_it = |(place, rule): &(usize, &Value)| match named {
            RouteRef::Place(wanted) => place == wanted,
            RouteRef::Name(wanted) => rule.get("name").and_then(Value::as_str) == Some(wanted),
        };
        let mut found = http.iter().enumerate().filter(is_it);
        let (place, rule) = found.next().ok_or(NoRoute::Unknown)?;
        if found.next().is_some() {
            return Err(NoRoute::Several);
        }
        let weights = assigned(rule).ok_or_else(|| NoRoute::Other(has(Some(rule))))?;
        return Ok((place, weights));
    }
    let mut matching =
        http.iter().enumerate().filter_map(|(place, rule)| Some((place, assigned(rule)?)));
    match (matching.next(), matching.next()) {
        (Some(chosen), None) => Ok(chosen),
        (Some(_), Some(_)) => Err(NoRoute::Several),
        (None, _) => {
            let split = http.iter().find(|rule| list(rule, "/route").len() > 1);
            Err(NoRoute::None(has(split)))
        }
    }
}

/// The weight of each destination, where those that are wanted are just these: each name means one
/// destination, and each destination has one name.
fn assign(route: &[Value], wanted: &[Wanted]) -> Option<Vec<u64>> {
    if route.len() != wanted.len() {
        return None;
    }
    let mut weights = vec![None; route.len()];
    for Wanted { destination, weight } in wanted {
        let mut meant = route.iter().zip(&mut weights).filter(|(it, _)| means(destination, it));
        let (Some((_, place)), None) = (meant.next(), meant.next()) else { return None };
        if place.replace(*weight).is_some() {
            return None;
        }
    }
    weights.into_iter().collect()
}

/// Whether a name means a destination: by its subset, its host where it has no subset, or both.
fn means(name: &str, route: &Value) -> bool {
    let text = |pointer: &str| {
        route.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    let Some(host) = text("/destination/host") else { return false };
    match text("/destination/subset") {
        None => name == host,
        Some(subset) => name == subset || name.split_once('/') == Some((host, subset)),
    }
}

/// What a route has, for people.
fn has(rule: Option<&Value>) -> String {
    let names: Vec<_> = rule
        .map_or(&[][..], |rule| list(rule, "/route"))
        .iter()
        .filter_map(|it| {
            let subset = it.pointer("/destination/subset").and_then(Value::as_str);
            subset.or_else(|| it.pointer("/destination/host")?.as_str())
        })
        .map(|name| format!("`{name}`"))
        .collect();
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}
