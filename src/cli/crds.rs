//! `postern crds`

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{print, yaml};
use crate::manifest::schema::{self, virtual_service};
use crate::model::Kind;

/// Print CustomResourceDefinitions of the kinds that Postern enforces
///
/// For clusters without Istio and Kyma: `postern crds | kubectl apply -f -`. Where Istio is installed, its own
/// are there already and are the ones to keep. VirtualService, which the management API reads and nothing
/// enforces, is printed where it is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Crds {
    /// Only these kinds, by any of their names, such as `ap` or `APIRule` [default: all of Istio's]
    #[arg(value_name = "KIND", value_parser = kind)]
    kinds: Vec<Described>,

    /// yaml, or json: one List
    #[arg(long, short, value_name = "FORMAT", default_value = "yaml")]
    output: Output,
}

/// A kind with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Described {
    Policy(Kind),
    VirtualService,
}

impl Described {
    fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().map(Self::Policy).chain([Self::VirtualService])
    }

    fn schema(self) -> &'static schema::KindSchema {
        match self {
            Self::Policy(kind) => schema::of(kind),
            Self::VirtualService => virtual_service::schema(),
        }
    }

    fn definition(self) -> Value {
        match self {
            Self::Policy(kind) => schema::custom_resource_definition(kind),
            Self::VirtualService => virtual_service::custom_resource_definition(),
        }
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Yaml,
    Json,
}

impl Crds {
    pub(super) fn run(&self) -> ExitCode {
        let enforced = Kind::ISTIO.map(Described::Policy);
        let kinds = if self.kinds.is_empty() { &enforced[..] } else { &self.kinds };
        let definitions = kinds.iter().copied().map(Described::definition);
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

fn kind(text: &str) -> Result<Described, String> {
    let is_named = |kind: &Described| {
        let names = kind.schema();
        [&names.plural, &names.singular, &names.short_name]
            .iter()
            .any(|name| text.eq_ignore_ascii_case(name))
    };
    Described::all().find(is_named).ok_or_else(|| {
        let names: Vec<_> = Described::all().map(|kind| kind.schema().kind).collect();
        format!("the kinds are {}", names.join(", "))
    })
}
