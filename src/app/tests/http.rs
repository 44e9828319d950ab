//! The port for proxies that ask over HTTP, as a whole server has it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::*;

/// With policies that deny `/admin*`.
async fn started(change: impl FnOnce(&mut Flags, &std::path::Path)) -> (TempDir, Running) {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("shop.yaml"), DENY_ADMIN).unwrap();
    let mut flags = flags(scratch.path(), "127.0.0.1:0");
    change(&mut flags, scratch.path());
    let config = Config::load(&flags, &Environment::default()).unwrap();
    let running = start(config, LogLevel::detached(LogFilter::default())).await.unwrap();
    running.ready().await;
    (scratch, running)
}

fn port(running: &Running) -> SocketAddr {
    let Some(Address::Tcp(address)) = running.http_addr else { panic!("no port") };
    address
}

/// Writes, and reads until the heads of so many answers are there, or the end.
async fn talk(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    text: &str,
    answers: usize,
) -> String {
    // Who refuses a request need not have read it all.
    drop(stream.write_all(text.as_bytes()).await);
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if text.matches("HTTP/1.1 ").count() == answers && text.contains("\r\n\r\n") {
            return text;
        }
        match within(stream.read_buf(&mut read)).await {
            Ok(0) | Err(_) => return text,
            Ok(_) => {}
        }
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\nx-forwarded-proto: http\r\n\r\n")
}

#[tokio::test]
async fn answers_one_after_the_other_on_one_connection() {
    let (_scratch, running) = started(|_, _| ()).await;
    let stream = TcpStream::connect(port(&running)).await.unwrap();
    let answers = talk(stream, &format!("{}{}", get("/"), get("/admin")), 2).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "{answers}");
    assert!(answers.contains("HTTP/1.1 403 Forbidden\r\n"), "{answers}");
}

#[tokio::test]
async fn a_unix_socket_is_for_whoever_may_open_it() {
    let (scratch, running) = started(|flags, folder| {
        flags.server.http_listen = Some(format!("unix:{}/http.sock", folder.display()));
        flags.server.http_trusted_proxies = Some("192.0.2.0/24".into());
    })
    .await;
    let socket = scratch.path().join("http.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let stream = UnixStream::connect(&socket).await.unwrap();
    assert!(talk(stream, &get("/"), 1).await.starts_with("HTTP/1.1 200"));
    running.shutdown.begin();
    running.wait().await.unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_stranger_is_denied_once() {
    let (_scratch, running) =
        started(|flags, _| flags.server.http_trusted_proxies = Some("192.0.2.0/24".into())).await;
    let stream = TcpStream::connect(port(&running)).await.unwrap();
    let answer = talk(stream, &format!("{}{}", get("/"), get("/")), 2).await;
    assert_eq!(answer.matches("HTTP/1.1 403").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let (_scratch, running) = started(|_, _| ()).await;
    let stream = TcpStream::connect(port(&running)).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\nsome";
    assert!(talk(stream, head, 1).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_head_has_an_end() {
    let (_scratch, running) =
        started(|flags, _| flags.policy.max_headers_size = Some("4KiB".into())).await;
    for (letters, status) in [(3_000, "200"), (5_000, "403"), (40_000, "431")] {
        let stream = TcpStream::connect(port(&running)).await.unwrap();
        let letters = "a".repeat(letters);
        let head = format!("GET / HTTP/1.1\r\nhost: h\r\nx-a: {letters}\r\n\r\n");
        let answer = talk(stream, &head, 1).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_hung_up_on() {
    let (_scratch, running) = started(|_, _| ()).await;
    for text in ["\0\0\0", "GET /\r\n\r\n", "GET / HTTP/1.1\r\nhost: a\0b\r\n\r\n"] {
        let stream = TcpStream::connect(port(&running)).await.unwrap();
        let answer = talk(stream, &format!("{text}\r\n\r\n"), 1).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{text}: {answer}");
    }
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_end_over_http() {
    let (_scratch, running) = started(|_, _| ()).await;
    let address = port(&running);
    let idle = TcpStream::connect(address).await.unwrap();
    let mut asked = TcpStream::connect(address).await.unwrap();
    talk(&mut asked, &get("/"), 1).await;
    running.shutdown.begin();
    assert_eq!(within(running.wait()).await.unwrap(), Drained::Fully);
    assert!(TcpStream::connect(address).await.is_err());
    drop((idle, asked));
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let mut flags = flags(scratch.path(), "127.0.0.1:0");
    let address = taken.local_addr().unwrap().to_string();
    flags.server.http_listen = Some(address.clone());
    let config = Config::load(&flags, &Environment::default()).unwrap();
    let error = start(config, LogLevel::detached(LogFilter::default())).await.unwrap_err();
    let expected = format!(
        "cannot listen on {address} (--http-listen, which `off` turns off): Address already in use"
    );
    assert!(format!("{error:#}").starts_with(&expected), "{error:#}");
}

#[tokio::test]
async fn decisions_are_counted_as_any() {
    let (_scratch, running) = started(|_, _| ()).await;
    let stream = TcpStream::connect(port(&running)).await.unwrap();
    talk(stream, &get("/admin"), 1).await;
    let admin = TcpStream::connect(running.admin_addr).await.unwrap();
    let text = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let metrics = talk(admin, text, usize::MAX).await;
    let line = "postern_decisions_total{outcome=\"deny\",reason=\"deny_rule\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
}
