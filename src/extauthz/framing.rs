//! gRPC's frames around the one message of a call and around its answer, as they mostly come.
//!
//! A message that lies in one piece of its body is taken out where it lies. Whatever else a body may
//! be, tonic reads; and what is refused, tonic refuses.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::metadata::GRPC_CONTENT_TYPE;

/// Compressed or not, and four bytes of length.
const PREFIX: usize = 5;

/// What came of reading a body.
#[derive(Debug)]
pub(super) enum Received {
    /// Its only message.
    Message(Bytes),
    /// The same body, from its beginning.
    Unusual(Body),
}

/// Reads a body that is one message of at most this many bytes.
pub(super) async fn receive(mut body: Body, max_size: usize) -> Received {
    let first = match body.frame().await {
        Some(Ok(frame)) => frame,
        Some(Err(error)) => return Replayed::body([Some(Err(error)), None], body),
        None => return Replayed::body([None, None], body),
    };
    let Some(message) = first.data_ref().and_then(|data| whole_message(data, max_size)) else {
        return Replayed::body([Some(Ok(first)), None], body);
    };
    while !body.is_end_stream() {
        match body.frame().await {
            None => break,
            // Says no more than that the body has ended.
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
            other => return Replayed::body([Some(Ok(first)), other], body),
        }
    }
    Received::Message(message)
}

/// The message, where these bytes are one that is not compressed, and nothing else.
fn whole_message(data: &Bytes, max_size: usize) -> Option<Bytes> {
    let [0, length @ ..] = *data.first_chunk::<PREFIX>()? else { return None };
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let is_whole = data.len() - PREFIX == length && length <= max_size;
    is_whole.then(|| {
        let mut message = data.clone();
        message.advance(PREFIX);
        message
    })
}

/// A body of which some has been read, as if nothing had been.
struct Replayed {
    read: [Option<Result<Frame<Bytes>, Status>>; 2],
    rest: Body,
}

impl Replayed {
    fn body(read: [Option<Result<Frame<Bytes>, Status>>; 2], rest: Body) -> Received {
        Received::Unusual(Body::new(Self { read, rest }))
    }
}

impl HttpBody for Replayed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.read.iter_mut().find_map(Option::take) {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }
}

/// The response of a call that succeeds with this message.
pub(super) fn respond(mut message: Vec<u8>) -> http::Response<Body> {
    let [length @ .., a, b, c, d] = message.len().to_be_bytes();
    if length != [0; size_of::<usize>() - 4] {
        return Status::out_of_range("the answer is too long").into_http();
    }
    message.splice(..0, [0, a, b, c, d]);
    let body = Body::new(Answer { message: Some(message.into()), has_ended: false });
    let mut response = http::Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}

/// A message and the status that all is well.
struct Answer {
    message: Option<Bytes>,
    has_ended: bool,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        self.has_ended = true;
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        // As tonic has it: with a size there would be a `content-length`.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests;
