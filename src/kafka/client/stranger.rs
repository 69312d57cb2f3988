//! Somebody who found the port: connects to a broker and is a burden to it.
//!
//! Guarantees: what is sent is no request (it looks like one of the table of APIs, with a length, a byte or its end
//! wrong), or never a whole one, or asks for nothing but what the broker's properties are; so whatever the cluster does
//! afterwards, it does not do at a stranger's word.
//! Does not know: what is in an answer. That answers come in the order of the requests, it insists on.

use super::{ClientInput, Endpoint, Op};
use crate::machine::{Entropy, Input, Outbox, Output};
use crate::types::ConnId;
use crate::wire::api::{self, APIS};
use crate::wire::frame::{self, Framer};
use crate::wire::schema::sample;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::{ApiKey, DescribeConfigsRequest, RequestKind};
use kafka_protocol::protocol::StrBytes;

/// What it does on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Sends what is no request.
    Garbage,
    /// Asks for much at once, and reads the answers when it trespasses again.
    Hoard,
    /// Begins a frame and does not end it.
    HalfFrame,
}

/// What a hoarder asks for at once: together several times what a broker holds for a peer that does not read.
const HOARDED_REQUESTS: i32 = 60;
/// How often each of them names the broker's properties, some kilobytes.
const HOARDED_NAMES: usize = 12;

/// A stranger, with at most one connection at a time.
#[derive(Clone, Debug)]
pub struct Stranger {
    bootstrap: Vec<Endpoint>,
    manner: Manner,
    entropy: Entropy,
    open: Option<ConnId>,
    /// A hoarder's answers that it does not read yet.
    hoards: bool,
    framer: Framer,
    /// Of the next answer.
    correlation_id: i32,
    /// Names for connections; a machine's own are even.
    next_conn: u64,
}

