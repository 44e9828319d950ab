//! Watches: changes as they happen, each as a line of JSON.
//!
//! A watch is a place in the store's history. Who reads slower than the history goes by, or not at
//! all, is told to begin anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, interval_at, sleep_until};

use super::super::query::ListOptions;
use super::super::status::ApiError;
use super::super::table::Form;
use super::answer::Shown;
use super::moment::{self, Moment};
use super::reads::{scope, shown_in};
use super::route::Resource;
use crate::authn::clock::Clock;
use crate::shutdown::Shutdown;
use crate::store::{Change, Compacted, Object, Store, Watcher};

/// How often watchers who want to know hear how far they have come.
const BOOKMARKS: Duration = Duration::from_mins(1);

/// How long nothing may be read of what is there to be read.
const STALL: Duration = Duration::from_secs(30);

/// How many chunks wait for their reader.
const QUEUE: usize = 16;

/// About how large a chunk is, if there is that much to say.
const CHUNK: usize = 64 * 1024;

/// How long watches last that do not say: this, and up to twice of it, so that not all end at once.
const USUAL: Duration = Duration::from_mins(30);

/// What a watch is about.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) store: Store,
    pub(super) resource: Resource,
    pub(super) options: ListOptions,
    pub(super) shown: Shown,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
}

/// How it begins.
struct Beginning {
    /// What was there already.
    objects: Vec<Arc<Object>>,
    /// Whether to say that this was all.
    is_announced: bool,
    after: u64,
}

impl Watch {
    /// Begins it. `permit` is held as long as it is read.
    ///
    /// A version that it cannot begin with is an event and the end, not another answer: so it is with
    /// kube-apiserver, and there are clients that list anew on no other.
    pub(super) fn start(self, permit: OwnedSemaphorePermit) -> Body {
        let beginning = match self.beginning() {
            Ok(beginning) => beginning,
            Err(error) => return line("ERROR", &error.to_json()).into(),
        };
        let watcher = self.store.watch(scope(&self.resource), beginning.after);
        let (sender, receiver) = channel(QUEUE);
        let last = Arc::new(Mutex::new(None));
        tokio::spawn(self.run(beginning, watcher, sender, last.clone()));
        let reader = Reader { receiver, last, _permit: permit };
        Body::from_stream(stream::unfold(reader, async |mut reader| {
            let chunk = reader.next().await?;
            Some((Ok::<_, std::convert::Infallible>(chunk), reader))
        }))
    }

    fn beginning(&self) -> Result<Beginning, ApiError> {
        let scope = scope(&self.resource);
        let current = self.store.revision();
        let asked = self.options.resource_version.filter(|asked| *asked > 0);
        let is_list = self.options.send_initial_events;
        if let (Some(asked), None | Some(false)) = (asked, is_list) {
            if asked > current {
                // Of another life of the store, which was put back to an older state.
                return Err(ApiError::too_old_resource_version(asked, current));
            }
            let watcher = self.store.watch(scope, asked);
            watcher.check().map_err(|error| too_old(&error))?;
            return Ok(Beginning { objects: Vec::new(), is_announced: false, after: asked });
        }
        if let Some(asked) = asked.filter(|asked| *asked > current) {
            return Err(ApiError::too_large_resource_version(asked, current));
        }
        if is_list == Some(false) {
            return Ok(Beginning { objects: Vec::new(), is_announced: false, after: current });
        }
        // What is there now is never too old.
        let page = self.store.list(&scope, None, None, usize::MAX).map_err(|it| too_old(&it))?;
        let mut objects = page.objects;
        objects.retain(|object| self.options.matches(&object.value));
        Ok(Beginning { objects, is_announced: is_list.is_some(), after: page.revision })
    }

    async fn run(
        self,
        beginning: Beginning,
        mut watcher: Watcher,
        sender: Sender<Bytes>,
        last: Arc<Mutex<Option<Bytes>>>,
    ) {
        let mut lines = Lines { watch: &self, sender, buffer: Vec::new(), with_columns: true };
        let ended = lines.send_all(beginning, &mut watcher).await;
        let error = match ended {
            Ended::Asked => return,
            Ended::Compacted(compacted) => too_old(&compacted),
            Ended::Stalled => {
                tracing::debug!("a watch is closed because nobody reads it");
                ApiError::expired("the watch was read too slowly: list and watch again")
            }
        };
        let line = line("ERROR", &error.to_json());
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.into());
    }

    fn deadline(&self) -> Instant {
        let length = match self.options.timeout_seconds {
            Some(seconds) if seconds > 0 => Duration::from_secs(seconds.min(24 * 60 * 60)),
            Some(_) | None => {
                let part = moment::random::<1>().map_or(0, |[byte]| byte);
                USUAL + USUAL * u32::from(part) / 255
            }
        };
        Instant::now() + length
    }
}

