//! One connection: reads requests, hands them in one by one, writes the answers.

use crate::driver::{Answer, Driver};
use crate::machine::decode_request;
use bytes::Bytes;
use klamm_client::WireError;
use klamm_client::frame::FrameReader;
use klamm_env::Stream;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// While a request is open, no more than this is read ahead.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the other side closed it")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("not served: {0}")]
    Frame(#[from] WireError),
    #[error("no request: {0}")]
    Refused(String),
    #[error("a request that cannot be answered")]
    Told,
    #[error("the node stopped")]
    Over,
}

/// The task of one connection.
pub(crate) struct Connection {
    driver: Arc<Driver>,
    stream: Box<dyn Stream>,
    seat: u32,
    /// The driver knows this task.
    known: bool,
    /// A request is handed in and not answered.
    open: bool,
    incoming: FrameReader,
    /// What is being written.
    outgoing: VecDeque<Bytes>,
}

impl Connection {
    pub(crate) fn new(driver: Arc<Driver>, stream: Box<dyn Stream>) -> Self {
        let seat = driver.sit();
        let (incoming, outgoing) = (FrameReader::new(driver.max_frame), VecDeque::new());
        Self { driver, stream, seat, known: false, open: false, incoming, outgoing }
    }

    /// Does all that can be done now.
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let progress = match self.serve_once(cx) {
                Ok(progress) => progress,
                Err(end) => return Poll::Ready(end),
            };
            ready!(progress);
        }
    }

    /// One thing: an answer out, a request in, or bytes read. Nothing is handed in while an answer waits to be written.
    fn serve_once(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        if self.poll_write(cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        if self.open
            && let Some(answer) = self.driver.take_answer(self.seat, cx)
        {
            return self.answered(answer).map(Poll::Ready);
        }
        match (self.incoming.is_whole()?, self.open) {
            (true, false) => self.hand_in(cx).map(Poll::Ready),
            (true, true) => Ok(Poll::Pending),
            (false, true) if self.incoming.pending() >= READ_AHEAD_BYTES => Ok(Poll::Pending),
            (false, _) => self.poll_read(cx),
        }
    }

    fn hand_in(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let frame = self.incoming.pop()?.expect("a whole frame waits");
        let mut request = decode_request(frame).map_err(|refusal| End::Refused(refusal.to_string()))?;
        self.driver.check_records(&mut request);
        self.open = true;
        self.driver.observe.frame();
        match self.driver.hand_in(self.seat, request, cx) {
            Some(answer) => self.answered(answer),
            None => Ok(()),
        }
    }

    fn answered(&mut self, answer: Answer) -> Result<(), End> {
        assert!(self.open, "an answer has a request");
        self.open = false;
        match answer {
            Answer::Reply(response) => {
                self.driver.observe.frame();
                assert!(self.outgoing.is_empty(), "one answer at a time");
                self.outgoing.push_back(response.encode());
            }
            Answer::Silence => {}
            Answer::Close => return Err(End::Told),
        }
        Ok(())
    }

    /// Writes all that is put out.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        while !self.outgoing.is_empty() {
            match self.stream.poll_write_pieces(cx, &mut self.outgoing) {
                Poll::Ready(Ok(0)) => return Err(End::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(End::Io(error)),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Reads what is there.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        match self.stream.poll_read_piece(cx) {
            Poll::Ready(Ok(piece)) if piece.is_empty() => Err(End::Closed),
            Poll::Ready(Ok(piece)) => {
                self.incoming.push(piece);
                Ok(Poll::Ready(()))
            }
            Poll::Ready(Err(error)) => Err(End::Io(error)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.known, true) {
            // Nothing can be there yet; but from now on the driver knows whom to wake at the end.
            assert!(self.driver.take_answer(self.seat, cx).is_none(), "no answer before a request");
        }
        let end = if self.driver.is_over() { End::Over } else { ready!(self.poll_serve(cx)) };
        tracing::debug!(peer = %self.stream.peer(), %end, "connection ended");
        self.driver.leave(self.seat);
        Poll::Ready(())
    }
}
