//! One connection: requests go out in order, answers come back in order, as Kafka's protocol asks.

use bytes::Bytes;
use klamm_env::{Address, Env, Stream, Timer};
use klamm_wire::frame::FrameReader;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// Frames above this are refused: Kafka's `socket.request.max.bytes`.
const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Why a call got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// No connection could be made.
    NotConnected,
    /// The deadline passed; the connection was given up with it.
    TimedOut,
    /// The connection ended first.
    Disconnected,
    /// The other side sent what is not the protocol.
    Malformed,
}

/// A call that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallError {
    /// False if not one byte of the request can have left: the attempt surely had no effect.
    pub maybe_sent: bool,
    /// What happened.
    pub failure: CallFailure,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = if self.maybe_sent { "the request may have arrived" } else { "the request was not sent" };
        write!(f, "{:?}; {sent}", self.failure)
    }
}

impl std::error::Error for CallError {}

/// What a call ends in: the response frame after its length, response header included.
pub type CallResult = Result<Bytes, CallError>;
type Done = Box<dyn FnOnce(CallResult) + Send>;

/// A connection that several callers may share. Dropping the last handle closes it once all answers are in.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Handle>,
}

/// Tells the task when the last caller is gone.
struct Handle {
    state: Arc<Mutex<State>>,
}

struct State {
    /// None once it ended.
    stream: Option<Box<dyn Stream>>,
    /// Frames, and what is left of the first.
    writing: VecDeque<Bytes>,
    incoming: FrameReader,
    pending: VecDeque<Pending>,
    next_correlation_id: i32,
    timer: Box<dyn Timer>,
    armed_ns: u64,
    /// Every handle is gone: end when nothing is pending.
    abandoned: bool,
    /// The connection's task, once it ran: it is woken for all that others see coming.
    task: Option<Waker>,
}

struct Pending {
    correlation_id: i32,
    deadline_ns: u64,
    done: Done,
}

impl Connection {
    /// Connects. `role` says what for, so that faults can aim at it. The error is the failed connect.
    pub async fn open(env: &Env, to: Address, role: &'static str) -> Result<Connection, CallError> {
        let connecting = env.net.connect(to, role);
        let stream =
            connecting.await.map_err(|_| CallError { maybe_sent: false, failure: CallFailure::NotConnected })?;
        Ok(Self::over(env, stream))
    }

