//! Who we are for the server, and what we say about ourselves.

use celeriac_protocol::amqp::{LongStr, ShortStr, Table, Value};

/// How one logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mechanism {
    /// User and password.
    Plain,
    /// The same as a table: RabbitMQ's own.
    AmqPlain,
    /// By what TLS knows already: the certificate.
    External,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::AmqPlain => "AMQPLAIN",
            Self::External => "EXTERNAL",
        }
    }
}

/// What the handshake needs.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) mechanism: Mechanism,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) virtual_host: ShortStr,
    /// Seconds between signs of life that we ask for; the server may want them more often. 0: none at all.
    pub(crate) heartbeat: u16,
    /// Shown in the server's list of connections.
    pub(crate) name: String,
}

impl Login {
    /// The answer to the server's question who we are.
    pub(super) fn response(&self) -> LongStr {
        match self.mechanism {
            Mechanism::Plain => LongStr::new(&format!("\0{}\0{}", self.user, self.password)),
            Mechanism::AmqPlain => {
                // A table without its length.
                let mut out = Vec::new();
                for (key, value) in [("LOGIN", &self.user), ("PASSWORD", &self.password)] {
                    out.push(u8::try_from(key.len()).unwrap_or_default());
                    out.extend_from_slice(key.as_bytes());
                    out.push(b'S');
                    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
                    out.extend_from_slice(value.as_bytes());
                }
                LongStr(out.into())
            }
            Mechanism::External => LongStr::default(),
        }
    }

    pub(super) fn client_properties(&self) -> Table {
        const CAPABILITIES: [&str; 6] = [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "authentication_failure_close",
        ];
        let mut capabilities = Table::default();
        for name in CAPABILITIES {
            capabilities = capabilities.with(ShortStr::literal(name), true);
        }
        Table::default()
            .with(ShortStr::literal("product"), "celeriac")
            .with(ShortStr::literal("version"), env!("CARGO_PKG_VERSION"))
            .with(ShortStr::literal("connection_name"), Value::from(&*self.name))
            .with(ShortStr::literal("capabilities"), capabilities)
    }
}
