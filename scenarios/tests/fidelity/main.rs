//! Fidelity: what code may expect of a network, a disk and a clock, written once against `Env` and held three times: by
//! the simulated world between two machines, by the simulated world within one, and by the real one on loopback TCP and a
//! temporary folder. Where they cannot agree, [`differences`] says why, and its entry is held from both sides.

mod clock;
mod differences;
mod disk;
mod log;
mod net;

use differences::Difference;
use klamm_env::{Address, Env, Listener, Stream, real};
use klamm_sim::{SimConfig, run};
use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};

/// Real and simulated nanoseconds in which every expectation must be met.
const LIMIT_NS: u64 = 60_000_000_000;
pub const MS: u64 = 1_000_000;

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Two simulated machines.
    SimulatedLink,
    /// One simulated machine.
    SimulatedLoopback,
    /// This machine.
    Real,
}

/// What an expectation is played on.
#[derive(Clone)]
pub struct Stage {
    pub side: Side,
    pub server: Env,
    pub client: Env,
    /// How the client calls the server.
    host: &'static str,
}

impl Stage {
    pub async fn listen(&self) -> Box<dyn Listener> {
        self.server.net.listen(Address::new("", 0)).await.expect("a free port")
    }

    /// As the client sees the listener.
    pub fn address(&self, listener: &dyn Listener) -> Address {
        Address::new(self.host, listener.address().port)
    }

    pub async fn connect(&self, to: Address) -> io::Result<Box<dyn Stream>> {
        self.client.net.connect(to, "fidelity").await
    }

    /// Both ends of a connection: the client's, then the server's.
    pub async fn pair(&self) -> (Box<dyn Stream>, Box<dyn Stream>) {
        let mut listener = self.listen().await;
        let client = self.connect(self.address(&*listener)).await.expect("somebody listens");
        (client, accept(&mut listener).await)
    }

    pub async fn sleep_ms(&self, ms: u64) {
        self.client.clock.sleep_ms(ms).await;
    }

    /// The worlds differ here, each in its own way, and the list says why.
    pub fn differs<T: PartialEq + Debug>(&self, difference: &Difference, found: T, simulated: T, real: T) {
        assert_ne!(simulated, real, "{}: this is no difference, strike it from the list", difference.what);
        let expected = if self.side == Side::Real { real } else { simulated };
        assert_eq!(found, expected, "{} ({})", difference.what, difference.why);
    }
}

pub async fn accept(listener: &mut Box<dyn Listener>) -> Box<dyn Stream> {
    poll_fn(|cx| listener.poll_accept(cx)).await.expect("a connection")
}

/// The kind of the error that must be there.
pub fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().map(|error| error.kind()).expect("an error, this went well")
}

/// Plays one expectation in one world.
pub fn play<F: Future<Output = ()> + 'static>(side: Side, expectation: impl FnOnce(Stage) -> F + Send + 'static) {
    match side {
        Side::Real => {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let ended = real::block_on(folder.path().to_owned(), |env, _stop| async move {
                let stage = Stage { side, server: env.clone(), client: env.clone(), host: "127.0.0.1" };
                let until = env.clock.mono_ns() + LIMIT_NS;
                env.clock.before(until, expectation(stage)).await
            });
            ended.expect("a runtime").expect("met in time");
        }
        Side::SimulatedLink | Side::SimulatedLoopback => {
            let config = SimConfig { limit_ns: Some(LIMIT_NS), ..SimConfig::new(1) };
            let run = run(config, move |world| {
                let (one, two) = (world.add_host("server"), world.add_host("client"));
                let far = side == Side::SimulatedLink;
                let (client, host) = if far { (two, "server") } else { (one, "127.0.0.1") };
                let stage = Stage { side, server: world.env(one), client: world.env(client), host };
                Box::pin(expectation(stage))
            });
            run.outcome.unwrap_or_else(|panic| panic!("{panic}"));
        }
    }
}

/// A test for each world.
#[macro_export]
macro_rules! expectations {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use $crate::{Side, play};

            #[test]
            fn simulated_between_two_machines() {
                play(Side::SimulatedLink, super::$name);
            }

            #[test]
            fn simulated_within_one_machine() {
                play(Side::SimulatedLoopback, super::$name);
            }

            #[test]
            fn real() {
                play(Side::Real, super::$name);
            }
        })+
    };
}
