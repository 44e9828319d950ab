use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::*;

/// Events only: a rescan would hide that they do not work.
const EVENTS: Watching = Watching {
    debounce: Duration::from_millis(20),
    patience: Duration::from_secs(1),
    rescan: Duration::from_secs(3600),
};

fn directory() -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("policies");
    fs::create_dir(&root).unwrap();
    (scratch, root)
}

fn texts(corpus: &Corpus) -> Vec<&str> {
    corpus.files.iter().map(|file| &*file.text).collect()
}

fn names<'c>(corpus: &'c Corpus, root: &Path) -> Vec<&'c str> {
    let below = |name: &'c str| name.strip_prefix(root.to_str().unwrap()).unwrap();
    corpus.files.iter().map(|file| below(&file.name)).collect()
}

/// A directory as the kubelet mounts a ConfigMap.
struct ConfigMap {
    root: PathBuf,
    version: u32,
}

impl ConfigMap {
    fn mount(root: &Path, files: &[(&str, &str)]) -> Self {
        let mut mounted = Self { root: root.to_owned(), version: 0 };
        mounted.update(files);
        for (name, _) in files {
            symlink(Path::new("..data").join(name), root.join(name)).unwrap();
        }
        mounted
    }

    fn update(&mut self, files: &[(&str, &str)]) {
        let old = self.root.join(format!("..2026_08_21_{}", self.version));
        self.version += 1;
        let new = format!("..2026_08_21_{}", self.version);
        fs::create_dir(self.root.join(&new)).unwrap();
        for (name, text) in files {
            fs::write(self.root.join(&new).join(name), text).unwrap();
        }
        symlink(&new, self.root.join("..data_tmp")).unwrap();
        fs::rename(self.root.join("..data_tmp"), self.root.join("..data")).unwrap();
        if self.version > 1 {
            fs::remove_dir_all(old).unwrap();
        }
    }
}

#[test]
fn a_directory_is_read_below_in_name_order_each_file_once() {
    let (_scratch, root) = directory();
    fs::create_dir_all(root.join("b/deep")).unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    for name in
        ["c.yaml", "a.yml", "b/deep/x.json", "b/a.YAML", "README.md", ".hidden.yaml", ".git/x.yaml"]
    {
        fs::write(root.join(name), name).unwrap();
    }
    symlink(root.join("c.yaml"), root.join("z.yaml")).unwrap();
    let corpus = FileSource::new(vec![root.clone(), root.join("c.yaml")]).read();
    assert_eq!(corpus.problems, []);
    assert_eq!(names(&corpus, &root), ["/a.yml", "/b/a.YAML", "/b/deep/x.json", "/c.yaml"]);
}

#[test]
fn a_config_map_is_read_once() {
    let (_scratch, root) = directory();
    ConfigMap::mount(&root, &[("a.yaml", "a1"), ("b.yaml", "b1")]);
    let corpus = FileSource::new(vec![root.clone()]).read();
    assert_eq!(corpus.problems, []);
    assert_eq!(names(&corpus, &root), ["/a.yaml", "/b.yaml"]);
    assert_eq!(texts(&corpus), ["a1", "b1"]);
}

#[test]
fn a_named_file_is_read_whatever_its_extension() {
    let (_scratch, root) = directory();
    fs::write(root.join("policies.txt"), "text").unwrap();
    let corpus = FileSource::new(vec![root.join("policies.txt")]).read();
    assert_eq!(texts(&corpus), ["text"]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let (_scratch, root) = directory();
    symlink("nowhere", root.join("team-a")).unwrap();
    symlink(".", root.join("loop")).unwrap();
    fs::write(root.join("latin1.yaml"), b"caf\xe9").unwrap();
    fs::create_dir(root.join("tcp.sock")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket.yaml")).unwrap();
    let missing = root.join("missing");
    let corpus = FileSource::new(vec![root.clone(), missing]).read();
    let mut said: Vec<_> = corpus
        .problems
        .iter()
        .map(|problem| {
            let path = problem.path.strip_prefix(root.to_str().unwrap()).unwrap();
            format!("{path}: {}", problem.error)
        })
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            "/latin1.yaml: not UTF-8: byte 3 does not belong to a character",
            "/loop: symbolic links lead back to a directory above",
            "/missing: no such file or directory",
            "/socket.yaml: not a regular file",
            "/team-a: the symbolic link points nowhere",
        ]
    );
}

#[test]
fn a_problem_covers_what_is_below_it() {
    let problem = SourceProblem { path: "policies".into(), error: ReadError::Missing };
    assert!(problem.covers("policies"));
    assert!(problem.covers("policies/a.yaml"));
    assert!(!problem.covers("policies-2/a.yaml"));
}

