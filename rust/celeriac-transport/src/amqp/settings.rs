//! What an `amqp:`, `amqps:` or `pyamqp:` URL says, with the options beside it, as Kombu takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use celeriac_protocol::amqp::ShortStr;

use super::connection::{Login, Mechanism};
use crate::contract::TransportError;
use crate::options::{ENCODE, host_port, known_somewhere, login, percent_decoded, seconds, truth, whole};
use crate::tls::{self, Tls};
use crate::{Options, redacted};

/// A server and who we are for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) virtual_host: String,
}

/// In which order the servers of a list are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failover {
    /// As they are listed, from the one that answered last.
    RoundRobin,
    /// By chance, each time anew.
    Shuffle,
}

/// A parsed URL with its options.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) nodes: Vec<Node>,
    pub(crate) tls: Tls,
    pub(crate) failover: Failover,
    pub(crate) mechanism: Mechanism,
    /// Seconds; `None` leaves it to who connects.
    pub(crate) heartbeat: Option<u16>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    /// How long the server may take to confirm.
    pub(crate) confirm_timeout: Option<Duration>,
    /// Most messages that wait for their confirm.
    pub(crate) confirm_window: usize,
    pub(crate) max_bytes: usize,
    pub(crate) max_connections: usize,
    pub(crate) client_name: Option<String>,
    /// The name in the server's certificate, if it is not the host's.
    pub(crate) server_name: Option<String>,
    /// `x-queue-type` of the levels in which delayed messages wait.
    pub(crate) delayed_queue_type: String,
    /// The URL as it may be shown.
    pub(crate) shown: String,
    /// Which of `nodes` answered last.
    turn: Arc<AtomicUsize>,
}

const NAMES: [&str; 17] = [
    "client_name",
    "confirm_publish",
    "confirm_timeout",
    "confirm_window",
    "connect_timeout",
    "delayed_queue_type",
    "failover_strategy",
    "heartbeat",
    "login_method",
    "max_connections",
    "max_message_bytes",
    "read_timeout",
    "socket_connect_timeout",
    "socket_timeout",
    "ssl",
    "ssl_server_hostname",
    "write_timeout",
];

