//! The elementary types.

use std::borrow::Cow;

use bytes::Bytes;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct WireError {
    /// What was expected, or what is wrong.
    pub what: &'static str,
    /// Where in the payload.
    pub at: usize,
}

/// A name of at most 255 bytes; text, unless a foreign client thought otherwise.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ShortStr(Bytes);

impl ShortStr {
    /// For names that are part of the program.
    ///
    /// # Panics
    /// Over 255 bytes; in a constant, that does not compile.
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        assert!(text.len() <= 255, "a short string has at most 255 bytes");
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// # Errors
    /// Over 255 bytes.
    pub fn new(text: &str) -> Result<Self, WireError> {
        Self::from_bytes(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// # Errors
    /// Over 255 bytes.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, WireError> {
        if bytes.len() > 255 {
            return Err(WireError { what: "a name of more than 255 bytes", at: 255 });
        }
        Ok(Self(bytes))
    }

    /// As they stand on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text; what is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for ShortStr {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text().fmt(formatter)
    }
}

/// Bytes with a length of 32 bits; text or not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LongStr(pub Bytes);

impl LongStr {
    /// Copies `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The text; what is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl std::fmt::Debug for LongStr {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text().fmt(formatter)
    }
}

/// Reads a payload from its start. What it gives out shares the payload's memory.
#[derive(Debug)]
pub struct Reader<'a> {
    data: &'a Bytes,
    at: usize,
    end: usize,
    /// The octet that bits are being taken from, and how many are.
    bits: (u8, u8),
}

impl<'a> Reader<'a> {
    /// At the first byte.
    #[must_use]
    pub fn new(data: &'a Bytes) -> Self {
        Self { data, at: 0, end: data.len(), bits: (0, 0) }
    }

    /// Where it stands.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// An error at this place.
    #[must_use]
    pub fn error(&self, what: &'static str) -> WireError {
        WireError { what, at: self.at }
    }

    /// # Errors
    /// There is more.
    pub fn finish(&self) -> Result<(), WireError> {
        if self.is_empty() { Ok(()) } else { Err(self.error("bytes behind the last field")) }
    }

    fn take(&mut self, count: usize) -> Result<usize, WireError> {
        let from = self.at;
        if count > self.end - from {
            return Err(self.error("the data ends before its field does"));
        }
        self.at += count;
        self.bits.1 = 0;
        Ok(from)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let from = self.take(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.data[from..from + N]);
        Ok(bytes)
    }

    /// # Errors
    /// The data ends.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    /// # Errors
    /// The data ends.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    /// # Errors
    /// The data ends.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// # Errors
    /// The data ends.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next of up to eight bits in one octet.
    ///
    /// # Errors
    /// The data ends.
    pub fn bit(&mut self) -> Result<bool, WireError> {
        if self.bits.1.is_multiple_of(8) {
            self.bits = (self.u8()?, 0);
        }
        let bit = self.bits.0 >> self.bits.1 & 1 == 1;
        self.bits.1 += 1;
        Ok(bit)
    }

    /// # Errors
    /// The data ends.
    pub fn short_str(&mut self) -> Result<ShortStr, WireError> {
        let length = usize::from(self.u8()?);
        let from = self.take(length)?;
        Ok(ShortStr(self.data.slice(from..self.at)))
    }

    /// # Errors
    /// The data ends.
    pub fn long_str(&mut self) -> Result<LongStr, WireError> {
        let length = self.length()?;
        let from = self.take(length)?;
        Ok(LongStr(self.data.slice(from..self.at)))
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> Bytes {
        self.data.slice(self.at..self.end)
    }

    /// Runs `read` until the end of the part that a length of 32 bits announces.
    pub(super) fn within(&mut self, mut read: impl FnMut(&mut Self) -> Result<(), WireError>) -> Result<(), WireError> {
        let length = self.length()?;
        if length > self.end - self.at {
            return Err(self.error("the data ends before its table does"));
        }
        let outer = std::mem::replace(&mut self.end, self.at + length);
        while !self.is_empty() {
            read(self)?;
        }
        self.end = outer;
        self.bits.1 = 0;
        Ok(())
    }

    fn length(&mut self) -> Result<usize, WireError> {
        let length = self.u32()?;
        usize::try_from(length).map_err(|_| self.error("a length beyond this machine's memory"))
    }
}

/// Appends fields to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Bits in the last octet; 0: it is no octet of bits.
    bits: u8,
}

impl<'a> Writer<'a> {
    /// Behind what `out` holds.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, bits: 0 }
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.bits = 0;
    }

    /// The next of up to eight bits in one octet.
    pub fn bit(&mut self, bit: bool) {
        if self.bits.is_multiple_of(8) {
            self.out.push(0);
            self.bits = 0;
        }
        if let Some(last) = self.out.last_mut() {
            *last |= u8::from(bit) << self.bits;
        }
        self.bits += 1;
    }

    /// A name.
    pub fn short_str(&mut self, text: &ShortStr) {
        // The type holds no more than 255.
        self.raw(&[u8::try_from(text.0.len()).unwrap_or(u8::MAX)]);
        self.raw(&text.0);
    }

    /// Bytes with their length.
    ///
    /// # Errors
    /// 4 GiB or more.
    pub fn long_str(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let length = u32::try_from(bytes.len()).map_err(|_| self.error("a string of 4 GiB or more"))?;
        self.raw(&length.to_be_bytes());
        self.raw(bytes);
        Ok(())
    }

    /// What `write` appends, with its length before it.
    pub(super) fn within(&mut self, write: impl FnOnce(&mut Self) -> Result<(), WireError>) -> Result<(), WireError> {
        let start = self.out.len();
        self.raw(&[0; 4]);
        write(self)?;
        let length = u32::try_from(self.out.len() - start - 4).map_err(|_| self.error("a table of 4 GiB or more"))?;
        self.out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.bits = 0;
        Ok(())
    }

    pub(super) fn error(&self, what: &'static str) -> WireError {
        WireError { what, at: self.out.len() }
    }
}

/// A type of a method's field.
pub(super) trait Field: Sized {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError>;
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WireError>;
}

macro_rules! numbers {
    ($($type:ident)*) => {
        $(impl Field for $type {
            fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
                reader.$type()
            }
            fn write(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
                writer.raw(&self.to_be_bytes());
                Ok(())
            }
        })*
    };
}

numbers!(u8 u16 u32 u64);

impl Field for bool {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.bit()
    }
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        writer.bit(*self);
        Ok(())
    }
}

impl Field for ShortStr {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.short_str()
    }
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        writer.short_str(self);
        Ok(())
    }
}

impl Field for LongStr {
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        reader.long_str()
    }
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WireError> {
        writer.long_str(&self.0)
    }
}