#[test]
fn a_file_that_becomes_empty_is_a_problem_until_it_has_content_or_is_gone() {
    let (_scratch, root) = directory();
    let file = root.join("a.yaml");
    fs::write(&file, "").unwrap();
    let mut source = FileSource::new(vec![root]);
    assert_eq!(source.read().problems, [], "empty from the start is just empty");
    fs::write(&file, "text").unwrap();
    assert_eq!(texts(&source.read()), ["text"]);
    fs::write(&file, "").unwrap();
    for _ in 0..2 {
        let corpus = source.read();
        assert_eq!(texts(&corpus), [] as [&str; 0]);
        assert_eq!(corpus.problems[0].error, ReadError::Emptied);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(source.read(), Corpus::default());
}

#[test]
fn a_look_without_change_finds_nothing_to_send() {
    let (_scratch, root) = directory();
    fs::write(root.join("a.yaml"), "one").unwrap();
    let mut source = FileSource::new(vec![root.clone()]);
    let mut watches = Watches::new();
    let first = source.read();
    assert_eq!(source.look(&mut watches, false, &first), None);
    assert_eq!(source.look(&mut watches, true, &first), None);
    // Without any event, a look still finds it.
    fs::write(root.join("a.yaml"), "another").unwrap();
    assert_eq!(texts(&source.look(&mut watches, false, &first).unwrap()), ["another"]);
}

/// Watches, and waits until what was sent satisfies.
struct Watched {
    corpora: watch::Receiver<Arc<Corpus>>,
}

impl Watched {
    fn start(roots: Vec<PathBuf>) -> Self {
        let mut source = FileSource::new(roots);
        let (sender, corpora) = watch::channel(Arc::new(source.read()));
        tokio::spawn(source.watch(EVENTS, sender));
        Self { corpora }
    }

    async fn becomes(&mut self, expected: &[&str]) {
        let found = self.corpora.wait_for(|corpus| texts(corpus) == expected);
        let found = tokio::time::timeout(Duration::from_secs(10), found).await.is_ok();
        if !found {
            panic!("never became {expected:?}: {:?}", *self.corpora.borrow());
        }
    }
}

#[tokio::test]
async fn a_config_map_swap_is_noticed_each_time() {
    let (_scratch, root) = directory();
    let mut mounted = ConfigMap::mount(&root, &[("a.yaml", "a0"), ("b.yaml", "b0")]);
    let mut watched = Watched::start(vec![root]);
    for round in 1..5 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        mounted.update(&[("a.yaml", &a), ("b.yaml", &b)]);
        watched.becomes(&[&a, &b]).await;
    }
}

#[tokio::test]
async fn a_single_file_of_a_config_map_is_watched_through_its_links() {
    let (scratch, root) = directory();
    let mut mounted = ConfigMap::mount(&root, &[("a.yaml", "a0")]);
    symlink(&root, scratch.path().join("current")).unwrap();
    let mut watched = Watched::start(vec![scratch.path().join("current/a.yaml")]);
    mounted.update(&[("a.yaml", "a1")]);
    watched.becomes(&["a1"]).await;
    // The link on the way is replaced.
    let other = scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.yaml"), "other").unwrap();
    symlink(&other, scratch.path().join("next")).unwrap();
    fs::rename(scratch.path().join("next"), scratch.path().join("current")).unwrap();
    watched.becomes(&["other"]).await;
    fs::write(other.join("a.yaml"), "in place").unwrap();
    watched.becomes(&["in place"]).await;
}

#[tokio::test]
async fn the_ways_editors_save_are_noticed() {
    let (_scratch, root) = directory();
    let file = root.join("a.yaml");
    fs::write(&file, "0").unwrap();
    let mut watched = Watched::start(vec![file.clone()]);
    // In place.
    fs::write(&file, "1").unwrap();
    watched.becomes(&["1"]).await;
    // Written beside it, renamed over it.
    for text in ["2", "3"] {
        fs::write(root.join(".a.yaml.swp"), text).unwrap();
        fs::rename(root.join(".a.yaml.swp"), &file).unwrap();
        watched.becomes(&[text]).await;
    }
    // The old one moved away first.
    fs::rename(&file, root.join("a.yaml~")).unwrap();
    fs::write(&file, "4").unwrap();
    watched.becomes(&["4"]).await;
    fs::remove_file(root.join("a.yaml~")).unwrap();
    fs::write(&file, "5").unwrap();
    watched.becomes(&["5"]).await;
}

#[tokio::test]
async fn new_directories_are_watched_too() {
    let (_scratch, root) = directory();
    let mut watched = Watched::start(vec![root.clone()]);
    watched.becomes(&[]).await;
    fs::create_dir_all(root.join("team/a")).unwrap();
    fs::write(root.join("team/a/x.yaml"), "1").unwrap();
    watched.becomes(&["1"]).await;
    fs::write(root.join("team/a/x.yaml"), "2").unwrap();
    watched.becomes(&["2"]).await;
    fs::remove_dir_all(root.join("team")).unwrap();
    watched.becomes(&[]).await;
}

#[tokio::test]
async fn a_directory_that_goes_is_a_problem_and_its_return_is_noticed() {
    let (_scratch, root) = directory();
    fs::write(root.join("a.yaml"), "1").unwrap();
    let mut watched = Watched::start(vec![root.clone()]);
    for round in 2..4 {
        fs::remove_dir_all(&root).unwrap();
        let missing = |corpus: &Arc<Corpus>| {
            corpus.problems.iter().any(|problem| problem.error == ReadError::Missing)
        };
        let gone = watched.corpora.wait_for(missing);
        tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap().unwrap();
        fs::create_dir(&root).unwrap();
        let text = round.to_string();
        fs::write(root.join("a.yaml"), &text).unwrap();
        watched.becomes(&[&text]).await;
        fs::write(root.join("a.yaml"), "again").unwrap();
        watched.becomes(&["again"]).await;
    }
}

#[tokio::test]
async fn watching_ends_when_nobody_listens() {
    let (_scratch, root) = directory();
    let source = FileSource::new(vec![root]);
    let (sender, receiver) = watch::channel(Arc::new(Corpus::default()));
    let watching = tokio::spawn(source.watch(EVENTS, sender));
    drop(receiver);
    tokio::time::timeout(Duration::from_secs(10), watching).await.unwrap().unwrap();
}
