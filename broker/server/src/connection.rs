//! One connection: reads requests, hands them in one by one, writes the answers.

use crate::driver::{Answer, Driver};
use crate::machine::decode_request;
use bytes::{Buf, BufMut, Bytes, BytesMut};
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
/// Answers up to this size go out in one piece with their length; a copy is cheaper than a second write.
const JOIN_BYTES: usize = 32 << 10;

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
    /// What is being written: first this,
    head: Bytes,
    /// then this.
    body: Bytes,
}

impl Connection {
    pub(crate) fn new(driver: Arc<Driver>, stream: Box<dyn Stream>) -> Self {
        let seat = driver.sit();
        let (incoming, head, body) = (BytesMut::new(), Bytes::new(), Bytes::new());
        Self { driver, stream, seat, known: false, open: false, incoming, head, body }
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
                self.put(response.encode());
            }
            Answer::Silence => {}
            Answer::Close => return Err(End::Told),
        }
        Ok(())
    }

    /// Puts a frame out, with its length before it.
    fn put(&mut self, body: Bytes) {
        assert!(self.head.is_empty() && self.body.is_empty(), "one answer at a time");
        let joined = if body.len() <= JOIN_BYTES { body.len() } else { 0 };
        let mut head = BytesMut::with_capacity(4 + joined);
        head.put_u32(u32::try_from(body.len()).expect("an answer fits its length field"));
        head.put_slice(&body[..joined]);
        self.head = head.freeze();
        self.body = body.slice(joined..);
    }

    /// Writes all that is put out.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, End> {
        while self.head.has_remaining() || self.body.has_remaining() {
            let parts = [IoSlice::new(&self.head), IoSlice::new(&self.body)];
            match Pin::new(&mut *self.stream).poll_write_vectored(cx, &parts) {
                Poll::Ready(Ok(0)) => return Err(End::Closed),
                Poll::Ready(Ok(written)) => self.written(written),
                Poll::Ready(Err(error)) => return Err(End::Io(error)),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    fn written(&mut self, written: usize) {
        let of_head = written.min(self.head.len());
        self.head.advance(of_head);
        self.body.advance(written - of_head);
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
