//! What can go wrong between us and a server, and what it means.

use super::connection::{Ended, Refusal, Unsent};
use super::settings::Node;
use crate::contract::TransportError;

/// A failure below the contract.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The connection is no more, or no answer came in time: it is not known what was done.
    Broken(String),
    /// The server cannot serve now: try again.
    Later(String),
    /// The server closed the channel; the connection is good. Its words, and where it was.
    Refused(Refusal, String),
    /// The call cannot be carried out.
    Ours(TransportError),
}

/// Whom a fault speaks of.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) place: String,
    user: String,
    virtual_host: String,
    tls: bool,
}

impl Peer {
    pub(crate) fn new(node: &Node) -> Self {
        Self { place: node.place(), user: node.user.clone(), virtual_host: node.virtual_host.clone(), tls: node.tls }
    }

    /// Why the connection ended.
    pub(crate) fn ended(&self, ended: &Ended) -> Fault {
        let Self { place, user, virtual_host, tls } = self;
        let config = |text: String| Fault::Ours(TransportError::Config(text));
        match ended {
            Ended::Ours => Fault::Broken(format!("the connection to RabbitMQ at {place} is closed")),
            Ended::Gone(false) => Fault::Broken(format!("RabbitMQ at {place} closed the connection")),
            Ended::Gone(true) => self.denied("it closed the connection after the login"),
            Ended::Silent => Fault::Broken(format!(
                "RabbitMQ at {place} gave no sign of life for two heartbeats: connection dropped"
            )),
            Ended::Nonsense(what) => config(format!(
                "what answers at {place} does not speak AMQP 0-9-1 ({what}): check host and port{}",
                if *tls { "" } else { ", and whether it wants TLS ('amqps://')" }
            )),
            Ended::Mechanism(offered) => config(format!(
                "RabbitMQ at {place} does not offer the login method of the URL: set login_method to one of {offered}"
            )),
            Ended::Refused(refusal) => match refusal.code {
                403 if refusal.method == (0, 0) || refusal.method.0 == 10 => self.denied(&refusal.to_string()),
                530 | 402 if refusal.method == (10, 40) => config(format!(
                    "RabbitMQ at {place} does not let user '{user}' use the virtual host '{virtual_host}': {refusal}; create \
                     it (rabbitmqctl add_vhost, set_permissions), or name another behind the last '/' of the URL"
                )),
                501..=505 | 540 => config(format!("RabbitMQ at {place} closed the connection: {refusal}")),
                _ => Fault::Broken(format!("RabbitMQ at {place} closed the connection: {refusal}")),
            },
        }
    }

    /// Why a call could not be made.
    pub(crate) fn unsent(&self, unsent: Unsent) -> Fault {
        match unsent {
            Unsent::Ended(ended) => self.ended(&ended),
            Unsent::NoChannel => Fault::Broken(format!("the channel to RabbitMQ at {} is closed", self.place)),
            Unsent::NoRoom => Fault::Later(format!("all channels to RabbitMQ at {} are in use", self.place)),
            Unsent::Unsayable(error) => {
                Fault::Ours(TransportError::Refused(format!("the message cannot be sent by AMQP: {error}")))
            }
        }
    }

    /// The server closed the channel.
    pub(crate) fn refused(&self, refusal: Refusal) -> Fault {
        Fault::Refused(refusal, self.place.clone())
    }

    /// No answer in time.
    pub(crate) fn late(&self) -> Fault {
        Fault::Broken(format!("RabbitMQ at {} did not answer in time", self.place))
    }

    /// An alarm.
    pub(crate) fn blocked(&self, reason: &str) -> Fault {
        Fault::Later(format!(
            "RabbitMQ at {} takes no messages now ({reason}): free memory or disk on the server; what was sent may be stored once \
             there is room",
            self.place
        ))
    }

