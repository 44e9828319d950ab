//! A real Envoy with one of the example configurations, asking a Postern.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::envoy_process::Envoy;
use crate::http1::{self, Body};
use crate::served::Server;

/// An Envoy with an example's configuration in front of a service of its own, and where it listens.
pub(crate) async fn start(example: &str, postern: &Server) -> (Envoy, SocketAddr) {
    start_text(&read(example), postern).await
}

/// The text of an example.
pub(crate) fn read(example: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy");
    fs::read_to_string(folder.join(example)).unwrap()
}

/// The same with a configuration that was made from an example.
pub(crate) async fn start_text(text: &str, postern: &Server) -> (Envoy, SocketAddr) {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = upstream.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = upstream.accept().await {
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
    let text = text.replace("port_value: 9901", "port_value: 0");
    let text = text.replace("0.0.0.0, port_value: 10000", "127.0.0.1, port_value: 0");
    let text = text.replace("port_value: 9191", &format!("port_value: {}", postern.port()));
    let text = text.replace("port_value: 8080", &format!("port_value: {service}"));
    let envoy = Envoy::start("envoy.yaml", &text).await;
    let listener = envoy.listeners().await["inbound"].v4;
    (envoy, listener)
}
