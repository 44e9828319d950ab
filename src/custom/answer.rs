//! What an extension provider says of one request, whichever protocol it speaks.
//!
//! What is done with it is `consult`'s and `apply`'s job.

use envoy_types::pb::google::protobuf::Struct;

/// What came of asking a provider.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It lets the request through, changed like this.
    Allowed(Box<Allowance>),
    /// It refuses the request.
    Denied(Box<Denial>),
    /// It said nothing of use.
    Failed(Box<Failure>),
}

impl Answer {
    /// For logs and metrics: `allow`, `deny`, or of a failure `fail_open` or `error`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Allowed(_) => "allow",
            Self::Denied(_) => "deny",
            Self::Failed(failure) if failure.passes => "fail_open",
            Self::Failed(_) => "error",
        }
    }

    /// What went wrong, where something did.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Failed(failure) => Some(failure.trouble),
            Self::Allowed(_) | Self::Denied(_) => None,
        }
    }
}

/// What a provider that lets a request through wants done to it and to the response.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allowance {
    /// Changes of request headers, in order.
    pub headers: Vec<HeaderMutation>,
    /// Names of request headers to take out after that, in lower case.
    pub headers_to_remove: Vec<String>,
    /// Query parameters to set after that.
    pub query_parameters_to_set: Vec<(String, String)>,
    /// Query parameters to take out after that.
    pub query_parameters_to_remove: Vec<String>,
    /// Changes of the headers of whatever response the client gets.
    pub response_headers: Vec<HeaderMutation>,
    /// Dynamic metadata.
    pub metadata: Struct,
}

/// A refusal, as the client gets it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Denial {
    /// HTTP status.
    pub status: u16,
    /// Headers of the response.
    pub headers: Vec<HeaderMutation>,
    /// Body of the response.
    pub body: String,
    /// Dynamic metadata.
    pub metadata: Struct,
}

impl Denial {
    /// A status alone.
    pub fn of_status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

/// A provider that gave no answer of use.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What went wrong.
    pub trouble: Trouble,
    /// Whether its settings let the request pass all the same (`failOpen`).
    pub passes: bool,
    /// What the client gets where they do not.
    pub denial: Denial,
}

/// Why there is no answer of use. A closed set, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// Nobody has asked it: a command that does not call providers.
    NotAsked,
    /// The answer did not come in time.
    Timeout,
    /// There is no connection to it.
    Unreachable,
    /// The call broke off, or the answer makes no sense.
    Transport,
    /// It says itself that it failed.
    Server,
    /// Its circuit is open: it failed too often just now.
    CircuitOpen,
    /// As many requests are under way as may be.
    Overflow,
    /// The request cannot be put to it; never passes, as clients could bring that about.
    Unaskable,
    /// The body is larger than it is to see; never passes.
    BodyTooLarge,
}

impl Trouble {
    /// For logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Transport => "transport",
            Self::Server => "server",
            Self::CircuitOpen => "circuit_open",
            Self::Overflow => "overflow",
            Self::Unaskable => "unaskable",
            Self::BodyTooLarge => "body_too_large",
        }
    }

    /// Whether `failOpen` is about it: trouble of the provider is, that of a request is not.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Timeout
            | Self::Unreachable
            | Self::Transport
            | Self::Server
            | Self::CircuitOpen
            | Self::Overflow => true,
            Self::NotAsked | Self::Unaskable | Self::BodyTooLarge => false,
        }
    }
}

/// One change of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMutation {
    /// Its name, in lower case.
    pub name: String,
    /// Its new value, or what is added.
    pub value: String,
    /// What to do with a value that is there.
    pub action: AppendAction,
}

impl HeaderMutation {
    /// Replaces what there is.
    pub fn set(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), action: AppendAction::Overwrite }
    }

    /// Adds a line.
    pub fn add(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), action: AppendAction::Add }
    }
}

/// `HeaderValueOption.append_action`, and `append` that was before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAction {
    /// `APPEND_IF_EXISTS_OR_ADD`: one more line.
    Add,
    /// `append: true`: joined to the value with a comma; nothing where there is none.
    Join,
    /// `ADD_IF_ABSENT`
    AddIfAbsent,
    /// `OVERWRITE_IF_EXISTS_OR_ADD`
    Overwrite,
    /// `OVERWRITE_IF_EXISTS`
    OverwriteIfExists,
}
