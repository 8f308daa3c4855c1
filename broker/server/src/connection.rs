//! One connection: reads requests, hands them in one by one, writes the answers.

use crate::driver::{Answer, Driver};
use crate::machine::decode_request;
use bytes::{Buf, BytesMut};
use klamm_client::FrameWriter;
use klamm_env::Stream;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt;

/// Room for reading is made in steps of at least so many bytes, when less than the second number is left.
const READ_BYTES: usize = 8 << 10;
const READ_BYTES_LEAST: usize = 1 << 10;
/// While a request is open, no more than this is read ahead.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the other side closed it")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a frame of {0} bytes is not served")]
    FrameSize(i32),
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
    incoming: BytesMut,
    /// What is being written.
    outgoing: FrameWriter,
}

impl Connection {
    pub(crate) fn new(driver: Arc<Driver>, stream: Box<dyn Stream>) -> Self {
        let seat = driver.sit();
        let (incoming, outgoing) = (BytesMut::new(), FrameWriter::default());
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
        let frame_waits = self.frame_len()?.is_some_and(|len| self.incoming.len() >= 4 + len);
        match (frame_waits, self.open) {
            (true, false) => self.hand_in(cx).map(Poll::Ready),
            (true, true) => Ok(Poll::Pending),
            (false, true) if self.incoming.len() >= READ_AHEAD_BYTES => Ok(Poll::Pending),
            (false, _) => self.poll_read(cx),
        }
    }

    /// The length that stands before the next frame, once it is there.
    fn frame_len(&self) -> Result<Option<usize>, End> {
        let Some(first) = self.incoming.first_chunk::<4>() else { return Ok(None) };
        let len = i32::from_be_bytes(*first);
        match usize::try_from(len) {
            Ok(fits) if fits <= self.driver.max_frame => Ok(Some(fits)),
            _ => Err(End::FrameSize(len)),
        }
    }

    fn hand_in(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let len = self.incoming.get_u32() as usize;
        let frame = self.incoming.split_to(len).freeze();
        let request = decode_request(frame).map_err(|refusal| End::Refused(refusal.to_string()))?;
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
                assert!(self.outgoing.is_done(), "one answer at a time");
                self.outgoing = FrameWriter::new(response.encode());
            }
            Answer::Silence => {}
            Answer::Close => return Err(End::Told),
        }
        Ok(())
    }

    /// Writes all that is put out.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        while !self.outgoing.is_done() {
            let pieces = self.outgoing.pieces().map(IoSlice::new);
            match Pin::new(&mut *self.stream).poll_write_vectored(cx, &pieces) {
                Poll::Ready(Ok(0)) => return Err(End::Closed),
                Poll::Ready(Ok(written)) => self.outgoing.advance(written),
                Poll::Ready(Err(error)) => return Err(End::Io(error)),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Reads what is there. Room is made as bytes come, never by what a length promises.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        if self.incoming.capacity() - self.incoming.len() < READ_BYTES_LEAST {
            self.incoming.reserve(self.incoming.len().max(READ_BYTES));
        }
        let read = pin!(self.stream.read_buf(&mut self.incoming));
        match read.poll(cx) {
            Poll::Ready(Ok(0)) => Err(End::Closed),
            Poll::Ready(Ok(_)) => Ok(Poll::Ready(())),
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
