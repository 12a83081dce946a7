//! The content header: how long a body is, and what the sender says about it.

use bytes::Bytes;

use super::table::Table;
use super::wire::{Field, Reader, ShortStr, WireError, Writer};

const BASIC: u16 = 60;

macro_rules! properties {
    ($($bit:literal $name:ident: $type:ty,)*) => {
        /// Properties of a message.
        #[derive(Debug, Clone, PartialEq, Default)]
        #[expect(missing_docs, reason = "the names are the specification's")]
        pub struct Properties {
            $(pub $name: Option<$type>,)*
        }

        impl Properties {
            /// Reads flags and values, and nothing behind them.
            ///
            /// # Errors
            /// A value of unknown type, a length that is wrong, nesting too deep.
            pub fn from_bytes(bytes: &Bytes) -> Result<Self, WireError> {
                let mut reader = Reader::new(bytes);
                let properties = Self::read(&mut reader)?;
                reader.finish()?;
                Ok(properties)
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
                let flags = reader.u16()?;
                if flags & 3 != 0 {
                    return Err(reader.error("properties that this client does not know"));
                }
                let mut properties = Self::default();
                $(if flags & 1 << $bit != 0 {
                    properties.$name = Some(<$type>::read(reader)?);
                })*
                Ok(properties)
            }

            /// Appends flags and values.
            ///
            /// # Errors
            /// A table that nests too deep.
            pub fn write(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
                let flags = 0u16 $(| u16::from(self.$name.is_some()) << $bit)*;
                let mut writer = Writer::new(out);
                flags.write(&mut writer)?;
                $(if let Some(value) = &self.$name {
                    value.write(&mut writer)?;
                })*
                Ok(())
            }
        }
    };
}

properties! {
    15 content_type: ShortStr,
    14 content_encoding: ShortStr,
    13 headers: Table,
    12 delivery_mode: u8,
    11 priority: u8,
    10 correlation_id: ShortStr,
    9 reply_to: ShortStr,
    8 expiration: ShortStr,
    7 message_id: ShortStr,
    6 timestamp: u64,
    5 kind: ShortStr,
    4 user_id: ShortStr,
    3 app_id: ShortStr,
    2 cluster_id: ShortStr,
}

/// What comes before a body.
///
/// The properties stay as they came: reading them may fail for what another client wrote, and that must cost one message,
/// not the connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ContentHeader {
    /// Bytes of the body that follows.
    pub body_size: u64,
    properties: Bytes,
}

impl ContentHeader {
    /// Reads the payload of a header frame.
    ///
    /// # Errors
    /// It is too short, or of another class.
    pub fn read(payload: &Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(payload);
        if reader.u16()? != BASIC {
            return Err(WireError { what: "a content header of a class that has none", at: 0 });
        }
        reader.u16()?; // weight: reserved
        Ok(Self { body_size: reader.u64()?, properties: reader.rest() })
    }

    /// Appends the payload of a header frame; `properties` as [`Properties::write`] made them.
    pub fn write(body_size: u64, properties: &[u8], out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.raw(&BASIC.to_be_bytes());
        writer.raw(&[0, 0]);
        writer.raw(&body_size.to_be_bytes());
        writer.raw(properties);
    }

    /// What the sender says.
    ///
    /// # Errors
    /// A value of unknown type, a length that is wrong, nesting too deep.
    pub fn properties(&self) -> Result<Properties, WireError> {
        Properties::from_bytes(&self.properties)
    }

    /// Flags and values as they came.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.properties
    }
}
