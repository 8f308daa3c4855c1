//! A request whose partitions answer one by one, each with its part of one response.

use crate::io::Token;
use crate::node::Cx;
use crate::request::Head;
use crate::response::Answer;
use crate::slab::Slab;

/// Such a request, and the response that it will get.
#[derive(Debug)]
pub(crate) struct OpenParts<R> {
    /// `None` when its connection ended.
    token: Option<Token>,
    head: Head,
    /// Partitions that have not answered, and one for the request itself while it is handed out.
    remaining: usize,
    pub(super) response: R,
    /// Where in the response each partition of the request stands: topic and partition.
    places: Vec<(u32, u32)>,
}

impl<R> OpenParts<R> {
    /// Partitions in groups of these sizes, one for each topic.
    pub(super) fn new(token: Token, head: Head, response: R, topics: impl Iterator<Item = usize>) -> OpenParts<R> {
        let places = topics.enumerate().flat_map(|(topic, count)| (0..count as u32).map(move |p| (topic as u32, p)));
        let places: Vec<(u32, u32)> = places.collect();
        OpenParts { token: Some(token), head, remaining: places.len() + 1, response, places }
    }

    pub(super) fn gone(&mut self, token: Token) {
        self.token.take_if(|open| *open == token);
    }

    /// Topic and partition, as places in the response.
    pub(super) fn place(&self, place: u32) -> (usize, usize) {
        let (topic, partition) = self.places[place as usize];
        (topic as usize, partition as usize)
    }
}

impl<R> Slab<OpenParts<R>> {
    /// A partition has answered, or all are handed out: the last one sends the response.
    pub(super) fn part_done(&mut self, key: u64, answer: impl FnOnce(R) -> Answer, cx: &mut Cx) {
        let open = self.get_mut(key).expect("open until every partition answered");
        assert!(open.remaining > 0, "every partition answers once");
        open.remaining -= 1;
        if open.remaining == 0 {
            let open = self.remove(key).expect("it was just there");
            if let Some(token) = open.token {
                cx.reply(token, open.head, answer(open.response));
            }
        }
    }
}
