//! The life of a broker: registration, heartbeats, fencing, controlled shutdown (KIP-631, KIP-841).

use crate::BrokerImage;
use crate::draft::Draft;
use klamm_base::{ErrorCode, Mark, NodeId};
use klamm_wire::messages::register_broker_record::BrokerEndpoint;
use klamm_wire::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationChangeRecord, BrokerRegistrationRequest,
    BrokerRegistrationResponse, RegisterBrokerRecord,
};
use klamm_wire::metadata::MetadataRecord;

impl Draft<'_> {
    /// A broker's incarnation gets its epoch, the offset of its registration, and begins fenced (K13). A repeated request of
    /// the same incarnation gets the same epoch again.
    pub(crate) fn register(
        &mut self,
        request: &BrokerRegistrationRequest,
    ) -> Result<BrokerRegistrationResponse, ErrorCode> {
        if *request.cluster_id != *self.config.cluster_id {
            return Err(ErrorCode::InconsistentClusterId);
        }
        if request.broker_id < 0 || request.listeners.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let id = NodeId(request.broker_id);
        self.check_log_dirs(id, &request.log_dirs)?;
        if let Some(known) = self.image.brokers.get(&id) {
            let (epoch, fenced) = (known.epoch, known.fenced);
            if known.incarnation == request.incarnation_id {
                self.sessions.touch(self.now, id, -1);
                return Ok(BrokerRegistrationResponse { broker_epoch: epoch, ..Default::default() });
            }
            if !known.in_controlled_shutdown && self.sessions.is_alive(self.now, id) {
                self.observe.mark(Mark::RegisteredWithinSession);
                return Err(ErrorCode::DuplicateBrokerRegistration);
            }
            if !fenced {
                self.fence(id);
            }
        }
        let broker_epoch = self.next_offset();
        self.record(MetadataRecord::RegisterBrokerRecord(registration(request, broker_epoch)));
        self.sessions.begin(self.now, id);
        Ok(BrokerRegistrationResponse { broker_epoch, ..Default::default() })
    }

    /// A broker is alive and says how far it has replayed the metadata (K14 to K16).
    pub(crate) fn heartbeat(&mut self, request: &BrokerHeartbeatRequest) -> Result<BrokerHeartbeatResponse, ErrorCode> {
        let id = NodeId(request.broker_id);
        let broker = self.image.brokers.get(&id).ok_or(ErrorCode::BrokerIdNotRegistered)?.clone();
        if broker.epoch != request.broker_epoch {
            return Err(ErrorCode::StaleBrokerEpoch);
        }
        self.sessions.touch(self.now, id, request.current_metadata_offset);
        let should_shut_down = self.follow_wish(id, &broker, request);
        self.directories_offline(id, &request.offline_log_dirs);
        let is_fenced = self.image.brokers.get(&id).is_some_and(|broker| broker.fenced);
        assert!(!should_shut_down || is_fenced, "who shuts down is fenced first");
        if should_shut_down {
            // It goes by its own wish: its successor need not wait for the session to run out.
            self.sessions.end(id);
        }
        Ok(BrokerHeartbeatResponse {
            is_caught_up: request.current_metadata_offset >= broker.epoch,
            is_fenced,
            should_shut_down,
            ..Default::default()
        })
    }

    /// Takes the broker to its next state; true if it may shut down now.
    fn follow_wish(&mut self, id: NodeId, broker: &BrokerImage, request: &BrokerHeartbeatRequest) -> bool {
        if broker.fenced {
            if !request.want_shut_down && !request.want_fence && request.current_metadata_offset >= broker.epoch {
                self.unfence(id, broker.epoch);
            }
            return request.want_shut_down;
        }
        let shut_down = if broker.in_controlled_shutdown {
            !self.leads_any(id) && self.sessions.may_shut_down(id, self.image)
        } else if request.want_fence {
            request.want_shut_down
        } else {
            request.want_shut_down && !self.leads_any(id)
        };
        if shut_down || (request.want_fence && !broker.in_controlled_shutdown) {
            self.fence(id);
        } else if request.want_shut_down && !broker.in_controlled_shutdown {
            self.begin_shutdown(id, broker.epoch);
        }
        shut_down
    }

    /// A broker may neither lead nor be in sync any more: by its wish, by the end of its session, or by its successor.
    fn fence(&mut self, id: NodeId) {
        self.mark_fenced(id);
        self.leave_all(id);
    }

    fn mark_fenced(&mut self, id: NodeId) {
        let broker = self.image.brokers.get(&id).expect("only registered brokers are fenced");
        assert!(!broker.fenced, "fenced twice");
        let mut record = registration_change(id, broker.epoch);
        record.fenced = 1;
        self.record(MetadataRecord::BrokerRegistrationChangeRecord(record));
    }

    /// Fences every broker whose session ended. All of them are marked before any leadership moves: nobody who is as
    /// silent must be elected, least of all uncleanly.
    pub(crate) fn fence_expired(&mut self) {
        let expired = self.sessions.expired(self.now, self.image);
        for id in &expired {
            self.mark_fenced(*id);
            self.sessions.end(*id);
        }
        for id in expired {
            self.leave_all(id);
        }
    }

    fn unfence(&mut self, id: NodeId, epoch: i64) {
        let mut record = registration_change(id, epoch);
        record.fenced = -1;
        self.record(MetadataRecord::BrokerRegistrationChangeRecord(record));
        self.elect_leaderless();
    }

    fn begin_shutdown(&mut self, id: NodeId, epoch: i64) {
        let mut record = registration_change(id, epoch);
        record.in_controlled_shutdown = 1;
        self.record(MetadataRecord::BrokerRegistrationChangeRecord(record));
        self.leave_all(id);
        self.sessions.shut_down_after(id, self.next_offset() - 1);
    }

    fn leads_any(&self, id: NodeId) -> bool {
        self.image.partitions().any(|(_, partition)| partition.leader == Some(id))
    }
}

fn registration(request: &BrokerRegistrationRequest, broker_epoch: i64) -> RegisterBrokerRecord {
    let end_points = request.listeners.iter().map(|listener| BrokerEndpoint {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        incarnation_id: request.incarnation_id,
        broker_epoch,
        end_points: end_points.collect(),
        rack: request.rack.clone(),
        fenced: true,
        log_dirs: request.log_dirs.clone(),
        ..Default::default()
    }
}

pub(crate) fn registration_change(id: NodeId, broker_epoch: i64) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord { broker_id: id.0, broker_epoch, ..Default::default() }
}
