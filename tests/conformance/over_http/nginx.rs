//! One nginx with a server for each set of headers that token rules touch, as its configuration has to
//! name them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::{cases::Peer, envoy_config::PROXY_HEADER, envoy_process::Address, world::World};

/// The headers that token rules of a set touch.
pub(super) type Touched = BTreeSet<String>;

/// Ends with its handle.
pub(super) struct Nginx {
    child: Child,
    folder: TempDir,
    /// Of each server: plaintext, and TLS.
    ports: Vec<[u16; 2]>,
}

impl Nginx {
    pub(super) async fn start(servers: &[Touched], postern: SocketAddr, world: &World) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let folder = tempfile::tempdir().unwrap();
            let ports = free_ports(servers.len());
            let text = configuration(folder.path(), servers, &ports, postern, world);
            fs::write(folder.path().join("nginx.conf"), text).unwrap();
            let log = File::create(folder.path().join("log")).unwrap();
            let mut command = Command::new(binary());
            command.args(["-g", "daemon off;", "-e", "stderr", "-p"]).arg(folder.path());
            command.arg("-c").arg(folder.path().join("nginx.conf"));
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
            let child = child.unwrap_or_else(|error| panic!("nginx: {error}"));
            let mut nginx = Self { child, folder, ports };
            loop {
                assert!(Instant::now() < deadline, "{}", nginx.log());
                if nginx.child.try_wait().unwrap().is_some() {
                    break;
                }
                // Written once every port is its own; that one answers may be somebody else's doing.
                if fs::read(nginx.folder.path().join("pid")).is_ok_and(|pid| !pid.is_empty()) {
                    return nginx;
                }
                sleep(Duration::from_millis(10)).await;
            }
            // Somebody else may have taken a port meanwhile.
            assert!(nginx.log().contains("ddress already in use"), "{}", nginx.log());
        }
    }

    /// Where the server of that number takes clients of that kind.
    pub(super) fn address(&self, server: usize, peer: &Peer) -> Address {
        let port = self.ports[server][usize::from(*peer != Peer::Plaintext)];
        Address {
            v4: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            v6: SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        }
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Passed on to its workers, as SIGKILL is not.
        drop(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status());
        drop(self.child.wait());
    }
}

/// Where Debian puts it, if it is not on the path.
fn binary() -> PathBuf {
    let sbin = Path::new("/usr/sbin/nginx");
    if sbin.exists() { sbin.to_owned() } else { "nginx".into() }
}

/// Free for both families, all held at a time so that they differ.
fn free_ports(servers: usize) -> Vec<[u16; 2]> {
    let mut held = Vec::new();
    while held.len() < servers * 2 {
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = v6.local_addr().unwrap().port();
        if let Ok(v4) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, v4, v6));
        }
    }
    held.chunks(2).map(|pair| [pair[0].0, pair[1].0]).collect()
}

/// `deploy/proxies/nginx.conf`, behind a proxy that says by the PROXY protocol who connects, with TLS.
fn configuration(
    folder: &Path,
    servers: &[Touched],
    ports: &[[u16; 2]],
    postern: SocketAddr,
    world: &World,
) -> String {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let folder = folder.display();
    let (authority, certificate, key) = (
        file("ca.pem", &world.pki.authority_pem()),
        file("tls.pem", &world.pki.server().certificate_pem()),
        file("key.pem", &world.pki.server().key_pem()),
    );
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {folder}/{what};\n"))
        .collect();
    let mut out = format!(
        "worker_processes 1;\npid {folder}/pid;\nerror_log stderr;\n\
         events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\n{temporary}\
         large_client_header_buffers 16 256k;\nclient_max_body_size 0;\nproxy_buffer_size 256k;\n\
         proxy_buffers 4 256k;\nproxy_busy_buffers_size 256k;\nvariables_hash_max_size 8192;\n\
         proxy_headers_hash_max_size 4096;\n\
         set_real_ip_from 0.0.0.0/0;\nset_real_ip_from ::/0;\nreal_ip_header proxy_protocol;\n\
         ssl_certificate {certificate};\nssl_certificate_key {key};\n\
         ssl_client_certificate {authority};\nssl_verify_client optional;\n\
         upstream postern {{ server {postern}; keepalive 4; }}\n",
    );
    let upstream = world.upstream.address;
    for (touched, [plain, tls]) in servers.iter().zip(ports) {
        let mut copied = String::new();
        for name in touched {
            let variable = name.replace('-', "_");
            writeln!(
                copied,
                "auth_request_set $copied_{variable} $upstream_http_{variable};\n\
                 proxy_set_header {name} $copied_{variable};"
            )
            .unwrap();
        }
        write!(
            out,
            "server {{
    listen 127.0.0.1:{plain} proxy_protocol; listen [::1]:{plain} proxy_protocol;
    listen 127.0.0.1:{tls} ssl proxy_protocol; listen [::1]:{tls} ssl proxy_protocol;
    location = /_postern {{
        internal;
        proxy_pass http://postern/postern/nginx;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_pass_request_body off;
        proxy_set_header Content-Length \"\";
        proxy_set_header Host $http_host;
        proxy_set_header X-Original-Method $request_method;
        proxy_set_header X-Original-URI $request_uri;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header {PROXY_HEADER} \"destination=$proxy_protocol_server_addr;port=$proxy_protocol_server_port;certificate=$ssl_client_escaped_cert;sni=$ssl_server_name\";
    }}
    location / {{
        auth_request /_postern;
        {copied}
        proxy_set_header Host $http_host;
        proxy_set_header {PROXY_HEADER} \"\";
        proxy_pass http://{upstream};
    }}
}}
"
        )
        .unwrap();
    }
    out.push_str("}\n");
    out
}
