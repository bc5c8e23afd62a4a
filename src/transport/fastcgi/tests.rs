//! Whatever bytes come. `tests/fuzz` goes further, with the compiler's help.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use super::conversation::Conversation;
use super::params::{LONGEST, MOST, Params, put_pair};
use super::record::{Record, Records};

/// Every record there is, and whether the rest is none.
fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Record>, bool) {
    let (mut buffer, mut records) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match Records.decode(&mut buffer) {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(_) => return (records, true),
            }
        }
    }
    (records, false)
}

/// Records such as may well come: few requests, known kinds, short.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let begin = prop::sample::select(vec![vec![0, 2, 1, 0, 0, 0, 0, 0], vec![0, 1, 0, 0, 0, 0, 0, 0]]);
    let pairs = prop::sample::select(vec![b"\x01\x01Aa".to_vec(), b"\x80\0\0\x01\x01Bb".to_vec(), b"\x05".to_vec()]);
    let content = prop_oneof![begin, pairs, Just(Vec::new()), vec(any::<u8>(), 0..40)];
    let record = (0..13_u8, 0..3_u8, content, 0..9_u8).prop_map(|(kind, request, content, padding)| {
        let length = u8::try_from(content.len()).unwrap();
        [&[1, kind, 0, request, 0, length, padding, 0][..], &content, &vec![0; padding.into()]].concat()
    });
    vec(record, 0..40).prop_map(|records| records.concat())
}

proptest! {
    #[test]
    fn records_are_the_same_however_they_are_cut(
        bytes in prop_oneof![likely(), vec(any::<u8>(), 0..400)],
        size in 1..30_usize,
    ) {
        prop_assert_eq!(decoded([&bytes[..]]), decoded(bytes.chunks(size)));
    }

    #[test]
    fn no_conversation_panics_or_holds_more_than_it_may(bytes in likely(), answers in vec(any::<bool>(), 40)) {
        let mut conversation = Conversation::new(1);
        for (record, answer) in decoded([&bytes[..]]).0.into_iter().zip(answers) {
            if conversation.take(record).is_err() {
                break;
            }
            prop_assert!(conversation.held() <= LONGEST);
            // A request that is still being read is not there to be answered.
            if answer && conversation.held() == 0 && !conversation.is_idle() {
                conversation.answered();
                prop_assert!(conversation.is_idle());
            }
        }
    }

    #[test]
    fn variables_arrive_as_they_were_sent(pairs in vec(("[A-Z]{1,200}", vec(any::<u8>(), 0..300)), 0..20)) {
        let mut stream = BytesMut::new();
        pairs.iter().for_each(|(name, value)| put_pair(&mut stream, name.as_bytes(), value));
        let names: std::collections::HashSet<&String> = pairs.iter().map(|(name, _)| name).collect();
        match Params::read(stream.freeze()) {
            Ok(params) => pairs.iter().for_each(|(name, value)| assert_eq!(params.get(name), Some(&value[..]))),
            Err(_) => prop_assert!(names.len() < pairs.len()),
        }
    }

    #[test]
    fn no_bytes_are_too_much_for_variables(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(params) = Params::read(Bytes::from(bytes)) {
            assert!(params.headers().count() <= MOST);
            params.headers().for_each(|(name, _)| assert!(!name.is_empty()));
        }
    }
}
