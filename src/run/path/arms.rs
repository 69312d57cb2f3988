//! One arm for each action of the replication model: what is let through, or done, and what must have come of it.

use super::course::{Course, sorted};
use super::walk::{Arm, LATE_NS, SOON_NS, Walk, refuse};
use crate::run::Ended;
use crate::valve::Frame;
use kafka_protocol::messages::{ApiKey, RequestKind};
use model::replication::{Acks, Action, Fetch, Replica, Set, State};
use sim::fault::{DiskFault, Fault, NodeId, Survival};

const UNTRANSLATED: &str = "a path with such a step is refused when it is read";

/// Why the world has no counterpart for an action, if it has none.
pub(super) fn untranslatable(before: &State, action: &Action) -> Option<&'static str> {
    match action {
        Action::Flush { .. } => Some("nothing makes a broker sync at a given moment"),
        Action::LosePower { broker, end } => {
            let broker = &before.brokers[usize::from(*broker)];
            let is_part = *end != broker.log.end() && *end != broker.synced;
            is_part.then_some("a power failure takes all that is not synced, or nothing, but no part of it")
        }
        _ => None,
    }
}

impl Walk<'_, '_> {
    pub fn arm(&mut self, course: &mut Course<'_>, action: &Action) -> Arm {
        match action {
            // By hand, at the node that the path names.
            Action::Produce { leader, acks, count } => self.produce_there(course, *leader, *acks, *count),
            Action::Acknowledge { leader, base } => {
                let question = course.question(*leader, *base);
                let answer = |walk: &Walk<'_, '_>| question.and_then(|question| walk.produced(question));
                self.until(SOON_NS, |walk| answer(walk).is_some())?;
                match answer(self) {
                    Some(0) => Ok(()),
                    Some(code) => refuse(format!("the producer is answered with error {code}")),
                    None => refuse("the producer is not answered"),
                }
            }
            // Time runs out, or the leadership has ended: whatever the answer, it is no success.
            Action::GiveUp { leader, base } => {
                let question = course.question(*leader, *base);
                match question.and_then(|question| self.produced(question)) {
                    Some(0) => refuse("the producer is told success"),
                    _ => Ok(()),
                }
            }
            // A read changes nothing in the cluster; that it may be answered is the high watermark's to say.
            Action::Read { broker, end } => match self.ends(course.node(*broker)) {
                Some((_, high)) if high >= i64::from(*end) => Ok(()),
                _ => refuse("its high watermark is below"),
            },
            Action::HandleFetch { fetch, joins, .. } => {
                self.handle_fetch(course, fetch)?;
                let isr = course.after().maximal_isr(fetch.leader);
                if *joins {
                    self.require_proposal(course, fetch.leader, isr)
                } else {
                    Ok(())
                }
            }
            // The answer was kept back when the leader gave it.
            Action::AnswerParked { .. } => Ok(()),
            Action::HandleFetched { fetch, .. } => self.handle_fetched(course, fetch),
            // A follower that hears nothing asks again by itself.
            Action::AskAgain { .. } => Ok(()),
            // The cluster does it in the step that makes it possible.
            Action::AdvanceHighWatermark { leader, to } => {
                let node = course.node(*leader);
                let high = |walk: &Walk<'_, '_>| walk.ends(node).map(|(_, high)| high);
                self.until(SOON_NS, |walk| high(walk) >= Some(i64::from(*to)))?;
                match high(self) {
                    Some(high) if high >= i64::from(*to) => Ok(()),
                    high => refuse(format!("its high watermark stays at {}", or_gone(high))),
                }
            }
            // Coarse: replica.lag.time.max.ms has to pass, and passes for others too.
            Action::ProposeIsr { leader, isr } => self.require_proposal(course, *leader, *isr),
            Action::HandleAlter { leader, .. } => {
                let (from, controller) = (course.node(*leader), self.controller());
                match self.await_held(SOON_NS, ApiKey::AlterPartition, false, from, controller)? {
                    Some(request) => self.release(request),
                    None => return refuse("it has not asked for an ISR"),
                }
                self.await_held(SOON_NS, ApiKey::AlterPartition, true, controller, from)?;
                self.require_decided(course)
            }
            Action::HandleAltered { leader, .. } => {
                let (to, controller) = (course.node(*leader), self.controller());
                match self.await_held(SOON_NS, ApiKey::AlterPartition, true, controller, to)? {
                    Some(answer) => self.release(answer),
                    None => return refuse("the controller has not answered"),
                }
                self.require_known(course, *leader)
            }
            Action::ApplyMetadata { broker, .. } => {
                self.learn(course, *broker)?;
                self.require_log(course, *broker)
            }
            // Coarse: a new process first finds the controller, and asks until its last life is over.
            Action::Register { broker, .. } => {
                self.register(course, *broker)?;
                self.require_decided(course)
            }
            Action::Unfence { broker, .. } => {
                self.silence(course, *broker, false);
                let id = course.id(self, *broker);
                if !self.until(SOON_NS, |walk| !walk.is_fenced(id))? {
                    return refuse("the controller does not unfence it");
                }
                self.require_decided(course)
            }
            // Coarse: broker.session.timeout.ms has to pass without a heartbeat of it.
            Action::Fence { broker, .. } => {
                self.silence(course, *broker, true);
                let id = course.id(self, *broker);
                if !self.until(LATE_NS, |walk| walk.is_fenced(id))? {
                    return refuse("the controller does not fence it");
                }
                self.require_decided(course)
            }
            Action::ElectPreferred => {
                self.elect(false)?;
                self.require_decided(course)
            }
            Action::ElectUnclean { .. } => {
                self.elect(true)?;
                self.require_decided(course)
            }
            Action::Kill { broker } => {
                let node = course.node(*broker);
                self.take_down(node, &Fault::Kill { node });
                Ok(())
            }
            Action::LosePower { broker, end } => self.lose_power(course, *broker, *end),
            // Coarse: a whole controlled shutdown.
            Action::Stop { broker } => {
                let node = course.node(*broker);
                self.silence(course, *broker, false);
                self.apply(&Fault::Terminate { node });
                let is_down = self.until(LATE_NS, |walk| !walk.run.world.is_up(node))?;
                self.valve.borrow_mut().died(node);
                if is_down { Ok(()) } else { refuse("it does not stop") }
            }
            Action::Wipe { broker } => {
                let node = course.node(*broker);
                let disk = DiskFault::Wipe;
                self.apply(&Fault::Disk { node, disk });
                Ok(())
            }
            // What its checkpoint says is the cluster's to say: at most what the path does.
            Action::Start { broker, .. } => {
                self.silence(course, *broker, true);
                let node = course.node(*broker);
                self.apply(&Fault::Start { node });
                match self.run.world.is_up(node) {
                    true => Ok(()),
                    false => refuse("it does not start"),
                }
            }
            Action::Flush { .. } => unreachable!("{UNTRANSLATED}"),
        }
    }

