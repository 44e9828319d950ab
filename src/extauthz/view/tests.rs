//! Both ways to read a CheckRequest, on bytes that no encoder would write.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

/// Everything in a view, in one order.
fn facts(mut view: CheckView<'_>) -> String {
    let Some(context) = &mut view.attributes else { return "none".to_owned() };
    let extensions: BTreeMap<_, _> = mem::take(&mut context.extensions.0).into_iter().collect();
    let http = context.request.as_mut().and_then(|request| request.http.as_mut());
    let headers = http.map(HttpView::take_headers);
    format!("{view:#?} {extensions:#?} {headers:#?}")
}

/// What is read is what prost reads, and what it refuses is not read. Whether it was read.
fn agree(bytes: &[u8]) -> bool {
    let Ok(view) = CheckView::read(bytes) else { return false };
    let message = CheckRequest::decode(bytes).expect("what is read can be decoded");
    let mut message_facts = CheckView::of_message(&message);
    // Read only where it is empty.
    let metadata = message_facts.attributes.as_mut().and_then(|context| context.metadata.take());
    assert!(metadata.is_none_or(|metadata| *metadata == Metadata::default()));
    assert_eq!(facts(view), facts(message_facts));
    true
}

/// A message of fields as they stand in the wire format, which knows no schema.
#[derive(Debug, Clone)]
enum Raw {
    Varint(u64, usize),
    Bytes(Vec<u8>),
    Message(Vec<(u32, Self)>),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Group(Vec<(u32, Self)>),
    /// More bytes announced than there are.
    Cut(Vec<u8>),
}

fn varint(out: &mut Vec<u8>, value: u64, padding: usize) {
    prost::encoding::encode_varint(value, out);
    // Bytes that add nothing.
    for _ in 0..padding {
        *out.last_mut().unwrap() |= 0x80;
        out.push(0);
    }
}

fn encode(fields: &[(u32, Raw)], out: &mut Vec<u8>) {
    for (number, raw) in fields {
        let key = |out: &mut Vec<u8>, kind| varint(out, u64::from(number << 3 | kind), 0);
        match raw {
            Raw::Varint(value, padding) => {
                key(out, 0);
                varint(out, *value, *padding);
            }
            Raw::Bytes(bytes) => {
                key(out, 2);
                varint(out, bytes.len() as u64, 0);
                out.extend(bytes);
            }
            Raw::Message(fields) => {
                let mut inner = Vec::new();
                encode(fields, &mut inner);
                key(out, 2);
                varint(out, inner.len() as u64, 1);
                out.extend(inner);
            }
            Raw::Fixed64(bytes) => {
                key(out, 1);
                out.extend(bytes);
            }
            Raw::Fixed32(bytes) => {
                key(out, 5);
                out.extend(bytes);
            }
            Raw::Group(fields) => {
                key(out, 3);
                encode(fields, out);
                key(out, 4);
            }
            Raw::Cut(bytes) => {
                key(out, 2);
                varint(out, bytes.len() as u64 + 1, 0);
                out.extend(bytes);
            }
        }
    }
}

fn text() -> impl Strategy<Value = Raw> {
    prop_oneof![
        8 => "[a-cA-C:/,%2]{0,3}".prop_map(|text| Raw::Bytes(text.into_bytes())),
        1 => "\\PC{0,3}".prop_map(|text| Raw::Bytes(text.into_bytes())),
        2 => proptest::sample::select(vec!["accept", "Accept", ":path", "te", "tE"])
            .prop_map(|text| Raw::Bytes(text.into())),
    ]
}

fn number() -> impl Strategy<Value = Raw> {
    let value = prop_oneof![
        8 => 0..3_u64,
        2 => 65_530..65_540_u64,
        1 => Just(u64::from(u32::MAX)),
        1 => any::<u64>(),
    ];
    (value, 0..2_usize).prop_map(|(value, padding)| Raw::Varint(value, padding))
}

/// What no schema has at this place, or what has another type there.
fn stray() -> impl Strategy<Value = Raw> {
    prop_oneof![
        text(),
        number(),
        vec(any::<u8>(), 0..3).prop_map(Raw::Bytes),
        any::<[u8; 8]>().prop_map(Raw::Fixed64),
        any::<[u8; 4]>().prop_map(Raw::Fixed32),
        vec((1..4_u32, text()), 0..2).prop_map(Raw::Group),
        vec(any::<u8>(), 0..2).prop_map(Raw::Cut),
        Just(Raw::Varint(0, 9)),
        Just(Raw::Varint(0, 10)),
    ]
}

