//! Policies in files: reads them as one state, and again whenever they change.
//!
//! Does not look into the text.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Corpus, PolicyFile, ReadError, SourceProblem,
    scan::{Scan, scan},
    watch::Watches,
};

/// The largest file that is read: hundreds of times what etcd would take for one resource.
pub const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// How often a read is repeated because the files changed under it.
const ATTEMPTS: usize = 5;

/// How to notice changes.
#[derive(Debug, Clone, Copy)]
pub struct Watching {
    /// How long it must be quiet before files are read: one save is many events.
    pub debounce: Duration,
    /// How long it may stay noisy before files are read anyway.
    pub patience: Duration,
    /// How often to look without any event: network file systems send none.
    pub rescan: Duration,
}

impl Default for Watching {
    fn default() -> Self {
        Self {
            debounce: Duration::from_millis(50),
            patience: Duration::from_secs(1),
            rescan: Duration::from_secs(5),
        }
    }
}

/// The files and directories of `--policies`.
#[derive(Debug)]
pub struct FileSource {
    roots: Vec<PathBuf>,
    /// Names of files that had content, for [`ReadError::Emptied`].
    had_content: BTreeSet<Arc<str>>,
    /// The listing that the last corpus was read from.
    last: Scan,
}

impl FileSource {
    /// Files are read whatever their extension; of directories, everything below that ends in
    /// `.yaml`, `.yml` or `.json` and does not begin with a dot.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, had_content: BTreeSet::new(), last: Scan::default() }
    }

    /// Reads everything, as one state of the files. Blocks.
    pub fn read(&mut self) -> Corpus {
        let mut listed = scan(&self.roots);
        for _ in 1..ATTEMPTS {
            let corpus = read_listed(&listed);
            let again = scan(&self.roots);
            if again == listed {
                return self.accept(listed, corpus);
            }
            listed = again;
        }
        // Files that never stand still are read as they are; the next look tells what they became.
        let corpus = read_listed(&listed);
        self.accept(listed, corpus)
    }

    fn accept(&mut self, listed: Scan, mut corpus: Corpus) -> Corpus {
        let Corpus { files, problems, workloads: _ } = &mut corpus;
        let names: BTreeSet<&Arc<str>> = listed.found.iter().map(|found| &found.name).collect();
        self.had_content.retain(|name| {
            names.contains(name) || problems.iter().any(|problem| problem.covers(name))
        });
        // `echo > file` and slow copies truncate first. Taking that moment for the user's will would
        // open what the policies closed.
        files.retain(|file| {
            let emptied = file.text.is_empty() && self.had_content.contains(&file.name);
            if emptied {
                let path = file.name.clone();
                problems.push(SourceProblem { path, error: ReadError::Emptied });
            }
            !emptied
        });
        for file in files.iter().filter(|file| !file.text.is_empty()) {
            self.had_content.insert(file.name.clone());
        }
        self.last = listed;
        corpus
    }

    /// Sends the corpus whenever it differs from the one in the channel, until nobody listens.
    pub async fn watch(mut self, watching: Watching, corpora: watch::Sender<Arc<Corpus>>) {
        let mut watches = Watches::new();
        if let Some(error) = watches.failure() {
            tracing::warn!(
                error,
                rescan_seconds = watching.rescan.as_secs_f64(),
                "no file system events: policy files are only looked at from time to time"
            );
        }
        let mut always = true;
        loop {
            // Watching first and reading after leaves no moment in which a change goes unseen.
            let before = corpora.borrow().clone();
            let looked = tokio::task::spawn_blocking(move || {
                let corpus = self.look(&mut watches, always, &before);
                (self, watches, corpus)
            });
            let Ok((source, still_watched, corpus)) = looked.await else {
                tracing::error!("reading policy files failed: they are no longer watched");
                return;
            };
            (self, watches) = (source, still_watched);
            if let Some(corpus) = corpus {
                corpora.send_replace(Arc::new(corpus));
            }
            tokio::select! {
                () = corpora.closed() => return,
                () = tokio::time::sleep(watching.rescan) => always = false,
                () = watches.changed() => {
                    watches.quiet(watching.debounce, watching.patience).await;
                    always = true;
                }
            }
        }
    }

    /// The corpus, where it is not the one from before. Without `always` the files are read only if
    /// their listing changed.
    fn look(&mut self, watches: &mut Watches, always: bool, before: &Corpus) -> Option<Corpus> {
        let listed = scan(&self.roots);
        watches.set(&listed.interests);
        if !always && listed == self.last {
            return None;
        }
        let corpus = self.read();
        watches.set(&self.last.interests);
        (corpus != *before).then_some(corpus)
    }
}

fn read_listed(listed: &Scan) -> Corpus {
    let mut corpus = Corpus { problems: listed.problems.clone(), ..Corpus::default() };
    for found in &listed.found {
        match read_file(&found.path) {
            Ok(text) => {
                corpus.files.push(PolicyFile { name: found.name.clone(), text: text.into() });
            }
            Err(error) => {
                corpus.problems.push(SourceProblem { path: found.name.clone(), error });
            }
        }
    }
    corpus
}

fn read_file(path: &Path) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that too much can be told from just enough.
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge);
    }
    String::from_utf8(bytes)
        .map_err(|error| ReadError::NotUtf8 { at: error.utf8_error().valid_up_to() })
}

#[cfg(test)]
mod tests;
