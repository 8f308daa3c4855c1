//! A controller on a small disk, and short words for its requests.
#![allow(dead_code)]

#[path = "../../../quorum/tests/common/mod.rs"]
pub mod disk;

use disk::{Crash, Disk};
use klamm_base::{Draws, Guards, NodeId, Now, Observation, Observe, Observer, Outbox, Source, TopicPartition, Uuid};
use klamm_controller::{
    Command, Controller, ControllerConfig, ControllerRequest, ControllerResponse, Event, MetadataImage, PartitionImage,
};
use klamm_wire::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use klamm_wire::messages::alter_partition_response::PartitionData as AlteredPartition;
use klamm_wire::messages::broker_registration_request::Listener;
use klamm_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use klamm_wire::messages::create_topics_response::CreatableTopicResult;
use klamm_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use klamm_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse, CreateTopicsRequest, FetchRequest,
    FetchResponse,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub const NODE: NodeId = NodeId(100);
pub const DIR: &str = "data/__cluster_metadata-0";

#[derive(Default)]
struct Notes(Mutex<Vec<Observation>>);

impl Observer for Notes {
    fn observe(&self, _: Source, observation: Observation) {
        self.0.lock().unwrap().push(observation);
    }
}

pub struct World {
    pub disk: Disk,
    pub controller: Controller,
    pub now: Now,
    pub replies: BTreeMap<u64, ControllerResponse>,
    pub stopped: bool,
    pub failed: Option<String>,
    pub dialogue: Vec<String>,
    notes: Arc<Notes>,
    config: ControllerConfig,
    lives: u64,
    next_token: u64,
}

pub fn config() -> ControllerConfig {
    let mut config = ControllerConfig::new(NODE, "castle".to_owned(), DIR.to_owned());
    config.default_replication_factor = 3;
    config.topic_config_check = |key, value| match (key, value) {
        ("unclean.leader.election.enable", "true" | "false") => Ok(()),
        ("min.insync.replicas", number) if number.parse::<u32>().is_ok() => Ok(()),
        _ => Err(format!("no setting `{key}` = `{value}`")),
    };
    config
}

impl World {
    pub fn on(disk: Disk, config: ControllerConfig, lives: u64) -> World {
        let notes = Arc::new(Notes::default());
        let observe = Observe::new(Source::Node(NODE), notes.clone());
        World {
            disk,
            controller: Controller::new(config.clone(), Draws::from_seed(lives), Guards::default(), observe),
            now: Now { mono_ns: 1, wall_ms: 1_000 },
            replies: BTreeMap::new(),
            stopped: false,
            failed: None,
            dialogue: Vec::new(),
            notes,
            config,
            lives,
            next_token: 0,
        }
    }

    pub fn fresh() -> World {
        World::on(Disk::with_dir("data"), config(), 1)
    }

    pub fn started() -> World {
        World::fresh().start()
    }

    pub fn start(mut self) -> World {
        self.event(Event::Start);
        self.settle();
        assert!(self.controller.is_active());
        self
    }

    /// The process ends so; the next one is not started yet.
    pub fn crashed(mut self, crash: Crash) -> World {
        self.disk.crash(crash);
        World::on(self.disk, self.config, self.lives + 1)
    }

    pub fn event(&mut self, event: Event) {
        let mut out = Outbox::new();
        self.controller.step(self.now, event, &mut out);
        for command in out.drain() {
            match command {
                Command::Disk(request) => self.disk.ask(request),
                Command::Reply { token, response } => {
                    assert!(self.replies.insert(token, response).is_none(), "{token} is answered twice");
                }
                Command::Stopped => self.stopped = true,
                Command::Failed(error) => self.failed = Some(error.to_string()),
            }
        }
    }

    pub fn tick(&mut self) -> bool {
        let Some(done) = self.disk.perform() else { return false };
        self.event(Event::DiskDone(done));
        true
    }

    pub fn settle(&mut self) {
        while self.tick() {}
    }

