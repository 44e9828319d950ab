//! `postern crds`

use std::process::ExitCode;

use serde_json::json;

use super::{print, yaml};
use crate::manifest::schema;
use crate::model::Kind;

/// Print CustomResourceDefinitions of the kinds that Postern enforces
///
/// For clusters without Istio and Kyma: `postern crds | kubectl apply -f -`. Where Istio is installed, its own
/// are there already and are the ones to keep.
#[derive(Debug, clap::Args)]
pub(super) struct Crds {
    /// Only these kinds, by any of their names, such as `ap` or `APIRule` [default: all of Istio's]
    #[arg(value_name = "KIND", value_parser = kind)]
    kinds: Vec<Kind>,

    /// yaml, or json: one List
    #[arg(long, short, value_name = "FORMAT", default_value = "yaml")]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Yaml,
    Json,
}

impl Crds {
    pub(super) fn run(&self) -> ExitCode {
        let kinds = if self.kinds.is_empty() { &Kind::ISTIO[..] } else { &self.kinds };
        let definitions = kinds.iter().copied().map(schema::custom_resource_definition);
        match self.output {
            Output::Yaml => {
                let documents: Vec<_> = definitions.map(|value| yaml::document(&value)).collect();
                print(documents.join("---\n").trim_end());
            }
            Output::Json => {
                let items: Vec<_> = definitions.collect();
                print(format_args!(
                    "{:#}",
                    json!({ "apiVersion": "v1", "kind": "List", "items": items })
                ));
            }
        }
        ExitCode::SUCCESS
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    let is_named = |kind: &Kind| {
        let names = schema::of(*kind);
        [&names.plural, &names.singular, &names.short_name]
            .iter()
            .any(|name| text.eq_ignore_ascii_case(name))
    };
    Kind::ALL.into_iter().find(is_named).ok_or_else(|| {
        let names = Kind::ALL.map(Kind::as_str);
        format!("the kinds are {}", names.join(", "))
    })
}
