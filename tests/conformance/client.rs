//! Sends a case's request as it is written, over plaintext or TLS, as a proxy in front would.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{
    cases::{Peer, Request, bytes_of},
    envoy_process::Address,
    http1::{self, Body},
    http2,
    judge::Observed,
    pki::Pki,
    servers::echoed,
};

/// Sends the request to a listener and waits for the answer; status 0 when the connection is
/// refused.
pub(crate) async fn send(to: Address, pki: &Pki, request: &Request) -> Observed {
    send_from(to, pki, request).await.0
}

/// The answer, and the port that the request came from.
pub(crate) async fn send_from(to: Address, pki: &Pki, request: &Request) -> (Observed, u16) {
    let to = if request.source.is_ipv4() { to.v4 } else { to.v6 };
    let stream = connect(request.source, to).await.expect("the listener accepts");
    let port = stream.local_addr().expect("an address").port();
    match timeout(Duration::from_secs(10), exchange(stream, to, pki, request)).await {
        Ok(Ok(observed)) => (observed, port),
        Ok(Err(_)) => (Observed::default(), port),
        Err(_) => panic!("no answer in 10 s to {request:?}"),
    }
}

async fn exchange(
    mut stream: TcpStream,
    to: SocketAddr,
    pki: &Pki,
    request: &Request,
) -> io::Result<Observed> {
    let mut source = stream.local_addr()?;
    if let Some(proxied) = request.proxied {
        source.set_ip(proxied);
    }
    stream.write_all(proxy_header(source, request.destination).as_bytes()).await?;

    let names = match &request.peer {
        Peer::Plaintext => return converse(stream, request).await,
        Peer::Tls => None,
        Peer::Certificate(names) => Some(names.as_slice()),
    };
    let server_name = match &request.sni {
        Some(name) => ServerName::try_from(name.clone()).expect("a usable SNI"),
        // An address is never sent as SNI.
        None => ServerName::from(to.ip()),
    };
    let stream = TlsConnector::from(pki.tls(names)).connect(server_name, stream).await?;
    converse(stream, request).await
}

async fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if from.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::from((from, 0)))?;
    // Reset when it is closed: thousands of them waiting would use up the ports.
    socket.set_zero_linger()?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// PROXY protocol version 1: the true source, and the address the client meant to reach.
fn proxy_header(source: SocketAddr, destination: SocketAddr) -> String {
    assert_eq!(source.is_ipv4(), destination.is_ipv4(), "both of one family");
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
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
    bytes_of(&out)
}

async fn converse<S>(mut stream: S, request: &Request) -> io::Result<Observed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if request.is_l4 {
        // Enough bytes to see that they are no TLS.
        stream.write_all(b"these are bytes without HTTP").await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        // However it ends: what came before counts.
        drop(stream.read_to_end(&mut answer).await);
        let status = if answer.is_empty() { 0 } else { 200 };
        let body = String::from_utf8_lossy(&answer).into_owned();
        return Ok(Observed { status, body, ..Observed::default() });
    }
    if let Some(prepared) = request.is_http2.then(|| http2::prepare(request)).flatten() {
        return http2::converse(stream, prepared).await;
    }
    stream.write_all(&request_bytes(request)).await?;
    stream.flush().await?;
    let body = if request.method == "HEAD" { Body::Never } else { Body::Response };
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
