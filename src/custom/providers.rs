//! The providers of a running server: asked at the same time, each within its time and by its circuit.
//!
//! What their answers come to is `consult`'s job.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::time::timeout;

use super::answer::{Answer, Denial, Failure, Trouble};
use super::circuit::{Change, Circuit, CircuitSettings, CircuitState};
use super::consult::{Answered, Ask};
use super::grpc::{self, GrpcClient};
use super::http::{self as http_check, HttpClient};
use super::question;
use super::settings::{Definitions, ExtensionProvider, HttpCheck, Protocol};
use crate::outbound::{DialGuard, LinkTls, Linker, OutboundError, Place, Trust};

/// How a provider is reached, which Istio has in other places than its definition.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Where it is.
    pub place: Place,
    /// TLS with it: whom to trust, and the name that its certificate must have.
    pub tls: Option<(Trust, String)>,
    /// When it is left alone.
    pub circuit: CircuitSettings,
}

/// What came of asking one provider once.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Its name.
    pub provider: &'a str,
    /// What it said.
    pub answer: &'a Answer,
    /// How long that took.
    pub elapsed: Duration,
}

/// Told of each time a provider is asked.
pub type Observer = dyn Fn(Observation<'_>) + Send + Sync;

/// How a provider stands.
#[derive(Debug, Clone)]
pub struct ProviderStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Its circuit.
    pub circuit: CircuitState,
    /// How many requests are under way.
    pub under_way: usize,
}

/// Every provider that is defined.
pub struct Providers {
    definitions: Definitions,
    by_name: BTreeMap<Arc<str>, Provider>,
    /// A header, in lower case, that is between Envoy and Postern.
    hidden_header: Option<Arc<str>>,
    observer: Box<Observer>,
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Providers").field("by_name", &self.by_name).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Provider {
    settings: ExtensionProvider,
    circuit: Circuit,
    client: ProtocolClient,
}

#[derive(Debug)]
enum ProtocolClient {
    Grpc(GrpcClient),
    Http { client: Box<HttpClient>, base: String, settings: HttpCheck },
}

impl Providers {
    /// Connects to nobody yet. Connections will live on the runtime that this is called on. Fails
    /// where a provider's TLS cannot be used; the error names it.
    pub fn new(
        providers: Vec<(ExtensionProvider, Reach)>,
        guard: &DialGuard,
        hidden_header: Option<Arc<str>>,
        observer: Box<Observer>,
    ) -> Result<Self, (Arc<str>, OutboundError)> {
        let definitions = Definitions::of(providers.iter().map(|(settings, _)| settings));
        let by_name = providers.into_iter().map(|(settings, reach)| {
            let name = settings.name.clone();
            match Provider::new(settings, reach, guard) {
                Ok(provider) => Ok((name, provider)),
                Err(error) => Err((name, error)),
            }
        });
        let by_name = by_name.collect::<Result<_, _>>()?;
        Ok(Self { definitions, by_name, hidden_header, observer })
    }

    /// Which names mean something.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// How each stands, by name.
    pub fn status(&self) -> Vec<ProviderStatus> {
        let status = |(name, provider): (&Arc<str>, &Provider)| ProviderStatus {
            name: name.clone(),
            circuit: provider.circuit.state(),
            under_way: provider.circuit.under_way(),
        };
        self.by_name.iter().map(status).collect()
    }

    /// Asks all of these about a request, at the same time and for at most so long. The answers are
    /// in the order of `asks`; those after one that refuses the request are not waited for.
    pub async fn ask(&self, asks: &[Ask], check: &CheckRequest, within: Duration) -> Vec<Answered> {
        let mut asking: FuturesOrdered<_> = asks
            .iter()
            .map(|Ask { provider, .. }| async {
                let answer = self.ask_one(provider, check, within).await;
                Answered { provider: provider.clone(), answer: Arc::new(answer) }
            })
            .collect();
        let mut answers = Vec::with_capacity(asks.len());
        while let Some(answered) = asking.next().await {
            let lets_through = match &*answered.answer {
                Answer::Allowed(_) => true,
                Answer::Failed(failure) => failure.passes,
                Answer::Denied(_) => false,
            };
            answers.push(answered);
            if !lets_through {
                break;
            }
        }
        answers
    }

