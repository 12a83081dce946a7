//! The methods that a client of RabbitMQ needs, as one table. Fields that the specification reserves are written as
//! zeros and not kept.

use bytes::Bytes;

use super::table::Table;
use super::wire::{Field, LongStr, Reader, ShortStr, WireError, Writer};

/// `class { number "name" Variant [reserved] { fields } [reserved] }`
macro_rules! methods {
    ($($class:literal { $(
        $number:literal $text:literal $name:ident [$($before:ty)?] { $($field:ident: $type:ty),* } [$($behind:ty)*]
    )* })*) => {
        /// A method with its arguments.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the names are the specification's")]
        pub enum Method {
            $($($name { $($field: $type),* },)*)*
        }

        impl Method {
            /// Class and method number.
            #[must_use]
            pub fn id(&self) -> (u16, u16) {
                match self {
                    $($(Self::$name { .. } => ($class, $number),)*)*
                }
            }

            /// Reads the payload of a method frame.
            ///
            /// # Errors
            /// An unknown method, or arguments that are not what they should be.
            pub fn read(payload: &Bytes) -> Result<Self, WireError> {
                let mut reader = Reader::new(payload);
                let reader = &mut reader;
                let method = match (reader.u16()?, reader.u16()?) {
                    $($(($class, $number) => {
                        $(<$before>::read(reader)?;)?
                        $(let $field = <$type>::read(reader)?;)*
                        $(<$behind>::read(reader)?;)*
                        Self::$name { $($field),* }
                    })*)*
                    _ => return Err(WireError { what: "a method that this client does not know", at: 0 }),
                };
                reader.finish()?;
                Ok(method)
            }

            /// Appends the payload of a method frame.
            ///
            /// # Errors
            /// A table that nests too deep.
            pub fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
                let mut writer = Writer::new(out);
                let writer = &mut writer;
                match self {
                    $($(Self::$name { $($field),* } => {
                        let (class, number): (u16, u16) = ($class, $number);
                        class.write(writer)?;
                        number.write(writer)?;
                        $(<$before>::default().write(writer)?;)?
                        $($field.write(writer)?;)*
                        $(<$behind>::default().write(writer)?;)*
                    })*)*
                }
                Ok(())
            }
        }

        /// Name of a method by its numbers, as RabbitMQ's documentation has it.
        #[must_use]
        pub fn name(class: u16, method: u16) -> &'static str {
            match (class, method) {
                $($(($class, $number) => $text,)*)*
                _ => "an unknown method",
            }
        }
    };
}

