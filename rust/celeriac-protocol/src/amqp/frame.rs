//! Frames: type, channel, length, payload, end mark.

use bytes::{Buf, Bytes, BytesMut};

use super::method::Method;
use super::properties::ContentHeader;
use super::wire::WireError;

/// What a client says first.
pub const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";
/// The whole frame.
pub const HEARTBEAT: &[u8; 8] = b"\x08\x00\x00\x00\x00\x00\x00\xce";
/// Bytes of a frame beside its payload.
pub const FRAME_OVERHEAD: usize = 8;
const END: u8 = 0xce;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A method.
    Method = 1,
    /// The header of a content.
    Header = 2,
    /// A part of a body.
    Body = 3,
    /// Nothing: a sign of life.
    Heartbeat = 8,
}

/// A frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// What it holds.
    pub kind: FrameKind,
    /// Its channel; 0 is the connection.
    pub channel: u16,
    /// Shares the buffer's memory.
    pub payload: Bytes,
}

/// Takes the first frame out of `buffer`; `None` until it is whole. A frame of more than `frame_max` bytes is an error as
/// soon as its length is known.
///
/// # Errors
/// What is there is no frame.
pub fn split(buffer: &mut BytesMut, frame_max: usize) -> Result<Option<Frame>, WireError> {
    let Some(&[kind, high, low, a, b, c, d]) = buffer.first_chunk() else { return Ok(None) };
    let kind = match kind {
        1 => FrameKind::Method,
        2 => FrameKind::Header,
        3 => FrameKind::Body,
        8 => FrameKind::Heartbeat,
        b'A' => return Err(WireError { what: "a server that offers another version of AMQP", at: 0 }),
        _ => return Err(WireError { what: "a frame of unknown type", at: 0 }),
    };
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if size > frame_max.saturating_sub(FRAME_OVERHEAD) {
        return Err(WireError { what: "a frame longer than was agreed", at: 3 });
    }
    match buffer.get(7 + size) {
        None => Ok(None),
        Some(&END) => {
            buffer.advance(7);
            let payload = buffer.split_to(size).freeze();
            buffer.advance(1);
            Ok(Some(Frame { kind, channel: u16::from_be_bytes([high, low]), payload }))
        }
        Some(_) => Err(WireError { what: "no end mark behind a frame", at: 7 + size }),
    }
}

fn frame(
    out: &mut Vec<u8>,
    kind: FrameKind,
    channel: u16,
    payload: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let start = out.len();
    out.push(kind as u8);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    let length = match payload(out) {
        Ok(()) => u32::try_from(out.len() - start - 7),
        Err(error) => {
            out.truncate(start); // half a frame would spoil all that follow
            return Err(error);
        }
    };
    let Ok(length) = length else {
        out.truncate(start);
        return Err(WireError { what: "a frame of 4 GiB or more", at: start });
    };
    out[start + 3..start + 7].copy_from_slice(&length.to_be_bytes());
    out.push(END);
    Ok(())
}

/// Appends a method's frame.
///
/// # Errors
/// A table that nests too deep; nothing is appended.
pub fn write_method(out: &mut Vec<u8>, channel: u16, method: &Method) -> Result<(), WireError> {
    frame(out, FrameKind::Method, channel, |out| method.write(out))
}

/// Appends `basic.ack`, the most frequent of them, with no detour.
pub fn write_ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    out.extend_from_slice(&[1]);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 13, 0, 60, 0, 80]);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.extend_from_slice(&[u8::from(multiple), END]);
}

/// Appends the frames of a content: its header, then its body in as many frames as `frame_max` makes it.
///
/// # Errors
/// Properties that do not fit in a frame; nothing is appended.
pub fn write_content(
    out: &mut Vec<u8>,
    channel: u16,
    properties: &[u8],
    body: &[u8],
    frame_max: usize,
) -> Result<(), WireError> {
    if 12 + properties.len() + FRAME_OVERHEAD > frame_max {
        return Err(WireError { what: "headers longer than a frame", at: 0 });
    }
    frame(out, FrameKind::Header, channel, |out| {
        ContentHeader::write(body.len() as u64, properties, out);
        Ok(())
    })?;
    write_body(out, channel, body, frame_max);
    Ok(())
}

/// Appends the frames of a body.
pub fn write_body(out: &mut Vec<u8>, channel: u16, body: &[u8], frame_max: usize) {
    let most = u32::try_from(frame_max.saturating_sub(FRAME_OVERHEAD).max(1)).unwrap_or(u32::MAX);
    for part in body.chunks(most as usize) {
        out.push(FrameKind::Body as u8);
        out.extend_from_slice(&channel.to_be_bytes());
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(most).to_be_bytes());
        out.extend_from_slice(part);
        out.push(END);
    }
}
