//! What Postern does where Envoy does not, against an Envoy that does: paths it normalises itself,
//! and the client's address out of a header.

use postern::normalize::{self, NotNormalizable};

use crate::{
    EnvoyRun, Files, cases,
    cases::{PathNormalization, Request, Set},
    check_request, client,
    differential::random::Chance,
    gate::Gate,
    judge::Report,
    recorder::Recorder,
    world::World,
};

/// The answers that were recorded of an Envoy that normalises, from a Postern that does it.
#[tokio::test(flavor = "multi_thread")]
async fn postern_normalises_paths_as_envoy_does() {
    let mut sets = cases::read("21-path-normalization.yaml");
    for set in &mut sets {
        set.workload.listener.postern_normalizes = true;
        // Postern leaves the path itself alone.
        set.requests.iter_mut().for_each(|request| request.expect.path = None);
    }
    agree("21-path-normalization.yaml", sets).await;
}

/// The answers that were recorded of native `remote_ip`, from a Postern that is told the address in
/// a header, whatever a client writes into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_says_who_the_client_is() {
    const HEADER: &str = "x-client-address";
    for file in ["03-addresses.yaml", "20-client-address.yaml"] {
        let mut sets = cases::read(file);
        for set in &mut sets {
            set.workload.listener.client_address_header = Some(HEADER.into());
            for request in &mut set.requests {
                request.headers.insert(0, (HEADER.into(), "9.9.9.9".into()));
                request.headers.push((HEADER.to_uppercase(), "203.0.113.7".into()));
                if request.expect.status == 200 {
                    request.expect.upstream.insert(HEADER.into(), None);
                }
            }
        }
        agree(file, sets).await;
    }
}

async fn agree(file: &str, sets: Vec<Set>) {
    let world = World::new().await;
    let gate = Gate::start().await;
    let files: Files = vec![(file.to_owned(), sets)];
    let run = EnvoyRun::start(&world, &files, gate.address()).await;
    let mut report = Report::default();
    for set in files.iter().flat_map(|(_, sets)| sets) {
        gate.load(set).await.unwrap();
        for (index, request) in set.requests.iter().enumerate() {
            let observed = client::send(run.listener(set, request), &world.pki, request).await;
            report.add(file, set, index, request, &observed);
        }
    }
    eprintln!("{}", report.text());
    assert!(report.passed(), "see above; Envoy said:\n{}", run.envoy.log());
}

/// Pieces of paths that some normalisation looks at, or should not.
const PIECES: [&str; 70] = [
    "/", "/", "/", "//", "/./", "/../", "/..", ".", "..", "...", "%2e", "%2E", "%2f", "%2F", "%5c",
    "%5C", "\\", "a", "b", "Z", "0", "%61", "%41", "%30", "%7e", "%7E", "%2d", "%5f", "%25",
    "%252f", "%252e", "%", "%0", "%2", "%zz", "%g1", "%20", "%21", "%3f", "%23", "%3b", "%7f",
    "%01", "%ff", "%c3%a9", "%C3%A9", "%00", "~", "!", "$", "&", "'", "(", ")", "*", "+", ",", ";",
    "=", ":", "@", "\"", "<", "`", "^", "{", "|", "..;", "/..;", "/.;x",
];

/// And where a query starts, what looks like a path is none.
const QUERIES: [&str; 6] = ["", "", "", "?", "?a=/../b", "?//%2f\\%41"];

/// Any path becomes what Envoy makes of it, or is refused where Envoy refuses it.
#[tokio::test(flavor = "multi_thread")]
async fn every_path_becomes_what_envoy_makes_of_it() {
    const MODES: [(PathNormalization, normalize::PathNormalization); 4] = [
        (PathNormalization::None, normalize::PathNormalization::None),
        (PathNormalization::Base, normalize::PathNormalization::Base),
        (PathNormalization::MergeSlashes, normalize::PathNormalization::MergeSlashes),
        (
            PathNormalization::DecodeAndMergeSlashes,
            normalize::PathNormalization::DecodeAndMergeSlashes,
        ),
    ];
    let world = World::new().await;
    let (recorder, authorization) = Recorder::start().await;
    let mut set = cases::read("21-path-normalization.yaml").remove(0);
    let sets = MODES.map(|(mode, _)| {
        set.workload.listener.path_normalization = mode;
        set.clone()
    });
    let files: Files = vec![("paths".to_owned(), sets.to_vec())];
    let run = EnvoyRun::start(&world, &files, authorization).await;
    let mut differing = Vec::new();
    let mut chance = Chance::new(1, 0);
    let (mut compared, mut refused) = (0, 0);
    for _ in 0..500 {
        let path = a_path(&mut chance);
        let mut request: Request = set.requests[0].clone();
        request.path.clone_from(&path);
        for (set, (_, mode)) in sets.iter().zip(MODES) {
            let observed = client::send(run.listener(set, &request), &world.pki, &request).await;
            let asked = recorder.take().pop().map(path_of);
            if asked.is_none() && mode == normalize::PathNormalization::None {
                // Not a path for any Envoy.
                break;
            }
            let expected = match mode.apply(&path) {
                Ok(normal) => Some(normal.into_owned()),
                Err(NotNormalizable) => None,
            };
            // What is no escape and becomes one is left to Envoy.
            if !path.contains("%2%") && !path.contains("%0%") && !path.contains("%%") {
                let known =
                    crate::normalize::normalize(&path, set.workload.listener.path_normalization);
                assert!(
                    asked.is_none() || asked == Some(known),
                    "the harness is wrong about `{path}`"
                );
            }
            compared += 1;
            refused += usize::from(asked.is_none());
            if asked != expected {
                let (mode, status) = (mode.as_str(), observed.status);
                differing.push(format!(
                    "{mode} `{path}`: Envoy ({status}) {asked:?}, Postern {expected:?}"
                ));
            }
        }
    }
    eprintln!("{compared} compared, {refused} refused");
    assert!(differing.is_empty(), "{}\n{} differ", differing.join("\n"), differing.len());
    assert!(compared > 1000 && refused > 10, "{compared} compared, {refused} refused");
}

fn a_path(chance: &mut Chance) -> String {
    let pieces: String = (0..chance.between(1, 8)).map(|_| chance.word(&PIECES)).collect();
    format!("/{pieces}{}", chance.word(&QUERIES))
}

fn path_of(check: envoy_types::pb::envoy::service::auth::v3::CheckRequest) -> String {
    let comparable = check_request::comparable(check);
    comparable.attributes.unwrap().request.unwrap().http.unwrap().path
}
