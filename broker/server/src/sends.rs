//! Requests of this node to others: one connection per endpoint and role, opened when first needed and again after it ended.

use crate::driver::Driver;
use crate::machine::{Endpoint, Event, OutRequest, SendError, SendId};
use klamm_client::{CallError, CallFailure, Connection};
use klamm_env::Address;
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

/// One request to send.
pub(crate) struct Call {
    pub(crate) to: Endpoint,
    pub(crate) role: &'static str,
    pub(crate) id: SendId,
    pub(crate) request: OutRequest,
    /// Monotonic; the answer must be there by then.
    pub(crate) deadline_ns: u64,
}

/// A connection is known by these.
type Key = (Endpoint, &'static str);

pub(crate) enum Peer {
    /// Being opened, or its first requests are being sent: later ones wait behind them.
    Opening(Vec<Call>),
    Open(Connection),
}

pub(crate) type Peers = BTreeMap<Key, Peer>;

impl Driver {
    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().expect("nothing panics under this lock")
    }

    /// Sends a request, or queues it behind the opening of its connection. Only one task at a time may be in here.
    pub(crate) fn send(self: &Arc<Self>, call: Call) {
        let key = (call.to.clone(), call.role);
        let mut peers = self.peers();
        match peers.get_mut(&key) {
            Some(Peer::Opening(waiting)) => waiting.push(call),
            Some(Peer::Open(connection)) if connection.is_open() => {
                let connection = connection.clone();
                drop(peers);
                self.call(&connection, call);
            }
            _ => {
                let deadline_ns = call.deadline_ns;
                peers.insert(key.clone(), Peer::Opening(vec![call]));
                drop(peers);
                let task = open(self.clone(), key, deadline_ns);
                self.env.tasks.spawn("open", Box::pin(task));
            }
        }
    }

    fn call(self: &Arc<Self>, connection: &Connection, call: Call) {
        let Call { id, request, deadline_ns, .. } = call;
        let driver = self.clone();
        connection.call_with(
            |correlation_id| request.encode(correlation_id),
            deadline_ns,
            move |result| driver.step(Event::Answered { id, result: result.map_err(send_error) }),
        );
    }

    /// Sends what waited for the connection, in order; it is open to others when nothing waits.
    fn opened(self: &Arc<Self>, key: &Key, connection: Connection) {
        loop {
            let calls = match self.peers().get_mut(key) {
                Some(Peer::Opening(waiting)) if !waiting.is_empty() => std::mem::take(waiting),
                Some(peer) => {
                    *peer = Peer::Open(connection);
                    return;
                }
                // The node ended meanwhile.
                None => return,
            };
            calls.into_iter().for_each(|call| self.call(&connection, call));
        }
    }

    fn not_opened(self: &Arc<Self>, key: &Key) {
        let Some(Peer::Opening(waiting)) = self.peers().remove(key) else { return };
        for call in waiting {
            self.step(Event::Answered { id: call.id, result: Err(SendError::NotConnected) });
        }
    }

    /// The node ended: its connections close once nobody waits for an answer on them.
    pub(crate) fn hang_up(&self) {
        let peers = std::mem::take(&mut *self.peers());
        drop(peers);
    }
}

/// Opens a connection, for no longer than its first request may wait.
async fn open(driver: Arc<Driver>, key: Key, deadline_ns: u64) {
    let (endpoint, role) = &key;
    let address = Address::new(&endpoint.host, endpoint.port);
    let opening = Connection::open(&driver.env, address, role);
    match driver.env.clock.before(deadline_ns, opening).await {
        Some(Ok(connection)) => driver.opened(&key, connection),
        Some(Err(_)) | None => driver.not_opened(&key),
    }
}

/// A request that was surely not sent is told apart: the node may repeat it without asking itself what it did.
fn send_error(error: CallError) -> SendError {
    match error.failure {
        _ if !error.maybe_sent => SendError::NotConnected,
        CallFailure::TimedOut => SendError::TimedOut,
        CallFailure::NotConnected | CallFailure::Disconnected | CallFailure::Malformed => SendError::Disconnected,
    }
}
