//! All that is known of a cluster: for each place the last whole list and what changed since, and
//! beside it the list that is being made.
//!
//! Does not speak to the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{
    status::Seen,
    watching::{Arrived, News},
};
use crate::manifest::schema;
use crate::model::ResourceId;
use crate::source::objects::{self, Objects};
use crate::source::{Corpus, PolicyFile};
use crate::telemetry::metrics::KubeMetrics;

#[derive(Debug)]
pub(super) struct View {
    places: Vec<PlaceView>,
    seen: SeenObjects,
    metrics: KubeMetrics,
}

#[derive(Debug, Default)]
struct PlaceView {
    /// The last whole list and what changed since; nothing before the first.
    live: Option<Objects>,
    /// The list that is being made. What it lacks may only be late, so it counts for nothing.
    pending: Objects,
    /// The same objects, for [`SeenObjects`].
    pending_seen: Vec<Seen>,
}

impl View {
    pub(super) fn new(places: usize, metrics: KubeMetrics) -> Self {
        let places = (0..places).map(|_| PlaceView::default()).collect();
        Self { places, seen: SeenObjects::default(), metrics }
    }

    /// The objects as they were last seen, for who writes their status.
    pub(super) fn objects(&self) -> SeenObjects {
        self.seen.clone()
    }

    pub(super) fn metrics(&self) -> KubeMetrics {
        self.metrics.clone()
    }

    /// Everything; nothing as long as any place was never listed to the end.
    pub(super) fn corpus(&self) -> Option<Corpus> {
        let mut all = Objects::default();
        for place in &self.places {
            all.extend(place.live.as_ref()?);
        }
        Some(all.corpus())
    }

    /// Tells whether the corpus may be another now.
    pub(super) fn take(&mut self, at: usize, news: News) -> bool {
        let Some(place) = self.places.get_mut(at) else { return false };
        match news {
            News::Begun => {
                place.pending = Objects::default();
                place.pending_seen.clear();
                false
            }
            News::Listed(arrived) => {
                let (file, seen) = split(*arrived);
                place.pending.insert_file(file);
                place.pending_seen.push(seen);
                false
            }
            News::Complete => {
                self.metrics.listed();
                let mut live = mem::take(&mut place.pending);
                if let Some(before) = &place.live {
                    live.keep(before);
                }
                let mut all_seen = mem::take(&mut place.pending_seen);
                for seen in &mut all_seen {
                    seen.share(&live);
                }
                self.seen.replace(at, all_seen);
                let before = place.live.replace(live);
                before.is_none() || before != place.live
            }
            News::Applied(arrived) => {
                self.metrics.changed(arrived.id.kind.as_str());
                let (file, mut seen) = split(*arrived);
                // There is no change before the list.
                let Some(live) = &mut place.live else { return false };
                let is_new = live.insert_file(file);
                seen.share(live);
                self.seen.insert(at, seen);
                is_new
            }
            News::Deleted(id) => {
                self.metrics.changed(id.kind.as_str());
                let name = file_name(&id);
                self.seen.remove(at, &name);
                if let Some(live) = &mut place.live {
                    live.remove(&name);
                }
                true
            }
        }
    }
}

impl Seen {
    /// Has its text only once in memory.
    fn share(&mut self, live: &Objects) {
        if let Some(text) = live.text(&self.file) {
            self.text = text;
        }
    }
}

fn split(arrived: Arrived) -> (PolicyFile, Seen) {
    let Arrived { id, api_version, uid, resource_version, generation, status, object } = arrived;
    let name: Arc<str> = file_name(&id).into();
    let text: Arc<str> = objects::text(&object).into();
    let file = PolicyFile { name: name.clone(), text: text.clone() };
    (file, Seen { id, api_version, file: name, text, uid, resource_version, generation, status })
}

fn file_name(id: &ResourceId) -> String {
    format!("{}/{}/{}", schema::of(id.kind).plural, id.namespace, id.name)
}

/// The objects of all places as they were last seen. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenObjects(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// By place and name.
    objects: Mutex<BTreeMap<(usize, Arc<str>), Seen>>,
    changed: Notify,
}

impl SeenObjects {
    fn replace(&self, at: usize, seen: Vec<Seen>) {
        let mut objects = self.lock();
        objects.retain(|(place, _), _| *place != at);
        objects.extend(seen.into_iter().map(|seen| ((at, seen.file.clone()), seen)));
        drop(objects);
        self.0.changed.notify_one();
    }

    fn insert(&self, at: usize, seen: Seen) {
        self.lock().insert((at, seen.file.clone()), seen);
        self.0.changed.notify_one();
    }

    fn remove(&self, at: usize, name: &str) {
        self.lock().remove(&(at, name.into()));
    }

    /// Those for which `wanted` has something, and what.
    pub(super) fn wanting<T>(&self, wanted: impl Fn(&Seen) -> Option<T>) -> Vec<(Seen, T)> {
        let objects = self.lock();
        let wanting = |seen: &Seen| wanted(seen).map(|wanted| (seen.clone(), wanted));
        objects.values().filter_map(wanting).collect()
    }

