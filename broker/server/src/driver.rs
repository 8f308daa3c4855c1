//! The node under its lock, and the queues that its commands go to.

use crate::ServerError;
use crate::disk::Files;
use crate::lane::{Lane, LaneName, Work, Writes};
use crate::machine::{Command, Event, Node, Request, Response, Token};
use crate::sends::{Call, Peers};
use klamm_base::{Now, Observe, Outbox};
use klamm_env::Env;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// A node whose deadline is still in the past after so many steps for it turns in a circle.
const DEADLINES_MAX: u32 = 100_000;

/// What all tasks of one node share.
pub(crate) struct Driver {
    pub(crate) env: Env,
    pub(crate) files: Files,
    pub(crate) peers: Mutex<Peers>,
    /// `socket.request.max.bytes`.
    pub(crate) max_frame: usize,
    /// Counts frames.
    pub(crate) observe: Observe,
    /// The node ended. Also without the lock: a connection looks whenever it is polled.
    over: Arc<AtomicBool>,
    state: Mutex<State>,
}

/// Everything under the node's lock.
pub(crate) struct State {
    node: Node,
    out: Outbox<Command>,
    seats: Vec<Seat>,
    free_seats: Vec<u32>,
    next_request: u32,
    /// The seat whose task steps the node right now: it needs no waking.
    stepping: Option<u32>,
    /// Completions of what needed no waiting.
    at_once: VecDeque<Event>,
    writes: Writes,
    reads: Lane,
    sends: VecDeque<Call>,
    /// Some task is emptying `sends`; it takes what comes, so that their order stands.
    sending: bool,
    main: Waker,
    /// The node was ready to serve once.
    ready: bool,
    /// What the one timer is set to.
    armed_ns: u64,
    /// How the node ended, until the main task takes it.
    end: Option<Result<(), ServerError>>,
    over: Arc<AtomicBool>,
}

/// One connection's place: its open request, and its out-queue. That holds at most one answer, as the next request is handed in after it.
struct Seat {
    open: Option<Token>,
    answer: Option<Answer>,
    task: Waker,
}

/// How a request ended.
pub(crate) enum Answer {
    Reply(Response),
    /// There is nothing to say.
    Silence,
    /// Close the connection.
    Close,
}

impl Driver {
    pub(crate) fn new(env: Env, node: Node, log_dirs: Vec<String>, max_frame: usize, observe: Observe) -> Arc<Driver> {
        let over = Arc::new(AtomicBool::new(false));
        let state = State {
            node,
            out: Outbox::new(),
            seats: Vec::new(),
            free_seats: Vec::new(),
            next_request: 0,
            stepping: None,
            at_once: VecDeque::new(),
            writes: Writes::new(log_dirs),
            reads: Lane::default(),
            sends: VecDeque::new(),
            sending: false,
            main: Waker::noop().clone(),
            ready: false,
            armed_ns: u64::MAX,
            end: None,
            over: over.clone(),
        };
        let (files, peers) = (Files::default(), Mutex::default());
        Arc::new(Driver { env, files, peers, max_frame, observe, over, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no step of the node panicked")
    }

    /// Steps the node and sees to it that its commands are performed.
    pub(crate) fn step(self: &Arc<Self>, event: Event) {
        self.with(|state| state.step(&self.env, &self.files, event));
    }

    /// Works under the lock, then sends what that queued.
    fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let value = work(&mut state);
        let send = state.begin_sending();
        drop(state);
        if send {
            self.send_all();
        }
        value
    }

    /// Sends what waits, in order; whatever is queued meanwhile as well.
    fn send_all(self: &Arc<Self>) {
        while let Some(call) = self.next_send() {
            self.send(call);
        }
    }

    fn next_send(&self) -> Option<Call> {
        let mut state = self.lock();
        let call = state.sends.pop_front();
        state.sending = call.is_some();
        call
    }

    /// A place for a new connection.
    pub(crate) fn sit(&self) -> u32 {
        let mut state = self.lock();
        let seat = Seat { open: None, answer: None, task: Waker::noop().clone() };
        match state.free_seats.pop() {
            Some(index) => {
                state.seats[index as usize] = seat;
                index
            }
            None => {
                state.seats.push(seat);
                state.seats.len() as u32 - 1
            }
        }
    }

    /// The connection ended: the node learns that nobody waits for its open request.
    pub(crate) fn leave(self: &Arc<Self>, seat: u32) {
        let open = {
            let mut state = self.lock();
            let left = &mut state.seats[seat as usize];
            (left.answer, left.task) = (None, Waker::noop().clone());
            let open = left.open.take();
            state.free_seats.push(seat);
            open
        };
        if let Some(token) = open {
            self.step(Event::Gone { token });
        }
    }

    /// Checks the batches in a request, and unpacks them if need be: only their rules are asked for under the lock.
    pub(crate) fn check_records(&self, request: &mut Request) {
        let rules = self.lock().node.record_rules(request);
        if let Some(rules) = rules {
            request.check_records(rules, self.env.clock.wall_ms());
        }
    }

    /// Hands in a connection's next request. The answer if there is one at once; otherwise the task is woken for it.
    pub(crate) fn hand_in(self: &Arc<Self>, seat: u32, request: Request, cx: &Context<'_>) -> Option<Answer> {
        self.with(|state| {
            let token = state.open_request(seat, cx);
            state.stepping = Some(seat);
            state.step(&self.env, &self.files, Event::Request { token, request });
            state.stepping = None;
            state.seats[seat as usize].answer.take()
        })
    }

    /// The answer to a connection's open request, if it is there; the task is woken for it, and at the node's end.
    pub(crate) fn take_answer(&self, seat: u32, cx: &Context<'_>) -> Option<Answer> {
        let mut state = self.lock();
        let taken = &mut state.seats[seat as usize];
        keep_waker(&mut taken.task, cx);
        taken.answer.take()
    }

    /// True once the node was ready to serve; the main task is woken after that became true.
    pub(crate) fn was_ready(&self) -> bool {
        self.lock().ready
    }

    /// True once the node ended; every task is woken after that became true.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// How many queues of changes there are: one for each log directory.
    pub(crate) fn write_lanes(&self) -> usize {
        self.lock().writes.count()
    }

    /// The next operation of a lane; `None` at the end.
    pub(crate) fn poll_work(&self, lane: LaneName, worker: usize, cx: &mut Context<'_>) -> Poll<Option<Work>> {
        let mut state = self.lock();
        if self.is_over() {
            return Poll::Ready(None);
        }
        state.lane(lane).poll(worker, cx).map(Some)
    }

    /// Tells the node, and takes the lane's next operation if there is one.
    pub(crate) fn disk_done(self: &Arc<Self>, event: Event, lane: LaneName) -> Option<Work> {
        self.with(|state| {
            state.step(&self.env, &self.files, event);
            if self.is_over() { None } else { state.lane(lane).pop() }
        })
    }

    /// For the main task: steps the node while its deadline has passed; then what to set the timer to, or how the node
    /// ended.
    pub(crate) fn poll_deadline(self: &Arc<Self>, cx: &Context<'_>) -> Result<Option<u64>, Result<(), ServerError>> {
        for _ in 0..DEADLINES_MAX {
            let mut state = self.lock();
            keep_waker(&mut state.main, cx);
            if let Some(end) = state.end.take() {
                return Err(end);
            }
            let due = state.node.deadline();
            if due.is_none_or(|due| due > self.env.clock.mono_ns()) {
                state.armed_ns = due.unwrap_or(u64::MAX);
                return Ok(due);
            }
            // This very loop looks again: nobody needs to wake it.
            state.armed_ns = 0;
            drop(state);
            self.step(Event::Deadline);
        }
        panic!("the node's deadline stays in the past, however often it is told")
    }
}

/// Keeps the waker of the task that polls now.
fn keep_waker(kept: &mut Waker, cx: &Context<'_>) {
    if !kept.will_wake(cx.waker()) {
        kept.clone_from(cx.waker());
    }
}

impl State {
    /// Steps the node for an event, and then for what that brought at once.
    fn step(&mut self, env: &Env, files: &Files, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            if self.over.load(Ordering::Acquire) {
                return self.at_once.clear();
            }
            let now = Now { mono_ns: env.clock.mono_ns(), wall_ms: env.clock.wall_ms() };
            let mut out = std::mem::take(&mut self.out);
            self.node.step(now, event, &mut out);
            for command in out.drain() {
                self.perform(command, files, now);
            }
            self.out = out;
            next = self.at_once.pop_front();
        }
        if !self.ready && self.node.is_ready() {
            self.ready = true;
            self.main.wake_by_ref();
        }
        if self.node.deadline().is_some_and(|due| due < self.armed_ns) {
            self.armed_ns = 0;
            self.main.wake_by_ref();
        }
    }