    /// Speaks over a stream that is connected.
    pub fn over(env: &Env, stream: Box<dyn Stream>) -> Connection {
        let state = Arc::new(Mutex::new(State {
            stream: Some(stream),
            writing: VecDeque::new(),
            incoming: FrameReader::new(FRAME_BYTES_MAX),
            pending: VecDeque::new(),
            next_correlation_id: 0,
            timer: env.clock.timer(),
            armed_ns: u64::MAX,
            abandoned: false,
            task: None,
        }));
        env.tasks.spawn("connection", Box::pin(Exchange { state: state.clone() }));
        Connection { shared: Arc::new(Handle { state }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("connection state")
    }

    /// Sends the request (a whole frame) that `encode` makes for its correlation id; `done` gets the answer, once, from the connection's
    /// own task. After `deadline_ns` (monotonic) the whole connection is given up, as Kafka's clients do.
    pub fn call_with(
        &self,
        encode: impl FnOnce(i32) -> Bytes,
        deadline_ns: u64,
        done: impl FnOnce(CallResult) + Send + 'static,
    ) {
        let mut state = self.lock();
        if state.stream.is_none() {
            drop(state);
            return done(Err(CallError { maybe_sent: false, failure: CallFailure::Disconnected }));
        }
        let correlation_id = state.next_id();
        state.pending.push_back(Pending { correlation_id, deadline_ns, done: Box::new(done) });
        state.send(encode(correlation_id));
    }

    /// As [`Connection::call_with`], as a future.
    pub async fn call(&self, encode: impl FnOnce(i32) -> Bytes, deadline_ns: u64) -> CallResult {
        let (answer, answered) = oneshot::channel();
        self.call_with(encode, deadline_ns, move |result| {
            // The caller may have stopped waiting.
            let _ = answer.send(result);
        });
        let lost = CallError { maybe_sent: true, failure: CallFailure::Disconnected };
        answered.await.unwrap_or(Err(lost))
    }

    /// Sends a request that gets no answer (Produce with acks=0). False if the connection is closed.
    pub fn tell(&self, encode: impl FnOnce(i32) -> Bytes) -> bool {
        let mut state = self.lock();
        let open = state.stream.is_some();
        if open {
            let correlation_id = state.next_id();
            state.send(encode(correlation_id));
        }
        open
    }

    /// True until the connection ended.
    pub fn is_open(&self) -> bool {
        self.lock().stream.is_some()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.state.lock().expect("connection state");
        state.abandoned = true;
        let waker = state.task.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    fn next_id(&mut self) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1) & i32::MAX;
        id
    }

    /// Puts a frame out. As much of it as there is room for is written at once, on the task's account; it is woken only for
    /// what goes wrong.
    fn send(&mut self, frame: Bytes) {
        self.writing.push_back(frame);
        let Some(task) = self.task.clone() else { return };
        let mut cx = Context::from_waker(&task);
        if self.write(&mut cx).and_then(|()| self.watch_deadline(&mut cx)).is_err() {
            task.wake();
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), CallFailure> {
        let stream = self.stream.as_mut().expect("a connection that is open");
        while !self.writing.is_empty() {
            match stream.poll_write_pieces(cx, &mut self.writing) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(CallFailure::Disconnected),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// The next answer, with whom it is for.
    fn next_answer(&mut self, cx: &mut Context<'_>) -> Result<Option<(Done, Bytes)>, CallFailure> {
        loop {
            if let Some(frame) = self.incoming.pop().map_err(|_| CallFailure::Malformed)? {
                return Ok(Some((self.caller_of(&frame)?, frame)));
            }
            let stream = self.stream.as_mut().expect("a connection that is open");
            match stream.poll_read_piece(cx) {
                Poll::Ready(Ok(piece)) if !piece.is_empty() => self.incoming.push(piece),
                Poll::Ready(_) => return Err(CallFailure::Disconnected),
                Poll::Pending => return Ok(None),
            }
        }
    }

    /// The oldest call is whom a frame is for; an answer out of turn is not the protocol.
    fn caller_of(&mut self, frame: &[u8]) -> Result<Done, CallFailure> {
        let id = i32::from_be_bytes(*frame.first_chunk().ok_or(CallFailure::Malformed)?);
        let oldest = self.pending.front().filter(|oldest| oldest.correlation_id == id);
        oldest.ok_or(CallFailure::Malformed)?;
        Ok(self.pending.pop_front().expect("the oldest call").done)
    }

    fn watch_deadline(&mut self, cx: &mut Context<'_>) -> Result<(), CallFailure> {
        let earliest = self.pending.iter().map(|pending| pending.deadline_ns).min().unwrap_or(u64::MAX);
        if earliest != self.armed_ns {
            self.armed_ns = earliest;
            self.timer.set((earliest != u64::MAX).then_some(earliest));
        }
        if earliest != u64::MAX && self.timer.poll_fired(cx).is_ready() {
            return Err(CallFailure::TimedOut);
        }
        Ok(())
    }

    /// Nothing is to be done now: true when nothing ever will be.
    fn rest(&mut self, cx: &mut Context<'_>) -> Result<bool, CallFailure> {
        self.watch_deadline(cx)?;
        if self.abandoned && self.pending.is_empty() && self.writing.is_empty() {
            return Ok(true);
        }
        match &mut self.task {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            slot => *slot = Some(cx.waker().clone()),
        }
        Ok(false)
    }
}

/// The connection's task: reads what comes, goes on with what could not be written at once, watches the earliest deadline.
struct Exchange {
    state: Arc<Mutex<State>>,
}

impl Future for Exchange {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.exchange(cx) {
            Ok(true) => Poll::Ready(()),
            Ok(false) => Poll::Pending,
            Err(failure) => {
                self.fail(failure);
                Poll::Ready(())
            }
        }
    }
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("connection state")
    }

    /// One round: true when the connection has nothing more to do. Callers are told without the lock: they may call again.
    fn exchange(&self, cx: &mut Context<'_>) -> Result<bool, CallFailure> {
        self.lock().write(cx)?;
        loop {
            let mut state = self.lock();
            let Some((done, frame)) = state.next_answer(cx)? else { return state.rest(cx) };
            drop(state);
            done(Ok(frame));
        }
    }

    /// Ends the connection: every open call learns why.
    fn fail(&self, failure: CallFailure) {
        let (stream, pending) = self.close();
        if let Some(mut stream) = stream {
            stream.abort();
        }
        for call in pending {
            (call.done)(Err(CallError { maybe_sent: true, failure }));
        }
    }

    fn close(&self) -> (Option<Box<dyn Stream>>, VecDeque<Pending>) {
        let mut state = self.lock();
        (state.stream.take(), std::mem::take(&mut state.pending))
    }
}

impl Drop for Exchange {
    /// The process dies or the task ends: callers must not wait for ever.
    fn drop(&mut self) {
        drop(self.close());
    }
}