    /// Their names.
    pub(super) fn names(&self) -> BTreeSet<Arc<str>> {
        self.lock().keys().map(|(_, name)| name.clone()).collect()
    }

    /// Returns when they have changed since the last time.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(usize, Arc<str>), Seen>> {
        // Each change is one call.
        self.0.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::Kind;
    use crate::telemetry::metrics::Metrics;

    fn arrived(name: &str, generation: i64) -> Box<Arrived> {
        let id = ResourceId {
            kind: Kind::AuthorizationPolicy,
            namespace: "shop".into(),
            name: name.into(),
        };
        let object = json!({ "metadata": { "name": name, "generation": generation } });
        let generation = Some(generation);
        Box::new(Arrived {
            id,
            api_version: "security.istio.io/v1".into(),
            uid: None,
            resource_version: None,
            generation,
            status: None,
            object,
        })
    }

    fn view(places: usize) -> View {
        View::new(places, Metrics::new("0").kube())
    }

    fn names(view: &View) -> Option<Vec<String>> {
        let generation = |text: &str| -> serde_json::Value {
            let object: serde_json::Value = serde_json::from_str(text).unwrap();
            object["metadata"]["generation"].clone()
        };
        let corpus = view.corpus()?;
        let name = |file: &PolicyFile| format!("{}={}", file.name, generation(&file.text));
        Some(corpus.files.iter().map(name).collect())
    }

    #[test]
    fn a_half_list_is_never_live() {
        let mut view = view(1);
        view.take(0, News::Begun);
        view.take(0, News::Listed(arrived("a", 1)));
        assert_eq!(names(&view), None);
        assert!(view.take(0, News::Complete));
        let whole = Some(vec!["authorizationpolicies/shop/a=1".to_owned()]);
        assert_eq!(names(&view), whole);
        // Begins anew, dies, begins once more: what was whole stays.
        assert!(!view.take(0, News::Begun));
        assert_eq!(names(&view), whole);
        assert!(!view.take(0, News::Listed(arrived("b", 1))));
        assert!(!view.take(0, News::Begun));
        assert!(!view.take(0, News::Listed(arrived("a", 1))));
        assert_eq!(names(&view), whole);
        assert!(!view.take(0, News::Complete), "it is the same list");
        assert_eq!(names(&view), whole);
        assert!(view.take(0, News::Applied(arrived("a", 2))));
        assert!(!view.take(0, News::Applied(arrived("a", 2))), "said twice");
        view.take(0, News::Begun);
        assert!(view.take(0, News::Complete));
        assert_eq!(names(&view), Some(Vec::new()));
    }

    #[test]
    fn every_place_must_have_been_listed() {
        let mut view = view(2);
        for at in [0, 1] {
            assert_eq!(names(&view), None);
            view.take(at, News::Begun);
            view.take(at, News::Complete);
        }
        assert_eq!(names(&view), Some(Vec::new()));
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A list of these, of which only so many come before it breaks off.
        List(Vec<u8>, usize),
        Apply(u8, i64),
        Delete(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let name = 0..4_u8;
        prop_oneof![
            (prop::collection::vec(name.clone(), 0..4), 0..6_usize)
                .prop_map(|(list, end)| Step::List(list, end)),
            (name.clone(), 1..3_i64).prop_map(|(name, generation)| Step::Apply(name, generation)),
            name.prop_map(Step::Delete),
        ]
    }

    proptest! {
        /// What is live is the last whole list and what came after it, and so is what statuses are
        /// written to.
        #[test]
        fn live_is_the_last_whole_list_and_its_changes(steps in prop::collection::vec(step(), 0..20)) {
            let mut view = view(1);
            let mut model: Option<BTreeMap<u8, i64>> = None;
            for step in steps {
                match step {
                    Step::List(list, end) => {
                        view.take(0, News::Begun);
                        for name in list.iter().take(end) {
                            view.take(0, News::Listed(arrived(&name.to_string(), 9)));
                        }
                        if end > list.len() {
                            view.take(0, News::Complete);
                            model = Some(list.into_iter().map(|name| (name, 9)).collect());
                        }
                    }
                    // Nothing changes before it was listed.
                    Step::Apply(..) | Step::Delete(_) if model.is_none() => {}
                    Step::Apply(name, generation) => {
                        view.take(0, News::Applied(arrived(&name.to_string(), generation)));
                        model.as_mut().unwrap().insert(name, generation);
                    }
                    Step::Delete(name) => {
                        view.take(0, News::Deleted(arrived(&name.to_string(), 0).id));
                        model.as_mut().unwrap().remove(&name);
                    }
                }
                let expected = model.as_ref().map(|model| {
                    let name = |(name, generation): (&u8, &i64)| {
                        format!("authorizationpolicies/shop/{name}={generation}")
                    };
                    model.iter().map(name).collect::<Vec<_>>()
                });
                prop_assert_eq!(names(&view), expected.clone());
                let seen = view.objects().wanting(|seen| Some(seen.generation));
                let seen: Vec<_> = seen
                    .into_iter()
                    .map(|(seen, generation)| format!("{}={}", seen.file, generation.unwrap()))
                    .collect();
                prop_assert_eq!(seen, expected.unwrap_or_default());
            }
        }
    }
}