methods! {
    10 {
        10 "connection.start" ConnectionStart [] {
            version_major: u8, version_minor: u8, server_properties: Table, mechanisms: LongStr, locales: LongStr
        } []
        11 "connection.start-ok" ConnectionStartOk [] {
            client_properties: Table, mechanism: ShortStr, response: LongStr, locale: ShortStr
        } []
        20 "connection.secure" ConnectionSecure [] { challenge: LongStr } []
        21 "connection.secure-ok" ConnectionSecureOk [] { response: LongStr } []
        30 "connection.tune" ConnectionTune [] { channel_max: u16, frame_max: u32, heartbeat: u16 } []
        31 "connection.tune-ok" ConnectionTuneOk [] { channel_max: u16, frame_max: u32, heartbeat: u16 } []
        40 "connection.open" ConnectionOpen [] { virtual_host: ShortStr } [ShortStr bool]
        41 "connection.open-ok" ConnectionOpenOk [] {} [ShortStr]
        50 "connection.close" ConnectionClose [] { code: u16, text: ShortStr, class: u16, method: u16 } []
        51 "connection.close-ok" ConnectionCloseOk [] {} []
        60 "connection.blocked" ConnectionBlocked [] { reason: ShortStr } []
        61 "connection.unblocked" ConnectionUnblocked [] {} []
    }
    20 {
        10 "channel.open" ChannelOpen [] {} [ShortStr]
        11 "channel.open-ok" ChannelOpenOk [] {} [LongStr]
        20 "channel.flow" ChannelFlow [] { active: bool } []
        21 "channel.flow-ok" ChannelFlowOk [] { active: bool } []
        40 "channel.close" ChannelClose [] { code: u16, text: ShortStr, class: u16, method: u16 } []
        41 "channel.close-ok" ChannelCloseOk [] {} []
    }
    40 {
        10 "exchange.declare" ExchangeDeclare [u16] {
            exchange: ShortStr, kind: ShortStr, passive: bool, durable: bool, auto_delete: bool, internal: bool,
            nowait: bool, arguments: Table
        } []
        11 "exchange.declare-ok" ExchangeDeclareOk [] {} []
        20 "exchange.delete" ExchangeDelete [u16] { exchange: ShortStr, if_unused: bool, nowait: bool } []
        21 "exchange.delete-ok" ExchangeDeleteOk [] {} []
        30 "exchange.bind" ExchangeBind [u16] {
            destination: ShortStr, source: ShortStr, routing_key: ShortStr, nowait: bool, arguments: Table
        } []
        31 "exchange.bind-ok" ExchangeBindOk [] {} []
        40 "exchange.unbind" ExchangeUnbind [u16] {
            destination: ShortStr, source: ShortStr, routing_key: ShortStr, nowait: bool, arguments: Table
        } []
        51 "exchange.unbind-ok" ExchangeUnbindOk [] {} []
    }
    50 {
        10 "queue.declare" QueueDeclare [u16] {
            queue: ShortStr, passive: bool, durable: bool, exclusive: bool, auto_delete: bool, nowait: bool,
            arguments: Table
        } []
        11 "queue.declare-ok" QueueDeclareOk [] { queue: ShortStr, messages: u32, consumers: u32 } []
        20 "queue.bind" QueueBind [u16] {
            queue: ShortStr, exchange: ShortStr, routing_key: ShortStr, nowait: bool, arguments: Table
        } []
        21 "queue.bind-ok" QueueBindOk [] {} []
        30 "queue.purge" QueuePurge [u16] { queue: ShortStr, nowait: bool } []
        31 "queue.purge-ok" QueuePurgeOk [] { messages: u32 } []
        40 "queue.delete" QueueDelete [u16] { queue: ShortStr, if_unused: bool, if_empty: bool, nowait: bool } []
        41 "queue.delete-ok" QueueDeleteOk [] { messages: u32 } []
        50 "queue.unbind" QueueUnbind [u16] {
            queue: ShortStr, exchange: ShortStr, routing_key: ShortStr, arguments: Table
        } []
        51 "queue.unbind-ok" QueueUnbindOk [] {} []
    }
    60 {
        10 "basic.qos" BasicQos [] { prefetch_size: u32, prefetch_count: u16, global: bool } []
        11 "basic.qos-ok" BasicQosOk [] {} []
        20 "basic.consume" BasicConsume [u16] {
            queue: ShortStr, consumer_tag: ShortStr, no_local: bool, no_ack: bool, exclusive: bool, nowait: bool,
            arguments: Table
        } []
        21 "basic.consume-ok" BasicConsumeOk [] { consumer_tag: ShortStr } []
        30 "basic.cancel" BasicCancel [] { consumer_tag: ShortStr, nowait: bool } []
        31 "basic.cancel-ok" BasicCancelOk [] { consumer_tag: ShortStr } []
        40 "basic.publish" BasicPublish [u16] {
            exchange: ShortStr, routing_key: ShortStr, mandatory: bool, immediate: bool
        } []
        50 "basic.return" BasicReturn [] {
            code: u16, text: ShortStr, exchange: ShortStr, routing_key: ShortStr
        } []
        60 "basic.deliver" BasicDeliver [] {
            consumer_tag: ShortStr, delivery_tag: u64, redelivered: bool, exchange: ShortStr, routing_key: ShortStr
        } []
        70 "basic.get" BasicGet [u16] { queue: ShortStr, no_ack: bool } []
        71 "basic.get-ok" BasicGetOk [] {
            delivery_tag: u64, redelivered: bool, exchange: ShortStr, routing_key: ShortStr, messages: u32
        } []
        72 "basic.get-empty" BasicGetEmpty [] {} [ShortStr]
        80 "basic.ack" BasicAck [] { delivery_tag: u64, multiple: bool } []
        90 "basic.reject" BasicReject [] { delivery_tag: u64, requeue: bool } []
        120 "basic.nack" BasicNack [] { delivery_tag: u64, multiple: bool, requeue: bool } []
    }
    85 {
        10 "confirm.select" ConfirmSelect [] { nowait: bool } []
        11 "confirm.select-ok" ConfirmSelectOk [] {} []
    }
}