    /// Time passes, step by step over every deadline.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        self.settle();
        while let Some(deadline) = self.controller.deadline().filter(|deadline| *deadline <= end) {
            self.now.mono_ns = deadline.max(self.now.mono_ns);
            self.event(Event::Deadline);
            self.settle();
        }
        self.now.mono_ns = end;
    }

    pub fn ask(&mut self, request: ControllerRequest) -> u64 {
        self.next_token += 1;
        let token = self.next_token;
        self.event(Event::Request { token, request });
        token
    }

    pub fn call(&mut self, request: ControllerRequest) -> ControllerResponse {
        let token = self.ask(request);
        self.settle();
        self.replies.remove(&token).expect("it is answered")
    }

    pub fn register(&mut self, id: i32, incarnation: u128) -> BrokerRegistrationResponse {
        match self.call(registration(id, incarnation)) {
            ControllerResponse::BrokerRegistration(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub fn beat(&mut self, id: i32, epoch: i64, offset: i64, wish: Wish) -> BrokerHeartbeatResponse {
        match self.call(heartbeat(id, epoch, offset, wish)) {
            ControllerResponse::BrokerHeartbeat(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// Registers and unfences a broker; answers its epoch.
    pub fn join(&mut self, id: i32, incarnation: u128) -> i64 {
        let registered = self.register(id, incarnation);
        assert_eq!(registered.error_code, 0);
        let beat = self.beat(id, registered.broker_epoch, registered.broker_epoch, Wish::Serve);
        assert!(!beat.is_fenced && beat.is_caught_up);
        registered.broker_epoch
    }

    /// A cluster of brokers 1, 2, 3; answers their epochs.
    pub fn three() -> (World, [i64; 3]) {
        let mut world = World::started();
        let epochs = [1, 2, 3].map(|id| world.join(id, id as u128));
        (world, epochs)
    }

    /// Heartbeats of these brokers, now.
    pub fn beat_all(&mut self, brokers: &[(i32, i64)]) {
        for &(id, epoch) in brokers {
            let offset = self.controller.image().offset;
            assert_eq!(self.beat(id, epoch, offset, Wish::Serve).error_code, 0);
        }
    }

    /// Time passes; these brokers stay alive, the others do not.
    pub fn pass_with(&mut self, ms: u64, brokers: &[(i32, i64)]) {
        for _ in 0..ms.div_ceil(2000) {
            self.beat_all(brokers);
            self.pass_ms(2000);
        }
    }

    pub fn create(&mut self, topic: CreatableTopic) -> CreatableTopicResult {
        match self.call(creation(vec![topic])) {
            ControllerResponse::CreateTopics(mut response) => response.topics.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// A topic of one partition on these brokers.
    pub fn create_on(&mut self, name: &str, brokers: &[i32], configs: &[(&str, &str)]) -> TopicPartition {
        let mut topic = assigned(name, &[brokers]);
        topic.configs = settings(configs);
        let created = self.create(topic);
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
        TopicPartition { topic: created.topic_id, partition: 0 }
    }

    pub fn alter(
        &mut self,
        broker: (i32, i64),
        tp: TopicPartition,
        proposal: Proposal,
    ) -> Result<AlteredPartition, i16> {
        match self.call(alteration(broker, tp, proposal)) {
            ControllerResponse::AlterPartition(response) if response.error_code != 0 => Err(response.error_code),
            ControllerResponse::AlterPartition(mut response) => {
                let partition = response.topics.remove(0).partitions.remove(0);
                if partition.error_code == 0 { Ok(partition) } else { Err(partition.error_code) }
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn allocate(&mut self, id: i32, epoch: i64) -> AllocateProducerIdsResponse {
        match self.call(allocation(id, epoch)) {
            ControllerResponse::AllocateProducerIds(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub fn fetch(&mut self, offset: i64, last_epoch: i32) -> FetchResponse {
        match self.call(fetch(offset, last_epoch, self.controller.epoch())) {
            ControllerResponse::Fetch(response) => response,
            other => panic!("{other:?}"),
        }
    }

    pub fn partition(&self, tp: TopicPartition) -> &PartitionImage {
        self.controller.image().partition(tp).expect("it was created")
    }

    pub fn state(&self, tp: TopicPartition) -> String {
        show(self.partition(tp))
    }

    /// What was observed since the last look, without what the log says.
    pub fn observed(&self) -> Vec<Observation> {
        let all = std::mem::take(&mut *self.notes.0.lock().unwrap());
        let of_log = |it: &Observation| {
            matches!(it, Observation::Appended { .. } | Observation::Flushed { .. } | Observation::LogLoaded { .. })
        };
        all.into_iter().filter(|it| !of_log(it)).collect()
    }

    /// The image that an observer gets by fetching everything that is committed.
    pub fn fetched_image(&mut self) -> MetadataImage {
        let mut image = MetadataImage::default();
        while image.offset + 1 < self.controller.high_watermark() {
            let response = self.fetch(image.offset + 1, image.epoch);
            let data = &response.responses[0].partitions[0];
            assert_eq!(data.error_code, 0);
            for batch in klamm_wire::records::split(data.records.as_ref().unwrap()) {
                image.replay_batch(&batch.unwrap()).unwrap();
            }
        }
        image
    }
}

pub fn show(partition: &PartitionImage) -> String {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(",");
    format!(
        "leader {} isr {} epochs {}/{}{}",
        partition.leader.map_or("none".to_owned(), |leader| leader.0.to_string()),
        ids(&partition.isr),
        partition.leader_epoch,
        partition.partition_epoch,
        if partition.recovering { " recovering" } else { "" }
    )
}

/// What a heartbeat wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Serve,
    Fence,
    ShutDown,
}

/// A proposed ISR.
#[derive(Clone, Debug)]
pub struct Proposal {
    pub isr: Vec<(i32, i64)>,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub recovering: bool,
}

impl Proposal {
    pub fn at(partition: &PartitionImage, isr: &[(i32, i64)]) -> Proposal {
        Proposal {
            isr: isr.to_vec(),
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            recovering: false,
        }
    }
}

pub fn registration(id: i32, incarnation: u128) -> ControllerRequest {
    let listener =
        Listener { name: "PLAINTEXT".into(), host: format!("b{id}").into(), port: 9092, security_protocol: 0 };
    ControllerRequest::BrokerRegistration(BrokerRegistrationRequest {
        broker_id: id,
        cluster_id: "castle".into(),
        incarnation_id: Uuid(incarnation),
        listeners: vec![listener],
        log_dirs: vec![dir(id)],
        ..Default::default()
    })
}

/// The first directory of a broker.
pub fn dir(id: i32) -> Uuid {
    Uuid(1_000 + id as u128)
}

pub fn heartbeat(id: i32, epoch: i64, offset: i64, wish: Wish) -> ControllerRequest {
    ControllerRequest::BrokerHeartbeat(BrokerHeartbeatRequest {
        broker_id: id,
        broker_epoch: epoch,
        current_metadata_offset: offset,
        want_fence: wish == Wish::Fence,
        want_shut_down: wish == Wish::ShutDown,
        ..Default::default()
    })
}

pub fn allocation(id: i32, epoch: i64) -> ControllerRequest {
    ControllerRequest::AllocateProducerIds(AllocateProducerIdsRequest { broker_id: id, broker_epoch: epoch })
}

pub fn creation(topics: Vec<CreatableTopic>) -> ControllerRequest {
    ControllerRequest::CreateTopics(CreateTopicsRequest { topics, timeout_ms: 30_000, ..Default::default() }, 7)
}

pub fn counted(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions, replication_factor, ..Default::default() }
}

pub fn assigned(name: &str, partitions: &[&[i32]]) -> CreatableTopic {
    let assignments = partitions.iter().enumerate().map(|(index, brokers)| CreatableReplicaAssignment {
        partition_index: index as i32,
        broker_ids: brokers.to_vec(),
    });
    CreatableTopic { assignments: assignments.collect(), ..counted(name, -1, -1) }
}

pub fn settings(configs: &[(&str, &str)]) -> Vec<CreatableTopicConfig> {
    let one =
        |(name, value): &(&str, &str)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) };
    configs.iter().map(one).collect()
}

pub fn alteration((id, epoch): (i32, i64), tp: TopicPartition, proposal: Proposal) -> ControllerRequest {
    let state = |&(broker_id, broker_epoch): &(i32, i64)| BrokerState { broker_id, broker_epoch };
    let partition = PartitionData {
        partition_index: tp.partition,
        leader_epoch: proposal.leader_epoch,
        new_isr_with_epochs: proposal.isr.iter().map(state).collect(),
        leader_recovery_state: i8::from(proposal.recovering),
        partition_epoch: proposal.partition_epoch,
        ..Default::default()
    };
    let topics = vec![TopicData { topic_id: tp.topic, partitions: vec![partition] }];
    ControllerRequest::AlterPartition(AlterPartitionRequest { broker_id: id, broker_epoch: epoch, topics })
}

pub fn fetch(offset: i64, last_fetched_epoch: i32, epoch: i32) -> ControllerRequest {
    let partition = FetchPartition {
        fetch_offset: offset,
        last_fetched_epoch,
        current_leader_epoch: epoch,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic { topic_id: Uuid::METADATA_TOPIC, partitions: vec![partition], ..Default::default() };
    ControllerRequest::Fetch(FetchRequest { max_bytes: 1 << 20, topics: vec![topic], ..Default::default() })
}
