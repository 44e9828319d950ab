//! Whatever the frames, a call is answered as tonic alone would answer it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use rstest::rstest;
use tonic::codegen::Service as _;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response};

use super::super::{AuthorizationService, BytesCodec, CheckServer, RequestSettings};
use super::*;
use crate::authn::NoKeys;
use crate::authn::clock::Clock;
use crate::control::publish::SnapshotCell;

const MAX_SIZE: usize = 20;

/// Frames of a body, whose end is told with the last of them or alone.
#[derive(Debug, Clone)]
struct Pieces {
    frames: VecDeque<Piece>,
    ends_with_last: bool,
}

#[derive(Debug, Clone)]
enum Piece {
    Data(Vec<u8>),
    Trailers,
    Error,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.frames.pop_front().map(|piece| match piece {
            Piece::Data(data) => Ok(Frame::data(data.into())),
            Piece::Trailers => Ok(Frame::trailers(HeaderMap::from_iter([(
                "grpc-timeout".parse().unwrap(),
                HeaderValue::from_static("1S"),
            )]))),
            Piece::Error => Err(Status::aborted("gone")),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.ends_with_last && self.frames.is_empty()
    }
}

fn service() -> AuthorizationService {
    let (cell, _) = SnapshotCell::new();
    let clock = Clock::from_fn(|| std::time::UNIX_EPOCH);
    AuthorizationService::new(cell, Arc::new(NoKeys), RequestSettings::default(), clock)
}

struct Plain(AuthorizationService);

impl UnaryService<Bytes> for Plain {
    type Response = Vec<u8>;
    type Future = std::future::Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let checked = self.0.answer_bytes(request.get_ref());
        let checked = checked.map_err(|error| Status::internal(error.to_string()));
        std::future::ready(checked.map(|checked| Response::new(checked.response)))
    }
}

fn request(pieces: &Pieces, encoding: Option<&str>) -> http::Request<Body> {
    let request = http::Request::post("/envoy.service.auth.v3.Authorization/Check");
    let request = encoding.into_iter().fold(request, |r, e| r.header("grpc-encoding", e));
    request.body(Body::new(pieces.clone())).unwrap()
}

/// Everything a client sees.
async fn seen(response: http::Response<Body>) -> String {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned();
    let data = collected.to_bytes();
    format!("{} {:?} {data:?} {trailers:?}", parts.status, parts.headers)
}

/// What is seen, which is what tonic alone makes of it.
fn answer(pieces: &Pieces, encoding: Option<&str>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut server = CheckServer::new(service(), MAX_SIZE);
        let ours = seen(server.call(request(pieces, encoding)).await.unwrap()).await;
        let mut grpc = Grpc::new(BytesCodec).max_decoding_message_size(MAX_SIZE);
        let response = grpc.unary(Plain(service()), request(pieces, encoding)).await;
        assert_eq!(ours, seen(response).await);
        ours
    })
}

fn message(flag: u8, length: u32, content: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u8(flag);
    out.put_u32(length);
    out.put_slice(content);
    out.to_vec()
}

fn whole() -> impl Strategy<Value = Vec<u8>> {
    let content = prop_oneof![
        Just(Vec::new()),
        Just(vec![0x0a, 0x00]),
        Just(vec![0x0a]),
        vec(any::<u8>(), 0..25),
    ];
    let flag = prop_oneof![8 => Just(0_u8), 1 => 0..3_u8];
    let length = prop_oneof![8 => Just(0_i64), 1 => -2..3_i64];
    (flag, length, content).prop_map(|(flag, off, content)| {
        let length = (i64::try_from(content.len()).unwrap() + off).max(0);
        message(flag, u32::try_from(length).unwrap(), &content)
    })
}

fn pieces() -> impl Strategy<Value = Pieces> {
    let piece = prop_oneof![
        12 => whole().prop_map(Piece::Data),
        2 => vec(any::<u8>(), 0..7).prop_map(Piece::Data),
        2 => Just(Piece::Data(Vec::new())),
        1 => Just(Piece::Trailers),
        1 => Just(Piece::Error),
    ];
    let cut = (whole(), any::<prop::sample::Index>()).prop_map(|(message, at)| {
        let (first, second) = message.split_at(at.index(message.len()));
        vec![Piece::Data(first.to_vec()), Piece::Data(second.to_vec())]
    });
    let frames = prop_oneof![3 => vec(piece, 0..4), 1 => cut];
    (frames, any::<bool>())
        .prop_map(|(frames, ends_with_last)| Pieces { frames: frames.into(), ends_with_last })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_call_is_answered_as_by_tonic(
        pieces in pieces(),
        encoding in proptest::option::weighted(0.1, prop_oneof![Just("identity"), Just("gzip")]),
    ) {
        answer(&pieces, encoding);
    }
}

#[rstest]
#[case::whole(&[message(0, 2, &[0x0a, 0])], "grpc-status\": \"0\"")]
#[case::in_two_pieces(&[message(0, 2, &[0x0a]), vec![0]], "grpc-status\": \"0\"")]
#[case::nothing(&[], "grpc-status\": \"13\"")]
#[case::undecodable(&[message(0, 1, &[0x0a])], "grpc-status\": \"13\"")]
#[case::too_long(&[message(0, 21, &[0; 21])], "grpc-status\": \"11\"")]
#[case::compressed(&[message(1, 2, &[0x0a, 0])], "grpc-status\": \"13\"")]
fn codes(#[case] frames: &[Vec<u8>], #[case] expect: &str, #[values(true, false)] ends: bool) {
    let frames = frames.iter().cloned().map(Piece::Data).collect();
    let seen = answer(&Pieces { frames, ends_with_last: ends }, None);
    assert!(seen.contains(expect), "{seen}");
}
