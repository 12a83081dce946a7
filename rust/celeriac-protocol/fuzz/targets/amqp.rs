//! Any bytes as AMQP frames, as one payload, and as an envelope: read or refused; what is read is written and read as the same.
#![no_main]

use bytes::{Bytes, BytesMut};
use celeriac_protocol::amqp::{ContentHeader, FrameKind, Method, envelope, split, write_content, write_method};
use libfuzzer_sys::fuzz_target;

fn method(payload: &Bytes) {
    let Ok(method) = Method::read(payload) else { return };
    let mut out = Vec::new();
    write_method(&mut out, 1, &method).unwrap();
    let frame = split(&mut BytesMut::from(&out[..]), usize::MAX).unwrap().unwrap();
    // By its text: a NaN in a table is not equal to itself.
    assert_eq!(format!("{:?}", Method::read(&frame.payload).unwrap()), format!("{method:?}"));
}

fn header(payload: &Bytes) {
    let Ok(header) = ContentHeader::read(payload) else { return };
    let Ok(properties) = header.properties() else { return };
    let (mut raw, mut out) = (Vec::new(), Vec::new());
    properties.write(&mut raw).unwrap();
    write_content(&mut out, 1, &raw, b"", usize::MAX).unwrap();
    let frame = split(&mut BytesMut::from(&out[..]), usize::MAX).unwrap().unwrap();
    let again = ContentHeader::read(&frame.payload).unwrap().properties().unwrap();
    assert_eq!(format!("{again:?}"), format!("{properties:?}"));
}

fuzz_target!(|data: &[u8]| {
    let mut input = BytesMut::from(data);
    while let Ok(Some(frame)) = split(&mut input, 1 << 20) {
        match frame.kind {
            FrameKind::Method => method(&frame.payload),
            FrameKind::Header => header(&frame.payload),
            FrameKind::Body | FrameKind::Heartbeat => {}
        }
    }
    let payload = Bytes::copy_from_slice(data);
    method(&payload);
    header(&payload);
    if let Ok(parts) = envelope::parts(data) {
        let mut out = Vec::new();
        write_content(&mut out, 1, &parts.properties, &parts.body, usize::MAX).unwrap();
        let frame = split(&mut BytesMut::from(&out[..]), usize::MAX).unwrap().unwrap();
        ContentHeader::read(&frame.payload).unwrap().properties().unwrap();
    }
});