    /// The operating system, or TLS.
    pub(crate) fn io(&self, error: &std::io::Error) -> Fault {
        let place = &self.place;
        if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
            return Fault::Ours(TransportError::Config(format!(
                "TLS with RabbitMQ at {place} failed: {error}; name the authority that signed the server's certificate with \
                 'ssl_ca_certs=...' in the URL, and check that the port is the one for TLS"
            )));
        }
        Fault::Broken(format!("no connection to RabbitMQ at {place}: {error}"))
    }

    fn denied(&self, said: &str) -> Fault {
        let Self { place, user, .. } = self;
        let guest = if user == "guest" { " ('guest' may log in from the server's own machine only)" } else { "" };
        Fault::Ours(TransportError::Config(format!(
            "RabbitMQ at {place} refuses user '{user}'{guest}: {said}; check user, password and virtual host in the URL"
        )))
    }
}

impl Fault {
    /// As the contract says it.
    pub(crate) fn into_error(self) -> TransportError {
        match self {
            Self::Broken(text) | Self::Later(text) => TransportError::Unavailable(text),
            Self::Ours(error) => error,
            Self::Refused(refusal, place) => meant(&refusal, &place),
        }
    }
}

/// What the end of a channel means for the caller.
fn meant(refusal: &Refusal, place: &str) -> TransportError {
    let text = format!("RabbitMQ at {place} refused: {refusal}");
    match refusal.code {
        // The reply text names the argument with both values.
        406 if refusal.text.contains("inequivalent arg") => TransportError::Refused(format!(
            "{text}; it exists with other properties: declare it as it is (task_queues, Queue.queue_arguments, \
             task_default_queue_type), or delete it on the server once it is empty"
        )),
        406 if refusal.text.contains("timed out") => TransportError::Unavailable(format!(
            "{text}; a delivery was held longer than the server's consumer_timeout"
        )),
        403 => TransportError::Config(format!("{text}; give the user the right (rabbitmqctl set_permissions)")),
        404 => TransportError::Refused(format!("{text}; declare it first, or check its name")),
        405 => TransportError::Refused(format!("{text}; it is the exclusive queue of another connection")),
        506 => TransportError::Full(text),
        541 => TransportError::Unavailable(text),
        _ => TransportError::Refused(text),
    }
}

impl From<TransportError> for Fault {
    fn from(error: TransportError) -> Self {
        Self::Ours(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u16, text: &str, method: (u16, u16)) -> Refusal {
        Refusal { code, text: text.to_owned(), method }
    }

    #[test]
    fn ends_are_told_apart() {
        use TransportError::{Config, Refused, Unavailable};
        let node = Node {
            host: "h".into(),
            port: 1,
            tls: false,
            user: "guest".into(),
            password: "s3cret".into(),
            virtual_host: "v".into(),
        };
        let peer = Peer::new(&node);
        let ended = |ended: Ended| peer.ended(&ended).into_error();
        assert!(matches!(ended(Ended::Gone(false)), Unavailable(_)));
        assert!(matches!(ended(Ended::Gone(true)), Config(text) if text.contains("'guest'")));
        assert!(matches!(ended(Ended::Nonsense("x".into())), Config(text) if text.contains("amqps://")));
        let forced = Ended::Refused(refusal(320, "CONNECTION_FORCED", (0, 0)));
        assert!(matches!(ended(forced), Unavailable(text) if text.contains("320 CONNECTION_FORCED")));
        let vhost = Ended::Refused(refusal(530, "NOT_ALLOWED - vhost v not found", (10, 40)));
        assert!(matches!(ended(vhost), Config(text) if text.contains("'v'") && text.contains("add_vhost")));
        let channel = |code, text: &str| peer.refused(refusal(code, text, (50, 10))).into_error();
        let unlike = channel(406, "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'q'");
        assert!(matches!(&unlike, Refused(text) if text.contains("x-max-priority") && text.contains("queue.declare")));
        assert!(matches!(channel(404, "NOT_FOUND - no queue"), Refused(_)));
        assert!(matches!(channel(403, "ACCESS_REFUSED"), Config(_)));
        assert!(matches!(channel(406, "delivery acknowledgement on channel 1 timed out"), Unavailable(_)));
    }
}
