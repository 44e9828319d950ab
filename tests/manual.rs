//! `postern completions` and `postern man` as a user runs them.

#![expect(clippy::unwrap_used, reason = "test support functions")]

mod blackbox;
#[path = "blackbox/ran.rs"]
mod ran;

use std::fs;
use std::process::{Command, Stdio};

use blackbox::Folder;
use ran::ran;
use rstest::rstest;

/// What every user can ask for, whatever features the binary was built with.
const COMMANDS: [&str; 6] = ["serve", "check", "explain", "bench", "jwt", "lint"];

#[rstest]
#[case("bash")]
#[case("zsh")]
#[case("fish")]
#[case("powershell")]
#[case("elvish")]
fn completions_know_the_commands(#[case] shell: &str) {
    let ran = ran(Folder::new().postern().args(["completions", shell]));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    for command in COMMANDS {
        assert!(ran.stdout.contains(command), "{command}");
    }
}

#[test]
fn bash_takes_its_completions() {
    let folder = Folder::new();
    let script =
        folder.file("postern.bash", &ran(folder.postern().args(["completions", "bash"])).stdout);
    let line = r#"source "$0"; COMP_WORDS=(postern expl); COMP_CWORD=1; _postern postern expl postern; echo "${COMPREPLY[@]}""#;
    let ran =
        ran(Command::new("bash").args(["--norc", "-c", line]).arg(script).stdin(Stdio::null()));
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "explain\n"), "{}", ran.stderr);
}

#[test]
fn there_is_a_page_for_each_command() {
    let folder = Folder::new();
    let ran = ran(folder.postern().args(["man", "pages"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    for command in COMMANDS {
        let page = folder.path().join(format!("pages/postern-{command}.1"));
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains(".TH"), "{command}");
        assert!(page.contains(".SH OPTIONS"), "{command}");
    }
    let page = fs::read_to_string(folder.path().join("pages/postern.1")).unwrap();
    assert!(page.contains("explain"));
}

#[test]
fn a_folder_that_cannot_be_made_is_said() {
    let folder = Folder::new();
    folder.file("pages", "a file");
    let ran = ran(folder.postern().args(["man", "pages"]));
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("cannot write man pages to `pages`"), "{}", ran.stderr);
}
