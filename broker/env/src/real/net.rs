//! TCP.

use crate::{Address, BoxFuture, Listener, Net, Stream};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Pieces that go into one system call.
const PIECES_AT_ONCE: usize = 16;
/// Room for reading is made in steps of so many bytes, when less than the second number is left.
const READ_BYTES: usize = 16 << 10;
const READ_BYTES_LEAST: usize = 1 << 10;

pub(super) struct RealNet;

impl Net for RealNet {
    fn listen(&self, at: Address) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            // Kafka writes "all interfaces" as no host at all.
            let host = if at.host.is_empty() { "0.0.0.0" } else { &at.host };
            let listener = TcpListener::bind((host, at.port)).await?;
            let port = listener.local_addr()?.port();
            Ok(Box::new(RealListener { listener, address: Address { host: at.host, port } }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, to: Address, _role: &'static str) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect((&*to.host, to.port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(RealStream::new(stream, to)) as Box<dyn Stream>)
        })
    }
}

struct RealListener {
    listener: TcpListener,
    address: Address,
}

impl Listener for RealListener {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        self.listener.poll_accept(cx).map(|accepted| {
            let (stream, from) = accepted?;
            stream.set_nodelay(true)?;
            let peer = Address { host: Arc::from(from.ip().to_string()), port: from.port() };
            Ok(Box::new(RealStream::new(stream, peer)) as Box<dyn Stream>)
        })
    }
}

/// A connection; `None` once aborted.
struct RealStream {
    stream: Option<TcpStream>,
    peer: Address,
    /// Room that pieces are read into.
    room: BytesMut,
}

impl RealStream {
    fn new(stream: TcpStream, peer: Address) -> Self {
        Self { stream: Some(stream), peer, room: BytesMut::new() }
    }

    fn open(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let aborted = || io::Error::new(io::ErrorKind::ConnectionAborted, "aborted by this side");
        self.stream.as_mut().map(Pin::new).ok_or_else(aborted)
    }
}

impl Stream for RealStream {
    fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &mut VecDeque<Bytes>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); PIECES_AT_ONCE];
        let count = pieces.len().min(PIECES_AT_ONCE);
        slices.iter_mut().zip(&*pieces).for_each(|(slice, piece)| *slice = IoSlice::new(piece));
        let written = ready!(self.open()?.poll_write_vectored(cx, &slices[..count]))?;
        advance(pieces, written);
        Poll::Ready(Ok(written))
    }

    fn poll_read_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.room.capacity() < READ_BYTES_LEAST {
            self.room.reserve(READ_BYTES);
        }
        let mut room = std::mem::take(&mut self.room);
        let read = match self.open() {
            Ok(mut stream) => pin!(stream.read_buf(&mut room)).poll(cx),
            Err(aborted) => Poll::Ready(Err(aborted)),
        };
        let piece = room.split().freeze();
        self.room = room;
        read.map_ok(|_| piece)
    }

    fn abort(&mut self) {
        if let Some(stream) = self.stream.take() {
            // Closing a socket with no time to linger sends an RST. If the option is refused, the peer sees a FIN instead.
            let _ = stream.set_zero_linger();
        }
    }

    fn peer(&self) -> Address {
        self.peer.clone()
    }
}

impl AsyncRead for RealStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for RealStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.open()?.poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.open()?.poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_shutdown(cx)
    }
}

/// Takes the first `count` bytes out of pieces.
fn advance(pieces: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(first) = pieces.front_mut() {
        if count < first.len() {
            return first.advance(count);
        }
        count -= first.len();
        pieces.pop_front();
    }
    assert_eq!(count, 0, "no more is taken than there was");
}