    fn produce_there(&mut self, course: &mut Course<'_>, leader: Replica, acks: Acks, count: u32) -> Arm {
        let (node, base) = (
            course.node(leader),
            course.before().brokers[usize::from(leader)].log.end(),
        );
        let acks = if acks == Acks::All { -1 } else { 1 };
        let question = self.produce(node, acks, course.before().outside.sent, count)?;
        if let Some(code) = self.produced(question).filter(|code| *code != 0) {
            return refuse(format!("the records are refused with error {code}"));
        }
        course.questions.push((leader, base, question));
        self.require_log(course, leader)
    }

    /// Keeps a broker's heartbeats back, or lets them go.
    pub fn silence(&mut self, course: &Course<'_>, replica: Replica, silent: bool) {
        let (node, controller) = (course.node(replica), self.controller());
        self.valve.borrow_mut().silence(node, silent);
        if !silent && let Some(heartbeat) = self.held(ApiKey::BrokerHeartbeat, false, node, controller) {
            self.release(heartbeat);
        }
    }

    pub fn take_down(&mut self, node: NodeId, fault: &Fault) {
        self.apply(fault);
        self.valve.borrow_mut().died(node);
    }

    pub fn cut_power(&mut self, node: NodeId, survival: Survival) {
        let fault = Fault::PowerLoss {
            nodes: vec![node],
            survival,
            torn_sectors: false,
            garbage_tail: false,
        };
        self.take_down(node, &fault);
    }

