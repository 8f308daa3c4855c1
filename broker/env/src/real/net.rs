//! TCP.

use crate::{Address, BoxFuture, Listener, Net, Stream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

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
            Ok(Box::new(RealStream { stream: Some(stream), peer: to }) as Box<dyn Stream>)
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
            Ok(Box::new(RealStream { stream: Some(stream), peer }) as Box<dyn Stream>)
        })
    }
}

/// A connection; `None` once aborted.
struct RealStream {
    stream: Option<TcpStream>,
    peer: Address,
}

impl RealStream {
    fn open(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let aborted = || io::Error::new(io::ErrorKind::ConnectionAborted, "aborted by this side");
        self.stream.as_mut().map(Pin::new).ok_or_else(aborted)
    }
}

impl Stream for RealStream {
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
