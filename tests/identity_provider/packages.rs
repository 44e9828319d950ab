//! Packages of npm, installed once into Cargo's target folder: those of `MANIFEST` and `LOCK` in the
//! root of the tests that use this.
//!
//! Running them is the caller's job.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use aws_lc_rs::digest::{SHA256, digest};

use crate::{LOCK, MANIFEST, PACKAGES};

/// What must be there, and is never done without: a test that is skipped shows nothing.
const NEEDED: &str = "the tests need Node.js 20 or later and its npm: install them (on Debian and \
                      Ubuntu the packages `nodejs` and `npm`)";

/// The `node_modules` of exactly the locked packages. Several processes may call it at once: one
/// installs, the others wait for it.
pub(crate) fn node_modules() -> PathBuf {
    let program = env::current_exe().expect("the path of this program");
    let target = program.ancestors().nth(3).expect("the target folder");
    installed(OsStr::new("node"), OsStr::new("npm"), target)
        .unwrap_or_else(|reason| panic!("nothing to test with: {reason}"))
}

fn installed(node: &OsStr, npm: &OsStr, target: &Path) -> Result<PathBuf, String> {
    check_version(&run(Command::new(node).arg("--version"))?)?;
    // Other packages get another folder.
    let version: String =
        digest(&SHA256, LOCK.as_bytes()).as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect();
    let folder = target.join(PACKAGES).join(version);
    let failed = |what: &str, error: &io::Error| format!("{what} `{}`: {error}", folder.display());
    fs::create_dir_all(&folder).map_err(|error| failed("cannot create", &error))?;
    let lock = File::create(folder.join("lock")).map_err(|error| failed("cannot use", &error))?;
    lock.lock().map_err(|error| failed("cannot lock", &error))?;
    let whole = folder.join("whole");
    if !whole.exists() {
        // npm removes first what an interrupted run has left behind.
        fs::write(folder.join("package.json"), MANIFEST)
            .and_then(|()| fs::write(folder.join("package-lock.json"), LOCK))
            .map_err(|error| failed("cannot write to", &error))?;
        let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        run(Command::new(npm).args(arguments).current_dir(&folder))?;
        File::create(whole).map_err(|error| failed("cannot write to", &error))?;
    }
    Ok(folder.join("node_modules"))
}

fn check_version(said: &str) -> Result<(), String> {
    let major = said.trim().trim_start_matches('v').split('.').next();
    match major.and_then(|major| major.parse::<u32>().ok()) {
        Some(20..) => Ok(()),
        Some(_) | None => Err(format!("{NEEDED}; `node --version` says `{}`", said.trim())),
    }
}

/// What a program says, where it does what it should.
fn run(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|error| format!("{NEEDED}; `{shown}`: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("`{shown}` failed: {}", text(&output.stderr)))
    }
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (there, missing) = (OsStr::new("node"), OsStr::new("no-such-program"));
    for (node, npm) in [(missing, there), (there, missing)] {
        let error = installed(node, npm, folder.path()).unwrap_err();
        assert!(error.contains("need Node.js 20 or later and its npm"), "{error}");
        assert!(error.contains("no-such-program"), "{error}");
    }
    assert!(check_version("v18.19.0\n").unwrap_err().ends_with("says `v18.19.0`"));
    assert_eq!(check_version("v22.1.0\n"), Ok(()));
}
