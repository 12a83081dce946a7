//! Options of a transport, from a URL's query and from the caller's table, as texts.

use std::collections::BTreeMap;

/// Option name to its text. A name in the URL wins over the same name in the table.
pub type Options = BTreeMap<String, String>;

/// Options of `broker_transport_options` that some transport knows, of ours or of Kombu's. A transport refuses a name
/// that is neither its own nor here, so that a slip of the pen is told; one that is here has no meaning for it.
const KNOWN_SOMEWHERE: [&str; 45] = [
    "ack_emulation",
    "allow_network_fs",
    "body_encoding",
    "busy_timeout",
    "client_name",
    "confirm_publish",
    "confirm_timeout",
    "deadletter_queue",
    "errback",
    "fanout_patterns",
    "fanout_prefix",
    "global_keyprefix",
    "health_check_interval",
    "interval_max",
    "interval_start",
    "interval_step",
    "lease",
    "master_name",
    "max_connections",
    "max_message_bytes",
    "max_retries",
    "min_other_sentinels",
    "polling_interval",
    "priority_steps",
    "queue_order_strategy",
    "retry_on_timeout",
    "retry_policy",
    "sentinel_fanout_compat",
    "sentinel_kwargs",
    "sep",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "socket_timeout",
    "synchronous",
    "unacked_index_key",
    "unacked_key",
    "unacked_mutex_expire",
    "unacked_mutex_key",
    "unacked_restore_interval",
    "unacked_restore_limit",
    "unacked_restore_throttle",
    "visibility_timeout",
    "virtual_host",
    "wait_for_interval",
];

/// Whether an option means something to some transport. The name of a table's member is `table.member`.
pub(crate) fn known_somewhere(name: &str) -> bool {
    let table = name.split('.').next().unwrap_or(name);
    KNOWN_SOMEWHERE.contains(&table)
}

/// The bytes that `%xx` in a URL stand for, as text.
pub(crate) fn percent_decoded(text: &str) -> Result<String, String> {
    if !text.contains('%') {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes
            .push(byte.ok_or_else(|| format!("'%' in '{text}' is not followed by two hex digits: write %25 for '%'"))?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("'{text}' is not UTF-8"))
}

/// A number of seconds between two bounds.
pub(crate) fn seconds(name: &str, value: &str, least: f64, most: f64) -> Result<std::time::Duration, String> {
    match value.parse::<f64>() {
        Ok(number) if number >= least && number <= most => Ok(std::time::Duration::from_secs_f64(number)),
        _ => Err(format!("{name} is a number of seconds from {least} to {most}, not '{value}'")),
    }
}

/// A whole number between two bounds.
pub(crate) fn whole(name: &str, value: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{name} is a number from {least} to {most}, not '{value}'"))
}

/// User and password of a URL.
pub(crate) type Login = (Option<String>, Option<String>);

/// `user:password`; what is empty is not given.
pub(crate) fn login(credentials: &str) -> Result<Login, String> {
    let hidden = |_| "a '%' in the password is not followed by two hex digits: write %25 for '%'".to_owned();
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(percent_decoded(password).map_err(hidden)?)),
        None => (credentials, None),
    };
    let user = percent_decoded(user)?;
    Ok(((!user.is_empty()).then_some(user), password.filter(|password| !password.is_empty())))
}

/// What is cut off at the wrong place may be part of a password: errors do not show it.
pub(crate) const ENCODE: &str = "in a user name or password write %2F for '/', %3F for '?' and %23 for '#'";

/// `host:port`, either of which may be left out.
pub(crate) fn host_port(place: &str, default: u16) -> Result<(String, u16), String> {
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (place, ""),
    };
    let port = match port {
        "" => default,
        digits => digits.parse().map_err(|_| format!("the port is no number from 1 to 65535; {ENCODE}"))?,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((if host.is_empty() { "localhost".to_owned() } else { percent_decoded(host)? }, port))
}

/// A truth value as people and Python write it.
pub(crate) fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err(format!("{name} is 'true' or 'false', not '{value}'")),
    }
}

/// `url` without its passwords, for logs and errors. A password may have '@', '/', '?' and '#' in it, which should be
/// percent-encoded, but often are not: all up to the last '@' is hidden.
#[must_use]
pub fn redacted(url: &str) -> String {
    let mut urls: Vec<String> = Vec::new();
    for piece in url.split(';') {
        match urls.last_mut() {
            Some(last) if !piece.contains("://") => {
                last.push(';');
                last.push_str(piece);
            }
            _ => urls.push(piece.to_owned()),
        }
    }
    urls.iter().map(|url| one_redacted(url)).collect::<Vec<_>>().join(";")
}

fn one_redacted(url: &str) -> String {
    let Some(at) = url.find("://") else { return url.to_owned() };
    let (scheme, rest) = url.split_at(at + 3);
    let rest = match rest.split_once('?') {
        Some((place, query)) => {
            format!("{place}?{}", query.split('&').map(option_redacted).collect::<Vec<_>>().join("&"))
        }
        None => rest.to_owned(),
    };
    let login = rest.find([':', '/', '@']).filter(|colon| rest[*colon..].starts_with(':')).zip(rest.rfind('@'));
    match login.filter(|(colon, end)| colon < end) {
        Some((colon, end)) => format!("{scheme}{}:**{}", &rest[..colon], &rest[end..]),
        None => format!("{scheme}{rest}"),
    }
}

fn option_redacted(pair: &str) -> String {
    let secret = |name: &str| ["password", "passwd", "secret", "token"].iter().any(|word| name.contains(word));
    match pair.split_once('=') {
        Some((name, _)) if secret(&name.to_ascii_lowercase()) => format!("{name}=**"),
        _ => pair.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn passwords_are_hidden_and_everything_else_stays() {
        assert_eq!(redacted("redis://:s3cret@cache:6379/0"), "redis://:**@cache:6379/0");
        assert_eq!(redacted("amqp://me:p@ss@host/v"), "amqp://me:**@host/v");
        assert_eq!(redacted("redis://me:p/a?s#s w;x@host/0"), "redis://me:**@host/0");
        assert_eq!(redacted("redis://h:1/0?db=1&password=p@w&x=y"), "redis://h:1/0?db=1&password=**&x=y");
        assert_eq!(redacted("redis://me@host:1/0"), "redis://me@host:1/0");
        assert_eq!(redacted("sqlite:////var/lib/a@b:c.db"), "sqlite:////var/lib/a@b:c.db");
        assert_eq!(redacted("nonsense"), "nonsense");
        assert_eq!(redacted("redis://:a@x;redis://u:b@y/1"), "redis://:**@x;redis://u:**@y/1");
    }
}
