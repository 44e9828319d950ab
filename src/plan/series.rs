//! Under which name a workload is counted.
//!
//! Workloads come and go, and monitoring must not drown in them: there are so many names, and one for
//! all other workloads together.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::Workload;

/// The number of a name in [`SeriesNames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Series(u16);

impl Series {
    /// Below [`SeriesNames::MOST`].
    pub fn number(self) -> usize {
        usize::from(self.0)
    }
}

/// The names that there are so far. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SeriesNames {
    names: Arc<Vec<Box<str>>>,
    numbers: Arc<HashMap<Box<str>, Series>>,
}

impl Default for SeriesNames {
    fn default() -> Self {
        Self { names: Arc::new(vec![Self::OTHER.into()]), numbers: Arc::default() }
    }
}

/// Istio's labels of a workload's canonical service, in its order.
const CANONICAL: [&str; 3] = ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"];

impl SeriesNames {
    /// How many there can be.
    pub const MOST: usize = 1_000;
    /// The first: for workloads that come when all names are given.
    pub const OTHER: &str = "other";

    /// The name of a workload, and its number, from now on.
    ///
    /// It is `namespace/` and what Istio calls its canonical service: one for all pods of it.
    pub fn of(&mut self, workload: &Workload) -> Series {
        let Workload { namespace, labels, name, .. } = workload;
        let label = CANONICAL.iter().find_map(|label| labels.get(*label)).or(name.as_ref());
        let name = format!("{namespace}/{}", label.map_or("unknown", String::as_str));
        if let Some(known) = self.numbers.get(&*name) {
            return *known;
        }
        match u16::try_from(self.names.len()) {
            Ok(number) if self.names.len() < Self::MOST => {
                let name: Box<str> = name.into();
                Arc::make_mut(&mut self.names).push(name.clone());
                Arc::make_mut(&mut self.numbers).insert(name, Series(number));
                Series(number)
            }
            Ok(_) | Err(_) => Series::default(),
        }
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(name: &str, labels: &[(&str, &str)]) -> Workload {
        Workload {
            namespace: "shop".into(),
            name: Some(name.into()),
            labels: labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            ..Workload::default()
        }
    }

    #[test]
    fn pods_of_one_service_have_one_name() {
        let mut names = SeriesNames::default();
        let first = names.of(&workload("web-1", &[("app", "web"), ("pod", "1")]));
        let second = names.of(&workload("web-2", &[("app", "web"), ("pod", "2")]));
        assert_eq!(first, second);
        let canonical = [("app", "web"), ("service.istio.io/canonical-name", "front")];
        assert_ne!(names.of(&workload("web-3", &canonical)), first);
        names.of(&workload("bare", &[]));
        names.of(&Workload { name: None, ..workload("", &[]) });
        let all: Vec<_> = names.iter().collect();
        assert_eq!(all, ["other", "shop/web", "shop/front", "shop/bare", "shop/unknown"]);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut names = SeriesNames::default();
        for number in 0..SeriesNames::MOST + 5 {
            let series = names.of(&workload(&format!("w{number}"), &[]));
            let expected = if number + 1 < SeriesNames::MOST { number + 1 } else { 0 };
            assert_eq!(series.number(), expected);
        }
        assert_eq!(names.iter().count(), SeriesNames::MOST);
        // Those that are known stay so.
        assert_eq!(names.of(&workload("w7", &[])).number(), 8);
    }
}
