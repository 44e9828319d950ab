//! The gRPC method: bytes in, bytes out.
//!
//! What is in them is `service`'s job.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

use super::framing::{self, Received};
use super::{AuthorizationService, deadline};

const GRPC_ENCODING: &str = "grpc-encoding";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Serves `envoy.service.auth.v3.Authorization`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CheckServer {
    service: Arc<AuthorizationService>,
    max_message_size: usize,
}

impl CheckServer {
    /// Serves with messages of at most this many bytes.
    pub fn new(service: AuthorizationService, max_message_size: usize) -> Self {
        Self { service: Arc::new(service), max_message_size }
    }
}

impl NamedService for CheckServer {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl Service<http::Request<Body>> for CheckServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != CHECK {
            let unimplemented = Status::unimplemented("");
            return Box::pin(async move { Ok(unimplemented.into_http()) });
        }
        let Self { service, max_message_size } = self.clone();
        Box::pin(async move {
            // A compressed message says so itself; but a call that announces one is tonic's to judge.
            if request.headers().contains_key(GRPC_ENCODING) {
                return Ok(by_tonic(service, max_message_size, request).await);
            }
            let (parts, body) = request.into_parts();
            Ok(match framing::receive(body, max_message_size).await {
                Received::Message(message) => match check(&service, &parts.headers, &message).await
                {
                    Ok(answer) => framing::respond(answer),
                    Err(status) => status.into_http(),
                },
                Received::Unusual(body) => {
                    let request = http::Request::from_parts(parts, body);
                    by_tonic(service, max_message_size, request).await
                }
            })
        })
    }
}

async fn check(
    service: &AuthorizationService,
    metadata: &http::HeaderMap,
    message: &[u8],
) -> Result<Vec<u8>, Status> {
    let within = |most| deadline::left_for_keys(metadata, most);
    let answer = service.answer_bytes_within(message, within).await;
    // The code that gRPC asks for where a message cannot be decoded.
    answer.map(|checked| checked.response).map_err(|error| Status::internal(error.to_string()))
}

/// Any call at all, which tonic takes apart and frames.
async fn by_tonic(
    service: Arc<AuthorizationService>,
    max_message_size: usize,
    request: http::Request<Body>,
) -> http::Response<Body> {
    let mut grpc = Grpc::new(BytesCodec).max_decoding_message_size(max_message_size);
    grpc.unary(Check(service), request).await
}

struct Check(Arc<AuthorizationService>);

impl UnaryService<Bytes> for Check {
    type Response = Vec<u8>;
    type Future = BoxFuture<Response<Vec<u8>>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            let answer = check(&service, request.metadata().as_ref(), request.get_ref()).await?;
            Ok(Response::new(answer))
        })
    }
}

/// Leaves messages encoded.
#[derive(Debug, Clone, Copy)]
pub struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        // One answer is all that is ever written into it.
        BufferSettings::new(1 << 10, 32 << 10)
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        // One question is all that is ever read into it.
        BufferSettings::new(4 << 10, 32 << 10)
    }
}