fn too_old(compacted: &Compacted) -> ApiError {
    ApiError::too_old_resource_version(compacted.asked, compacted.oldest)
}

/// Why a watch ends.
enum Ended {
    /// By its reader, its time, or the server.
    Asked,
    Compacted(Compacted),
    Stalled,
}

/// Writes events.
struct Lines<'a> {
    watch: &'a Watch,
    sender: Sender<Bytes>,
    buffer: Vec<u8>,
    /// Of a table, only the first event has columns.
    with_columns: bool,
}

impl Lines<'_> {
    async fn send_all(&mut self, beginning: Beginning, watcher: &mut Watcher) -> Ended {
        let deadline = self.watch.deadline();
        let bookmarks = self.watch.options.allow_watch_bookmarks;
        let mut ticks = interval_at(Instant::now() + BOOKMARKS, BOOKMARKS);
        let Beginning { objects, is_announced, after } = beginning;
        for object in objects {
            self.object("ADDED", &object.value);
            if let Err(ended) = self.send(CHUNK).await {
                return ended;
            }
        }
        if is_announced {
            self.bookmark(after, true);
        }
        loop {
            if let Err(ended) = self.send(0).await {
                return ended;
            }
            tokio::select! {
                changes = watcher.next() => match changes {
                    Ok(changes) => for change in changes {
                        self.change(&change);
                        if let Err(ended) = self.send(CHUNK).await {
                            return ended;
                        }
                    },
                    Err(compacted) => return Ended::Compacted(compacted),
                },
                _ = ticks.tick(), if bookmarks => self.bookmark(watcher.seen(), false),
                () = sleep_until(deadline) => {
                    if bookmarks {
                        self.bookmark(watcher.seen(), false);
                        drop(self.send(0).await);
                    }
                    return Ended::Asked;
                }
                () = self.watch.shutdown.begun() => return Ended::Asked,
                () = self.sender.closed() => return Ended::Asked,
            }
        }
    }

    /// What a selector lets in or out is new or gone to those behind it.
    fn change(&mut self, change: &Change) {
        let options = &self.watch.options;
        let selected = |object: &Option<Arc<Object>>| {
            object.as_ref().filter(|object| options.matches(&object.value)).cloned()
        };
        let (old, new) = (selected(&change.old), selected(&change.new));
        match (old, new) {
            (None, None) => {}
            (None, Some(new)) => self.object("ADDED", &new.value),
            (Some(_), Some(new)) => self.object("MODIFIED", &new.value),
            (Some(old), None) => {
                let mut object = old.value.clone();
                if let Some(version) = object.pointer_mut("/metadata/resourceVersion") {
                    *version = change.revision.to_string().into();
                }
                self.object("DELETED", &object);
            }
        }
    }

    fn object(&mut self, event: &str, object: &Value) {
        let Resource { kind, version, .. } = &self.watch.resource;
        let object = shown_in(object, *kind, version);
        let now = Moment::now(self.watch.clock).seconds;
        let shown = Shown { now, ..self.watch.shown }.object(object, self.with_columns);
        self.with_columns = false;
        self.buffer.extend(line(event, &shown));
    }

    fn bookmark(&mut self, revision: u64, ends_initial_events: bool) {
        let Resource { kind, version, .. } = &self.watch.resource;
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if let (true, Value::Object(metadata)) = (ends_initial_events, &mut metadata) {
            let annotations = json!({ "k8s.io/initial-events-end": "true" });
            metadata.insert("annotations".into(), annotations);
        }
        let mut object = json!({
            "kind": kind.kind,
            "apiVersion": kind.api_version(version),
            "metadata": metadata,
        });
        if let Form::Metadata(_) = self.watch.shown.form {
            object = self.watch.shown.object(object, false);
        }
        self.buffer.extend(line("BOOKMARK", &object));
    }

    /// Sends what there is, if it is more than that.
    async fn send(&mut self, more_than: usize) -> Result<(), Ended> {
        if self.buffer.len() <= more_than {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.buffer).into();
        use tokio::sync::mpsc::error::SendTimeoutError;
        tokio::select! {
            sent = self.sender.send_timeout(chunk, STALL) => sent.map_err(|error| match error {
                SendTimeoutError::Timeout(_) => Ended::Stalled,
                SendTimeoutError::Closed(_) => Ended::Asked,
            }),
            () = self.watch.shutdown.begun() => Err(Ended::Asked),
        }
    }
}

fn line(event: &str, object: &Value) -> Vec<u8> {
    let mut line = json!({ "type": event, "object": object }).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// The other end.
struct Reader {
    receiver: Receiver<Bytes>,
    /// What is said when there is nothing more.
    last: Arc<Mutex<Option<Bytes>>>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    async fn next(&mut self) -> Option<Bytes> {
        match self.receiver.recv().await {
            Some(chunk) => Some(chunk),
            None => self.last.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}
