//! TCP for guests, on the world's network: with tokio's I/O traits, and with the names of tokio's types.

use super::env::Held;
use super::{As, who};
use crate::ctx::Context as Who;
use crate::net::stream::HostNet;
use bytes::Bytes;
use klamm_env::{Address, BoxFuture, Listener, Net, Stream};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

fn address(text: &str) -> io::Result<Address> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = parts.ok_or_else(|| {
        io::Error::new(ErrorKind::InvalidInput, format!("{text:?} is no address: HOST:PORT, as in \"server:9092\""))
    })?;
    Ok(Address::new(host.trim_start_matches('[').trim_end_matches(']'), port))
}

/// A connection of a guest. `tokio::io::split` gives its two halves; dropping it closes it.
pub struct TcpStream(Held<Box<dyn Stream>>);

impl TcpStream {
    /// Connects to `HOST:PORT`, where the host is the name of one of the world.
    ///
    /// # Errors
    /// `InvalidInput` for what is no address, else as [`klamm_env::Net::connect`].
    pub async fn connect(to: &str) -> io::Result<Self> {
        Self::connect_as(to, "guest").await
    }

    /// The same, for a purpose: faults can aim at connections of that role.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub async fn connect_as(to: &str, role: &'static str) -> io::Result<Self> {
        let (to, who) = (address(to)?, who());
        let inner = As::new(who, HostNet { host: who.host }.connect(to, role)).await?;
        Ok(Self(Held::new(who, inner)))
    }

    /// The other end.
    pub fn peer(&self) -> Address {
        self.0.look(|stream| stream.peer())
    }

    /// Ends the connection with an RST.
    pub fn abort(&mut self) {
        self.0.call(|stream| stream.abort());
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.call(|stream| Pin::new(stream).poll_read(cx, into))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.call(|stream| Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.call(|stream| Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.call(|stream| Pin::new(stream).poll_shutdown(cx))
    }
}

impl Stream for TcpStream {
    fn poll_write_pieces(&mut self, cx: &mut Context<'_>, pieces: &mut VecDeque<Bytes>) -> Poll<io::Result<usize>> {
        self.0.call(|stream| stream.poll_write_pieces(cx, pieces))
    }

    fn poll_read_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.0.call(|stream| stream.poll_read_piece(cx))
    }

    fn abort(&mut self) {
        TcpStream::abort(self);
    }

    fn peer(&self) -> Address {
        TcpStream::peer(self)
    }
}

/// A port on which a guest listens.
pub struct TcpListener(Held<Box<dyn Listener>>);

impl TcpListener {
    /// Listens on the current guest's host, at `HOST:PORT`; the host `0.0.0.0` is any, the port 0 a free one.
    ///
    /// # Errors
    /// `InvalidInput` for what is no address, else as [`klamm_env::Net::listen`].
    pub async fn bind(at: &str) -> io::Result<Self> {
        let (at, who) = (address(at)?, who());
        let inner = As::new(who, HostNet { host: who.host }.listen(at)).await?;
        Ok(Self(Held::new(who, inner)))
    }

    /// Where it listens.
    pub fn local_address(&self) -> Address {
        self.0.look(|listener| listener.address())
    }

    /// The next connection, and where it comes from.
    ///
    /// # Errors
    /// As the system's: too many open files.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, Address)> {
        let inner = std::future::poll_fn(|cx| self.0.call(|listener| listener.poll_accept(cx))).await?;
        let stream = TcpStream(Held::new(self.0.who, inner));
        let peer = stream.peer();
        Ok((stream, peer))
    }
}

impl Listener for TcpListener {
    fn address(&self) -> Address {
        self.local_address()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        let accepted = self.0.call(|listener| listener.poll_accept(cx));
        accepted.map_ok(|inner| Box::new(TcpStream(Held::new(self.0.who, inner))) as Box<dyn Stream>)
    }
}

/// The network as a guest's [`klamm_env::Env`] has it.
pub(super) struct GuestNet {
    pub who: Who,
}

impl Net for GuestNet {
    fn listen(&self, at: Address) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let who = self.who;
        let listening = As::new(who, HostNet { host: who.host }.listen(at));
        Box::pin(async move { Ok(Box::new(TcpListener(Held::new(who, listening.await?))) as Box<dyn Listener>) })
    }

    fn connect(&self, to: Address, role: &'static str) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        let who = self.who;
        let connecting = As::new(who, HostNet { host: who.host }.connect(to, role));
        Box::pin(async move { Ok(Box::new(TcpStream(Held::new(who, connecting.await?))) as Box<dyn Stream>) })
    }
}
