//! Sends a case's request as it is written, over plaintext or TLS, as a proxy in front would.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpSocket,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{
    cases::{Peer, Request},
    http1::{self, Body},
    judge::Observed,
    pki::Pki,
    servers::echoed,
};

/// Sends the request to a listener and waits for the answer; status 0 when the connection is
/// refused.
pub(crate) async fn send(to: SocketAddr, pki: &Pki, request: &Request) -> Observed {
    match timeout(Duration::from_secs(10), exchange(to, pki, request)).await {
        Ok(Ok(observed)) => observed,
        Ok(Err(_)) => Observed::default(),
        Err(_) => panic!("no answer in 10 s to {request:?}"),
    }
}

async fn exchange(to: SocketAddr, pki: &Pki, request: &Request) -> io::Result<Observed> {
    let mut stream = connect(request.source, to).await?;
    let source = stream.local_addr()?;
    stream.write_all(proxy_header(source, request.destination).as_bytes()).await?;

    let bytes = request_bytes(request);
    let body = if request.method == "HEAD" { Body::Never } else { Body::Response };
    let names = match &request.peer {
        Peer::Plaintext => return converse(stream, &bytes, body).await,
        Peer::Tls => None,
        Peer::Certificate(names) => Some(names.as_slice()),
    };
    let server_name = match &request.sni {
        Some(name) => ServerName::try_from(name.clone()).expect("a usable SNI"),
        // An address is never sent as SNI.
        None => ServerName::from(to.ip()),
    };
    let tls = TlsConnector::from(Arc::new(pki.tls(names)));
    let stream = tls.connect(server_name, stream).await?;
    converse(stream, &bytes, body).await
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// PROXY protocol version 1: the true source, and the address the client meant to reach.
fn proxy_header(source: SocketAddr, destination: SocketAddr) -> String {
    assert!(source.is_ipv4() && destination.is_ipv4(), "version 1 with IPv4 only");
    format!(
        "PROXY TCP4 {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    )
}

fn request_bytes(request: &Request) -> Vec<u8> {
    let mut out = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
    if let Some(host) = &request.host {
        out.push_str(&format!("host: {host}\r\n"));
    }
    for (name, value) in &request.headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    if !request.body.is_empty() {
        out.push_str(&format!("content-length: {}\r\n", request.body.len()));
    }
    out.push_str("\r\n");
    out.push_str(&request.body);
    out.into_bytes()
}

async fn converse<S>(mut stream: S, bytes: &[u8], body: Body) -> io::Result<Observed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(bytes).await?;
    stream.flush().await?;
    let Some(message) = http1::read(&mut stream, body).await? else {
        return Ok(Observed::default());
    };
    let line = String::from_utf8_lossy(&message.first_line).into_owned();
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let body = String::from_utf8_lossy(&message.body).into_owned();
    Ok(Observed {
        status: status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, line))?,
        upstream: echoed(&body),
        headers: message
            .headers
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
            .collect(),
        body,
    })
}
