//! The main task: accepts connections, keeps the node's one timer, waits for the stop.

use crate::ServerError;
use crate::connection::Connection;
use crate::disk;
use crate::driver::Driver;
use crate::lane::LaneName;
use crate::machine::{Event, Node, NodeConfig};
use klamm_base::{Draws, Guards, Observe};
use klamm_env::{Address, BoxFuture, Env, Listener, Timer};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How many reads of the disk run beside each other: Kafka's `num.io.threads`.
const READERS: usize = 8;
/// How long accepting rests after it failed: most likely all file descriptors are in use.
const ACCEPT_PAUSE_MS: u64 = 100;

/// Runs one node until it has stopped in good order, which `stop` asks for, or cannot go on. `ready` is told where it
/// listens, once it is ready to serve ([`Node::is_ready`]); a port of 0 in `listeners` is settled then.
///
/// # Errors
/// If the port cannot be had, or the node gave up.
pub async fn run(
    env: Env,
    mut config: NodeConfig,
    guards: Guards,
    observe: Observe,
    ready: impl FnOnce(Address),
    stop: BoxFuture<()>,
) -> Result<(), ServerError> {
    let address = Address::new(&config.listen.host, config.listen.port);
    let listening = env.net.listen(address.clone()).await;
    let listener = listening.map_err(|source| ServerError::Listen { address, source })?;
    config.bound(listener.address().port);
    let max_frame = config.max_request_bytes as usize;
    let log_dirs = config.log_dirs.clone();
    let node = Node::new(config, Draws::from_seed(env.entropy.next_u64()), guards, observe.clone());
    let driver = Driver::new(env, node, log_dirs, max_frame, observe);
    spawn_lanes(&driver);
    driver.step(Event::Start);
    let timer = driver.env.clock.timer();
    let mut main = Main { driver, listener, timer, ready: Some(ready), stop: Some(stop), pause: None };
    let end = poll_fn(|cx| main.poll(cx)).await;
    main.driver.hang_up();
    end
}

fn spawn_lanes(driver: &Arc<Driver>) {
    let tasks = &driver.env.tasks;
    for dir in 0..driver.write_lanes() {
        tasks.spawn("disk writes", Box::pin(disk::serve(driver.clone(), LaneName::Writes(dir), 0)));
    }
    for reader in 0..READERS {
        tasks.spawn("disk reads", Box::pin(disk::serve(driver.clone(), LaneName::Reads, reader)));
    }
}

struct Main<R> {
    driver: Arc<Driver>,
    listener: Box<dyn Listener>,
    timer: Box<dyn Timer>,
    /// Until it was told.
    ready: Option<R>,
    /// Until it came.
    stop: Option<BoxFuture<()>>,
    /// Accepting rests until this ends.
    pause: Option<BoxFuture<()>>,
}

impl<R: FnOnce(Address)> Main<R> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ServerError>> {
        self.accept(cx);
        if let Some(ready) = self.ready.take_if(|_| self.driver.was_ready()) {
            ready(self.listener.address());
        }
        if self.stop.as_mut().is_some_and(|stop| stop.as_mut().poll(cx).is_ready()) {
            self.stop = None;
            self.driver.step(Event::Stop);
        }
        loop {
            match self.driver.poll_deadline(cx) {
                Err(end) => return Poll::Ready(end),
                Ok(deadline_ns) => self.timer.set(deadline_ns),
            }
            if self.timer.poll_fired(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Takes the connections that wait.
    fn accept(&mut self, cx: &mut Context<'_>) {
        loop {
            if self.pause.as_mut().is_some_and(|pause| pause.as_mut().poll(cx).is_pending()) {
                return;
            }
            self.pause = None;
            match self.listener.poll_accept(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(stream)) => {
                    let connection = Connection::new(self.driver.clone(), stream);
                    self.driver.env.tasks.spawn("serve", Box::pin(connection));
                }
                Poll::Ready(Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.pause = Some(self.driver.env.clock.sleep_ms(ACCEPT_PAUSE_MS));
                }
            }
        }
    }
}