impl Settings {
    /// Reads `url`; `table` has options under those that the URL's query gives.
    pub(crate) fn parse(url: &str, table: &Options) -> Result<Self, TransportError> {
        let wrong = |why: String| TransportError::Config(format!("broker URL '{}': {why}", redacted(url)));
        let mut named = Options::new();
        for (name, value) in table {
            // `broker_use_ssl` has py-amqp's names, with or without the prefix that they have in a URL.
            let own = name.strip_prefix("ssl.").map(|name| format!("ssl_{}", name.trim_start_matches("ssl_")));
            let name = own.unwrap_or_else(|| name.clone());
            if is_own(&name) {
                named.insert(name, value.clone());
            } else if !known_somewhere(&name) {
                return Err(wrong(unknown(&name)));
            }
        }
        let mut nodes: Vec<Node> = Vec::new();
        for part in url.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (body, query) = part.split_once('?').unwrap_or((part, ""));
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                if pair.split('=').next().is_some_and(|name| name.contains('@')) {
                    return Err(wrong(format!("it has an '@' after its address; {ENCODE}")));
                }
                let Some((name, value)) = pair.split_once('=') else {
                    return Err(wrong(format!("option '{pair}' has no value: write '{pair}=…'")));
                };
                if !is_own(name) {
                    return Err(wrong(unknown(name)));
                }
                named.insert(name.to_owned(), percent_decoded(value).map_err(wrong)?);
            }
            let secure = named.iter().any(|(name, value)| name.starts_with("ssl") && value != "false");
            nodes.push(node(body, secure).map_err(wrong)?);
        }
        let mut settings = Self { nodes, shown: redacted(url), ..Self::default() };
        for (name, value) in &named {
            settings.apply(name, value).map_err(wrong)?;
        }
        settings.check().map_err(wrong)?;
        Ok(settings)
    }

    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            tls: Tls::default(),
            failover: Failover::RoundRobin,
            mechanism: Mechanism::Plain,
            heartbeat: None,
            connect_timeout: None,
            read_timeout: None,
            write_timeout: None,
            confirm_timeout: None,
            confirm_window: 2048,
            max_bytes: 512 << 20,
            max_connections: 10,
            client_name: None,
            server_name: None,
            delayed_queue_type: "quorum".to_owned(),
            shown: String::new(),
            turn: Arc::default(),
        }
    }

    fn apply(&mut self, name: &str, value: &str) -> Result<(), String> {
        let time = || seconds(name, value, 0.001, 86400.0).map(Some);
        match name {
            "client_name" => self.client_name = Some(value.to_owned()),
            // Nothing is published without confirms; `ssl` was looked at when the address was read.
            "confirm_publish" | "ssl" => drop(truth(name, value)?),
            "confirm_timeout" => self.confirm_timeout = time()?,
            "confirm_window" => self.confirm_window = whole(name, value, 1, 65535)?,
            "connect_timeout" | "socket_connect_timeout" => self.connect_timeout = time()?,
            "delayed_queue_type" => match value {
                "classic" | "quorum" => value.clone_into(&mut self.delayed_queue_type),
                _ => return Err(format!("{name} is 'classic' or 'quorum', not '{value}'")),
            },
            "failover_strategy" => {
                self.failover = match value {
                    "round-robin" => Failover::RoundRobin,
                    "shuffle" => Failover::Shuffle,
                    _ => return Err(format!("{name} is 'round-robin' or 'shuffle', not '{value}'")),
                }
            }
            "heartbeat" => {
                let whole = seconds(name, value, 0.0, 65535.0)?.as_secs_f64().ceil();
                self.heartbeat = format!("{whole}").parse().ok();
            }
            "login_method" => {
                self.mechanism = match value.to_ascii_uppercase().as_str() {
                    "PLAIN" => Mechanism::Plain,
                    "AMQPLAIN" => Mechanism::AmqPlain,
                    "EXTERNAL" => Mechanism::External,
                    _ => return Err(format!("{name} is 'PLAIN', 'AMQPLAIN' or 'EXTERNAL', not '{value}'")),
                }
            }
            "max_connections" => self.max_connections = whole(name, value, 1, 65535)?,
            "max_message_bytes" => self.max_bytes = whole(name, value, 1, 512 << 20)?,
            "read_timeout" => self.read_timeout = time()?,
            "socket_timeout" => (self.read_timeout, self.write_timeout) = (time()?, time()?),
            "ssl_server_hostname" => self.server_name = Some(value.to_owned()),
            "write_timeout" => self.write_timeout = time()?,
            _ if self.tls.apply(name, value)? => {}
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.nodes.is_empty() {
            return Err("it is empty: write 'amqp://user:password@host:5672/vhost'".into());
        }
        if self.mechanism == Mechanism::External && (self.tls.certificate.is_none() || !self.nodes[0].tls) {
            return Err(
                "login_method EXTERNAL is by certificate: write 'amqps://', with ssl_certfile and ssl_keyfile".into()
            );
        }
        self.tls.check()
    }

    /// The servers in the order in which they are to be tried, with their numbers.
    pub(crate) fn in_turn(&self) -> Vec<(usize, &Node)> {
        let count = self.nodes.len();
        let mut order: Vec<(usize, &Node)> = self.nodes.iter().enumerate().collect();
        match self.failover {
            Failover::RoundRobin => order.rotate_left(self.turn.load(Ordering::Relaxed) % count.max(1)),
            Failover::Shuffle => {
                for last in (1..count).rev() {
                    order.swap(last, by_chance(last + 1));
                }
            }
        }
        order
    }

    /// Server `at` answered: it is asked first next time.
    pub(crate) fn answered(&self, at: usize) {
        self.turn.store(at, Ordering::Relaxed);
    }

    /// Server `at` failed us after it had answered: the next one has its turn.
    pub(crate) fn failed(&self, at: usize) {
        let _ = self.turn.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// What the handshake with `node` needs. `heartbeat`: seconds, unless an option says otherwise.
    pub(crate) fn login(&self, node: &Node, heartbeat: u16) -> Result<Login, TransportError> {
        let virtual_host = ShortStr::new(&node.virtual_host).map_err(|_| {
            TransportError::Config(format!("broker URL '{}': a virtual host has at most 255 bytes", self.shown))
        })?;
        Ok(Login {
            mechanism: self.mechanism,
            user: node.user.clone(),
            password: node.password.clone(),
            virtual_host,
            heartbeat: self.heartbeat.unwrap_or(heartbeat),
            name: self.client_name.clone().unwrap_or_else(|| format!("celeriac {}", std::process::id())),
        })
    }
}

impl Node {
    /// Host and port as people write them.
    pub(crate) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A number below `bound`. No more than that two processes do not all go to the same server.
fn by_chance(bound: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    usize::try_from(RandomState::new().hash_one(bound) % bound as u64).unwrap_or(0)
}

fn is_own(name: &str) -> bool {
    NAMES.contains(&name) || tls::NAMES.contains(&name)
}

fn unknown(name: &str) -> String {
    format!("unknown option '{name}': there are {}, {}", NAMES.join(", "), tls::NAMES.join(", "))
}

fn node(body: &str, secure: bool) -> Result<Node, String> {
    let Some((scheme, rest)) = body.split_once("://") else {
        return Err("it has no '://': write 'amqp://user:password@host:5672/vhost'".into());
    };
    let tls = match scheme {
        "amqp" | "pyamqp" | "librabbitmq" => secure,
        "amqps" => true,
        _ => return Err(format!("'{scheme}' is not one of amqp, amqps, pyamqp")),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, place) = match authority.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, authority),
    };
    let (user, password) = credentials.map_or(Ok((None, None)), login)?;
    let (host, port) = host_port(place, if tls { 5671 } else { 5672 })?;
    if path.contains('@') {
        // What it is may be part of a password.
        return Err(format!("it has an '@' after its address; {ENCODE}, in a virtual host %40 for '@'"));
    }
    // As Kombu: nothing is '/', and so is '//'.
    let virtual_host = percent_decoded(path)?;
    Ok(Node {
        host,
        port,
        tls,
        user: user.unwrap_or_else(|| "guest".to_owned()),
        password: password.unwrap_or_else(|| "guest".to_owned()),
        virtual_host: if virtual_host.is_empty() { "/".to_owned() } else { virtual_host },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Settings {
        Settings::parse(url, &Options::new()).unwrap()
    }

    #[test]
    fn urls_are_read_as_kombu_reads_them() {
        for (url, place, tls, user, password, vhost) in [
            ("amqp://", "localhost:5672", false, "guest", "guest", "/"),
            ("pyamqp://h", "h:5672", false, "guest", "guest", "/"),
            ("amqp://h/", "h:5672", false, "guest", "guest", "/"),
            ("amqp://h//", "h:5672", false, "guest", "guest", "/"),
            ("amqp://h/%2F", "h:5672", false, "guest", "guest", "/"),
            ("amqp://h/jobs", "h:5672", false, "guest", "guest", "jobs"),
            ("amqp://h//jobs", "h:5672", false, "guest", "guest", "/jobs"),
            ("amqp://me:p%40%2Fss@h:1/a%20b", "h:1", false, "me", "p@/ss", "a b"),
            ("amqp://me@[::1]/v", "[::1]:5672", false, "me", "guest", "v"),
            ("amqps://h", "h:5671", true, "guest", "guest", "/"),
            ("amqp://h?ssl_ca_certs=/ca.pem", "h:5671", true, "guest", "guest", "/"),
            ("amqp://h?ssl=true", "h:5671", true, "guest", "guest", "/"),
        ] {
            let node = parse(url).nodes.remove(0);
            assert_eq!(
                (&*node.place(), node.tls, &*node.user, &*node.password, &*node.virtual_host),
                (place, tls, user, password, vhost),
                "{url}"
            );
        }
    }

    #[test]
    fn options_are_read_and_those_of_others_ignored() {
        let table = Options::from([
            ("ssl.ca_certs".into(), "/ca".into()),
            ("ssl.cert_reqs".into(), "CERT_NONE".into()),
            ("login_method".into(), "AMQPLAIN".into()),
            ("visibility_timeout".into(), "5".into()),
            ("heartbeat".into(), "7".into()),
        ]);
        let settings = Settings::parse("amqp://h?heartbeat=2.5&confirm_publish=True&read_timeout=3", &table).unwrap();
        assert_eq!((settings.heartbeat, settings.mechanism), (Some(3), Mechanism::AmqPlain));
        assert_eq!(settings.read_timeout, Some(Duration::from_secs(3)));
        assert_eq!(settings.delayed_queue_type, "quorum");
        assert!(settings.tls.unchecked && settings.nodes[0].tls && settings.tls.ca.is_some());
    }

    #[test]
    fn servers_are_tried_from_the_one_that_answered() {
        let settings = parse("amqp://a;amqp://b:1;amqp://c");
        let order = |settings: &Settings| -> Vec<usize> { settings.in_turn().iter().map(|(at, _)| *at).collect() };
        assert_eq!(order(&settings), [0, 1, 2]);
        settings.answered(1);
        assert_eq!(order(&settings.clone()), [1, 2, 0]);
        settings.failed(0); // not the one that we are with
        settings.failed(1);
        assert_eq!(order(&settings), [2, 0, 1]);
        let mut chance = order(&parse("amqp://a;amqp://b;amqp://c?failover_strategy=shuffle"));
        chance.sort_unstable();
        assert_eq!(chance, [0, 1, 2]);
    }

    #[test]
    fn wrong_urls_and_options_say_what_to_write() {
        for (url, option, hint) in [
            ("amqp://h:port", None, "number from 1"),
            ("amqp://h;b", None, "amqp://user:password@host"),
            ("amqp://h?hartbeat=1", None, "unknown option 'hartbeat'"),
            ("amqp://h", Some(("confirm_publihs", "1")), "confirm_publish"),
            ("amqp://h?login_method=GSSAPI", None, "'EXTERNAL'"),
            ("amqps://h?login_method=EXTERNAL", None, "ssl_certfile"),
            ("amqps://h?ssl_certfile=x", None, "ssl_keyfile"),
            ("amqp://h?heartbeat=often", None, "seconds"),
            ("amqp://h?delayed_queue_type=stream", None, "'quorum'"),
            ("amqp://h?failover_strategy=next", None, "'shuffle'"),
        ] {
            let table = option.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
            match Settings::parse(url, &table) {
                Err(TransportError::Config(text)) => assert!(text.contains(hint), "{url}: {text}"),
                other => panic!("{url}: {other:?}"),
            }
        }
        let secret = Settings::parse("amqp://u:s3cret@h?x=1", &Options::new()).unwrap_err();
        assert!(!secret.to_string().contains("s3cret"));
    }
}