    /// A number for a connection's next request.
    fn open_request(&mut self, seat: u32, cx: &Context<'_>) -> Token {
        let token = Token(u64::from(self.next_request) << 32 | u64::from(seat));
        self.next_request = self.next_request.wrapping_add(1);
        let seat = &mut self.seats[seat as usize];
        assert!(seat.open.is_none() && seat.answer.is_none(), "one request at a time");
        seat.open = Some(token);
        keep_waker(&mut seat.task, cx);
        token
    }

    fn perform(&mut self, command: Command, files: &Files, now: Now) {
        match command {
            Command::Disk { id, op } if op.mutates() => self.writes.push((id, op)),
            Command::Disk { id, op } => match files.read_cached(&op) {
                Some(result) => self.at_once.push_back(Event::DiskDone { id, result }),
                None => self.reads.push((id, op)),
            },
            Command::Send { to, role, id, request, timeout_ms } => {
                self.sends.push_back(Call { to, role, id, request, deadline_ns: now.after_ms(timeout_ms) });
            }
            Command::Reply { token, response } => self.answer(token, Answer::Reply(response)),
            Command::NoReply { token } => self.answer(token, Answer::Silence),
            Command::Close { token } => self.answer(token, Answer::Close),
            Command::Fatal { message } => self.finish(Err(ServerError::Fatal(message))),
            Command::Stopped => self.finish(Ok(())),
        }
    }

    /// Queues an answer for the connection that asked, if it is still there.
    fn answer(&mut self, token: Token, answer: Answer) {
        let index = token.0 as u32;
        let seat = &mut self.seats[index as usize];
        if seat.open == Some(token) {
            seat.open = None;
            seat.answer = Some(answer);
            if self.stepping != Some(index) {
                seat.task.wake_by_ref();
            }
        }
    }

    fn begin_sending(&mut self) -> bool {
        !self.sends.is_empty() && !std::mem::replace(&mut self.sending, true)
    }

    fn lane(&mut self, lane: LaneName) -> &mut Lane {
        match lane {
            LaneName::Writes(dir) => self.writes.lane(dir),
            LaneName::Reads => &mut self.reads,
        }
    }

    /// The node is done: every task learns it.
    fn finish(&mut self, end: Result<(), ServerError>) {
        if !self.over.swap(true, Ordering::AcqRel) {
            self.end = Some(end);
            self.main.wake_by_ref();
            self.writes.wake_all();
            self.reads.wake_all();
            self.seats.iter().for_each(|seat| seat.task.wake_by_ref());
        }
    }
}