type Fields = BoxedStrategy<(u32, Raw)>;

fn texts_at(numbers: &'static [u32]) -> Fields {
    (proptest::sample::select(numbers), text()).boxed()
}

/// Some of these fields, in any order, any number of times.
fn message(fields: Vec<(u32, Fields)>) -> BoxedStrategy<Raw> {
    let unknown = (20..23_u32, prop_oneof![text(), number()]).boxed();
    let strays = (0..25_u32, stray()).boxed();
    let mut fields = fields;
    fields.push((2, unknown));
    let known = proptest::strategy::Union::new_weighted(fields);
    let field = prop_oneof![400 => known, 1 => strays];
    vec(field, 0..5).prop_map(Raw::Message).boxed()
}

fn at(number: u32, strategy: impl Strategy<Value = Raw> + 'static) -> (u32, Fields) {
    (3, (Just(number), strategy).boxed())
}

fn check_request() -> impl Strategy<Value = Vec<u8>> {
    let entry = || message(vec![(6, texts_at(&[1, 2]))]);
    let socket = message(vec![(6, texts_at(&[2, 4, 5, 7])), at(1, number()), at(3, number())]);
    let pipe = message(vec![(3, texts_at(&[1])), at(2, number())]);
    let inside = message(vec![(3, texts_at(&[1, 2]))]);
    let address = message(vec![at(1, socket), at(2, pipe), (1, (Just(3), inside).boxed())]);
    let peer =
        || message(vec![(6, texts_at(&[2, 4, 5])), at(1, address.clone()), at(3, entry())]).boxed();
    let line = message(vec![(12, texts_at(&[1, 2, 3]))]);
    let lines = message(vec![at(1, line)]);
    let http = message(vec![
        (12, texts_at(&[1, 2, 4, 5, 6, 7, 8, 10, 11, 12])),
        at(3, entry()),
        at(3, entry()),
        at(9, number()),
        at(13, lines.clone()),
        at(13, lines),
    ]);
    let time = message(vec![at(1, number()), at(2, number())]);
    let request = message(vec![at(1, time), at(2, http.clone()), at(2, http)]);
    let session = message(vec![(3, texts_at(&[1]))]);
    let metadata = prop_oneof![8 => Just(Raw::Message(Vec::new())), 1 => stray()];
    let context = message(vec![
        at(1, peer()),
        at(2, peer()),
        at(4, request.clone()),
        at(4, request),
        at(10, entry()),
        at(11, metadata.clone()),
        at(12, session),
        at(13, metadata),
    ]);
    message(vec![at(1, context)]).prop_map(|check| {
        let Raw::Message(fields) = check else { unreachable!() };
        let mut out = Vec::new();
        encode(&fields, &mut out);
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_read_is_what_prost_reads(bytes in check_request()) {
        agree(&bytes);
    }

    #[test]
    fn of_any_bytes_too(bytes in vec(any::<u8>(), 0..40)) {
        agree(&bytes);
    }

    #[test]
    fn damage_is_seen_alike(
        bytes in check_request(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = bytes;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            agree(&bytes);
            agree(&bytes[..at]);
        }
    }
}

/// Else the laws above say little.
#[test]
fn most_of_what_is_generated_is_read() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let strategy = check_request();
    let generated = (0..500).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let (mut read, mut refused, mut with_lines) = (0, 0, 0);
    for bytes in generated {
        if agree(&bytes) {
            read += 1;
            with_lines += usize::from(facts(CheckView::read(&bytes).unwrap()).contains("lines: ["));
        } else {
            refused += usize::from(CheckRequest::decode(&*bytes).is_err());
        }
    }
    assert!(read > 250 && refused > 20 && with_lines > 20, "{read} {refused} {with_lines}");
}

/// Requests as Envoy sends them are read the fast way.
#[test]
fn nothing_usual_steps_aside() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/check_request");
    let (mut read, mut metadata) = (0, 0);
    for file in fs::read_dir(corpus).unwrap() {
        let file = file.unwrap();
        if !file.file_name().to_str().unwrap().starts_with("case-") {
            continue;
        }
        let bytes = fs::read(file.path()).unwrap();
        let message = CheckRequest::decode(&*bytes).unwrap();
        let attributes = message.attributes.unwrap();
        if attributes.metadata_context.is_some_and(|m| m != Metadata::default()) {
            metadata += 1;
        } else {
            assert!(agree(&bytes), "{:?}", file.path());
            read += 1;
        }
    }
    assert!(read > 50, "{read} {metadata}");
}
