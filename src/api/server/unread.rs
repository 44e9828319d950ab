//! Bodies that nobody has read when the answer is there: they are read, and thrown away.
//!
//! HTTP/2 lets a server answer before it has read a body, and stop the body. Widely used clients (curl
//! before 8) then lose the answer. Reads only what is worth that: the others lose it still.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How much is read, and for how long.
const MOST: usize = 8 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);

/// A body that comes back when it is dropped before its end.
#[derive(Debug)]
pub(super) struct Returning<B: Body> {
    body: Option<B>,
    back: Option<oneshot::Sender<B>>,
}

/// What comes back of it.
#[derive(Debug)]
pub(super) struct Unread<B>(oneshot::Receiver<B>);

/// Both of a body.
pub(super) fn watched<B: Body>(body: B) -> (Returning<B>, Unread<B>) {
    let (sender, receiver) = oneshot::channel();
    (Returning { body: Some(body), back: Some(sender) }, Unread(receiver))
}

impl<B: Body> Drop for Returning<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Where nobody takes it back, it is dropped.
            drop(back.send(body));
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Returning<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Unread<B> {
    /// Reads what came back, now that the answer is there.
    pub(super) async fn read(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let all = async {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
                if read > MOST {
                    return;
                }
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            tracing::debug!("the rest of a body did not come");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;

    use super::*;

    type Frames = futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>;

    fn body(frames: usize, size: usize) -> StreamBody<Frames> {
        use futures_util::StreamExt as _;
        let frame = move |_| Ok(Frame::data(Bytes::from(vec![0; size])));
        StreamBody::new(futures_util::stream::iter(0..frames).map(frame).boxed())
    }

    #[tokio::test]
    async fn what_is_not_read_comes_back() {
        let (mut body, unread) = watched(body(3, 10));
        assert!(body.frame().await.is_some());
        drop(body);
        unread.read().await;
        let (body, mut unread) = watched(self::body(3, 10));
        drop(body);
        assert!(unread.0.try_recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_body_without_end() {
        let endless =
            StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let (body, unread) = watched(endless);
        drop(body);
        unread.read().await;
        let (body, unread) = watched(self::body(1_000_000, 1024));
        drop(body);
        unread.read().await;
    }
}
