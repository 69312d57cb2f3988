//! Somebody who found the port: connects to a broker and sends bytes that are no request.
//!
//! Guarantees: what is sent looks like a request of the table of APIs, with a length, a byte or its end wrong, and no
//! broker can take it for one; so whatever the cluster does afterwards, it does not do at a stranger's word.
//! Does not know: any answer. A broker that sends one is met with silence.

use super::{ClientInput, Endpoint, Op};
use crate::machine::{Entropy, Input, Outbox, Output};
use crate::types::ConnId;
use crate::wire::api::APIS;
use crate::wire::frame;
use crate::wire::schema::sample;
use bytes::{BufMut, Bytes, BytesMut};

/// A stranger, with at most one connection at a time.
#[derive(Clone, Debug)]
pub struct Stranger {
    bootstrap: Vec<Endpoint>,
    entropy: Entropy,
    open: Option<ConnId>,
    /// Names for connections; a machine's own are even.
    next_conn: u64,
}

impl Stranger {
    /// Not connected. `bootstrap` are the listeners that it found.
    pub fn new(bootstrap: Vec<Endpoint>, entropy: Entropy) -> Stranger {
        Stranger {
            bootstrap,
            entropy,
            open: None,
            next_conn: 0,
        }
    }

    /// Takes one input.
    ///
    /// # Panics
    /// On an operation of another kind of client.
    pub fn step(&mut self, input: ClientInput, out: &mut Outbox) {
        match input {
            ClientInput::Op(Op::Trespass) => self.connect(out),
            ClientInput::Op(op) => panic!("a stranger does not {op:?}"),
            ClientInput::Net(Input::Connected { conn }) if self.open == Some(conn) => {
                let bytes = garbage(&mut self.entropy);
                out.outputs.push(Output::Send { conn, bytes });
            }
            ClientInput::Net(Input::Closed { conn }) if self.open == Some(conn) => self.open = None,
            ClientInput::Net(Input::Shutdown) => out.outputs.push(Output::Exit {
                reason: "stranger left".to_owned(),
                clean: true,
            }),
            ClientInput::Net(_) => {}
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

/// One frame, its length included, that no broker can read.
pub fn garbage(entropy: &mut Entropy) -> Bytes {
    loop {
        let api = &APIS[entropy.below(APIS.len() as u64) as usize];
        let versions = (api.max - api.min) as u64 + 1;
        let version = api.min + entropy.below(versions) as i16;
        let request = sample::request(api, version, entropy);
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
        let mut stranger = Stranger::new(vec![endpoint("b1"), endpoint("b2")], Entropy(3));
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
}
