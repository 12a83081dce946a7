//! Any bytes as an envelope: found or refused, and what was found can be looked at.
#![no_main]

use celeriac_protocol::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let message = Message::scan(bytes::Bytes::copy_from_slice(data));
    assert_eq!(&message.raw[..], data);
    let body = message.body();
    if let Ok(head) = &message.head {
        assert!(!message.text(&head.id).is_empty());
        assert!(!message.text(&head.task).is_empty());
        assert!(head.priority <= 9);
        assert!(head.time_limit.is_none_or(|limit| limit.is_finite() && limit > 0.0));
        for span in [head.headers, head.properties, head.body] {
            assert!(span.start <= span.end && span.end as usize <= data.len());
        }
    } else {
        assert!(body.is_err());
    }
});
