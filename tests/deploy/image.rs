//! The Dockerfile, as far as it can be checked without building it.

use postern::manifest::node::{Node, parse_documents};
use serde_json::Value;

use crate::tools::read;

/// Instructions with their arguments, continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = read("deploy/Dockerfile");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let (name, rest) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    joined.lines().filter_map(|line| split(line.trim())).collect()
}

/// Those of each stage, and its base.
fn stages() -> Vec<(String, Vec<(String, String)>)> {
    let mut stages: Vec<(String, Vec<_>)> = Vec::new();
    for (name, rest) in instructions() {
        if name == "FROM" {
            stages.push((rest, Vec::new()));
        } else {
            stages.last_mut().expect("FROM comes first").1.push((name, rest));
        }
    }
    stages
}

fn cargo(path: &[&str]) -> Value {
    let text = read("Cargo.toml");
    let mut section = "";
    let mut found = Value::Null;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if section == path[0]
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == path[1]
        {
            let documents = parse_documents(value.trim(), Some("value.yaml")).unwrap();
            found = documents.first().map(Node::to_json).unwrap();
        }
    }
    assert!(!found.is_null(), "{path:?}");
    found
}

#[test]
fn bases_are_pinned_and_fit_together() {
    let stages = stages();
    let [(build, _), (last, _)] = stages.as_slice() else { panic!("{} stages", stages.len()) };
    let rust = cargo(&["package", "rust-version"]);
    let rust = rust.as_str().unwrap();
    assert_eq!(*build, format!("docker.io/library/rust:{rust}-bookworm AS build"));
    // Bookworm is Debian 12: the C library that the binary is linked to is that of the image.
    assert_eq!(last, "gcr.io/distroless/cc-debian12:nonroot");
}

#[test]
fn the_image_holds_the_binary_and_runs_it_as_nobody() {
    let stages = stages();
    let (_, last) = stages.last().unwrap();
    let of = |name: &str| -> Vec<&str> {
        last.iter().filter(|(found, _)| found == name).map(|(_, rest)| rest.as_str()).collect()
    };
    assert_eq!(of("COPY"), ["--from=build --chown=0:0 /out/postern /usr/local/bin/postern"]);
    assert_eq!(of("USER"), ["65532:65532"]);
    assert_eq!(of("ENTRYPOINT"), [r#"["/usr/local/bin/postern"]"#], "no shell in between");
    assert_eq!(of("CMD"), [r#"["serve"]"#]);
    assert_eq!(of("EXPOSE"), ["9191 8283"]);
    for name in ["RUN", "ADD", "ENV", "ARG", "VOLUME", "HEALTHCHECK"] {
        assert_eq!(of(name), [] as [&str; 0], "{name}");
    }
}

#[test]
fn the_build_takes_what_is_locked_and_leaves_no_feature_out() {
    let all = instructions();
    assert!(all.iter().all(|(name, _)| name != "ADD"));
    let runs: Vec<_> = all.iter().filter(|(name, _)| name == "RUN").collect();
    let [(_, run)] = runs.as_slice() else { panic!("{} RUN", runs.len()) };
    for flag in ["--locked", "--release", "--no-default-features", "--bin postern"] {
        assert!(run.contains(flag), "{flag}");
    }
    let features = all.iter().find_map(|(_, rest)| rest.strip_prefix("FEATURES=")).unwrap();
    let built: Vec<_> = features.trim_matches('"').split(',').filter(|f| !f.is_empty()).collect();
    let default = cargo(&["features", "default"]);
    let default = default.as_array().unwrap().iter().map(|f| f.as_str().unwrap());
    // The demo and tests make keys, and the demo fetches Envoy; nothing of that belongs into a server.
    let wanted: Vec<_> = default.filter(|name| !["demo", "test"].contains(name)).collect();
    assert_eq!(built, wanted);
}

/// Cargo wants every target's file to be there, and the sources include some others.
#[test]
fn nothing_that_the_build_reads_is_ignored() {
    let text = read(".dockerignore");
    let ignored: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(ignored, [".git", ".ci", "**/target", "**/*.snap.new", "docs", "deploy"]);
    let mut sources = vec![crate::tools::root().join("src")];
    while let Some(path) = sources.pop() {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            let entries = std::fs::read_dir(path).unwrap();
            sources.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            for included in text.split("include_str!(").skip(1) {
                let argument = included.split(')').next().unwrap();
                let outside =
                    ["../docs/", "../deploy/"].iter().any(|place| argument.contains(place));
                assert!(!outside, "{}: {argument}", path.display());
            }
        }
    }
}
