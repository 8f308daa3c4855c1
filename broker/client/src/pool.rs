//! Connections by address, opened when first needed.

use crate::connection::{CallError, CallFailure, CallResult, Connection};
use bytes::Bytes;
use klamm_env::{Address, Env};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Kafka's `socket.connection.setup.timeout.ms`.
const CONNECT_TIMEOUT_MS: u64 = 10_000;

/// One request on its way to an address.
pub struct Ask {
    /// Makes the request for its correlation id.
    pub encode: Box<dyn FnOnce(i32) -> Bytes + Send>,
    /// Monotonic instant at which the call is given up.
    pub deadline_ns: u64,
    /// False for Produce with acks=0: done once it is queued on a connection, with no bytes.
    pub answered: bool,
    /// Gets the end of it, once.
    pub done: Box<dyn FnOnce(CallResult) + Send>,
}

/// The connections of one client, all of one role.
pub struct Pool {
    env: Env,
    role: &'static str,
    slots: Mutex<BTreeMap<Address, Slot>>,
}

enum Slot {
    Opening(Vec<Ask>),
    Open(Connection),
}

impl Pool {
    /// No connection yet.
    pub fn new(env: Env, role: &'static str) -> Arc<Pool> {
        Arc::new(Pool { env, role, slots: Mutex::new(BTreeMap::new()) })
    }

    /// Sends a request, opening the connection if need be.
    pub fn ask(self: &Arc<Self>, to: &Address, ask: Ask) {
        let mut slots = self.slots.lock().expect("the pool's slots");
        match slots.get_mut(to) {
            Some(Slot::Opening(waiting)) => waiting.push(ask),
            Some(Slot::Open(connection)) if connection.is_open() => {
                let connection = connection.clone();
                drop(slots);
                send(&connection, ask);
            }
            _ => {
                slots.insert(to.clone(), Slot::Opening(vec![ask]));
                drop(slots);
                self.open(to.clone());
            }
        }
    }

    fn open(self: &Arc<Self>, to: Address) {
        let pool = self.clone();
        self.env.tasks.spawn(
            "connect",
            Box::pin(async move {
                let deadline_ns = pool.env.clock.mono_ns() + CONNECT_TIMEOUT_MS * 1_000_000;
                let opening = Connection::open(&pool.env, to.clone(), pool.role);
                let opened = pool.env.clock.before(deadline_ns, opening).await;
                pool.opened(&to, opened.and_then(Result::ok));
            }),
        );
    }

    /// Hands the waiting requests to the connection, or fails them.
    fn opened(&self, to: &Address, connection: Option<Connection>) {
        let mut slots = self.slots.lock().expect("the pool's slots");
        let Some(Slot::Opening(waiting)) = slots.remove(to) else { panic!("{to} was not being opened") };
        if let Some(connection) = &connection {
            slots.insert(to.clone(), Slot::Open(connection.clone()));
        }
        drop(slots);
        for ask in waiting {
            match &connection {
                Some(connection) => send(connection, ask),
                None => (ask.done)(Err(CallError { maybe_sent: false, failure: CallFailure::NotConnected })),
            }
        }
    }
}

fn send(connection: &Connection, ask: Ask) {
    if ask.answered {
        return connection.call_with(ask.encode, ask.deadline_ns, ask.done);
    }
    let sent = connection.tell(ask.encode);
    let lost = CallError { maybe_sent: false, failure: CallFailure::Disconnected };
    (ask.done)(if sent { Ok(Bytes::new()) } else { Err(lost) });
}
