//! What a `redis:`, `rediss:`, `redis+socket:`, `sentinel:` or `redis+cluster:` URL says, with the options beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::contract::TransportError;
use crate::options::{ENCODE, host_port, known_somewhere, login, percent_decoded, seconds, truth, whole};
use crate::tls::Tls;
use crate::{Options, redacted};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// Host and port; `true` for TLS.
    Tcp(String, u16, bool),
    /// A socket's path.
    Unix(PathBuf),
    /// Sentinels that know where the master is.
    Sentinel(Vec<(String, u16)>),
    /// Nodes of a cluster that know the others; `true` for TLS.
    Cluster(Vec<(String, u16)>, bool),
}

/// A server and who we are for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) address: Address,
    pub(crate) database: i64,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

/// Which queue is next among those of one priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Each its share, by turns.
    RoundRobin,
    /// By name.
    Sorted,
    /// As they were given.
    Priority,
}

/// A parsed URL with its options.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// More than one: the next is tried where one does not answer.
    pub(crate) nodes: Vec<Node>,
    pub(crate) tls: Tls,
    pub(crate) prefix: String,
    pub(crate) separator: Vec<u8>,
    pub(crate) steps: Vec<u8>,
    pub(crate) unacked: String,
    pub(crate) unacked_index: String,
    /// In front of the exchange of a broadcast; the database's number is filled in.
    pub(crate) fanout_prefix: String,
    /// Whether the routing key is part of a broadcast's channel.
    pub(crate) fanout_patterns: bool,
    pub(crate) deadletter_queue: Option<String>,
    pub(crate) order: Order,
    pub(crate) visibility: Duration,
    pub(crate) lease: Duration,
    pub(crate) max_bytes: usize,
    pub(crate) socket_timeout: Option<Duration>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) keepalive: bool,
    pub(crate) client_name: Option<String>,
    pub(crate) health_check: Duration,
    pub(crate) max_connections: usize,
    pub(crate) master_name: String,
    pub(crate) sentinel_user: Option<String>,
    pub(crate) sentinel_password: Option<String>,
    /// The URL as it may be shown.
    pub(crate) shown: String,
}

const NAMES: [&str; 24] = [
    "client_name",
    "deadletter_queue",
    "fanout_patterns",
    "fanout_prefix",
    "global_keyprefix",
    "health_check_interval",
    "lease",
    "master_name",
    "max_connections",
    "max_message_bytes",
    "priority_steps",
    "queue_order_strategy",
    "sep",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_timeout",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "unacked_index_key",
    "unacked_key",
    "visibility_timeout",
];