    /// All that is not synced goes, or nothing of it.
    fn lose_power(&mut self, course: &Course<'_>, replica: Replica, end: u32) -> Arm {
        let broker = &course.before().brokers[usize::from(replica)];
        let survival = match end {
            end if end == broker.log.end() => Survival::All,
            end if end == broker.synced => Survival::None,
            _ => unreachable!("{UNTRANSLATED}"),
        };
        self.cut_power(course.node(replica), survival);
        Ok(())
    }

    // --- fetches ---

    fn handle_fetch(&mut self, course: &Course<'_>, fetch: &Fetch) -> Arm {
        let (from, to, api) = (course.node(fetch.follower), course.node(fetch.leader), kind(fetch));
        // A follower that waits for an answer that is lost asks again after replica.socket.timeout.ms.
        let Some(number) = self.await_held(LATE_NS, api, false, from, to)? else {
            return refuse("the follower has not asked that leader");
        };
        let request = self.frame(number).and_then(|frame| frame.request());
        if let Some(offset) = request.as_ref().and_then(offset_of)
            && offset != i64::from(fetch.offset)
        {
            return refuse(format!("the follower asks from {offset}"));
        }
        self.release(number);
        // The answer is kept back in its turn: then the leader has handled it.
        match self.await_held(SOON_NS, api, true, to, from)? {
            Some(_) => Ok(()),
            None => refuse("the leader does not answer"),
        }
    }

    fn handle_fetched(&mut self, course: &Course<'_>, fetch: &Fetch) -> Arm {
        let (from, to, api) = (course.node(fetch.leader), course.node(fetch.follower), kind(fetch));
        let Some(answer) = self.await_held(SOON_NS, api, true, from, to)? else {
            return refuse("the leader has not answered");
        };
        let before = self.valve.borrow().next_number();
        self.release(answer);
        let is_next =
            |frame: &Frame| frame.number >= before && (frame.from, frame.to, frame.is_answer) == (to, from, false);
        self.until(SOON_NS, |walk| walk.valve.borrow().held().iter().any(is_next))?;
        self.require_log(course, fetch.follower)
    }

    fn require_log(&mut self, course: &Course<'_>, replica: Replica) -> Arm {
        let end = i64::from(course.after().brokers[usize::from(replica)].log.end());
        match self.ends(course.node(replica)).map(|(end, _)| end) {
            Some(real) if real == end => Ok(()),
            real => refuse(format!("its log ends at {}, not at {end}", or_gone(real))),
        }
    }

    // --- the controller and its metadata ---

    /// The leader asks, or has asked, for this ISR.
    fn require_proposal(&mut self, course: &Course<'_>, leader: Replica, isr: Set) -> Arm {
        let (node, controller) = (course.node(leader), self.controller());
        let wanted = course.ids(self, isr);
        let asks = |walk: &mut Walk<'_, '_>| {
            let proposal = walk.replica(node, |replica| {
                let proposal = replica.leadership().and_then(|leadership| leadership.proposal.as_ref());
                proposal.map(|proposal| sorted(&proposal.isr))
            });
            let is_sent = walk.held(ApiKey::AlterPartition, false, node, controller).is_some();
            proposal.flatten().as_ref() == Some(&wanted) && is_sent
        };
        match self.until(LATE_NS, asks)? {
            true => Ok(()),
            false => refuse("it does not ask for that ISR"),
        }
    }

    /// The controller's newest state is the specification's; then brokers that are to learn of just this one fetch it.
    fn require_decided(&mut self, course: &Course<'_>) -> Arm {
        let newest = *course.after().controller.newest();
        let leader = newest.leader.map(|leader| course.id(self, leader));
        let (isr, elr) = (course.ids(self, newest.isr), course.ids(self, newest.elr));
        let epoch = course.base + course.after().controller.partition_epoch() as i32;
        let same = |walk: &mut Walk<'_, '_>| {
            let Some(state) = walk.decided() else { return false };
            let sets = sorted(&state.isr) == isr && sorted(&state.elr) == elr;
            sets && state.leader == leader && state.partition_epoch.0 == epoch
        };
        if self.until(SOON_NS, same)? {
            return Ok(self.fetch_ahead(course)?);
        }
        let Some(state) = self.decided() else {
            return refuse("there is no partition any more");
        };
        let list = |ids: &[kafka::NodeId]| ids.iter().map(|id| format!("b{id}")).collect::<Vec<_>>().join(" ");
        refuse(format!(
            "the controller says: {} leads, ISR {{{}}}, ELR {{{}}}, partition epoch {}",
            state.leader.map_or("nobody".to_owned(), |leader| format!("b{leader}")),
            list(&state.isr),
            list(&state.elr),
            state.partition_epoch.0 - course.base
        ))
    }