impl Stranger {
    /// Not connected. `bootstrap` are the listeners that it found.
    pub fn new(bootstrap: Vec<Endpoint>, manner: Manner, entropy: Entropy) -> Stranger {
        Stranger {
            bootstrap,
            manner,
            entropy,
            open: None,
            hoards: false,
            framer: Framer::default(),
            correlation_id: 0,
            next_conn: 0,
        }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// On an operation of another kind of client, and if a broker answers in another order than it was asked.
    pub fn step(&mut self, input: ClientInput, out: &mut Outbox) {
        match input {
            ClientInput::Op(Op::Trespass) => match self.open.filter(|_| std::mem::take(&mut self.hoards)) {
                Some(conn) => out.outputs.push(Output::ResumeReading { conn }),
                None => self.connect(out),
            },
            ClientInput::Op(op) => panic!("a stranger does not {op:?}"),
            ClientInput::Net(Input::Connected { conn }) if self.open == Some(conn) => {
                self.speak(conn, out);
            }
            ClientInput::Net(Input::Received { conn, bytes }) if self.open == Some(conn) => self.listen(bytes),
            ClientInput::Net(Input::Closed { conn }) if self.open == Some(conn) => self.open = None,
            ClientInput::Net(Input::Shutdown) => out.outputs.push(Output::Exit {
                reason: "stranger left".to_owned(),
                clean: true,
            }),
            ClientInput::Net(_) => {}
        }
    }

    fn speak(&mut self, conn: ConnId, out: &mut Outbox) {
        let mut send = |bytes| out.outputs.push(Output::Send { conn, bytes });
        match self.manner {
            Manner::Garbage => send(garbage(&mut self.entropy)),
            Manner::HalfFrame => send(half_frame(&mut self.entropy)),
            Manner::Hoard => {
                let request = properties();
                let version = api::newest(ApiKey::DescribeConfigs);
                for correlation_id in 0..HOARDED_REQUESTS {
                    send(frame::encode_request(correlation_id, "hoarder", &request, version));
                }
                out.outputs.push(Output::PauseReading { conn });
                (self.hoards, self.correlation_id) = (true, 0);
                self.framer = Framer::default();
            }
        }
    }

    fn listen(&mut self, bytes: Bytes) {
        if self.manner != Manner::Hoard {
            return;
        }
        self.framer.push(bytes);
        while let Some(answer) = self.framer.next().expect("an answer has a length") {
            let answered = frame::peek_correlation_id(&answer).expect("an answer has a header");
            assert_eq!(
                answered, self.correlation_id,
                "answers come in the order of the requests"
            );
            self.correlation_id += 1;
        }
    }

    fn connect(&mut self, out: &mut Outbox) {
        // A broker that neither closes nor answers is left alone.
        if let Some(conn) = self.open.take() {
            out.outputs.push(Output::Close { conn });
        }
        let to = self.entropy.below(self.bootstrap.len() as u64) as usize;
        let conn = ConnId(self.next_conn);
        self.next_conn += 2;
        self.open = Some(conn);
        out.outputs.push(Output::Connect {
            conn,
            host: self.bootstrap[to].host.clone(),
            port: self.bootstrap[to].port,
        });
    }
}

/// Asks for the properties of the brokers 1 to 3 again and again; each answers for itself.
fn properties() -> RequestKind {
    let resource = |i: usize| {
        DescribeConfigsResource::default()
            .with_resource_type(4)
            .with_resource_name(StrBytes::from_string((1 + i % 3).to_string()))
            .with_configuration_keys(None)
    };
    let request = DescribeConfigsRequest::default()
        .with_resources((0..3 * HOARDED_NAMES).map(resource).collect())
        .with_include_synonyms(true);
    RequestKind::DescribeConfigs(request)
}

fn some_request(entropy: &mut Entropy) -> Bytes {
    let api = &APIS[entropy.below(APIS.len() as u64) as usize];
    let versions = (api.max - api.min) as u64 + 1;
    let version = api.min + entropy.below(versions) as i16;
    sample::request(api, version, entropy)
}

/// The beginning of a frame, at least a byte of it.
fn half_frame(entropy: &mut Entropy) -> Bytes {
    let request = some_request(entropy);
    let mut bytes = BytesMut::with_capacity(4 + request.len());
    bytes.put_i32(i32::try_from(request.len()).expect("a sample is small"));
    bytes.put_slice(&request);
    let size = 1 + entropy.below(bytes.len() as u64 - 1) as usize;
    bytes.truncate(size);
    bytes.freeze()
}

/// One frame, its length included, that no broker can read.
pub fn garbage(entropy: &mut Entropy) -> Bytes {
    loop {
        let request = some_request(entropy);
        let damaged = sample::damage(&request, entropy);
        if frame::decode_request(damaged.clone()).is_err() {
            let mut bytes = BytesMut::with_capacity(4 + damaged.len());
            // Now and then it is the length itself that lies.
            let length = match entropy.below(16) {
                0 => i32::MAX,
                1 => -1,
                _ => i32::try_from(damaged.len()).expect("a sample is small"),
            };
            bytes.put_i32(length);
            bytes.put_slice(&damaged);
            return bytes.freeze();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Framer;

    #[test]
    fn nothing_of_it_can_be_read() {
        let mut entropy = Entropy(1);
        for _ in 0..20_000 {
            let mut framer = Framer::default();
            framer.push(garbage(&mut entropy));
            let refused = framer.next().map(|frame| frame.map(frame::decode_request));
            assert!(!matches!(refused, Ok(Some(Ok(_)) | None)), "{refused:?}");
        }
    }

    #[test]
    fn it_connects_anew_each_time() {
        let endpoint = |host: &str| Endpoint {
            host: host.to_owned(),
            port: 9092,
        };
        let mut stranger = Stranger::new(vec![endpoint("b1"), endpoint("b2")], Manner::Garbage, Entropy(3));
        let mut out = Outbox::default();
        stranger.step(ClientInput::Op(Op::Trespass), &mut out);
        let [Output::Connect { conn: ConnId(0), .. }] = out.outputs[..] else {
            panic!("{:?}", out.outputs)
        };
        stranger.step(ClientInput::Net(Input::Connected { conn: ConnId(0) }), &mut out);
        assert!(matches!(out.outputs[1], Output::Send { conn: ConnId(0), .. }));
        stranger.step(ClientInput::Op(Op::Trespass), &mut out);
        assert!(matches!(out.outputs[2], Output::Close { conn: ConnId(0) }));
        assert!(matches!(out.outputs[3], Output::Connect { conn: ConnId(2), .. }));
    }

    fn connected(manner: Manner) -> (Stranger, Outbox) {
        let bootstrap = vec![Endpoint {
            host: "b1".to_owned(),
            port: 9092,
        }];
        let mut stranger = Stranger::new(bootstrap, manner, Entropy(3));
        let mut out = Outbox::default();
        stranger.step(ClientInput::Op(Op::Trespass), &mut out);
        stranger.step(ClientInput::Net(Input::Connected { conn: ConnId(0) }), &mut out);
        (stranger, out)
    }

    /// Frames that were sent, without their lengths.
    fn frames(out: &Outbox) -> Vec<Bytes> {
        let mut framer = Framer::default();
        for output in &out.outputs {
            if let Output::Send { bytes, .. } = output {
                framer.push(bytes.clone());
            }
        }
        std::iter::from_fn(|| framer.next().unwrap()).collect()
    }

    #[test]
    fn a_hoarder_asks_for_much_and_reads_at_the_next_time() {
        let (mut stranger, mut out) = connected(Manner::Hoard);
        let asked = frames(&out);
        assert_eq!(asked.len(), 60);
        assert!(asked.into_iter().all(|frame| frame::decode_request(frame).is_ok()));
        assert!(matches!(out.outputs.last(), Some(Output::PauseReading { .. })));
        out.outputs.clear();
        stranger.step(ClientInput::Op(Op::Trespass), &mut out);
        assert!(matches!(out.outputs[..], [Output::ResumeReading { .. }]));
        stranger.step(ClientInput::Op(Op::Trespass), &mut out);
        assert!(
            matches!(out.outputs[2], Output::Connect { conn: ConnId(2), .. }),
            "then anew"
        );
    }

    #[test]
    #[should_panic = "in the order of the requests"]
    fn a_hoarder_insists_on_the_order_of_answers() {
        let (mut stranger, mut out) = connected(Manner::Hoard);
        for correlation_id in [0, 1, 3] {
            let mut bytes = BytesMut::new();
            bytes.put_i32(4);
            bytes.put_i32(correlation_id);
            let (conn, bytes) = (ConnId(0), bytes.freeze());
            stranger.step(ClientInput::Net(Input::Received { conn, bytes }), &mut out);
        }
    }

    #[test]
    fn a_half_frame_is_never_whole() {
        let mut entropy = Entropy(1);
        for _ in 0..20_000 {
            let mut framer = Framer::default();
            framer.push(half_frame(&mut entropy));
            assert_eq!(framer.next(), Ok(None));
            assert!(framer.buffered() > 0);
        }
    }
}
