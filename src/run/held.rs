//! Messages that are kept back: by a script, link by link, or by a path, kind by kind.

use super::Run;
use super::script::Hand;
use crate::valve::{Frame, SharedValve};
use sim::fault::{Fault, NodeId};
use std::rc::Rc;

impl Run<'_> {
    /// From the next start on, processes send through a valve.
    pub(super) fn add_valve(&mut self) -> SharedValve {
        let valve = SharedValve::default();
        self.world.boot_mut().set_valve(Rc::clone(&valve));
        self.valve.insert(valve).clone()
    }

    /// Does something to the messages of a link.
    pub(super) fn handle(&mut self, hand: Hand, from: NodeId, to: NodeId) {
        let Some(valve) = self.valve.clone() else { return };
        let oldest = || valve.borrow().oldest(from, to);
        match hand {
            Hand::Hold => valve.borrow_mut().hold_link(from, to, true),
            Hand::LetThrough => drop(oldest().map(|number| self.let_go(number))),
            Hand::Drop => {
                if oldest().and_then(|number| valve.borrow_mut().take(number)).is_some() {
                    self.apply(&Fault::Reset { a: from, b: to });
                }
            }
            Hand::Release => {
                valve.borrow_mut().hold_link(from, to, false);
                while let Some(number) = oldest() {
                    self.let_go(number);
                }
            }
        }
    }

    /// Sends a frame that was kept back.
    pub(super) fn let_go(&mut self, number: u64) {
        let frame = self.valve.as_ref().and_then(|valve| valve.borrow_mut().take(number));
        let Some(Frame { from, conn, bytes, .. }) = frame else {
            return;
        };
        self.world
            .poke(from, |process, _, _, effects| process.let_go(conn, bytes, effects));
    }

    /// Nothing is kept back any more.
    pub(super) fn open_valve(&mut self) {
        let Some(valve) = self.valve.clone() else { return };
        valve.borrow_mut().open();
        let held: Vec<u64> = valve.borrow().held().iter().map(|frame| frame.number).collect();
        held.into_iter().for_each(|number| self.let_go(number));
    }
}
