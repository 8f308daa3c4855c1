//! What code sees of the network: ids into the world.

use super::conn::EndId;
use super::connect::ListenId;
use super::flow::Attempt;
use super::ring::{Incoming, Outgoing};
use crate::limits::Descriptor;
use crate::slab::Id;
use crate::world::{try_with, with};
use bytes::Bytes;
use klamm_env::{Address, BoxFuture, Listener, Net, Stream};
use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The network as one host sees it.
pub(crate) struct HostNet {
    pub host: u32,
}

impl Net for HostNet {
    fn listen(&self, at: Address) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let host = self.host;
        Box::pin(async move {
            let descriptor = Descriptor::take(host)?;
            let (id, name) = with(|world| {
                let id = world.listen(host, at.port)?;
                Ok::<_, io::ErrorKind>((id, world.machines[host as usize].name.clone()))
            })?;
            let address = Address { host: if is_wildcard(&at.host) { name } else { at.host }, port: id.port };
            Ok(Box::new(SimListener { id, address, _descriptor: descriptor }) as Box<dyn Listener>)
        })
    }

    fn connect(&self, to: Address, role: &'static str) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        Box::pin(Connect { from: self.host, to, role, id: None, descriptor: None })
    }
}

fn is_wildcard(host: &str) -> bool {
    matches!(host, "" | "0.0.0.0" | "::")
}

fn finish<T>(attempt: Attempt<T>) -> Poll<io::Result<T>> {
    // A waker that was replaced is dropped here, outside of the world.
    attempt.map_or(Poll::Pending, Poll::Ready)
}

/// A connect: nothing happens before its first poll.
struct Connect {
    from: u32,
    to: Address,
    role: &'static str,
    id: Option<Id>,
    descriptor: Option<Descriptor>,
}

impl Future for Connect {
    type Output = io::Result<Box<dyn Stream>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let id = match self.id {
            Some(id) => id,
            None => match self.open() {
                Ok(id) => *self.id.insert(id),
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        finish(with(|world| world.poll_connect(id, cx.waker()))).map(|outcome| {
            self.id = None;
            let conn = outcome?;
            let at = EndId { conn, side: 0 };
            Ok(Box::new(SimStream { at, peer: self.to.clone(), _descriptor: self.descriptor.take() })
                as Box<dyn Stream>)
        })
    }
}

impl Connect {
    /// A socket, and the question.
    fn open(&mut self) -> io::Result<Id> {
        self.descriptor = Some(Descriptor::take(self.from)?);
        Ok(with(|world| world.connect(self.from, &self.to, self.role))?)
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let _waker = try_with(|world| world.cancel_connect(id));
        }
    }
}

struct SimListener {
    id: ListenId,
    address: Address,
    _descriptor: Descriptor,
}

impl Listener for SimListener {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        if !with(|world| world.can_accept(self.id)) {
            // Nothing to take a descriptor for; whoever asks is only told later.
            return finish(with(|world| world.accept(self.id, cx.waker()))).map_ok(|_| unreachable!("an empty queue"));
        }
        let descriptor = Some(Descriptor::take(self.id.host)?);
        finish(with(|world| world.accept(self.id, cx.waker()))).map_ok(|(conn, peer)| {
            Box::new(SimStream { at: EndId { conn, side: 1 }, peer, _descriptor: descriptor }) as Box<dyn Stream>
        })
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        try_with(|world| world.unlisten(self.id));
    }
}

/// One end of a connection.
struct SimStream {
    at: EndId,
    peer: Address,
    _descriptor: Option<Descriptor>,
}

impl Stream for SimStream {
    fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &mut VecDeque<Bytes>) -> Poll<io::Result<usize>> {
        finish(with(|world| world.write(self.at, Outgoing::Pieces(pieces), cx.waker())))
    }

    fn poll_read_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut piece = Bytes::new();
        finish(with(|world| world.read(self.at, Incoming::Piece(&mut piece), cx.waker()))).map_ok(|()| piece)
    }

    fn abort(&mut self) {
        with(|world| world.close(self.at, true));
    }

    fn peer(&self) -> Address {
        self.peer.clone()
    }
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        finish(with(|world| world.read(self.at, Incoming::Buffer(into), cx.waker())))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        finish(with(|world| world.write(self.at, Outgoing::Slices(&[IoSlice::new(bytes)]), cx.waker())))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        finish(with(|world| world.write(self.at, Outgoing::Slices(pieces), cx.waker())))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // what was written is on its way
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(with(|world| world.shut(self.at)))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        try_with(|world| world.close(self.at, false));
    }
}
