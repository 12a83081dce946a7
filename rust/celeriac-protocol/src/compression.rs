//! Compression of bodies under Kombu's names. `lzma` and `brotli` are Python's (`celeriac._bridge.codec`).

use std::io::{self, Read, Write};

/// Why bytes could not be compressed or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// Not one of ours.
    #[error("unknown compression method {0:?}")]
    Unknown(String),
    /// The bytes are not what the method writes, or end early.
    #[error("damaged {0} data: {1}")]
    Damaged(&'static str, String),
    /// The output would be longer than the caller allows.
    #[error("the decompressed data is longer than {0} bytes")]
    TooLong(usize),
}

/// A method that the core knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A zlib stream, which Kombu calls gzip.
    Zlib,
    /// bzip2.
    Bzip2,
    /// A Zstandard frame.
    Zstd,
}

impl Method {
    /// By content type or alias.
    ///
    /// # Errors
    /// [`CompressionError::Unknown`].
    pub fn named(name: &str) -> Result<Self, CompressionError> {
        match name {
            "application/x-gzip" | "gzip" | "zlib" => Ok(Self::Zlib),
            "application/x-bz2" | "bzip2" | "bzip" => Ok(Self::Bzip2),
            "application/zstd" | "zstd" | "zstandard" => Ok(Self::Zstd),
            other => Err(CompressionError::Unknown(other.to_owned())),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Zlib => "zlib",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
        }
    }
}

/// `data` compressed by `method`, at the level that Kombu uses.
///
/// # Errors
/// [`CompressionError::Unknown`]; [`CompressionError::Damaged`] if the library fails, which it does not on memory.
pub fn compress(data: &[u8], method: &str) -> Result<Vec<u8>, CompressionError> {
    let method = Method::named(method)?;
    let written = match method {
        Method::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(data).and_then(|()| encoder.finish())
        }
        Method::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(data).and_then(|()| encoder.finish())
        }
        Method::Zstd => zstd::bulk::compress(data, 0),
    };
    written.map_err(|error| CompressionError::Damaged(method.name(), error.to_string()))
}

/// `data` decompressed by `method`, if that is at most `max_bytes` long. Memory grows with what is really there.
///
/// # Errors
/// [`CompressionError`].
pub fn decompress(data: &[u8], method: &str, max_bytes: usize) -> Result<Vec<u8>, CompressionError> {
    let method = Method::named(method)?;
    let damaged = |error: io::Error| CompressionError::Damaged(method.name(), error.to_string());
    match method {
        Method::Zlib => read(flate2::read::ZlibDecoder::new(data), max_bytes),
        Method::Bzip2 => read(bzip2::read::MultiBzDecoder::new(data), max_bytes),
        Method::Zstd => zstd::stream::read::Decoder::with_buffer(data).and_then(|decoder| read(decoder, max_bytes)),
    }
    .map_err(damaged)?
    .ok_or(CompressionError::TooLong(max_bytes))
}

/// `None` if there is more than `max_bytes`.
fn read(mut decoder: impl Read, max_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut output = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    decoder.by_ref().take(limit).read_to_end(&mut output)?;
    Ok((output.len() <= max_bytes).then_some(output))
}
