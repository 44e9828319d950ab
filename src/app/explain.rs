//! Explains requests by what is in force: the policies and the keys of this moment.
//!
//! What an explanation says is `explain`'s job, how it is asked for `admin`'s.

use std::fmt;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;

use crate::admin::{ExplainFormat, Explained, NotExplained, Question};
use crate::authn::Verifier;
use crate::authn::clock::Clock;
use crate::authn::jwks::KeySets;
use crate::control::publish::SnapshotCell;
use crate::custom::{Definitions, Standing};
use crate::explain::{self, Decided};
use crate::extauthz::{self, CertificateNames, RequestSettings, from_check};
use crate::request_file::{RequestFile, recorded};

/// How many of the rules that came nearest are looked for.
const MOST_MISSES: usize = 10;

/// What a running server knows.
#[derive(Debug)]
pub(super) struct Explainer {
    pub(super) snapshots: SnapshotCell,
    pub(super) keys: KeySets,
    pub(super) clock: Clock,
    pub(super) settings: RequestSettings,
    pub(super) providers: Definitions,
}

impl Explainer {
    /// Explains a request file or a CheckRequest. Takes a while where there are many rules.
    pub(super) fn explain(
        &self,
        &Question { content, format, extensions }: &Question<'_>,
    ) -> Result<Explained, NotExplained> {
        let name = |check: &mut CheckRequest| {
            if let Some(attributes) = &mut check.attributes {
                attributes.context_extensions.extend(extensions.iter().cloned());
            }
        };
        let recorded = recorded::check_request(content, "the request").map_err(no_request)?;
        if let Some(mut check) = recorded {
            name(&mut check);
            let attributes = from_check(&check, &self.settings, &CertificateNames::default());
            return self.decide(&check, attributes, None, format);
        }
        let text = str::from_utf8(content).map_err(no_request)?;
        let request = RequestFile::read(text, None).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            no_request(lines.join("\n\n"))
        })?;
        let mut check = request.check_request(self.settings.client_address);
        name(&mut check);
        self.decide(&check, request.attributes(&check, &self.settings), request.now, format)
    }

    fn decide(
        &self,
        check: &CheckRequest,
        attributes: Result<crate::model::Attributes<'_>, extauthz::Malformed>,
        now: Option<u64>,
        format: ExplainFormat,
    ) -> Result<Explained, NotExplained> {
        let snapshot = self.snapshots.load_full();
        let Some(plan) = extauthz::plan_of(&snapshot, check, self.settings.workload_from) else {
            return Err(no_request("the workload that it names is not configured"));
        };
        let verifier = Verifier {
            keys: &self.keys,
            cache: None,
            now: now.unwrap_or_else(|| self.clock.unix_seconds()),
            max_token_size: self.settings.max_token_size,
        };
        let providers = Standing { definitions: Some(&self.providers), ..Standing::default() };
        let decided = Decided::new(plan, attributes, &verifier, providers, MOST_MISSES);
        Ok(match format {
            ExplainFormat::Human => Explained::Text(explain::human(&decided, true)),
            ExplainFormat::Json | ExplainFormat::JsonWithText => {
                let mut json = explain::json(&decided, true);
                if let Some(members) = json.as_object_mut() {
                    members.insert("revision".to_owned(), snapshot.revision.into());
                    if format == ExplainFormat::JsonWithText {
                        let text = explain::human(&decided, true);
                        members.insert("text".to_owned(), text.into());
                    }
                }
                Explained::Json(json)
            }
        })
    }
}

fn no_request(problem: impl fmt::Display) -> NotExplained {
    NotExplained(problem.to_string())
}
