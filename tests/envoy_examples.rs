//! The Envoy configurations of `examples/envoy/` start, and ask as Postern needs to be asked.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

#[path = "conformance/envoy_process.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod envoy_process;
#[path = "conformance/http1.rs"]
mod http1;
#[path = "conformance/pki.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod pki;
#[path = "conformance/recorder.rs"]
mod recorder;

use std::{fs, net::SocketAddr, path::Path, process::Command};

use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use rstest::rstest;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{
    envoy_process::{Envoy, get},
    http1::Body,
    pki::{Name, Pki},
    recorder::Recorder,
};

const CLIENT: &str = "spiffe://cluster.local/ns/shop/sa/web";

#[rstest]
#[case("tcp.yaml")]
#[case("unix-socket.yaml")]
#[case("client-address-header.yaml")]
#[case("access-log.yaml")]
#[case("audit-log.yaml")]
fn is_valid_as_it_is(#[case] example: &str) {
    let folder = tempfile::tempdir().unwrap();
    validate(&read(example), folder.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_asks_as_postern_needs_it() {
    let (recorder, postern) = Recorder::start().await;
    let (text, _upstream) = with_free_ports(&read("tcp.yaml")).await;
    let envoy = Envoy::start("envoy.yaml", &replaced(&text, "9191", &postern.port())).await;
    asks_and_fails_closed(&envoy, &recorder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_socket_asks_as_postern_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("ext_authz.sock");
    let recorder = Recorder::start_at(&socket);
    let (text, _upstream) = with_free_ports(&read("unix-socket.yaml")).await;
    let text = replaced(&text, "/run/postern/ext_authz.sock", &socket.display());
    let envoy = Envoy::start("envoy.yaml", &text).await;
    asks_and_fails_closed(&envoy, &recorder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mtls_tells_who_the_client_is() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    fs::write(folder.path().join("ca.crt"), pki.authority_pem()).unwrap();
    fs::write(folder.path().join("tls.crt"), pki.server().certificate_pem()).unwrap();
    fs::write(folder.path().join("tls.key"), pki.server().key_pem()).unwrap();
    let text = read("mtls.yaml").replace("/etc/envoy/certs", &folder.path().display().to_string());
    validate(&text, folder.path());

    let (recorder, postern) = Recorder::start().await;
    let (text, _upstream) = with_free_ports(&text).await;
    let envoy = Envoy::start("envoy.yaml", &replaced(&text, "9191", &postern.port())).await;
    let listener = envoy.listeners().await["inbound"].v4;

    let names = [Name::Uri(CLIENT.into())];
    assert_eq!(tls_get(listener, &pki, Some(&names)).await, Some(200));
    let asked = attributes(&recorder);
    let source = asked.source.unwrap();
    assert_eq!(source.principal, CLIENT);
    assert!(source.certificate.starts_with("-----BEGIN%20CERTIFICATE-----"));
    assert_eq!(asked.tls_session.unwrap().sni, "shop.example");

    assert_eq!(tls_get(listener, &pki, None).await, None, "a client without a certificate");
    assert!(recorder.take().is_empty());
}

const FORGED: &str = "GET / HTTP/1.1\r\nhost: shop.example\r\nx-postern-client-address: 9.9.9.9\r\n\
                      X-Postern-Client-Address: 8.8.8.8\r\nx-forwarded-for: 203.0.113.7\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_client_address_does_not_survive() {
    let example = read("client-address-header.yaml");
    let formatter = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";
    // One trusted proxy: the client is who it says, and not who the header said. And of a value that
    // is empty, as here that of a certificate that nobody showed, nothing at all is left.
    for (value, expected) in
        [(formatter, vec!["203.0.113.7"]), ("%DOWNSTREAM_PEER_URI_SAN%", Vec::new())]
    {
        let (recorder, postern) = Recorder::start().await;
        let (text, _upstream) = with_free_ports(&replaced(&example, formatter, &value)).await;
        let envoy = Envoy::start("envoy.yaml", &replaced(&text, "9191", &postern.port())).await;
        let mut stream = TcpStream::connect(envoy.listeners().await["inbound"].v4).await.unwrap();
        stream.write_all(FORGED.as_bytes()).await.unwrap();
        http1::read(&mut stream, Body::Response).await.unwrap().unwrap();
        let http = attributes(&recorder).request.unwrap().http.unwrap();
        let headers = http.header_map.unwrap().headers;
        let named = headers.iter().filter(|header| header.key == "x-postern-client-address");
        let found: Vec<_> = named.map(|h| str::from_utf8(&h.raw_value).unwrap()).collect();
        assert_eq!(found, expected, "{value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_example_asks_as_postern_needs_it() {
    let (recorder, postern) = Recorder::start().await;
    let (text, _upstream) = with_free_ports(&read("client-address-header.yaml")).await;
    let envoy = Envoy::start("envoy.yaml", &replaced(&text, "9191", &postern.port())).await;
    asks_and_fails_closed(&envoy, &recorder).await;
}

/// One request passes and was asked about with every header line; without an answer none passes.
async fn asks_and_fails_closed(envoy: &Envoy, recorder: &Recorder) {
    let listener = envoy.listeners().await["inbound"].v4;
    let (status, _) = get(listener, "/a/../b?c").await.unwrap();
    assert_eq!(status, 200, "{}", envoy.log());
    let asked = attributes(recorder);
    assert!(asked.tls_session.is_some());
    let http = asked.request.unwrap().http.unwrap();
    assert_eq!(http.path, "/b?c");
    assert!(http.headers.is_empty());
    assert!(http.header_map.unwrap().headers.iter().any(|header| header.key == ":path"));

    recorder.fail();
    let (status, _) = get(listener, "/").await.unwrap();
    assert_eq!(status, 403);
}

fn attributes(recorder: &Recorder) -> AttributeContext {
    let mut asked = recorder.take();
    assert_eq!(asked.len(), 1);
    asked.pop().unwrap().attributes.unwrap()
}

/// The status; `None` when the connection is refused.
async fn tls_get(to: SocketAddr, pki: &Pki, names: Option<&[Name]>) -> Option<u16> {
    let stream = TcpStream::connect(to).await.unwrap();
    let connector = TlsConnector::from(pki.tls(names));
    let name = ServerName::try_from("shop.example").unwrap();
    let mut stream = connector.connect(name, stream).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n").await.ok()?;
    let answer = http1::read(&mut stream, Body::Response).await.ok()??;
    String::from_utf8_lossy(&answer.first_line).split(' ').nth(1)?.parse().ok()
}

fn read(example: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy");
    fs::read_to_string(folder.join(example)).unwrap()
}

/// Puts a value in the one place where `old` stands outside comments.
fn replaced(text: &str, old: &str, new: &impl ToString) -> String {
    let holds = |line: &&str| !line.trim_start().starts_with('#') && line.contains(old);
    assert_eq!(text.lines().filter(holds).count(), 1, "`{old}` in the example");
    let new = new.to_string();
    let change = |line: &str| if holds(&line) { line.replace(old, &new) } else { line.to_owned() };
    text.lines().map(change).collect::<Vec<_>>().join("\n")
}

/// The example with ports of its own, and the service behind it.
async fn with_free_ports(text: &str) -> (String, Upstream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(Some(_)) = http1::read(&mut stream, Body::Request).await {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let text = replaced(text, "port_value: 9901", &"port_value: 0");
    let text = replaced(&text, "0.0.0.0, port_value: 10000", &"127.0.0.1, port_value: 0");
    (replaced(&text, "8080", &port), Upstream(task))
}

/// Ends with its handle.
struct Upstream(JoinHandle<()>);

impl Drop for Upstream {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn validate(text: &str, folder: &Path) {
    let file = folder.join("envoy.yaml");
    fs::write(&file, text).unwrap();
    let output = Command::new(envoy_process::binary())
        .args(["--mode", "validate", "-l", "warning", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
