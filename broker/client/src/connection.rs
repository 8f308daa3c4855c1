//! One connection: requests go out in order, answers come back in order, as Kafka's protocol asks.

use bytes::Bytes;
use klamm_env::{Address, Env, Stream, Timer};
use klamm_wire::frame::{FrameReader, FrameWriter};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
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
    outgoing: VecDeque<Bytes>,
    pending: VecDeque<Pending>,
    next_correlation_id: i32,
    open: bool,
    /// Every handle is gone: end when nothing is pending.
    abandoned: bool,
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
            outgoing: VecDeque::new(),
            pending: VecDeque::new(),
            next_correlation_id: 0,
            open: true,
            abandoned: false,
            task: None,
        }));
        let task = Exchange {
            stream,
            state: state.clone(),
            timer: env.clock.timer(),
            armed_ns: u64::MAX,
            incoming: FrameReader::new(FRAME_BYTES_MAX),
            writing: FrameWriter::default(),
        };
        env.tasks.spawn("connection", Box::pin(task));
        Connection { shared: Arc::new(Handle { state }) }
    }

    /// Sends the request that `encode` makes for its correlation id; `done` gets the answer, once, from the connection's
    /// own task. After `deadline_ns` (monotonic) the whole connection is given up, as Kafka's clients do.
    pub fn call_with(
        &self,
        encode: impl FnOnce(i32) -> Bytes,
        deadline_ns: u64,
        done: impl FnOnce(CallResult) + Send + 'static,
    ) {
        let mut state = self.shared.state.lock().expect("connection state");
        if !state.open {
            drop(state);
            return done(Err(CallError { maybe_sent: false, failure: CallFailure::Disconnected }));
        }
        let correlation_id = state.next_id();
        state.outgoing.push_back(encode(correlation_id));
        state.pending.push_back(Pending { correlation_id, deadline_ns, done: Box::new(done) });
        let waker = state.task.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
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
        let mut state = self.shared.state.lock().expect("connection state");
        if !state.open {
            return false;
        }
        let correlation_id = state.next_id();
        state.outgoing.push_back(encode(correlation_id));
        let waker = state.task.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// True until the connection ended.
    pub fn is_open(&self) -> bool {
        self.shared.state.lock().expect("connection state").open
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
}

/// The connection's task: writes what waits, reads what comes, watches the earliest deadline.
struct Exchange {
    stream: Box<dyn Stream>,
    state: Arc<Mutex<State>>,
    timer: Box<dyn Timer>,
    armed_ns: u64,
    incoming: FrameReader,
    writing: FrameWriter,
}

impl Future for Exchange {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
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
    /// One round: true when the connection has nothing more to do.
    fn exchange(&mut self, cx: &mut Context<'_>) -> Result<bool, CallFailure> {
        self.write(cx)?;
        self.read(cx)?;
        self.watch_deadline(cx)?;
        let mut state = self.state.lock().expect("connection state");
        if state.abandoned && state.pending.is_empty() && state.outgoing.is_empty() && self.writing.is_done() {
            state.open = false;
            return Ok(true);
        }
        match &mut state.task {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            slot => *slot = Some(cx.waker().clone()),
        }
        // A call may have come since the queue was looked at, and found nobody to wake.
        if self.writing.is_done() && !state.outgoing.is_empty() {
            cx.waker().wake_by_ref();
        }
        Ok(false)
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), CallFailure> {
        loop {
            if self.writing.is_done() {
                let Some(frame) = self.next_frame() else { return Ok(()) };
                self.writing.put(frame);
            }
            match self.stream.poll_write_pieces(cx, self.writing.pieces_mut()) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(CallFailure::Disconnected),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Ok(()),
            }
        }
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        self.state.lock().expect("connection state").outgoing.pop_front()
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<(), CallFailure> {
        loop {
            match self.stream.poll_read_piece(cx) {
                Poll::Ready(Ok(piece)) if !piece.is_empty() => self.incoming.push(piece),
                Poll::Ready(_) => return Err(CallFailure::Disconnected),
                Poll::Pending => return Ok(()),
            }
            while let Some(frame) = self.incoming.pop().map_err(|_| CallFailure::Malformed)? {
                self.answer(frame)?;
            }
        }
    }

    /// Gives a frame to the oldest call; an answer out of turn is not the protocol.
    fn answer(&mut self, frame: Bytes) -> Result<(), CallFailure> {
        let id = frame.get(..4).ok_or(CallFailure::Malformed)?;
        let id = i32::from_be_bytes(id.try_into().expect("four bytes"));
        let pending = {
            let mut state = self.state.lock().expect("connection state");
            match state.pending.front() {
                Some(first) if first.correlation_id == id => state.pending.pop_front(),
                _ => None,
            }
        };
        let pending = pending.ok_or(CallFailure::Malformed)?;
        (pending.done)(Ok(frame));
        Ok(())
    }

    fn watch_deadline(&mut self, cx: &mut Context<'_>) -> Result<(), CallFailure> {
        let earliest = {
            let state = self.state.lock().expect("connection state");
            state.pending.iter().map(|pending| pending.deadline_ns).min().unwrap_or(u64::MAX)
        };
        if earliest != self.armed_ns {
            self.armed_ns = earliest;
            self.timer.set((earliest != u64::MAX).then_some(earliest));
        }
        if earliest != u64::MAX && self.timer.poll_fired(cx).is_ready() {
            return Err(CallFailure::TimedOut);
        }
        Ok(())
    }

    /// Ends the connection: every open call learns why.
    fn fail(&mut self, failure: CallFailure) {
        let pending = {
            let mut state = self.state.lock().expect("connection state");
            state.open = false;
            state.outgoing.clear();
            std::mem::take(&mut state.pending)
        };
        self.stream.abort();
        for call in pending {
            (call.done)(Err(CallError { maybe_sent: true, failure }));
        }
    }
}

impl Drop for Exchange {
    /// The process dies or the task ends: callers must not wait for ever.
    fn drop(&mut self) {
        let pending = {
            let mut state = self.state.lock().expect("connection state");
            state.open = false;
            std::mem::take(&mut state.pending)
        };
        drop(pending);
    }
}
