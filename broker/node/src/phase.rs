//! From start to stop, and the order of going down.

use crate::io::{Command, Token};
use crate::node::{Cx, Node};
use crate::request::Request;
use crate::timers::Timer;
use klamm_base::{Observation, Uuid};

/// Controlled shutdown gives up after this long and stops anyway. Kafka waits for minutes; a stop that a script asks for
/// must end.
const SHUTDOWN_MS: u64 = 5_000;

/// Where in its life a process is.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    /// Not started.
    #[default]
    New,
    /// Reads its data directory; requests wait. `stop`: it was told to stop meanwhile.
    Booting { waiting: Vec<(Token, Request)>, stop: bool },
    /// Serves.
    Running,
    /// Serves, and asks the controller to move its leaderships.
    Draining,
    /// Serves no more; replicas, then the controller, then the clean mark.
    Stopping { replicas: usize },
    /// Gone in good order.
    Stopped,
    /// Gone.
    Failed,
}

impl Phase {
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Phase::Stopped | Phase::Failed)
    }

    /// True while requests are served.
    pub(crate) fn serves(&self) -> bool {
        matches!(self, Phase::Running | Phase::Draining)
    }
}

impl Node {
    pub(crate) fn boot(&mut self, cx: &mut Cx) {
        assert!(matches!(self.phase, Phase::New), "a node starts once");
        self.phase = Phase::Booting { waiting: Vec::new(), stop: false };
        self.lifecycle.incarnation = Uuid(self.draws.next_u128());
        let incarnation = self.lifecycle.incarnation;
        self.observe.note(|| Observation::NodeStarted { incarnation });
        self.read_dirs(cx);
    }

    /// Every directory is read.
    pub(crate) fn run(&mut self, cx: &mut Cx) {
        let Phase::Booting { waiting, stop } = std::mem::replace(&mut self.phase, Phase::Running) else {
            panic!("only a booting node begins to run");
        };
        self.start_controller(cx);
        if self.config.roles.broker {
            self.start_housekeeping(cx);
            self.register(cx);
            self.fetch_metadata(cx);
        }
        for (token, request) in waiting {
            self.request(token, request, cx);
        }
        if stop {
            self.stop(cx);
        }
    }

    pub(crate) fn stop(&mut self, cx: &mut Cx) {
        match &mut self.phase {
            Phase::Booting { stop, .. } => *stop = true,
            Phase::Running if self.config.controlled_shutdown && self.lifecycle.broker_epoch >= 0 => {
                self.phase = Phase::Draining;
                self.timers.set(cx.now.after_ms(SHUTDOWN_MS), Timer::Shutdown);
                self.lifecycle.due_now();
                self.lifecycle_due(cx);
            }
            Phase::Running => self.stop_replicas(cx),
            Phase::New => {
                self.phase = Phase::Stopped;
                cx.out.push(Command::Stopped);
            }
            Phase::Draining | Phase::Stopping { .. } | Phase::Stopped | Phase::Failed => {}
        }
    }

    /// Leaderships have moved, or waiting for that is over: everything is flushed and closed.
    pub(crate) fn stop_replicas(&mut self, cx: &mut Cx) {
        if !self.phase.serves() {
            return;
        }
        let count = self.partitions.len();
        self.lifecycle.may_mark = self.dirs.clean() || self.has_recovered();
        self.phase = Phase::Stopping { replicas: count };
        self.timers.clear_all();
        for slot in 0..count as u32 {
            self.step_replica(slot, klamm_replica::Event::Stop, cx);
        }
        if count == 0 {
            self.stop_controller(cx);
        }
    }

    /// Every log that the committed metadata places here was loaded, and so recovered, but for those in directories that failed
    /// and get no mark. A stop before that must not say that all is well: the next start would believe it and recover nothing
    /// (KAFKA-15375).
    fn has_recovered(&self) -> bool {
        let is_loaded = |slot| {
            let place = self.partitions.slot(slot);
            place.replica.is_loaded() || !self.dirs.all[place.dir].is_online()
        };
        !self.config.roles.broker || (self.metadata.published && (0..self.partitions.len() as u32).all(is_loaded))
    }

    /// One replica is flushed and closed.
    pub(crate) fn replica_stopped(&mut self, cx: &mut Cx) {
        let Phase::Stopping { replicas } = &mut self.phase else { return };
        assert!(*replicas > 0, "a replica stops once");
        *replicas -= 1;
        if *replicas == 0 {
            self.stop_controller(cx);
        }
    }

    /// Every log is closed. Whether the next start may believe so, the mark tells.
    pub(crate) fn closed(&mut self, cx: &mut Cx) {
        assert!(matches!(self.phase, Phase::Stopping { replicas: 0 }), "the mark comes last");
        if self.lifecycle.may_mark { self.mark_clean(cx) } else { self.stopped(cx) }
    }

    pub(crate) fn stopped(&mut self, cx: &mut Cx) {
        self.phase = Phase::Stopped;
        cx.out.push(Command::Stopped);
    }
}
