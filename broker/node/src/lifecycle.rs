//! A broker's life with its controller (K13 to K16): registration, heartbeats, controlled shutdown.
//!
//! Where Kafka differs: a broker that is told 77 or 102 registers anew under the same incarnation and goes on (Kafka keeps
//! sending heartbeats that fail until somebody restarts it); a first registration is tried for ever (Kafka gives up after
//! `initial.broker.registration.timeout.ms`); retries wait at most one heartbeat interval (Kafka: one session).

use crate::io::SendError;
use crate::node::{Cx, Node, SendUse};
use crate::phase::Phase;
use crate::request::OutBody;
use crate::response::decode_answer;
use crate::timers::Timer;
use bytes::Bytes;
use klamm_base::{ErrorCode, Uuid};
use klamm_wire::Str;
use klamm_wire::messages::broker_registration_request::{Feature, Listener};
use klamm_wire::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
};

/// With `previous_broker_epoch` (KIP-966).
const REGISTRATION_VERSION: i16 = 3;
const HEARTBEAT_VERSION: i16 = 1;
const FIRST_BACKOFF_MS: u64 = 100;
/// Between heartbeats while the controller moves leaderships away.
const DRAIN_MS: u64 = 50;
/// `metadata.version` 4.1-IV1 under Kafka's number, the level that we behave as.
const METADATA_VERSION: i16 = 27;

/// What the broker knows of itself and its controller.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    /// Of this process.
    pub(crate) incarnation: Uuid,
    /// This stop may leave the mark: no log is left that nobody has looked through since an unclean stop.
    pub(crate) may_mark: bool,
    /// Given by the controller; -1 before the first registration.
    pub(crate) broker_epoch: i64,
    /// The last heartbeat's answer.
    pub(crate) unfenced: bool,
    registered: bool,
    in_flight: bool,
    failures: u32,
    next_at: u64,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            incarnation: Uuid::ZERO,
            may_mark: false,
            broker_epoch: -1,
            unfenced: false,
            registered: false,
            in_flight: false,
            failures: 0,
            next_at: 0,
        }
    }
}

impl Lifecycle {
    /// The next word to the controller may go out at once.
    pub(crate) fn due_now(&mut self) {
        self.next_at = 0;
    }
}

impl Node {
    /// Says what is due: the registration, or a heartbeat.
    pub(crate) fn lifecycle_due(&mut self, cx: &mut Cx) {
        if self.lifecycle.in_flight || self.lifecycle.next_at > cx.now.mono_ns || !self.phase.serves() {
            return;
        }
        match self.lifecycle.registered {
            true => self.heartbeat(cx),
            false => self.register(cx),
        }
    }

    pub(crate) fn register(&mut self, cx: &mut Cx) {
        assert!(!self.lifecycle.in_flight, "one word at a time");
        let advertised = &self.config.advertised;
        let request = BrokerRegistrationRequest {
            broker_id: self.config.node.0,
            cluster_id: self.config.cluster_id.as_str().into(),
            incarnation_id: self.lifecycle.incarnation,
            listeners: vec![Listener {
                name: Str::from_static("PLAINTEXT"),
                host: advertised.host.clone(),
                port: advertised.port,
                security_protocol: 0,
            }],
            features: vec![Feature {
                name: Str::from_static("metadata.version"),
                min_supported_version: 1,
                max_supported_version: METADATA_VERSION,
            }],
            rack: self.config.rack.as_deref().map(Str::from),
            log_dirs: self.dirs.online_ids(),
            previous_broker_epoch: self.dirs.previous_epoch(),
            ..BrokerRegistrationRequest::default()
        };
        let body = (REGISTRATION_VERSION, OutBody::BrokerRegistration(request));
        self.say(SendUse::Register, body, cx);
    }

