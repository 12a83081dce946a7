//! Field tables: headers of messages, arguments of declarations.

use bytes::Bytes;

use super::wire::{Field, LongStr, Reader, ShortStr, WireError, Writer};

/// Deepest nesting of tables and arrays that is read or written.
pub const MAX_TABLE_DEPTH: usize = 64;

/// Names and values in their order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table(pub Vec<(ShortStr, Value)>);

/// A typed value. Letters are RabbitMQ's, which py-amqp and pika write and read as well.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`; also read from `U`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`; also read from `L`
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: digits after the point, and the number without it
    Decimal(u8, i32),
    /// `S`
    Str(LongStr),
    /// `x`
    Bytes(LongStr),
    /// `A`
    Array(Vec<Value>),
    /// `T`: seconds since the epoch
    Timestamp(u64),
    /// `F`
    Table(Table),
    /// `V`
    Void,
}

impl Table {
    /// The value of the last field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(key, _)| key.as_bytes() == name.as_bytes()).map(|(_, value)| value)
    }

    /// The table of these fields, which have no length before them.
    ///
    /// # Errors
    /// The data ends within a field, the type of a value is unknown, tables nest too deep.
    pub fn from_fields(fields: &Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(fields);
        let mut found = Vec::new();
        while !reader.is_empty() {
            found.push((reader.short_str()?, Value::read(&mut reader, 0)?));
        }
        Ok(Self(found))
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: ShortStr, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    fn read_at(reader: &mut Reader<'_>, depth: usize) -> Result<Self, WireError> {
        let mut fields = Vec::new();
        reader.within(|reader| {
            fields.push((reader.short_str()?, Value::read(reader, depth)?));
            Ok(())
        })?;
        Ok(Self(fields))
    }

    fn write_at(&self, writer: &mut Writer<'_>, depth: usize) -> Result<(), WireError> {
        writer.within(|writer| {
            self.0.iter().try_for_each(|(name, value)| {
                writer.short_str(name);
                value.write(writer, depth)
            })
        })
    }
}

impl Field for Table {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Self::read_at(reader, 0)
    }
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        self.write_at(writer, 0)
    }
}

impl Value {
    fn read(reader: &mut Reader<'_>, depth: usize) -> Result<Self, WireError> {
        let at = reader.at();
        let letter = reader.u8()?;
        if matches!(letter, b'A' | b'F') && depth + 1 >= MAX_TABLE_DEPTH {
            return Err(reader.error("tables nested too deep"));
        }
        Ok(match letter {
            b't' => Self::Bool(reader.u8()? != 0),
            b'b' => Self::I8(i8::from_be_bytes(reader.array()?)),
            b'B' => Self::U8(reader.u8()?),
            b's' | b'U' => Self::I16(i16::from_be_bytes(reader.array()?)),
            b'u' => Self::U16(reader.u16()?),
            b'I' => Self::I32(i32::from_be_bytes(reader.array()?)),
            b'i' => Self::U32(reader.u32()?),
            b'l' | b'L' => Self::I64(i64::from_be_bytes(reader.array()?)),
            b'f' => Self::F32(f32::from_be_bytes(reader.array()?)),
            b'd' => Self::F64(f64::from_be_bytes(reader.array()?)),
            b'D' => Self::Decimal(reader.u8()?, i32::from_be_bytes(reader.array()?)),
            b'S' => Self::Str(reader.long_str()?),
            b'x' => Self::Bytes(reader.long_str()?),
            b'A' => {
                let mut members = Vec::new();
                reader.within(|reader| {
                    members.push(Self::read(reader, depth + 1)?);
                    Ok(())
                })?;
                Self::Array(members)
            }
            b'T' => Self::Timestamp(reader.u64()?),
            b'F' => Self::Table(Table::read_at(reader, depth + 1)?),
            b'V' => Self::Void,
            _ => return Err(WireError { what: "a value of unknown type", at }),
        })
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>, depth: usize) -> Result<(), WireError> {
        if matches!(self, Self::Array(_) | Self::Table(_)) && depth + 1 >= MAX_TABLE_DEPTH {
            return Err(writer.error("tables nested too deep"));
        }
        writer.raw(&[self.letter()]);
        match self {
            Self::Bool(value) => writer.raw(&[u8::from(*value)]),
            Self::I8(value) => writer.raw(&value.to_be_bytes()),
            Self::U8(value) => writer.raw(&[*value]),
            Self::I16(value) => writer.raw(&value.to_be_bytes()),
            Self::U16(value) => writer.raw(&value.to_be_bytes()),
            Self::I32(value) => writer.raw(&value.to_be_bytes()),
            Self::U32(value) => writer.raw(&value.to_be_bytes()),
            Self::I64(value) => writer.raw(&value.to_be_bytes()),
            Self::F32(value) => writer.raw(&value.to_be_bytes()),
            Self::F64(value) => writer.raw(&value.to_be_bytes()),
            Self::Decimal(scale, value) => {
                writer.raw(&[*scale]);
                writer.raw(&value.to_be_bytes());
            }
            Self::Str(value) | Self::Bytes(value) => return writer.long_str(&value.0),
            Self::Array(members) => {
                return writer.within(|writer| members.iter().try_for_each(|member| member.write(writer, depth + 1)));
            }
            Self::Timestamp(value) => writer.raw(&value.to_be_bytes()),
            Self::Table(table) => return table.write_at(writer, depth + 1),
            Self::Void => {}
        }
        Ok(())
    }

    fn letter(&self) -> u8 {
        match self {
            Self::Bool(_) => b't',
            Self::I8(_) => b'b',
            Self::U8(_) => b'B',
            Self::I16(_) => b's',
            Self::U16(_) => b'u',
            Self::I32(_) => b'I',
            Self::U32(_) => b'i',
            Self::I64(_) => b'l',
            Self::F32(_) => b'f',
            Self::F64(_) => b'd',
            Self::Decimal(..) => b'D',
            Self::Str(_) => b'S',
            Self::Bytes(_) => b'x',
            Self::Array(_) => b'A',
            Self::Timestamp(_) => b'T',
            Self::Table(_) => b'F',
            Self::Void => b'V',
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// As py-amqp chooses: 32 bits where they do, which a queue's arguments must agree in when it is declared again.
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        match i32::try_from(value) {
            Ok(value) if value != i32::MIN => Self::I32(value),
            _ => Self::I64(value),
        }
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Str(LongStr::new(value))
    }
}

impl From<Table> for Value {
    fn from(value: Table) -> Self {
        Self::Table(value)
    }
}
