//! Rules of many kinds in one set, one in ten of them DENY.
//!
//! Rule `i` is about team, service and tenant `i`, so that only it allows [`call`] `i`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::{Call, head};

/// Ten rules to a pair of policies.
pub(super) fn manifest(rules: usize) -> String {
    let mut text = String::new();
    for first in (0..rules).step_by(10) {
        let block = || first..rules.min(first + 10);
        for (action, deny) in [("ALLOW", false), ("DENY", true)] {
            for (i, at) in block().filter(|i| denies(*i) == deny).zip(0..) {
                if at == 0 {
                    head(&mut text, &format!("{}-{first:05}", action.to_lowercase()), action);
                }
                rule(&mut text, i);
            }
        }
    }
    text
}

/// Whether rule `i` is one that denies.
pub(super) fn denies(i: usize) -> bool {
    i % 10 == 4
}

pub(super) fn rule(text: &mut String, i: usize) {
    let [_, b, c, _] = address(i).octets();
    let (source, operation, tenants) = if denies(i) {
        (
            "notPrincipals: [cluster.local/ns/admin/sa/root]".to_owned(),
            format!("paths: ['/svc-{i}/admin/*', /svc-{i}/debug]"),
            None,
        )
    } else {
        match i % 7 {
            0 => (
                format!("principals: [cluster.local/ns/team-{i}/sa/web]"),
                format!("methods: [GET], paths: ['/svc-{i}/*']"),
                None,
            ),
            1 => (
                format!("namespaces: [team-{i}]"),
                format!("methods: [GET, HEAD], paths: [/svc-{i}/items, /svc-{i}/list]"),
                None,
            ),
            2 => (
                format!("ipBlocks: [10.{b}.{c}.0/24]"),
                "methods: [GET], ports: ['8080']".to_owned(),
                None,
            ),
            3 => (
                "principals: ['*']".to_owned(),
                format!("hosts: [svc-{i}.example.com, '*.svc-{i}.example.com'], paths: ['/api/*']"),
                None,
            ),
            4 => (
                format!("principals: ['*/ns/team-{i}/sa/web']"),
                format!("methods: [GET, POST], notPaths: ['/svc-{i}/admin/*']"),
                None,
            ),
            5 => {
                let teams = i..i + 8;
                let names: Vec<_> =
                    teams.map(|i| format!("cluster.local/ns/team-{i}/sa/batch")).collect();
                let names = names.join(", ");
                (format!("principals: [{names}]"), "paths: ['/shared/*']".to_owned(), Some(i))
            }
            _ => (
                format!("principals: ['cluster.local/ns/team-{i}/*']"),
                format!("paths: ['/svc-{i}/v1/*', '/svc-{i}/v2/*']"),
                Some(i),
            ),
        }
    };
    writeln!(text, "  - from: [{{source: {{{source}}}}}]").unwrap();
    writeln!(text, "    to: [{{operation: {{{operation}}}}}]").unwrap();
    if let Some(i) = tenants {
        let values = format!("[tenant-{i}, tenant-all]");
        writeln!(text, "    when: [{{key: 'request.headers[x-tenant]', values: {values}}}]")
            .unwrap();
    }
}

/// What only rule `i` allows.
pub(super) fn call(i: usize) -> Call {
    let (account, path) = match i % 7 {
        1 => ("web", format!("/svc-{i}/list")),
        3 => ("web", "/api/list".to_owned()),
        5 => ("batch", "/shared/list".to_owned()),
        6 => ("web", format!("/svc-{i}/v2/list")),
        _ => ("web", format!("/svc-{i}/list")),
    };
    Call {
        principal: format!("cluster.local/ns/team-{i}/sa/{account}"),
        path,
        tenant: format!("tenant-{i}"),
        host: format!("svc-{i}.example.com"),
        source_ip: address(i),
    }
}

/// What the last rule that denies is about.
pub(super) fn denied_call(rules: usize) -> Call {
    let i = (0..rules).rev().find(|i| denies(*i)).unwrap();
    Call { path: format!("/svc-{i}/admin/users"), ..call(i) }
}

fn address(i: usize) -> Ipv4Addr {
    let [.., b, c] = (i + 0x1000).to_be_bytes();
    Ipv4Addr::new(10, b, c, 7)
}