    fn heartbeat(&mut self, cx: &mut Cx) {
        let request = BrokerHeartbeatRequest {
            broker_id: self.config.node.0,
            broker_epoch: self.lifecycle.broker_epoch,
            current_metadata_offset: self.metadata.image.offset,
            want_fence: false,
            want_shut_down: matches!(self.phase, Phase::Draining),
            offline_log_dirs: self.dirs.tell_failed(),
        };
        self.say(SendUse::Heartbeat, (HEARTBEAT_VERSION, OutBody::BrokerHeartbeat(request)), cx);
    }

    /// Both kinds of word go over the heartbeat connection, which a broker has to itself.
    fn say(&mut self, what: SendUse, body: (i16, OutBody), cx: &mut Cx) {
        self.lifecycle.in_flight = true;
        let to = self.config.controller_endpoint.clone();
        self.send(cx, to, "heartbeat", what, body, self.config.session_timeout_ms);
    }

    pub(crate) fn registered(&mut self, result: Result<Bytes, SendError>, cx: &mut Cx) {
        self.lifecycle.in_flight = false;
        let answer = result.ok();
        let answer = answer.and_then(|f| decode_answer::<BrokerRegistrationResponse>(f, REGISTRATION_VERSION).ok());
        let error = answer.as_ref().map(|answer| ErrorCode::from_code(answer.error_code));
        match (error, answer) {
            // A broker epoch is an offset: below zero is no answer of a controller.
            (Some(ErrorCode::None), Some(answer)) if answer.broker_epoch >= 0 => {
                self.lifecycle.registered = true;
                self.lifecycle.failures = 0;
                self.lifecycle.broker_epoch = answer.broker_epoch;
                self.metadata_may_be_published(cx);
                self.next_word(self.until_heartbeat_ms(), cx);
            }
            (Some(error @ ErrorCode::InconsistentClusterId), _) => {
                let controller = &self.config.controller_endpoint;
                self.fatal(format!("node {}: {controller} refused the registration: {error}", self.config.node.0), cx);
            }
            _ => self.word_failed(cx),
        }
    }

    pub(crate) fn heartbeat_answered(&mut self, result: Result<Bytes, SendError>, cx: &mut Cx) {
        self.lifecycle.in_flight = false;
        let answer = result.ok().and_then(|f| decode_answer::<BrokerHeartbeatResponse>(f, HEARTBEAT_VERSION).ok());
        let Some(answer) = answer else { return self.word_failed(cx) };
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {
                self.lifecycle.failures = 0;
                self.lifecycle.unfenced = !answer.is_fenced;
                self.dirs.failed_are_known();
                match self.phase {
                    Phase::Draining if answer.should_shut_down => self.stop_replicas(cx),
                    Phase::Draining => self.next_word(DRAIN_MS, cx),
                    _ => self.next_word(self.until_heartbeat_ms(), cx),
                }
            }
            ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered => {
                self.lifecycle.registered = false;
                self.lifecycle.unfenced = false;
                self.word_failed(cx);
            }
            _ => self.word_failed(cx),
        }
    }

    /// Something is to be said at once: the broker's metadata reached its registration, so that it may be unfenced; or a log
    /// directory failed.
    pub(crate) fn heartbeat_soon(&mut self, cx: &mut Cx) {
        self.lifecycle.due_now();
        self.lifecycle_due(cx);
    }

    /// A directory that failed meanwhile is told at once.
    fn until_heartbeat_ms(&self) -> u64 {
        if self.dirs.has_untold() { 0 } else { self.config.heartbeat_interval_ms }
    }

    fn word_failed(&mut self, cx: &mut Cx) {
        let wait = (FIRST_BACKOFF_MS << self.lifecycle.failures.min(10)).min(self.config.heartbeat_interval_ms);
        self.lifecycle.failures += 1;
        self.next_word(wait, cx);
    }

    fn next_word(&mut self, after_ms: u64, cx: &mut Cx) {
        self.lifecycle.next_at = cx.now.after_ms(after_ms);
        self.timers.set(self.lifecycle.next_at, Timer::Lifecycle);
    }
}
