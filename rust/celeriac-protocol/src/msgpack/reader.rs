//! Reads one token after the other; nothing is copied and nothing allocated.

/// What stands next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// nil.
    Nil,
    /// true or false.
    Bool(bool),
    /// An integer that fits in an `i64`.
    Int(i64),
    /// An integer above that.
    UInt(u64),
    /// A float of either width.
    Float(f64),
    /// Text; not checked to be UTF-8.
    Str(&'a [u8]),
    /// Bytes.
    Bin(&'a [u8]),
    /// An array; so many values follow, and there are at least as many bytes.
    Array(usize),
    /// A map; so many pairs follow, and there are at least twice as many bytes.
    Map(usize),
    /// An application's type: its number and data.
    Ext(i8, &'a [u8]),
}

/// Why bytes are not msgpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MsgpackError {
    /// They end before the value does, or a length says so.
    #[error("the data ends within a value at byte {0}")]
    Truncated(usize),
    /// A byte that begins no value.
    #[error("byte {0} is 0xc1, which begins no value")]
    Reserved(usize),
    /// Something follows the value.
    #[error("there is data after the end of the value at byte {0}")]
    ExtraData(usize),
}

/// Reads tokens from left to right.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Byte offset of the next token.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Succeeds if nothing is left.
    ///
    /// # Errors
    /// [`MsgpackError::ExtraData`].
    pub fn end(&self) -> Result<(), MsgpackError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(MsgpackError::ExtraData(self.at)) }
    }

    /// Takes the next token: a scalar whole, of a container only its head.
    ///
    /// # Errors
    /// [`MsgpackError`].
    pub fn next_token(&mut self) -> Result<Token<'a>, MsgpackError> {
        let start = self.at;
        let [marker] = self.take()?;
        Ok(match marker {
            0x00..=0x7F => Token::Int(i64::from(marker)),
            0x80..=0x8F => self.map(usize::from(marker & 0x0F))?,
            0x90..=0x9F => self.array(usize::from(marker & 0x0F))?,
            0xA0..=0xBF => Token::Str(self.slice(usize::from(marker & 0x1F))?),
            0xC0 => Token::Nil,
            0xC1 => return Err(MsgpackError::Reserved(start)),
            0xC2 => Token::Bool(false),
            0xC3 => Token::Bool(true),
            0xC4 => self.length8().and_then(|length| self.slice(length)).map(Token::Bin)?,
            0xC5 => self.length16().and_then(|length| self.slice(length)).map(Token::Bin)?,
            0xC6 => self.length32().and_then(|length| self.slice(length)).map(Token::Bin)?,
            0xC7 => self.length8().and_then(|length| self.ext(length))?,
            0xC8 => self.length16().and_then(|length| self.ext(length))?,
            0xC9 => self.length32().and_then(|length| self.ext(length))?,
            0xCA => Token::Float(f64::from(f32::from_be_bytes(self.take()?))),
            0xCB => Token::Float(f64::from_be_bytes(self.take()?)),
            0xCC => Token::Int(i64::from(u8::from_be_bytes(self.take()?))),
            0xCD => Token::Int(i64::from(u16::from_be_bytes(self.take()?))),
            0xCE => Token::Int(i64::from(u32::from_be_bytes(self.take()?))),
            0xCF => {
                let value = u64::from_be_bytes(self.take()?);
                i64::try_from(value).map_or(Token::UInt(value), Token::Int)
            }
            0xD0 => Token::Int(i64::from(i8::from_be_bytes(self.take()?))),
            0xD1 => Token::Int(i64::from(i16::from_be_bytes(self.take()?))),
            0xD2 => Token::Int(i64::from(i32::from_be_bytes(self.take()?))),
            0xD3 => Token::Int(i64::from_be_bytes(self.take()?)),
            0xD4..=0xD8 => self.ext(1 << (marker - 0xD4))?,
            0xD9 => self.length8().and_then(|length| self.slice(length)).map(Token::Str)?,
            0xDA => self.length16().and_then(|length| self.slice(length)).map(Token::Str)?,
            0xDB => self.length32().and_then(|length| self.slice(length)).map(Token::Str)?,
            0xDC => self.length16().and_then(|length| self.array(length))?,
            0xDD => self.length32().and_then(|length| self.array(length))?,
            0xDE => self.length16().and_then(|length| self.map(length))?,
            0xDF => self.length32().and_then(|length| self.map(length))?,
            0xE0..=0xFF => Token::Int(i64::from(marker.cast_signed())),
        })
    }

    fn array(&self, length: usize) -> Result<Token<'a>, MsgpackError> {
        self.room(length).map(|()| Token::Array(length))
    }

    fn map(&self, length: usize) -> Result<Token<'a>, MsgpackError> {
        self.room(length.saturating_mul(2)).map(|()| Token::Map(length))
    }

    fn ext(&mut self, length: usize) -> Result<Token<'a>, MsgpackError> {
        let kind = i8::from_be_bytes(self.take()?);
        self.slice(length).map(|data| Token::Ext(kind, data))
    }

    /// Every value takes a byte at least, so a longer container cannot be whole: nobody need make room for it.
    fn room(&self, values: usize) -> Result<(), MsgpackError> {
        if values <= self.bytes.len() - self.at { Ok(()) } else { Err(MsgpackError::Truncated(self.at)) }
    }

    fn length8(&mut self) -> Result<usize, MsgpackError> {
        self.take::<1>().map(|[length]| usize::from(length))
    }

    fn length16(&mut self) -> Result<usize, MsgpackError> {
        self.take().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn length32(&mut self) -> Result<usize, MsgpackError> {
        let length = u32::from_be_bytes(self.take()?);
        usize::try_from(length).map_err(|_| MsgpackError::Truncated(self.at))
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], MsgpackError> {
        let (slice, _) = self.bytes[self.at..].split_at_checked(length).ok_or(MsgpackError::Truncated(self.at))?;
        self.at += length;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], MsgpackError> {
        let (chunk, _) = self.bytes[self.at..].split_first_chunk().ok_or(MsgpackError::Truncated(self.at))?;
        self.at += N;
        Ok(*chunk)
    }
}
