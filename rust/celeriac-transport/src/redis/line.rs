//! The seam to the client library: a connection that takes packed commands and gives replies.
//!
//! A server of a fail-over list or behind Sentinels is found here; a script that the server does not know is loaded and
//! the command sent again, so that nobody above has to think of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    ServerErrorKind, TlsCertificates, Value,
};

use super::fault::Fault;
use super::pack::Pack;
use super::settings::{Address, Node, Settings};
use crate::tls;

/// A connection as servers know it. Its number alone is not enough: another server, or the same one started anew, has other
/// connections under it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Client {
    /// The number.
    pub(crate) id: i64,
    /// Name of the process that is the server; empty if we may not ask.
    pub(crate) server: Arc<str>,
}

/// An open connection.
pub(crate) struct Line {
    connection: redis::Connection,
    timeout: Option<Duration>,
    place: String,
    user: Option<String>,
    client: Client,
    pub(crate) used: Instant,
    /// Nothing more can be asked here.
    broken: bool,
    /// Its server is the node of a cluster that we asked for.
    pub(super) cluster: bool,
}

impl Line {
    /// Connects to the first server of `settings` that answers as a master before `deadline`.
    pub(crate) fn open(settings: &Settings, deadline: Instant) -> Result<Self, Fault> {
        Self::open_as(settings, deadline, ProtocolVersion::RESP2)
    }

