//! Reads AMQP frames from its input until the end, takes each apart and writes it again, as this crate writes it. The tests compare
//! what comes out with what other clients read and write.

use std::io::{Read, Write};

use bytes::BytesMut;
use celeriac_protocol::amqp::{ContentHeader, FrameKind, Method, split, write_body, write_content, write_method};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let mut input = BytesMut::from(&bytes[..]);
    let mut out = Vec::new();
    while let Some(frame) = split(&mut input, usize::MAX)? {
        match frame.kind {
            FrameKind::Method => write_method(&mut out, frame.channel, &Method::read(&frame.payload)?)?,
            FrameKind::Header => {
                let header = ContentHeader::read(&frame.payload)?;
                let mut properties = Vec::new();
                header.properties()?.write(&mut properties)?;
                let start = out.len();
                write_content(&mut out, frame.channel, &properties, &[], usize::MAX)?;
                // The body comes in frames of its own: only its length belongs here.
                out[start + 11..start + 19].copy_from_slice(&header.body_size.to_be_bytes());
            }
            FrameKind::Body => write_body(&mut out, frame.channel, &frame.payload, usize::MAX),
            FrameKind::Heartbeat => out.extend_from_slice(celeriac_protocol::amqp::HEARTBEAT),
        }
    }
    if !input.is_empty() {
        return Err("the input ends within a frame".into());
    }
    std::io::stdout().write_all(&out)?;
    Ok(())
}
