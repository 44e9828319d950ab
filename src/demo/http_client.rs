//! Sends requests as the story's callers do, and reads the answers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::answer::Answer;
use super::envoy_config::METADATA_HEADER;
use super::identities::Identities;
use super::story::{Caller, Request};
use super::tokens::Tokens;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

type Sent = http::Request<Empty<Bytes>>;
type Received = http::Response<Bytes>;

/// Sends one request over a connection of its own.
pub(super) async fn send(
    to: SocketAddr,
    request: &Request,
    identities: &Identities,
    tokens: &Tokens,
) -> Result<Answer> {
    let mut builder = http::Request::builder()
        .method(request.method)
        .uri(request.path)
        .header(HOST, to.to_string());
    if let Some(token) = request.token {
        builder = builder.header(AUTHORIZATION, tokens.bearer(token));
    }
    for (name, value) in request.headers {
        builder = builder.header(*name, *value);
    }
    let sent = builder.body(Empty::new())?;
    let exchange = async {
        let stream = TcpStream::connect(to).await?;
        if request.caller == Caller::Plaintext {
            return converse(stream, sent).await;
        }
        let tls = TlsConnector::from(Arc::new(identities.tls(request.caller)?));
        converse(tls.connect(ServerName::from(to.ip()), stream).await?, sent).await
    };
    let received = timeout(ANSWER_WITHIN, exchange).await.context("no answer in time")??;
    let metadata = received.headers().get(METADATA_HEADER);
    let metadata = metadata.and_then(|text| serde_json::from_slice(text.as_bytes()).ok());
    Answer::read(received.status().as_u16(), &metadata.unwrap_or(Value::Null))
        .with_context(|| format!("Envoy answered {} without asking Postern", received.status()))
}

/// Whether a plain `GET` is answered with 200.
pub(super) async fn is_ok(to: SocketAddr, path: &str) -> bool {
    get(to, path).await.is_ok_and(|received| received.status() == http::StatusCode::OK)
}

/// What a plain `GET` gives.
pub(super) async fn get_json(to: SocketAddr, path: &str) -> Result<Value> {
    let received = get(to, path).await?;
    serde_json::from_slice(received.body()).with_context(|| format!("{path} is no JSON"))
}

async fn get(to: SocketAddr, path: &str) -> Result<Received> {
    let sent = http::Request::get(path).header(HOST, to.to_string()).body(Empty::new())?;
    let exchange = async { converse(TcpStream::connect(to).await?, sent).await };
    timeout(ANSWER_WITHIN, exchange).await.context("no answer in time")?
}

async fn converse<S>(stream: S, request: Sent) -> Result<Received>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    connection.abort();
    Ok(http::Response::from_parts(parts, body))
}