impl Settings {
    /// Reads `url`; `table` has options under those that the URL's query gives.
    pub(crate) fn parse(url: &str, table: &Options) -> Result<Self, TransportError> {
        let wrong = |why: String| TransportError::Config(format!("broker URL '{}': {why}", redacted(url)));
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in table {
            if NAMES.contains(&name.as_str()) || name.starts_with("sentinel_kwargs.") {
                named.insert(name.clone(), value.clone());
            } else if !known_somewhere(name) {
                return Err(wrong(unknown(name)));
            }
        }
        let mut nodes: Vec<Node> = Vec::new();
        for part in url.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let (body, query) = part.split_once('?').unwrap_or((part, ""));
            let mut node = node(body).map_err(wrong)?;
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                if pair.split('=').next().is_some_and(|name| name.contains('@')) {
                    return Err(wrong(format!("it has an '@' after its address; {ENCODE}")));
                }
                let Some((name, value)) = pair.split_once('=') else {
                    return Err(wrong(format!("option '{pair}' has no value: write '{pair}=…'")));
                };
                let value = percent_decoded(value).map_err(wrong)?;
                match name {
                    "virtual_host" | "db" => node.database = database(&value).map_err(wrong)?,
                    name if NAMES.contains(&name) => drop(named.insert(name.to_owned(), value)),
                    name => return Err(wrong(unknown(name))),
                }
            }
            match (nodes.last_mut(), node) {
                (
                    Some(Node { address: Address::Sentinel(known), .. }),
                    Node { address: Address::Sentinel(more), .. },
                ) => known.extend(more),
                (_, node) => nodes.push(node),
            }
        }
        let mut settings = Self { nodes, shown: redacted(url), ..Self::default() };
        for (name, value) in &named {
            settings.apply(name, value).map_err(wrong)?;
        }
        settings.check().map_err(wrong)?;
        if settings.is_cluster() {
            settings.prefix = super::cluster::tagged(&settings.prefix).map_err(wrong)?;
        }
        Ok(settings)
    }

    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            tls: Tls::default(),
            prefix: String::new(),
            separator: vec![6, 22],
            steps: vec![0, 3, 6, 9],
            unacked: "unacked".into(),
            unacked_index: "unacked_index".into(),
            fanout_prefix: "/{db}.".into(),
            fanout_patterns: true,
            deadletter_queue: None,
            order: Order::RoundRobin,
            visibility: Duration::from_secs(3600),
            lease: Duration::from_secs(60),
            max_bytes: 512 << 20,
            socket_timeout: None,
            connect_timeout: None,
            keepalive: false,
            client_name: None,
            health_check: Duration::from_secs(25),
            max_connections: 10,
            master_name: String::new(),
            sentinel_user: None,
            sentinel_password: None,
            shown: String::new(),
        }
    }

    fn apply(&mut self, name: &str, value: &str) -> Result<(), String> {
        let some = || (!value.is_empty()).then(|| value.to_owned());
        match name {
            "client_name" => self.client_name = some(),
            "deadletter_queue" => self.deadletter_queue = some(),
            "fanout_patterns" => self.fanout_patterns = truth(name, value)?,
            "fanout_prefix" => match truth(name, value) {
                Ok(true) => {}
                Ok(false) => self.fanout_prefix = String::new(),
                Err(_) => value.clone_into(&mut self.fanout_prefix),
            },
            "global_keyprefix" => value.clone_into(&mut self.prefix),
            "health_check_interval" => self.health_check = seconds(name, value, 0.0, 86400.0)?,
            "lease" => self.lease = seconds(name, value, 0.1, 30.0 * 86400.0)?,
            "master_name" => value.clone_into(&mut self.master_name),
            "max_connections" => self.max_connections = whole(name, value, 1, 65535)?,
            "max_message_bytes" => self.max_bytes = whole(name, value, 1, 512 << 20)?,
            "priority_steps" => self.steps = steps(value)?,
            "queue_order_strategy" => {
                self.order = match value {
                    "round_robin" => Order::RoundRobin,
                    "sorted" => Order::Sorted,
                    "priority" => Order::Priority,
                    _ => return Err(format!("{name} is 'round_robin', 'sorted' or 'priority', not '{value}'")),
                }
            }
            "sep" => self.separator = value.as_bytes().to_vec(),
            "socket_connect_timeout" => self.connect_timeout = Some(seconds(name, value, 0.001, 86400.0)?),
            "socket_keepalive" => self.keepalive = truth(name, value)?,
            "socket_timeout" => self.socket_timeout = Some(seconds(name, value, 0.001, 86400.0)?),
            "unacked_index_key" => value.clone_into(&mut self.unacked_index),
            "unacked_key" => value.clone_into(&mut self.unacked),
            "visibility_timeout" => self.visibility = seconds(name, value, 0.1, 3650.0 * 86400.0)?,
            "sentinel_kwargs.username" => self.sentinel_user = some(),
            "sentinel_kwargs.password" => self.sentinel_password = some(),
            name if name.starts_with("sentinel_kwargs.") => {} // for redis-py: timeouts and the like
            _ if self.tls.apply(name, value)? => {}
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.nodes.is_empty() {
            return Err("it is empty: write 'redis://host:6379/0'".into());
        }
        let sentinel = self.nodes.iter().any(|node| matches!(node.address, Address::Sentinel(_)));
        if sentinel && self.master_name.is_empty() {
            return Err("sentinels need the master's name: set master_name in broker_transport_options".into());
        }
        let tls =
            self.nodes.iter().any(|node| matches!(node.address, Address::Tcp(_, _, true) | Address::Cluster(_, true)));
        if !tls && !sentinel && self.tls != Tls::default() {
            return Err("ssl options on a connection without TLS: write 'rediss://'".into());
        }
        self.tls.check()?;
        if self.is_cluster() && self.nodes.len() > 1 {
            return Err("a cluster is one URL: write 'redis+cluster://host1:port,host2:port/'".into());
        }
        if self.is_cluster() && self.nodes.iter().any(|node| node.database != 0) {
            return Err(
                "a cluster has database 0 only: leave the number out; global_keyprefix tells applications apart".into(),
            );
        }
        if self.separator.is_empty() {
            return Err("sep is empty: the lists of all priorities would be one".into());
        }
        Ok(())
    }

    /// Whether it is a cluster, not one server.
    pub(crate) fn is_cluster(&self) -> bool {
        self.nodes.iter().any(|node| matches!(node.address, Address::Cluster(..)))
    }

    /// Whether both mean the same server and database, or slot of a cluster, for the same user.
    pub(crate) fn same_store(&self, other: &Self) -> bool {
        self.nodes == other.nodes
            && (self.master_name.is_empty() || self.master_name == other.master_name)
            && (!self.is_cluster() || super::cluster::slot(&self.prefix) == super::cluster::slot(&other.prefix))
    }
}

