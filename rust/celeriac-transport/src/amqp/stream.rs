//! Bytes to and from a server: a socket that never blocks, with TLS where the URL wants it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// Bytes taken from the kernel at a time.
const CHUNK: usize = 64 << 10;
/// Taken in a row before what came is looked at.
const MOST: usize = 1 << 20;

/// See the module.
pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    chunk: Box<[u8]>,
}

/// What a look at the socket brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There may be more.
    Some,
    /// All that there is now.
    All,
    /// All that there will ever be.
    End,
}

impl Stream {
    /// Connects before `deadline`, address by address. The handshake of TLS is made with the first bytes.
    pub(crate) fn connect(
        host: &str,
        port: u16,
        tls: Option<(Arc<ClientConfig>, &str)>,
        deadline: Instant,
    ) -> io::Result<Self> {
        // RabbitMQ on the same machine often listens on one kind of address only.
        let addresses: Vec<SocketAddr> = if host.eq_ignore_ascii_case("localhost") {
            vec![SocketAddr::new([127, 0, 0, 1].into(), port), SocketAddr::new(IpAddr::V6(1.into()), port)]
        } else {
            (host, port).to_socket_addrs()?.collect()
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for (at, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - at).unwrap_or(1);
            match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
                Ok(tcp) => return Self::over(tcp, tls),
                // The first says most: it is the address that was meant.
                Err(error) if at == 0 => last = error,
                Err(_) => {}
            }
        }
        Err(last)
    }

    fn over(tcp: TcpStream, tls: Option<(Arc<ClientConfig>, &str)>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        let tls = match tls {
            Some((config, name)) => {
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                Some(Box::new(ClientConnection::new(config, name).map_err(tls_error)?))
            }
            None => None,
        };
        Ok(Self { tcp, tls, chunk: vec![0; CHUNK].into_boxed_slice() })
    }

    /// Appends what has come.
    pub(crate) fn take(&mut self, into: &mut BytesMut) -> io::Result<Taken> {
        let start = into.len();
        loop {
            let came = match &mut self.tls {
                None => self.tcp.read(&mut self.chunk),
                Some(tls) => decrypt(tls, &mut self.tcp, &mut self.chunk),
            };
            match came {
                Ok(0) => return Ok(Taken::End),
                Ok(count) => {
                    into.extend_from_slice(&self.chunk[..count]);
                    // Less than asked for: the kernel has no more.
                    if count < CHUNK && self.tls.is_none() {
                        return Ok(Taken::All);
                    }
                    if into.len() - start >= MOST {
                        return Ok(Taken::Some);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::All),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Taken::End),
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives what it can of `data`; how much that was. With TLS some of it may still stand in [`Stream::is_full`].
    pub(crate) fn give(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut given = 0;
        loop {
            let gave = match &mut self.tls {
                None if given == data.len() => return Ok(given),
                None => self.tcp.write(&data[given..]),
                Some(tls) => {
                    if given < data.len() {
                        given += tls.writer().write(&data[given..])?;
                    }
                    if !tls.wants_write() {
                        return Ok(given);
                    }
                    let written = tls.write_tls(&mut self.tcp);
                    written.map(|_| 0)
                }
            };
            match gave {
                Ok(count) => given += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(given),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether bytes that were given wait for the kernel to take them.
    pub(crate) fn is_full(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

/// The next plain bytes. 0 at the end.
fn decrypt(tls: &mut ClientConnection, tcp: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Cut off without TLS's goodbye. Frames have their own end, so nothing can be mistaken for whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            came => return came,
        }
        let count = tls.read_tls(tcp)?;
        let state = tls.process_new_packets();
        if state.is_err() {
            drop(tls.write_tls(tcp)); // tells the server what we do not like
        }
        state.map_err(tls_error)?;
        if count == 0 {
            return Ok(0);
        }
    }
}

fn tls_error(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
