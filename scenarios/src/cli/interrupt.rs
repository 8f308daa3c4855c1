//! Ctrl-C and SIGTERM: the first one asks for the end, the second one is the end.

use super::Bad;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};

/// Who asked for the end.
#[derive(Clone, Default)]
pub struct Interrupt {
    /// True as soon as somebody did.
    pub asked: Arc<AtomicBool>,
    signal: Arc<AtomicI32>,
}

impl Interrupt {
    /// Listens from now on, on a thread of its own.
    #[allow(clippy::disallowed_methods, reason = "signals are the command line's")]
    pub fn listen() -> Result<Interrupt, Bad> {
        let interrupt = Interrupt::default();
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Bad::plain)?;
        let heard = interrupt.clone();
        std::thread::spawn(move || signals.forever().for_each(|signal| heard.hear(signal)));
        Ok(interrupt)
    }

    fn hear(&self, signal: i32) {
        if self.asked.load(Relaxed) {
            // Nothing is lost: what is done stands in the results folder, a line a seed.
            std::process::exit(128 + signal);
        }
        self.signal.store(signal, Relaxed);
        self.asked.store(true, Relaxed);
        eprintln!("finishing the seeds that run; once more ends at once");
    }

    /// True if it was a scheduler, and not a person.
    pub fn terminated(&self) -> bool {
        self.signal.load(Relaxed) == SIGTERM
    }
}