    /// As [`Line::open`], for pushes.
    pub(crate) fn open_as(settings: &Settings, deadline: Instant, protocol: ProtocolVersion) -> Result<Self, Fault> {
        let mut last = None;
        for (at, node) in settings.nodes.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            // The others get their turn, too.
            let share = left / u32::try_from(settings.nodes.len() - at).unwrap_or(1);
            match Self::open_node(settings, node, share, protocol) {
                Ok(line) => return Ok(line),
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault::Broken("no server is named".to_owned())))
    }

    fn open_node(settings: &Settings, node: &Node, left: Duration, protocol: ProtocolVersion) -> Result<Self, Fault> {
        let start = Instant::now();
        let (host, port, tls) = match &node.address {
            Address::Tcp(host, port, tls) => (host.clone(), *port, *tls),
            Address::Sentinel(sentinels) => {
                let (host, port) = master(settings, sentinels, left)?;
                (host, port, settings.tls != tls::Tls::default())
            }
            Address::Cluster(seeds, tls) => {
                return super::cluster::open(settings, node, (seeds, *tls), left, protocol);
            }
            Address::Unix(path) => {
                let place = path.display().to_string();
                return Self::connect(settings, node, ConnectionAddr::Unix(path.clone()), &place, left, protocol);
            }
        };
        let place = format!("{host}:{port}");
        let address = if tls {
            ConnectionAddr::TcpTls { host, port, insecure: settings.tls.unchecked, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        Self::connect(settings, node, address, &place, left.saturating_sub(start.elapsed()), protocol)
    }

    pub(super) fn connect(
        settings: &Settings,
        node: &Node,
        address: ConnectionAddr,
        place: &str,
        left: Duration,
        protocol: ProtocolVersion,
    ) -> Result<Self, Fault> {
        let user = node.user.as_deref();
        let late = || Fault::Broken(format!("Redis at {place} did not answer in time"));
        if left.is_zero() {
            return Err(late());
        }
        let fault = |error: redis::RedisError| Fault::of(&error, place, user);
        let mut login = RedisConnectionInfo::default()
            .set_db(node.database)
            .set_protocol(protocol)
            .set_lib_name("celeriac", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &node.user {
            login = login.set_username(user);
        }
        if let Some(password) = &node.password {
            login = login.set_password(password);
        }
        let tls = matches!(address, ConnectionAddr::TcpTls { .. });
        let mut info = address.into_connection_info().map_err(fault)?.set_redis_settings(login);
        let mut tcp = info.tcp_settings().clone().set_nodelay(true);
        if settings.keepalive {
            tcp = tcp.set_keepalive(redis::io::tcp::socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)));
        }
        info = info.set_tcp_settings(tcp);
        let client = if tls { secured(settings, info, place)? } else { redis::Client::open(info).map_err(fault)? };
        let start = Instant::now();
        let patience = settings.connect_timeout.map_or(left, |timeout| timeout.min(left));
        let connection = client.get_connection_with_timeout(patience).map_err(fault)?;
        let mut line = Self {
            connection,
            timeout: None,
            place: place.to_owned(),
            user: node.user.clone(),
            client: Client::default(),
            used: start,
            broken: false,
            cluster: false,
        };
        line.set_timeout(Some(left.checked_sub(start.elapsed()).ok_or_else(late)?))?;
        let mut pack = Pack::default();
        pack.words(&["CLIENT", "ID"]);
        if let Some(name) = &settings.client_name {
            pack.words(&["CLIENT", "SETNAME", name]);
        }
        let replies = line.call(&pack)?;
        line.client.id = replies.first().and_then(int).unwrap_or(0);
        Ok(line)
    }

    /// How long a reply may take; `None`: for ever.
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), Fault> {
        let timeout = timeout.map(|time| time.max(Duration::from_millis(1)));
        if timeout == self.timeout {
            return Ok(());
        }
        self.connection.set_read_timeout(timeout).map_err(|error| self.fault(&error))?;
        self.connection.set_write_timeout(timeout).map_err(|error| self.fault(&error))?;
        self.timeout = timeout;
        Ok(())
    }

    /// Asks the server who it is. Who may not ask is served all the same: the answer is empty then.
    pub(crate) fn identify(&mut self) -> Result<String, Fault> {
        let info = match self.ask(Pack::default().words(&["INFO", "server"])) {
            Ok(Value::VerbatimString { text, .. }) => text,
            Ok(other) => text(&other).unwrap_or_default(),
            Err(_) if self.is_sound() => String::new(),
            Err(fault) => return Err(fault),
        };
        self.client.server = about(&info, "run_id").unwrap_or_default().into();
        Ok(info)
    }

    /// How others may speak of it. Call [`Line::identify`] first.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether that is a connection of this very server.
    pub(crate) fn knows(&self, client: &Client) -> bool {
        client.id != 0 && !client.server.is_empty() && client.server == self.client.server
    }

    /// Has the server end a connection of its own; another server's is left alone, as it ended with that, or soon will.
    pub(crate) fn end(&mut self, client: &Client) -> Result<(), Fault> {
        if self.knows(client) {
            self.call(Pack::default().words(&["CLIENT", "KILL", "ID", &client.id.to_string()]))?;
        }
        Ok(())
    }

    /// Name of the server, for errors.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Whether it can be used further.
    pub(crate) fn is_sound(&self) -> bool {
        !self.broken
    }

    /// Sends all, then reads all replies. An error of the server is a reply, see [`Line::check`].
    pub(crate) fn call(&mut self, pack: &Pack) -> Result<Vec<Value>, Fault> {
        let mut replies = Vec::with_capacity(pack.len());
        self.send(pack.bytes())?;
        for _ in 0..pack.len() {
            replies.push(self.reply()?);
        }
        for (at, reply) in replies.iter_mut().enumerate() {
            if let Value::ServerError(error) = &reply
                && error.kind() == Some(ServerErrorKind::NoScript)
                && let Some(told) = pack.told(at)
            {
                // One step: to load it first would leave a moment in which it may be forgotten again.
                self.send(&told)?;
                *reply = self.reply()?;
            }
        }
        self.used = Instant::now();
        Ok(replies)
    }

    /// As [`Line::call`] for one command, its error taken out.
    pub(crate) fn ask(&mut self, pack: &Pack) -> Result<Value, Fault> {
        let reply = self.call(pack)?.pop().unwrap_or(Value::Nil);
        self.check(reply)
    }

    /// As [`Line::call`], the first error taken out.
    pub(crate) fn all(&mut self, pack: &Pack) -> Result<Vec<Value>, Fault> {
        self.call(pack)?.into_iter().map(|reply| self.check(reply)).collect()
    }

    /// The reply, or the fault that it tells.
    pub(crate) fn check(&self, reply: Value) -> Result<Value, Fault> {
        match reply {
            Value::ServerError(error) => Err(self
                .cluster
                .then(|| Fault::of_cluster(&error, &self.place))
                .flatten()
                .unwrap_or_else(|| Fault::server(&error, &self.place, self.user.as_deref()))),
            reply => Ok(reply),
        }
    }

    /// What the text of an error means that a script caught.
    pub(crate) fn said(&self, text: &str) -> Fault {
        Fault::text(text, &self.place, self.user.as_deref())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.connection.send_packed_command(bytes).map_err(|error| self.lost(&error))
    }

    /// The next reply; pushes are skipped.
    pub(crate) fn reply(&mut self) -> Result<Value, Fault> {
        loop {
            match self.receive()? {
                Value::Push { .. } => {}
                reply => return Ok(reply),
            }
        }
    }

    /// The next reply or push.
    pub(crate) fn receive(&mut self) -> Result<Value, Fault> {
        self.connection.recv_response().map_err(|error| self.lost(&error))
    }

    fn lost(&mut self, error: &redis::RedisError) -> Fault {
        self.broken = true;
        self.fault(error)
    }

    fn fault(&self, error: &redis::RedisError) -> Fault {
        Fault::of(error, &self.place, self.user.as_deref())
    }
}