fn unknown(name: &str) -> String {
    format!("unknown option '{name}': there are {}", NAMES.join(", "))
}

/// `0,3,6,9`, as Python's list arrives here.
fn steps(value: &str) -> Result<Vec<u8>, String> {
    let mut steps = Vec::new();
    for part in value.split(',') {
        match part.trim().parse::<u8>() {
            Ok(step) if step <= 9 => steps.push(step),
            _ => return Err(format!("priority_steps are numbers from 0 to 9, for example '0,3,6,9', not '{value}'")),
        }
    }
    steps.sort_unstable();
    steps.dedup();
    if steps.first() == Some(&0) {
        Ok(steps)
    } else {
        Err(format!("priority_steps begin with 0, the step of messages without priority: got '{value}'"))
    }
}

fn database(text: &str) -> Result<i64, String> {
    if text.contains('@') {
        return Err(format!("it has an '@' after its address; {ENCODE}")); // what it is may be part of a password
    }
    match text.trim_matches('/') {
        "" => Ok(0),
        digits => digits.parse().ok().filter(|number| (0..=i64::from(i32::MAX)).contains(number)).ok_or_else(|| {
            format!("'{text}' is no number of a database: write 'redis://host:6379/0', or leave it out for 0")
        }),
    }
}

fn node(body: &str) -> Result<Node, String> {
    let Some((scheme, rest)) = body.split_once("://") else {
        return Err("it has no '://': write 'redis://host:6379/0'".into());
    };
    if matches!(scheme, "redis+socket" | "socket" | "unix") {
        let (credentials, path) = match rest.split_once('@') {
            Some((credentials, path)) => (Some(credentials), path),
            None => (None, rest),
        };
        let (user, password) = credentials.map_or(Ok((None, None)), login)?;
        let path = percent_decoded(path)?;
        if !path.starts_with('/') {
            return Err("a socket's path is absolute: write 'redis+socket:///run/redis.sock?virtual_host=0'".into());
        }
        return Ok(Node { address: Address::Unix(path.into()), database: 0, user, password });
    }
    let tls = match scheme {
        "redis" | "sentinel" | "redis+cluster" => false,
        "rediss" | "rediss+cluster" => true,
        _ => {
            return Err(format!(
                "'{scheme}' is not one of redis, rediss, redis+socket, sentinel, redis+cluster, rediss+cluster"
            ));
        }
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, place) = match authority.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, authority),
    };
    let (user, password) = credentials.map_or(Ok((None, None)), login)?;
    if scheme.ends_with("+cluster") {
        let seeds = place.split(',').map(|place| host_port(place, 6379)).collect::<Result<_, _>>()?;
        let database = database(&percent_decoded(path)?)?;
        return Ok(Node { address: Address::Cluster(seeds, tls), database, user, password });
    }
    let default = if scheme == "sentinel" { 26379 } else { 6379 };
    let (host, port) = host_port(place, default)?;
    let address =
        if scheme == "sentinel" { Address::Sentinel(vec![(host, port)]) } else { Address::Tcp(host, port, tls) };
    Ok(Node { address, database: database(&percent_decoded(path)?)?, user, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Settings {
        Settings::parse(url, &Options::new()).unwrap()
    }

    fn refused(url: &str, options: &[(&str, &str)]) -> String {
        let table = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match Settings::parse(url, &table) {
            Err(TransportError::Config(text)) => text,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn urls_name_server_database_and_user() {
        let node = |url: &str| parse(url).nodes.remove(0);
        let at = |host: &str, port, tls| Address::Tcp(host.into(), port, tls);
        assert_eq!(node("redis://").address, at("localhost", 6379, false));
        assert_eq!(node("redis://cache/3").database, 3);
        assert_eq!(node("redis://[::1]:7000").address, at("::1", 7000, false));
        assert_eq!(node("rediss://cache:7/0").address, at("cache", 7, true));
        let full = node("redis://me:p%40ss:word@h:1/2");
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("me"), Some("p@ss:word")));
        let only = node("redis://:secret@h");
        assert_eq!((only.user, only.password.as_deref()), (None, Some("secret")));
        let socket = node("redis+socket:///run/r.sock?virtual_host=4");
        assert_eq!((socket.address, socket.database), (Address::Unix("/run/r.sock".into()), 4));
    }

    #[test]
    fn several_urls_are_a_list_and_sentinels_are_one_node() {
        assert_eq!(parse("redis://a;redis://b:1/2").nodes.len(), 2);
        let options = Options::from([("master_name".into(), "m".into())]);
        let settings = Settings::parse("sentinel://a;sentinel://b:2", &options).unwrap();
        assert_eq!(settings.nodes.len(), 1);
        assert_eq!(settings.nodes[0].address, Address::Sentinel(vec![("a".into(), 26379), ("b".into(), 2)]));
    }

    #[test]
    fn a_cluster_is_one_node_with_a_hash_tag() {
        let settings = parse("redis+cluster://me:pw@a:7000,b/");
        let seeds = vec![("a".into(), 7000), ("b".into(), 6379)];
        assert_eq!(settings.nodes[0].address, Address::Cluster(seeds, false));
        assert_eq!((settings.prefix.as_str(), settings.nodes[0].user.as_deref()), ("{celeriac}", Some("me")));
        let secure = parse("rediss+cluster://h?global_keyprefix=shop");
        assert_eq!(secure.nodes[0].address, Address::Cluster(vec![("h".into(), 6379)], true));
        assert_eq!(secure.prefix, "{shop}");
    }

    #[test]
    fn stores_of_a_cluster_are_the_same_if_their_slot_is() {
        let same = |left: &str, right: &str| parse(left).same_store(&parse(right));
        assert!(same("redis+cluster://h?global_keyprefix=shop", "redis+cluster://h?global_keyprefix={shop}_results:"));
        assert!(!same("redis+cluster://h?global_keyprefix=shop", "redis+cluster://h"));
        assert!(!same("redis+cluster://h", "redis+cluster://other"));
        assert!(!same("redis+cluster://h", "redis://h"));
        assert!(same("redis://h?global_keyprefix=shop", "redis://h"));
    }

    #[test]
    fn options_are_read_and_those_of_others_ignored() {
        let table = Options::from([
            ("priority_steps".into(), "0, 5".into()),
            ("sep".into(), ":".into()),
            ("fanout_prefix".into(), "false".into()),
            ("max_retries".into(), "3".into()),
            ("sentinel_kwargs.password".into(), "x".into()),
        ]);
        let settings = Settings::parse("redis://?visibility_timeout=30&lease=2", &table).unwrap();
        assert_eq!((settings.steps, settings.separator), (vec![0, 5], b":".to_vec()));
        assert_eq!((settings.visibility, settings.lease), (Duration::from_secs(30), Duration::from_secs(2)));
        assert_eq!(settings.fanout_prefix, "");
    }

    #[test]
    fn wrong_urls_and_options_say_what_to_write() {
        for (url, options, hint) in [
            ("redis://h/x", &[][..], "redis://host:6379/0"),
            ("redis://h:port", &[], "number from 1"),
            ("redis+socket://run/r.sock", &[], "absolute"),
            ("sentinel://h", &[], "master_name"),
            ("redis+cluster://h/1", &[], "database 0"),
            ("redis+cluster://h;redis://i", &[], "one URL"),
            ("redis+cluster://h?ssl_ca_certs=x", &[], "rediss"),
            ("redis://h?ssl_ca_certs=x", &[], "rediss://"),
            ("rediss://h?ssl_certfile=x", &[], "ssl_keyfile"),
            ("redis://h?lees=1", &[], "unknown option 'lees'"),
            ("redis://h", &[("visibility_timeuot", "1")], "visibility_timeout"),
            ("redis://h", &[("priority_steps", "3,6")], "begin with 0"),
            ("redis://h", &[("queue_order_strategy", "random")], "round_robin"),
        ] {
            let text = refused(url, options);
            assert!(text.contains(hint), "{url}: {text}");
        }
        assert!(!refused("redis://u:s3cret@h/x", &[]).contains("s3cret"));
    }
}
