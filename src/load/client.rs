//! One thread of the load: its connections, and the calls on them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::future::join_all;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::config::Address;

use super::{Answer, Event, Load, Tally, Until};

const METHOD: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Between attempts to get a lost connection back.
const AGAIN: Duration = Duration::from_millis(100);
/// How often a connection asks whether it is abandoned, and how long calls may take at the end.
const LOOK: Duration = Duration::from_millis(500);
/// How long calls that are under way at the end may take.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// When calls are made.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// From here they count.
    counting: Instant,
    ends: Option<Instant>,
    /// How many may still be made.
    left: Option<Arc<AtomicU64>>,
    /// Between two calls of a stream.
    pause: Option<Duration>,
}

impl Schedule {
    pub(super) fn new(load: &Load, counting: Instant) -> Self {
        let (ends, left) = match load.until {
            Until::Elapsed(time) => (Some(counting + time), None),
            Until::Calls(calls) => (None, Some(Arc::new(AtomicU64::new(calls)))),
        };
        let streams = (load.connections.max(1) * load.streams.max(1)) as f64;
        let pause = load.rate.map(|rate| Duration::from_secs_f64(streams / rate));
        Self { counting, ends, left, pause }
    }

    /// Whether a call that begins now is to be made.
    fn admits(&self, now: Instant) -> bool {
        if self.ends.is_some_and(|ends| now >= ends) {
            return false;
        }
        match &self.left {
            Some(left) if now >= self.counting => left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok(),
            Some(_) | None => true,
        }
    }

    /// For a call that was admitted and not made.
    fn give_back(&self) {
        if let Some(left) = &self.left {
            left.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now >= ends)
            || self.left.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0)
    }
}

/// What a thread needs.
pub(super) struct Client {
    pub(super) load: Load,
    /// The numbers of its connections.
    pub(super) connections: Vec<usize>,
    pub(super) done: Arc<AtomicU64>,
    pub(super) abandoned: Arc<AtomicBool>,
    pub(super) started: watch::Receiver<Option<Schedule>>,
}

impl Client {
    /// Everything that it finds out goes to `report`; who has dropped the other end wants no more.
    pub(super) fn run(self, report: &Sender<Event>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let event = match runtime {
            Ok(runtime) => LocalSet::new().block_on(&runtime, self.load(report)),
            Err(error) => Event::Refused(error),
        };
        drop(report.send(event));
    }

    async fn load(mut self, report: &Sender<Event>) -> Event {
        let mut connected = Vec::new();
        for number in &self.connections {
            match connect(&self.load.target).await {
                Ok(sender) => connected.push((*number, sender)),
                Err(error) => return Event::Refused(error),
            }
        }
        drop(report.send(Event::Connected));
        let schedule = match self.started.wait_for(Option::is_some).await {
            Ok(schedule) => (*schedule).clone(),
            Err(_) => None,
        };
        let tally = RefCell::new(Tally::new(self.load.mix.questions().len()));
        let last = Cell::new(Instant::now());
        if let Some(schedule) = schedule {
            let worker = Calls { client: &self, schedule, tally: &tally, last: &last };
            join_all(connected.into_iter().map(|(number, to)| worker.connection(number, to))).await;
        }
        Event::Ended(tally.into_inner(), last.get())
    }
}

/// The calls of a thread.
#[derive(Clone)]
struct Calls<'c> {
    client: &'c Client,
    schedule: Schedule,
    tally: &'c RefCell<Tally>,
    last: &'c Cell<Instant>,
}

/// Why a call has no answer.
enum Failure {
    /// The connection ended in an orderly way, before the call was made.
    Before,
    /// There is no connection any more.
    Lost(String),
    /// This call failed, others may not.
    Call(String),
}