fn secured(settings: &Settings, info: ConnectionInfo, place: &str) -> Result<redis::Client, Fault> {
    tls::provider(); // the library asks for the process's
    let read = |path: &std::path::Path| tls::read(path).map_err(Fault::Ours);
    let client_tls = match (&settings.tls.certificate, &settings.tls.key) {
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        _ => None,
    };
    let root_cert = settings.tls.ca.as_deref().map(read).transpose()?;
    let fault = |error: redis::RedisError| Fault::of(&error, place, None);
    let client = redis::Client::build_with_tls(info, TlsCertificates { client_tls, root_cert }).map_err(fault)?;
    if !settings.tls.any_host {
        return Ok(client);
    }
    let info = client.get_connection_info().clone();
    let mut address = info.addr().clone();
    address.set_danger_accept_invalid_hostnames(true);
    redis::Client::open(info.set_addr(address)).map_err(fault)
}

/// Asks the sentinels where the master is.
fn master(settings: &Settings, sentinels: &[(String, u16)], left: Duration) -> Result<(String, u16), Fault> {
    let start = Instant::now();
    let mut last = Fault::Broken("no sentinel is named".to_owned());
    for (at, (host, port)) in sentinels.iter().enumerate() {
        let node = Node {
            address: Address::Tcp(host.clone(), *port, false),
            database: 0,
            user: settings.sentinel_user.clone(),
            password: settings.sentinel_password.clone(),
        };
        let share = left.saturating_sub(start.elapsed()) / u32::try_from(sentinels.len() - at).unwrap_or(1);
        let place = format!("sentinel {host}:{port}");
        let asked = Line::connect(
            settings,
            &node,
            ConnectionAddr::Tcp(host.clone(), *port),
            &place,
            share,
            ProtocolVersion::RESP2,
        )
        .and_then(|mut line| {
            let mut pack = Pack::default();
            pack.words(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &settings.master_name]);
            line.ask(&pack)
        });
        match asked {
            Ok(Value::Array(parts)) if parts.len() == 2 => {
                let port = parts.last().and_then(text).and_then(|port| port.parse().ok());
                if let (Some(host), Some(port)) = (parts.first().and_then(text), port) {
                    return Ok((host, port));
                }
            }
            Ok(_) => {
                last = Fault::Later(
                    format!("{place} knows no master '{}': check master_name", settings.master_name),
                    true,
                );
            }
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

/// A field of the answer to INFO.
pub(crate) fn about<'i>(info: &'i str, field: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(str::trim)
}

/// An integer, also as text.
pub(crate) fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        value => text(value)?.parse().ok(),
    }
}

/// A text.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Okay => Some("OK".to_owned()),
        _ => None,
    }
}

/// The members of an array.
pub(crate) fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(members) | Value::Set(members) => members,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(key, value)| [key, value]).collect(),
        _ => Vec::new(),
    }
}

/// Bytes.
pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}
