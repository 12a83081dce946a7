//! Why a connection or a channel is no more.

use celeriac_protocol::amqp::name;

/// What the server said when it closed a channel or the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// AMQP's reply code, as 404.
    pub(crate) code: u16,
    /// The server's words.
    pub(crate) text: String,
    /// Numbers of the method that it did not like; 0 for none.
    pub(crate) method: (u16, u16),
}

impl Refusal {
    /// The method that it did not like.
    pub(crate) fn method_name(&self) -> Option<&'static str> {
        (self.method != (0, 0)).then(|| name(self.method.0, self.method.1))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.code, self.text)?;
        match self.method_name() {
            Some(name) => write!(formatter, " (answer to {name})"),
            None => Ok(()),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// We closed it, and the server agreed.
    Ours,
    /// The server closed it.
    Refused(Refusal),
    /// The server went away without a word. `true`: when it had been told user and password, which old servers do to those
    /// they do not know.
    Gone(bool),
    /// No sign of life for two heartbeats.
    Silent,
    /// What came is not AMQP, or not in its order.
    Nonsense(String),
    /// The server wants another way to log in; the ways that it offers.
    Mechanism(String),
}