impl Calls<'_> {
    /// Makes calls until it is enough, with a new connection where one is lost.
    async fn connection(&self, number: usize, first: SendRequest<Bytes>) {
        let streams = self.client.load.streams.max(1);
        let underway = Rc::new(Cell::new(0));
        let mut sender = Some(first);
        while !self.schedule.is_over(Instant::now()) && !self.is_abandoned() {
            let connected = match sender.take() {
                Some(sender) => Ok(sender),
                None => connect(&self.client.load.target).await,
            };
            match connected {
                Ok(to) => {
                    let calls = (0..streams).map(|stream| {
                        self.stream(number * streams + stream, to.clone(), &underway)
                    });
                    tokio::select! {
                        _ = join_all(calls) => {}
                        () = self.abandoned() => {}
                    }
                    if underway.get() > 0 {
                        let mut tally = self.tally.borrow_mut();
                        tally.failed_times("no answer in time".to_owned(), underway.take());
                    }
                }
                Err(error) => {
                    self.tally.borrow_mut().failed(format!("cannot connect: {error}"));
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Calls one after the other, until it is enough or the connection is lost.
    async fn stream(&self, number: usize, mut to: SendRequest<Bytes>, underway: &Cell<u64>) {
        let (load, schedule) = (&self.client.load, &self.schedule);
        let all = load.connections.max(1) * load.streams.max(1);
        // Streams begin in different places of a round.
        let mut question = number * load.mix.round() / all;
        let mut next =
            schedule.pause.map(|pause| Instant::now() + pause.mul_f64(number as f64 / all as f64));
        loop {
            // One that should have begun earlier is late because of the server.
            let late = next.filter(|at| *at <= Instant::now());
            if let Some(at) = next {
                sleep(at.saturating_duration_since(Instant::now())).await;
            }
            let now = Instant::now();
            if self.is_abandoned() || !schedule.admits(now) {
                return;
            }
            let (begun, counts) = (late.unwrap_or(now), now >= schedule.counting);
            let (asked, message) = load.mix.at(question);
            underway.set(underway.get() + 1);
            let result = call(&mut to, &load.target, message).await;
            underway.set(underway.get().saturating_sub(1));
            self.client.done.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            let mut tally = self.tally.borrow_mut();
            match result {
                Ok(answer) if counts => tally.answered(asked, answer, now.duration_since(begun)),
                Err(Failure::Call(error)) if counts => tally.failed(error),
                Ok(_) | Err(Failure::Call(_)) => {}
                Err(Failure::Before) => {
                    if counts {
                        schedule.give_back();
                    }
                    return;
                }
                Err(Failure::Lost(error)) => {
                    if counts {
                        tally.failed(error);
                    }
                    return;
                }
            }
            self.last.set(now);
            question += 1;
            next = next.zip(schedule.pause).map(|(at, pause)| at + pause);
        }
    }

    fn is_abandoned(&self) -> bool {
        self.client.abandoned.load(Ordering::Relaxed)
    }

    /// Returns when waiting for answers is no use any more.
    async fn abandoned(&self) {
        let mut last_calls: Option<Instant> = None;
        while !self.is_abandoned() {
            sleep(LOOK).await;
            let now = Instant::now();
            if self.schedule.is_over(now) && *last_calls.get_or_insert(now + LAST_CALLS) <= now {
                return;
            }
        }
    }
}

async fn connect(target: &Address) -> io::Result<SendRequest<Bytes>> {
    match target {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            handshake(stream).await
        }
        Address::Unix(path) => handshake(UnixStream::connect(path).await?).await,
    }
}

async fn handshake<C>(connection: C) -> io::Result<SendRequest<Bytes>>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, driver) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(16 << 20)
        .handshake(connection)
        .await
        .map_err(io::Error::other)?;
    // How it ends, calls find out.
    tokio::task::spawn_local(async move { drop(driver.await) });
    // Ready once the server's settings are known: before, it may be anything that listens.
    sender.ready().await.map_err(io::Error::other)
}

async fn call(
    to: &mut SendRequest<Bytes>,
    target: &Address,
    message: Bytes,
) -> Result<Answer, Failure> {
    std::future::poll_fn(|context| to.poll_ready(context)).await.map_err(|error| {
        if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) {
            Failure::Before
        } else {
            failure(&error)
        }
    })?;
    let authority = match target {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    };
    let head = Request::post(format!("http://{authority}{METHOD}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| Failure::Call(error.to_string()))?;
    let (response, mut stream) = to.send_request(head, false).map_err(|error| failure(&error))?;
    stream.send_data(message, true).map_err(|error| failure(&error))?;
    let response = response.await.map_err(|error| failure(&error))?;
    if response.status() != StatusCode::OK {
        return Err(Failure::Call(format!("HTTP status {}: not gRPC", response.status().as_u16())));
    }
    grpc_status(response.headers())?;
    let mut body = response.into_body();
    let mut received = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(|error| failure(&error))?;
        // Fails only on a stream that is gone, which the next look at it says.
        drop(body.flow_control().release_capacity(part.len()));
        received.extend_from_slice(&part);
    }
    if let Some(trailers) = body.trailers().await.map_err(|error| failure(&error))? {
        grpc_status(&trailers)?;
    }
    let not_an_answer = |why: &str| Failure::Call(format!("not a CheckResponse: {why}"));
    if received.len() < 5 {
        return Err(not_an_answer("no message"));
    }
    if received.get_u8() != 0 {
        return Err(not_an_answer("compressed"));
    }
    received.advance(4);
    Answer::read(received).map_err(|error| not_an_answer(&error.to_string()))
}

/// In the trailers, or in the headers of a call that failed at once.
fn grpc_status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match text("grpc-status") {
        None => Ok(()),
        Some(code) if code == "0" => Ok(()),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(Failure::Call(format!("gRPC status {code} {message}").trim_end().to_owned()))
        }
    }
}

fn failure(error: &h2::Error) -> Failure {
    if error.is_io() || error.is_go_away() {
        Failure::Lost(format!("connection lost: {error}"))
    } else if error.is_reset() {
        Failure::Call(error.to_string())
    } else {
        Failure::Lost(error.to_string())
    }
}
