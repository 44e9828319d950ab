//! `postern store`

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{could_not_run, print, say, yaml};
use crate::api::server::{Imported, prepare_import};
use crate::authn::clock::Clock;
use crate::manifest::node;
use crate::store::{FILE, History, Key, Store};

/// Look at a store that no Postern has open, and fill it
#[derive(Debug, clap::Args)]
pub(super) struct StoreCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Export(Export),
    Import(Import),
    Check(Check),
}

/// Print all objects as one List, which `store import` and `kubectl apply` take
#[derive(Debug, clap::Args)]
struct Export {
    /// The folder of the store
    #[arg(value_name = "DIR")]
    store: PathBuf,

    /// json or yaml
    #[arg(long, short, value_name = "FORMAT", default_value = "json")]
    output: Output,
}

/// Write objects into a store, all or none
///
/// What an export says of objects stays as it is, but for their resource versions. What manifests do
/// not say is added, as the API would.
#[derive(Debug, clap::Args)]
struct Import {
    /// The folder of the store; made if it is not there
    #[arg(value_name = "DIR")]
    store: PathBuf,

    /// An export or manifests, in JSON or YAML; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write over objects that are there and are others
    #[arg(long)]
    replace: bool,

    /// The namespace of objects that name none
    #[arg(long, value_name = "NS", default_value = "default")]
    namespace: String,
}

/// Say whether a store is sound: 0 if it is, 1 if not
#[derive(Debug, clap::Args)]
struct Check {
    /// The folder of the store
    #[arg(value_name = "DIR")]
    store: PathBuf,

    /// human or json
    #[arg(long, short, value_name = "FORMAT", default_value = "human")]
    output: Shown,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shown {
    Human,
    Json,
}

impl StoreCommand {
    pub(super) fn run(&self) -> ExitCode {
        let done = match &self.action {
            Action::Export(export) => export.run().map(|()| true),
            Action::Import(import) => import.run().map(|()| true),
            Action::Check(check) => check.run(),
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }
}

/// A store that is there; a mistyped folder must not become one.
fn existing(folder: &Path) -> Result<()> {
    let shown = folder.display();
    ensure!(folder.join(FILE).is_file(), "there is no store in `{shown}`");
    Ok(())
}

fn open(folder: &Path) -> Result<Store> {
    Store::open(folder, History::default())
        .with_context(|| format!("cannot open the store in `{}`", folder.display()))
}

impl Export {
    fn run(&self) -> Result<()> {
        existing(&self.store)?;
        let list = open(&self.store)?.export();
        match self.output {
            Output::Json => print(format_args!("{list:#}")),
            Output::Yaml => print(yaml::document(&list).trim_end()),
        }
        Ok(())
    }
}

impl Import {
    fn run(&self) -> Result<()> {
        let name = self.file.display().to_string();
        let text = if name == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
            text
        } else {
            fs::read_to_string(&self.file).with_context(|| format!("cannot read `{name}`"))?
        };
        // Exports are JSON, which is read faster as such.
        let is_json = text.trim_start().starts_with('{');
        let read_as = if is_json { "export.json" } else { name.as_str() };
        let documents = match node::parse_documents(&text, Some(read_as)) {
            Ok(documents) => documents,
            Err(problems) => {
                for problem in &problems {
                    say(problem);
                }
                bail!("`{name}` cannot be read");
            }
        };
        let documents: Vec<Value> = documents.iter().map(node::Node::to_json).collect();
        let store = open(&self.store)?;
        let existing = |key: &Key| store.get(key);
        let prepared = prepare_import(documents, &self.namespace, existing, Clock::system())?;
        for warning in &prepared.warnings {
            say(format_args!("warning: {warning}"));
        }
        let Imported { mut objects, namespaces, .. } = prepared;
        objects.extend(namespaces.into_iter().filter(|(key, _)| store.get(key).is_none()));
        let done = store.import(objects, self.replace)?;
        say(format_args!(
            "{} created, {} replaced, {} unchanged",
            done.created, done.replaced, done.unchanged
        ));
        Ok(())
    }
}

impl Check {
    fn run(&self) -> Result<bool> {
        existing(&self.store)?;
        let checked = Store::check(&self.store)
            .with_context(|| format!("cannot check the store in `{}`", self.store.display()))?;
        match self.output {
            Shown::Human => {
                for problem in &checked.problems {
                    print(problem);
                }
                let verdict = if checked.problems.is_empty() { "sound" } else { "not sound" };
                print(format_args!(
                    "{verdict}: {} objects, {} changes, revision {}",
                    checked.objects, checked.changes, checked.revision
                ));
            }
            Shown::Json => print(format_args!(
                "{:#}",
                json!({
                    "sound": checked.problems.is_empty(),
                    "objects": checked.objects,
                    "changes": checked.changes,
                    "revision": checked.revision,
                    "problems": checked.problems,
                })
            )),
        }
        Ok(checked.problems.is_empty())
    }
}
