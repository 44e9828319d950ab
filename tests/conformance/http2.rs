//! A request as HTTP/2, for the client.

use std::io;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    cases::{Peer, Request, bytes_of},
    judge::Observed,
    servers::echoed,
};

/// What is sent.
pub(crate) struct Prepared {
    head: http::Request<()>,
    body: Bytes,
}

/// `None` for what cannot be said in HTTP/2: odd paths and hosts, headers of the connection.
pub(crate) fn prepare(request: &Request) -> Option<Prepared> {
    const OF_THE_CONNECTION: [&str; 5] =
        ["connection", "transfer-encoding", "upgrade", "keep-alive", "te"];
    let scheme = if request.peer == Peer::Plaintext { "http" } else { "https" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(request.host.as_deref()?)
        .path_and_query(request.path.as_str());
    let uri = uri.build().ok().filter(|_| request.path.starts_with('/'))?;
    let method = Method::from_bytes(request.method.as_bytes()).ok()?;
    let mut head = http::Request::builder().method(method).uri(uri).body(()).ok()?;
    for (name, value) in &request.headers {
        if OF_THE_CONNECTION.contains(&name.to_ascii_lowercase().as_str()) {
            return None;
        }
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(bytes_of(value.trim()).as_slice()).ok()?;
        head.headers_mut().append(name, value);
    }
    Some(Prepared { head, body: request.body.clone().into() })
}

/// Sends it and waits for the answer.
pub(crate) async fn converse<S>(stream: S, prepared: Prepared) -> io::Result<Observed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut client, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let Prepared { head, body } = prepared;
    let (response, mut sender) =
        client.send_request(head, body.is_empty()).map_err(io::Error::other)?;
    if !body.is_empty() {
        sender.send_data(body, true).map_err(io::Error::other)?;
    }
    let (head, mut stream) = response.await.map_err(io::Error::other)?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        body.extend(chunk.map_err(io::Error::other)?);
    }
    connection.abort();
    let body = String::from_utf8_lossy(&body).into_owned();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    Ok(Observed {
        status: head.status.as_u16(),
        upstream: echoed(&body),
        headers: headers.collect(),
        body,
    })
}