    async fn ask_one(&self, name: &str, check: &CheckRequest, within: Duration) -> Answer {
        let Some(provider) = self.by_name.get(name) else {
            return Answer::Failed(Box::new(Failure::closed(Trouble::NotAsked)));
        };
        let started = Instant::now();
        let answer = provider.ask(check, within, self.hidden_header.as_deref()).await;
        (self.observer)(Observation {
            provider: name,
            answer: &answer,
            elapsed: started.elapsed(),
        });
        answer
    }
}

impl Provider {
    fn new(
        settings: ExtensionProvider,
        reach: Reach,
        guard: &DialGuard,
    ) -> Result<Self, OutboundError> {
        const CONNECT_WITHIN: Duration = Duration::from_secs(5);
        let Reach { place, tls, circuit } = reach;
        let protocol: &[u8] = match settings.protocol {
            Protocol::Grpc => b"h2",
            Protocol::Http(_) => b"http/1.1",
        };
        let tls = tls.map(|(trust, server_name)| LinkTls { trust, server_name, protocol });
        let linker = Linker::new(place, guard.clone(), tls, CONNECT_WITHIN)?;
        // Names whom is asked; where they are, the linker knows. It encrypts too, so that to what is
        // above it everything is plain.
        let base = match settings.host.contains(':') {
            true => format!("http://[{}]:{}", settings.host, settings.port),
            false => format!("http://{}:{}", settings.host, settings.port),
        };
        let client = match &settings.protocol {
            Protocol::Grpc => {
                let authority = base.parse().map_err(|_| OutboundError::Url)?;
                ProtocolClient::Grpc(GrpcClient::new(authority, linker))
            }
            Protocol::Http(check) => ProtocolClient::Http {
                client: Box::new(HttpClient::new(linker)),
                base,
                settings: check.clone(),
            },
        };
        Ok(Self { settings, circuit: Circuit::new(circuit), client })
    }

    async fn ask(&self, check: &CheckRequest, within: Duration, hidden: Option<&str>) -> Answer {
        let entered = match self.circuit.enter() {
            Ok(entered) => entered,
            Err(trouble) => return Answer::Failed(Box::new(self.failure(trouble))),
        };
        let within = within.min(self.settings.timeout);
        let result = match timeout(within, self.call(check, within, hidden)).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::Timeout),
        };
        let trouble = match &result {
            Ok(answer) => answer.trouble(),
            Err(trouble) => Some(*trouble),
        };
        match trouble {
            None => self.note(entered.succeeded(), None),
            // The provider has had no part in it.
            Some(trouble) if !trouble.may_pass() => drop(entered),
            Some(trouble) => self.note(entered.failed(), Some(trouble)),
        }
        result.unwrap_or_else(|trouble| Answer::Failed(Box::new(self.failure(trouble))))
    }

    async fn call(
        &self,
        check: &CheckRequest,
        within: Duration,
        hidden: Option<&str>,
    ) -> Result<Answer, Trouble> {
        match &self.client {
            ProtocolClient::Grpc(client) => {
                let check = question::check_request(check, &self.settings, hidden)?;
                let response = client.ask(check, within).await?;
                Ok(grpc::read(response, || self.failure(Trouble::Server)))
            }
            ProtocolClient::Http { client, base, settings } => {
                let request =
                    question::http_request(check, &self.settings, settings, base, hidden)?;
                http_check::read(&client.ask(request).await?, settings)
            }
        }
    }

    fn failure(&self, trouble: Trouble) -> Failure {
        let denial = match trouble {
            // As Envoy answers when it cannot hold a body.
            Trouble::BodyTooLarge => {
                Denial { body: "Payload Too Large".to_owned(), ..Denial::of_status(413) }
            }
            Trouble::NotAsked
            | Trouble::Timeout
            | Trouble::Unreachable
            | Trouble::Transport
            | Trouble::Server
            | Trouble::CircuitOpen
            | Trouble::Overflow
            | Trouble::Unaskable => Denial::of_status(self.settings.status_on_error),
        };
        Failure { trouble, passes: self.settings.fail_open && trouble.may_pass(), denial }
    }

    fn note(&self, change: Change, trouble: Option<Trouble>) {
        let provider = &*self.settings.name;
        let trouble = trouble.map(Trouble::as_str);
        match change {
            Change::None => {}
            Change::Fails => {
                tracing::warn!(provider, trouble, "an extension provider gives no answer");
            }
            Change::Opened => {
                tracing::warn!(
                    provider,
                    trouble,
                    "an extension provider is left alone for a while"
                );
            }
            Change::Recovered => tracing::info!(provider, "an extension provider answers again"),
        }
    }
}
