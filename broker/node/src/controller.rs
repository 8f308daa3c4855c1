//! The controller in this process, if `process.roles` says so. Its requests come over the network like everybody's, this
//! process's own broker side included.

use crate::config::TOPIC;
use crate::identity::METADATA_LOG;
use crate::io::Token;
use crate::node::{Cx, Node};
use crate::request::Head;
use crate::response::Answer;
use crate::slab::Slab;
use crate::timers::Timer;
use klamm_base::{Draws, Outbox};
use klamm_controller::{Command, Controller, ControllerConfig, ControllerRequest, ControllerResponse, Event};

/// A controller and its open requests.
pub(crate) struct ControllerHost {
    controller: Controller,
    /// No token when the request's connection ended.
    open: Slab<(Option<Token>, Head)>,
    armed: Option<u64>,
    scratch: Outbox<Command>,
}

impl ControllerHost {
    /// The connection of this request ended.
    pub(crate) fn gone(&mut self, token: Token) {
        for (_, (open, _)) in self.open.iter_mut() {
            if *open == Some(token) {
                *open = None;
            }
        }
    }
}

impl Node {
    pub(crate) fn start_controller(&mut self, cx: &mut Cx) {
        if !self.config.roles.controller {
            return;
        }
        self.identify_metadata_log(cx);
        let dir = self.dirs.all[0].path(METADATA_LOG);
        let config = ControllerConfig {
            session_timeout_ms: self.config.session_timeout_ms,
            unclean_leader_election: self.config.topic.unclean,
            num_partitions: self.config.num_partitions,
            default_replication_factor: self.config.replication_factor,
            min_insync_replicas: self.config.topic.min_insync_replicas,
            topic_config_check: |key, value| TOPIC.check_one(key, value).map_err(|error| error.to_string()),
            topic_log: self.config.topic.log,
            log: self.config.metadata_log,
            ..ControllerConfig::new(self.config.node, self.config.cluster_id.clone(), dir)
        };
        let draws = Draws::from_seed(self.draws.next_u64());
        let controller = Controller::new(config, draws, self.guards, self.observe.clone());
        self.controller =
            Some(ControllerHost { controller, open: Slab::default(), armed: None, scratch: Outbox::new() });
        self.step_controller(Event::Start, cx);
    }

    /// Steps the controller and carries out what it wants.
    pub(crate) fn step_controller(&mut self, event: Event, cx: &mut Cx) {
        let host = self.controller.as_mut().expect("only a controller's events come here");
        let mut commands = std::mem::take(&mut host.scratch);
        host.controller.step(cx.now, event, &mut commands);
        let wanted = host.controller.deadline();
        if let Some(at) = wanted.filter(|at| host.armed.is_none_or(|armed| *at < armed)) {
            if let Some(armed) = host.armed.replace(at) {
                self.timers.clear(armed, Timer::Controller);
            }
            self.timers.set(at, Timer::Controller);
        }
        for command in commands.drain() {
            self.controller_command(command, cx);
        }
        self.controller.as_mut().expect("it is still there").scratch = commands;
    }

    fn controller_command(&mut self, command: Command, cx: &mut Cx) {
        match command {
            Command::Disk(request) => self.controller_disk(request, cx),
            Command::Reply { token, response } => self.controller_reply(token, response, cx),
            Command::Stopped => self.closed(cx),
            Command::Failed(error) => self.dir_failed(0, &error, cx),
        }
    }

    fn controller_reply(&mut self, key: u64, response: ControllerResponse, cx: &mut Cx) {
        let host = self.controller.as_mut().expect("it replies");
        let (token, head) = host.open.remove(key).expect("a request is answered once");
        let answer = match response {
            ControllerResponse::BrokerRegistration(body) => Answer::BrokerRegistration(body),
            ControllerResponse::BrokerHeartbeat(body) => Answer::BrokerHeartbeat(body),
            ControllerResponse::AlterPartition(body) => Answer::AlterPartition(body),
            ControllerResponse::CreateTopics(body) => Answer::CreateTopics(body),
            ControllerResponse::AllocateProducerIds(body) => Answer::AllocateProducerIds(body),
            ControllerResponse::AssignReplicasToDirs(body) => Answer::AssignReplicasToDirs(body),
            ControllerResponse::Fetch(body) => Answer::Fetch(body),
        };
        if let Some(token) = token {
            cx.reply(token, head, answer);
        }
    }

    pub(crate) fn controller_deadline(&mut self, cx: &mut Cx) {
        if let Some(host) = &mut self.controller {
            host.armed = None;
            self.step_controller(Event::Deadline, cx);
        }
    }

    /// Hands a request to the controller; a node that is none closes the connection, as Kafka does on a broker's listener.
    pub(crate) fn ask_controller(&mut self, token: Token, head: Head, request: ControllerRequest, cx: &mut Cx) {
        let Some(host) = &mut self.controller else {
            cx.out.push(crate::io::Command::Close { token });
            return;
        };
        let key = host.open.insert((Some(token), head));
        self.step_controller(Event::Request { token: key, request }, cx);
    }

    /// The controller goes after the replicas, because the broker's last words go to it.
    pub(crate) fn stop_controller(&mut self, cx: &mut Cx) {
        match self.controller {
            Some(_) => self.step_controller(Event::Stop, cx),
            None => self.closed(cx),
        }
    }
}
