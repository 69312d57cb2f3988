//! What happens to brokers: they stop in one way or another, lose what was not synced, and start again.

use super::log::Offset;
use super::state::{Broker, Fetch, Message, Replica, Role, State};
use super::step::{Protocol, Refusal, require};

impl Protocol {
    /// The process is gone, and with it what only it knew. Fetches of others wait for whoever comes back; what a leader
    /// asked the controller for may still arrive.
    fn end_process(&self, state: &mut State, replica: Replica, clean: bool) {
        let broker = &mut state.brokers[usize::from(replica)];
        broker.up = false;
        broker.clean = clean;
        broker.epoch = 0;
        broker.role = Role::Idle;
        broker.waiting.clear();
        self.stop_asking(state, replica);
        let is_kept = |message: &Message| matches!(message, Message::Fetched { fetch, parked: true, .. } if fetch.leader == replica);
        let kept: Vec<Fetch> = state
            .network
            .iter()
            .filter(|message| is_kept(message))
            .filter_map(Message::fetch)
            .collect();
        state.network.retain(|message| {
            !is_kept(message) && !matches!(message, Message::Altered { leader, .. } if *leader == replica)
        });
        for fetch in kept {
            state.send(Message::Fetch(fetch));
        }
    }

    fn running(state: &State, replica: Replica) -> Result<&Broker, Refusal> {
        let broker = &state.brokers[usize::from(replica)];
        require(broker.up, "it is down")?;
        Ok(broker)
    }

    pub(super) fn kill(&self, state: &mut State, replica: Replica) -> Result<(), Refusal> {
        Self::running(state, replica)?;
        self.end_process(state, replica, false);
        state.outside.faults[0] += 1;
        Ok(())
    }

    pub(super) fn lose_power(&self, state: &mut State, replica: Replica, end: Offset) -> Result<(), Refusal> {
        // Also of a host whose process has died already: its page cache was still there.
        let broker = &state.brokers[usize::from(replica)];
        require(
            broker.synced <= end && end <= broker.log.end(),
            "what is synced stays, and nothing is added",
        )?;
        let clean = !broker.up && broker.clean;
        self.end_process(state, replica, clean);
        self.lose(state, replica, end);
        state.outside.faults[1] += 1;
        Ok(())
    }

    pub(super) fn wipe(&self, state: &mut State, replica: Replica) -> Result<(), Refusal> {
        let broker = &state.brokers[usize::from(replica)];
        require(!broker.up, "disks are exchanged while nothing runs")?;
        require(!broker.log.is_empty(), "there is nothing to lose")?;
        self.lose(state, replica, 0);
        let broker = &mut state.brokers[usize::from(replica)];
        broker.clean = false;
        Ok(())
    }

    fn lose(&self, state: &mut State, replica: Replica, end: Offset) {
        let broker = &mut state.brokers[usize::from(replica)];
        if end < broker.log.end() {
            broker.lost = true;
            state.outside.damaged = state.outside.damaged.with(replica);
        }
        broker.log.truncate(end);
        broker.synced = broker.synced.min(end);
        broker.high_watermark = broker.high_watermark.min(end);
    }

    pub(super) fn stop(&self, state: &mut State, replica: Replica) -> Result<(), Refusal> {
        Self::running(state, replica)?;
        // It writes down its incarnation; one that the controller never gave a number to is no proof of order (KIP-966).
        let registered = state.controller.broker_epochs[usize::from(replica)];
        let clean = state.brokers[usize::from(replica)].epoch == registered;
        self.end_process(state, replica, clean);
        let broker = &mut state.brokers[usize::from(replica)];
        broker.synced = broker.log.end();
        state.outside.faults[2] += 1;
        Ok(())
    }

    pub(super) fn start(&self, state: &mut State, replica: Replica, high_watermark: Offset) -> Result<(), Refusal> {
        let broker = &mut state.brokers[usize::from(replica)];
        require(!broker.up, "it is running")?;
        require(
            high_watermark <= broker.high_watermark,
            "a checkpoint says nothing that was not committed",
        )?;
        broker.up = true;
        broker.high_watermark = high_watermark;
        broker.role = Role::Idle;
        Ok(())
    }

    pub(super) fn flush(&self, state: &mut State, replica: Replica, end: Offset) -> Result<(), Refusal> {
        let broker = &mut state.brokers[usize::from(replica)];
        require(broker.up, "it is down")?;
        require(
            broker.synced < end && end <= broker.log.end(),
            "only what is there becomes durable",
        )?;
        broker.synced = end;
        Ok(())
    }
}
