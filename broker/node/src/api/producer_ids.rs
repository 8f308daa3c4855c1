//! InitProducerId for idempotent producers (KIP-98); ids come from blocks that the controller hands out (K21).

use crate::io::{SendError, Token};
use crate::node::{Cx, Node, SendUse};
use crate::request::{Head, OutBody};
use crate::response::{Answer, decode_answer};
use bytes::Bytes;
use klamm_base::ErrorCode;
use klamm_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, InitProducerIdRequest, InitProducerIdResponse,
};

/// The block in use and who waits for the next one.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    next: i64,
    end: i64,
    waiting: Vec<(Token, Head)>,
    in_flight: bool,
}

impl ProducerIds {
    fn take(&mut self) -> Option<i64> {
        assert!(self.next <= self.end, "ids come from a block");
        let id = self.next;
        self.next += i64::from(id < self.end);
        (id < self.end).then_some(id)
    }

    pub(crate) fn gone(&mut self, token: Token) {
        self.waiting.retain(|(other, _)| *other != token);
    }
}

impl Node {
    /// A new producer id under epoch 0, whatever id an idempotent producer had before (as Kafka does). Transactions have no
    /// coordinator yet.
    pub(crate) fn init_producer_id(&mut self, token: Token, head: Head, request: &InitProducerIdRequest, cx: &mut Cx) {
        if request.transactional_id.is_some() {
            return cx.reply(token, head, answer(Err(ErrorCode::CoordinatorNotAvailable)));
        }
        match self.api.producer_ids.take() {
            Some(id) => cx.reply(token, head, answer(Ok(id))),
            None => {
                self.api.producer_ids.waiting.push((token, head));
                self.fetch_producer_ids(cx);
            }
        }
    }

    fn fetch_producer_ids(&mut self, cx: &mut Cx) {
        if std::mem::replace(&mut self.api.producer_ids.in_flight, true) {
            return;
        }
        let request =
            AllocateProducerIdsRequest { broker_id: self.config.node.0, broker_epoch: self.lifecycle.broker_epoch };
        let to = self.config.controller_endpoint.clone();
        let body = (0, OutBody::AllocateProducerIds(request));
        self.send(cx, to, "forward", SendUse::ProducerIds, body, self.config.request_timeout_ms);
    }

    /// A block came, or not: everybody who waits is answered, from the block or with "loading" (14), which clients retry.
    pub(crate) fn producer_ids_answered(&mut self, result: Result<Bytes, SendError>, cx: &mut Cx) {
        let ids = &mut self.api.producer_ids;
        ids.in_flight = false;
        let block = result.ok().and_then(|frame| decode_answer::<AllocateProducerIdsResponse>(frame, 0).ok());
        let block = block.filter(|block| block.error_code == 0 && block.producer_id_len > 0);
        if let Some(block) = &block {
            ids.next = block.producer_id_start;
            ids.end = block.producer_id_start + i64::from(block.producer_id_len);
        }
        for (token, head) in std::mem::take(&mut ids.waiting) {
            match self.api.producer_ids.take() {
                Some(id) => cx.reply(token, head, answer(Ok(id))),
                None if block.is_some() => self.api.producer_ids.waiting.push((token, head)),
                None => cx.reply(token, head, answer(Err(ErrorCode::CoordinatorLoadInProgress))),
            }
        }
        if !self.api.producer_ids.waiting.is_empty() {
            self.fetch_producer_ids(cx);
        }
    }
}

fn answer(result: Result<i64, ErrorCode>) -> Answer {
    Answer::InitProducerId(match result {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => InitProducerIdResponse {
            error_code: error as i16,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    })
}
