//! Messages in words: every field of a request or an answer, without what the library's types add.
//!
//! The library prints its messages as Rust does. Names of types, tagged fields that nobody sent and wrappers go; record
//! batches become what is in them. Deliberately does not know one API from another, but for the two that carry records.

use crate::checks::batch;
use bytes::Bytes;
use kafka::wire::frame;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use std::fmt::Write;

/// Records of a batch whose values are told.
const TOLD_VALUES: usize = 3;

/// API and version of a request frame without its length; none and 0 if it is none.
pub fn api_of(bytes: &Bytes) -> (Option<ApiKey>, i16) {
    let number = |at: usize| Some(i16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let api = number(0).and_then(|key| ApiKey::try_from(key).ok());
    (api, number(2).unwrap_or(0))
}

/// The correlation id of a request frame without its length.
pub fn correlation_of(bytes: &Bytes) -> Option<i32> {
    Some(i32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?))
}

/// A frame without its length in words.
pub fn message(bytes: &Bytes, api: Option<ApiKey>, version: i16, is_answer: bool) -> String {
    let Some(api) = api else {
        return format!("{} bytes that are no request", bytes.len());
    };
    if is_answer {
        return match frame::decode_response(bytes.clone(), api, version) {
            Ok((correlation, mut body)) => {
                if let ResponseKind::Fetch(fetch) = &mut body {
                    let topics = fetch.responses.iter_mut();
                    for partition in topics.flat_map(|topic| topic.partitions.iter_mut()) {
                        partition.records = partition.records.as_ref().map(records);
                    }
                }
                format!(
                    "version {version}, correlation {correlation}, {}",
                    plain(&format!("{body:?}"))
                )
            }
            Err(error) => format!("an answer that cannot be read: {error}"),
        };
    }
    match frame::decode_request(bytes.clone()) {
        Ok(mut request) => {
            if let RequestKind::Produce(produce) = &mut request.body {
                let topics = produce.topic_data.iter_mut();
                for partition in topics.flat_map(|topic| topic.partition_data.iter_mut()) {
                    partition.records = partition.records.as_ref().map(records);
                }
            }
            let head = format!("version {version}, correlation {}", request.correlation_id);
            format!("{head}, {}", plain(&format!("{:?}", request.body)))
        }
        Err(error) => format!("a request that cannot be read: {error}"),
    }
}

/// The partitions that a message in words names, as indices of `names`.
pub fn partitions(text: &str, names: &[String]) -> Vec<u16> {
    let mut found = Vec::new();
    let (mut topic, mut before) = ("", "");
    for token in text
        .split([' ', ',', '{', '}', '[', ']'])
        .filter(|token| !token.is_empty())
    {
        let named = token.trim_matches('`');
        if matches!(before, "topic:" | "topic_id:" | "name:" | "topic_name:")
            && !named.is_empty()
            && !named.starts_with("0000")
        {
            topic = named;
        }
        if matches!(before, "partition:" | "index:" | "partition_index:") {
            let wanted = match topic {
                kafka::types::METADATA_TOPIC => "metadata".to_owned(),
                topic => format!("{topic}-{token}"),
            };
            found.extend(names.iter().rposition(|name| *name == wanted).map(|at| at as u16));
        }
        before = token;
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Record batches as a sentence in their place.
fn records(bytes: &Bytes) -> Bytes {
    let mut text = String::new();
    let mut rest: &[u8] = bytes;
    while let Ok(batch) = batch::first(rest) {
        if !text.is_empty() {
            text += "; ";
        }
        let _ = write!(
            text,
            "offsets {} to {} of epoch {}: ",
            batch.base, batch.last, batch.epoch
        );
        let values: Vec<String> = batch.raw_values().map(|(_, value)| self::value(value)).collect();
        text += &values[..values.len().min(TOLD_VALUES)].join(" ");
        if values.len() > TOLD_VALUES {
            let _ = write!(text, " and {} more", values.len() - TOLD_VALUES);
        }
        rest = &rest[batch.bytes.len()..];
    }
    if text.is_empty() {
        text = match bytes.len() {
            0 => "none".to_owned(),
            length => format!("{length} bytes"),
        };
    }
    Bytes::from(text)
}

/// A record's value by the name that captions give it: the filling behind it left out.
pub fn value(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.trim_end_matches('.').chars().take(48).collect(),
        _ => format!("{} bytes", bytes.len()),
    }
}

/// What Rust prints of a value, without names of types and wrappers.
fn plain(debug: &str) -> String {
    let debug = debug
        .replace(", unknown_tagged_fields: {}", "")
        .replace("unknown_tagged_fields: {}", "");
    let mut out = String::with_capacity(debug.len());
    let mut chars = debug.chars().peekable();
    // Of each open bracket, whether it is shown.
    let mut shown = Vec::new();
    let mut word = String::new();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        let names_type = word.starts_with(|first: char| first.is_ascii_uppercase());
        match c {
            '"' => {
                // b"..." and "..." alike.
                let text = quoted(&mut chars);
                out += if word == "b" { "" } else { &word };
                let _ = write!(out, "`{text}`");
            }
            '(' => {
                out += if names_type { "" } else { &word };
                shown.push(!names_type);
                out += if names_type { "" } else { "(" };
            }
            ' ' if names_type && chars.peek() == Some(&'{') => {}
            '{' | '[' => {
                shown.push(true);
                out += &word;
                out.push(c);
            }
            ')' | '}' | ']' => {
                out += &word;
                if shown.pop().unwrap_or(true) {
                    out.push(c);
                }
            }
            _ => {
                out += if word == "None" { "none" } else { &word };
                out.push(c);
            }
        }
        word.clear();
    }
    out + &word
}

/// The rest of a string that has been opened.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => {
                text.push(c);
                text.extend(chars.next());
            }
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::batch::tests::made;

    #[test]
    fn a_message_is_its_fields_and_no_types() {
        let debug = r#"Fetch(FetchRequest { replica_state: ReplicaState { replica_id: BrokerId(2), unknown_tagged_fields: {} }, max: -1, topics: [Topic { topic: TopicName("a \"b\""), rack: None }], data: Some(b"\x00") })"#;
        let text = plain(debug);
        assert_eq!(
            text,
            r#"{ replica_state: { replica_id: 2 }, max: -1, topics: [{ topic: `a \"b\"`, rack: none }], data: `\x00` }"#
        );
    }

    #[test]
    fn batches_are_told_by_offsets_epochs_and_values() {
        let mut bytes = made(7, 3, &["a", "b", "c", "d"]).to_vec();
        bytes.extend_from_slice(&made(11, 4, &["e..."]));
        let text = records(&Bytes::from(bytes));
        assert_eq!(
            text,
            "offsets 7 to 10 of epoch 3: a b c and 1 more; offsets 11 to 11 of epoch 4: e"
        );
        assert_eq!(records(&Bytes::new()), "none");
    }
}
