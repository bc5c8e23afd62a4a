//! Whatever bytes come. `tests/fuzz` goes further, with the compiler's help.

use proptest::collection::vec;
use proptest::prelude::*;

use super::conversation::{Conversation, Event};
use super::params::{Gathering, LONGEST, MOST, put_pair};
use super::record::{Record, cut_off};

/// Every record there is, and whether the rest is none.
fn cut(mut bytes: &[u8]) -> (Vec<Record<'_>>, bool) {
    let mut records = Vec::new();
    loop {
        match cut_off(&mut bytes) {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, false),
            Err(_) => return (records, true),
        }
    }
}

fn gathered(stream: &[u8]) -> Gathering {
    let mut gathering = Gathering::default();
    gathering.add(stream);
    gathering
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
    fn records_are_the_same_however_much_of_them_is_there(
        bytes in prop_oneof![likely(), vec(any::<u8>(), 0..400)],
        end in any::<prop::sample::Index>(),
    ) {
        let (whole, is_bad) = cut(&bytes);
        let (beginning, was_bad) = cut(&bytes[..end.index(bytes.len() + 1)]);
        prop_assert!(whole.starts_with(&beginning) && (is_bad || !was_bad));
    }

    #[test]
    fn no_conversation_panics_or_holds_more_than_it_may(bytes in likely(), answers in vec(any::<bool>(), 40)) {
        let mut conversation = Conversation::new(1);
        let mut waiting = None;
        for (record, answer) in cut(&bytes).0.into_iter().zip(answers) {
            match conversation.take(record) {
                Ok(Event::Asked(request)) => waiting = Some(request),
                Ok(Event::Aborted(_)) => prop_assert!(waiting.take().is_some() && conversation.is_idle()),
                Ok(_) => {}
                Err(_) => break,
            }
            prop_assert!(conversation.held() <= LONGEST);
            if let Some(request) = waiting.take_if(|_| answer) {
                conversation.answered();
                conversation.reuse(request.variables);
                prop_assert!(conversation.is_idle() && conversation.held() == 0);
            }
        }
    }

    #[test]
    fn variables_arrive_as_they_were_sent(pairs in vec(("[A-Z]{1,200}", vec(any::<u8>(), 0..300)), 0..20)) {
        let mut stream = Vec::new();
        pairs.iter().for_each(|(name, value)| put_pair(&mut stream, name.as_bytes(), value));
        let names: std::collections::HashSet<&String> = pairs.iter().map(|(name, _)| name).collect();
        match gathered(&stream).read() {
            Ok(params) => pairs.iter().for_each(|(name, value)| assert_eq!(params.get(name), Some(&value[..]))),
            Err(_) => prop_assert!(names.len() < pairs.len()),
        }
    }

    #[test]
    fn no_bytes_are_too_much_for_variables(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(params) = gathered(&bytes).read() {
            assert!(params.headers().count() <= MOST);
            params.headers().for_each(|(name, _)| assert!(!name.is_empty()));
        }
    }

    /// Few letters, so that names are the same now and then, in one way or the other.
    #[test]
    fn names_are_there_twice_wherever_they_stand(names in vec("(HTTP_)?[Aa_-]{1,2}", 0..80)) {
        let mut stream = Vec::new();
        names.iter().for_each(|name| put_pair(&mut stream, name.as_bytes(), b""));
        let folded = |name: &String| match name.strip_prefix("HTTP_") {
            Some(word) => format!("HTTP_{}", word.to_uppercase().replace('-', "_")),
            None => name.clone(),
        };
        let may_repeat = |name: &String| name.strip_prefix("HTTP_").is_some_and(|word| !word.contains('_'));
        let once: Vec<String> = names.iter().map(folded).filter(|name| !may_repeat(name)).collect();
        let different: std::collections::HashSet<&String> = once.iter().collect();
        prop_assert_eq!(gathered(&stream).read().is_ok(), different.len() == once.len());
    }
}