    fn require_known(&mut self, course: &Course<'_>, replica: Replica) -> Arm {
        let (node, wanted) = (course.node(replica), course.known(replica));
        self.until(SOON_NS, |walk| walk.known(node) == Some(wanted))?;
        match self.known(node) {
            Some(known) if known == wanted => Ok(()),
            known => {
                let known = known.map(|known| i64::from(known - course.base));
                refuse(format!("it acts on partition epoch {}", or_gone(known)))
            }
        }
    }

    /// Brokers that are to learn of just this version later on fetch it now; the answer is kept for them. Others fetch
    /// when there is something newer.
    fn fetch_ahead(&mut self, course: &Course<'_>) -> Result<(), Ended> {
        let (newest, controller) = (course.after().controller.partition_epoch(), self.controller());
        let epoch = course.base + newest as i32;
        self.until(SOON_NS, |walk| walk.committed() == Some(epoch))?;
        for replica in (0..).take(course.nodes.len()) {
            let node = course.node(replica);
            let is_registered = course.after().brokers[usize::from(replica)].epoch != 0;
            if course.next_version(replica) != Some(newest) || !is_registered {
                continue;
            }
            if let Some(request) = self.held(ApiKey::Fetch, false, node, controller) {
                self.release(request);
                self.await_held(SOON_NS, ApiKey::Fetch, true, controller, node)?;
            }
        }
        Ok(())
    }

    /// Lets metadata through until the broker acts on what the path says.
    fn learn(&mut self, course: &Course<'_>, replica: Replica) -> Arm {
        let (node, controller) = (course.node(replica), self.controller());
        let wanted = course.known(replica);
        let end = self.run.world.now() + SOON_NS;
        while self.known(node) != Some(wanted) && self.run.world.now() < end {
            self.pass_metadata(node)?;
        }
        self.require_known(course, replica)?;
        // An answer that metadata has overtaken changes nothing, but holds up the leader's next question.
        if let Some(answer) = self.held(ApiKey::AlterPartition, true, controller, node)
            && !course.waits(replica)
        {
            self.release(answer);
        }
        Ok(())
    }

    /// One step, with the broker's metadata fetches let through.
    fn pass_metadata(&mut self, node: NodeId) -> Result<(), Ended> {
        let controller = self.controller();
        let answer = self.held(ApiKey::Fetch, true, controller, node);
        if let Some(next) = answer.or_else(|| self.held(ApiKey::Fetch, false, node, controller)) {
            self.release(next);
        }
        self.step()
    }

    fn register(&mut self, course: &Course<'_>, replica: Replica) -> Arm {
        let (node, controller) = (course.node(replica), self.controller());
        let is_registered = |walk: &Walk<'_, '_>| {
            let broker = walk.run.world.program(node).and_then(|process| process.broker());
            broker.is_some_and(|broker| broker.snapshot().broker_epoch.is_some())
        };
        let end = self.run.world.now() + LATE_NS;
        let mut has_asked = false;
        while !is_registered(self) && self.run.world.now() < end {
            if let Some(request) = self.held(ApiKey::BrokerRegistration, false, node, controller) {
                self.release(request);
                has_asked = true;
            }
            // From the first question on metadata waits: it would be acted on once the answer is there.
            if has_asked {
                self.step()?;
            } else {
                self.pass_metadata(node)?;
            }
        }
        match is_registered(self) {
            true => Ok(()),
            false => refuse("the controller does not register it"),
        }
    }
}

/// A number of a node that may be down.
fn or_gone(number: Option<i64>) -> String {
    number.map_or("nothing".to_owned(), |number| number.to_string())
}

fn kind(fetch: &Fetch) -> ApiKey {
    if fetch.epoch_end {
        ApiKey::OffsetForLeaderEpoch
    } else {
        ApiKey::Fetch
    }
}

/// From where a replica's fetch asks.
fn offset_of(request: &RequestKind) -> Option<i64> {
    match request {
        RequestKind::Fetch(fetch) => Some(fetch.topics.first()?.partitions.first()?.fetch_offset),
        _ => None,
    }
}
