//! CUSTOM: extension providers, what is asked of them, and what their answers do to a request.
//!
//! Asking is async and stays in [`Providers`]; what comes of the answers is a function, [`consult`],
//! which `gate` calls. Which rules ask is `decide`'s job, reading settings `config`'s.

mod answer;
mod apply;
mod circuit;
mod consult;
mod grpc;
mod http;
mod providers;
mod question;
mod settings;

pub use answer::{Allowance, Answer, AppendAction, Denial, Failure, HeaderMutation, Trouble};
pub use circuit::{CircuitSettings, CircuitState};
pub use consult::{Answered, Ask, AskedBy, Consulted, Standing, consult};
pub use providers::{Observation, Observer, ProviderStatus, Providers, Reach};
pub use settings::{
    Definitions, ExtensionProvider, HeaderPattern, HttpCheck, Protocol, RequestBody,
};

#[cfg(test)]
mod tests;
