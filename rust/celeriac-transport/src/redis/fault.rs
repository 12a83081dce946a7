//! What can go wrong between us and a server, and what it means.

use redis::{ErrorKind, RedisError, ServerError};

use crate::contract::TransportError;

/// A failure below the contract.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection is no more, or no answer came in time: it is not known what was done.
    Broken(String),
    /// The server answers, but cannot serve now: try again. `true`: on a new connection.
    Later(String, bool),
    /// The call cannot be carried out.
    Ours(TransportError),
}

impl Fault {
    /// A failure of the library.
    pub(crate) fn of(error: &RedisError, place: &str, user: Option<&str>) -> Self {
        match error.kind() {
            ErrorKind::Io | ErrorKind::Parse if error.is_timeout() => {
                Self::Broken(format!("Redis at {place} did not answer in time"))
            }
            ErrorKind::Io if error.to_string().contains("certificate") => Self::Ours(TransportError::Config(format!(
                "TLS with Redis at {place} failed: {error}; name the authority that signed the server's certificate with \
                 'ssl_ca_certs=...' in the URL"
            ))),
            ErrorKind::Io => Self::Broken(format!("no connection to Redis at {place}: {error}")),
            ErrorKind::Parse => Self::Ours(TransportError::Config(format!(
                "what answers at {place} does not speak Redis' protocol ({error}): check host and port, and whether it \
                 wants TLS ('rediss://')"
            ))),
            ErrorKind::InvalidClientConfig => {
                Self::Ours(TransportError::Config(format!("cannot connect to Redis at {place}: {error}")))
            }
            ErrorKind::AuthenticationFailed => Self::Ours(denied(place, user, &error.to_string())),
            _ => {
                let code = error.code().unwrap_or_default();
                Self::said(code, error.detail().unwrap_or_default(), place, user)
            }
        }
    }

    /// An error that the server answered with.
    pub(crate) fn server(error: &ServerError, place: &str, user: Option<&str>) -> Self {
        Self::said(error.code(), error.details().unwrap_or_default(), place, user)
    }

    /// What only a node of a cluster that we know as such says: where else the keys are, or will be.
    pub(crate) fn of_cluster(error: &ServerError, place: &str) -> Option<Self> {
        let reconnect = match error.code() {
            "MOVED" | "CLUSTERDOWN" => true,
            "ASK" | "TRYAGAIN" => false, // until all keys are there
            _ => return None,
        };
        let detail = error.details().unwrap_or_default();
        Some(Self::Later(format!("Redis Cluster is changing, says {place}: {} {detail}", error.code()), reconnect))
    }

    /// As [`Fault::server`], for the text of an error that a script caught.
    pub(crate) fn text(text: &str, place: &str, user: Option<&str>) -> Self {
        let (code, detail) = text.split_once(' ').unwrap_or((text, ""));
        Self::said(code, detail, place, user)
    }

    fn said(code: &str, detail: &str, place: &str, user: Option<&str>) -> Self {
        // An error inside a script comes as 'ERR Error running script ...: @user_script:1: OOM ...' from old servers.
        let inner =
            detail.rsplit_once("@user_script:").and_then(|(_, rest)| rest.split_once(": ")).map(|(_, said)| said);
        let code = inner.and_then(|said| said.split(' ').next()).filter(|word| is_code(word)).unwrap_or(code);
        let config = |text: String| Self::Ours(TransportError::Config(text));
        match code {
            "READONLY" | "MASTERDOWN" | "UNBLOCKED" => {
                Self::Later(format!("Redis at {place} is no master: {detail}"), true)
            }
            "LOADING" | "TRYAGAIN" | "CLUSTERDOWN" | "BUSY" | "NOREPLICAS" => {
                Self::Later(format!("Redis at {place} cannot serve now: {code} {detail}"), false)
            }
            "MOVED" | "ASK" | "CROSSSLOT" => config(format!(
                "Redis at {place} is part of a cluster ({code} {detail}): write 'redis+cluster://host:port/' for queues \
                 in a Redis Cluster (Celery cannot share those), or use a server of its own"
            )),
            "OOM" => Self::Ours(TransportError::Full(format!(
                "Redis at {place} has no memory left (maxmemory); nothing was stored: {detail}; raise maxmemory, or let \
                 workers drain the queues"
            ))),
            "MISCONF" => Self::Ours(TransportError::Full(format!(
                "Redis at {place} cannot save to its disk and refuses to write: {detail}"
            ))),
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Self::Ours(denied(place, user, detail)),
            "ERR" if detail.contains("AUTH") || detail.contains("invalid password") => {
                Self::Ours(denied(place, user, detail))
            }
            "ERR" if detail.contains("DB index") || detail.contains("invalid DB") => {
                config(format!("Redis at {place} has no such database: {detail}"))
            }
            "ERR" if detail.contains("cluster support disabled") => {
                config(format!("Redis at {place} is no cluster: write 'redis://host:port/0'"))
            }
            "ERR"
                if ["unknown command", "Unknown Redis command", "syntax error"]
                    .iter()
                    .any(|said| detail.contains(said)) =>
            {
                config(format!(
                    "Redis at {place} does not know a command: {detail}; Redis 6.2 or later is needed, 7.0 or later for \
                     results in a cluster"
                ))
            }
            "WRONGTYPE" => Self::Ours(TransportError::Refused(format!(
                "a key of Redis at {place} has another type than celeriac's data of that name: {detail}; use another \
                 queue name, database or global_keyprefix"
            ))),
            _ => Self::Ours(TransportError::Refused(format!("Redis at {place} refused: {code} {detail}"))),
        }
    }

    /// As the contract says it.
    pub(crate) fn into_error(self) -> TransportError {
        match self {
            Self::Broken(text) | Self::Later(text, _) => TransportError::Unavailable(text),
            Self::Ours(error) => error,
        }
    }
}

impl From<TransportError> for Fault {
    fn from(error: TransportError) -> Self {
        Self::Ours(error)
    }
}

fn is_code(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn denied(place: &str, user: Option<&str>, said: &str) -> TransportError {
    let who = user.unwrap_or("default");
    TransportError::Config(format!(
        "Redis at {place} denies user '{who}': {said}; check user and password in the URL, and the user's rights (ACL: \
         all keys, channels and commands but administration)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> TransportError {
        Fault::text(text, "h:1", Some("me")).into_error()
    }

    #[test]
    fn errors_are_told_apart() {
        use TransportError::{Config, Full, Refused, Unavailable};
        assert!(matches!(text("OOM command not allowed"), Full(_)));
        assert!(matches!(
            text("ERR Error running script (call to f_1): @user_script:1: OOM command not allowed when used memory"),
            Full(_)
        ));
        assert!(matches!(text("LOADING Redis is loading"), Unavailable(_)));
        assert!(matches!(text("READONLY You can't write"), Unavailable(_)));
        assert!(matches!(text("WRONGTYPE Operation against"), Refused(_)));
        for said in ["NOAUTH Authentication required.", "WRONGPASS invalid", "NOPERM this user"] {
            assert!(matches!(text(said), Config(told) if told.contains("'me'")));
        }
        assert!(matches!(text("MOVED 1 h:2"), Config(told) if told.contains("redis+cluster://")));
        assert!(matches!(text("ERR unknown command 'LMOVE'"), Config(told) if told.contains("6.2")));
        assert!(matches!(text("ERR Unknown Redis command called from script"), Config(told) if told.contains("7.0")));
    }
}
