//! What a view says of real runs, held against what else is known of them.

use super::*;
use crate::run::Outcome;
use crate::run::{self, Options};
use crate::scenario;
use crate::story;
use reports::moment;
use reports::view::{Step, View, page};
use std::path::Path;

fn load(name: &str) -> Scenario {
    scenario::load(Path::new(&format!("scenarios/{name}.json"))).expect("a scenario of the checkout")
}

fn record(scenario: &Scenario, seed: u64) -> (View, Outcome) {
    let mut recorder = Recorder::new(scenario);
    let (outcome, _) = run::observe(scenario, seed, &Options::default(), &mut recorder);
    (recorder.finish(scenario, &outcome, "replay"), outcome)
}

fn named(view: &View, name: &str) -> u16 {
    let place = view.partitions.iter().position(|known| known == name);
    place.expect("the run speaks of it") as u16
}

/// The view's recorder beside that of the terminal walk, which folds the same notes by itself.
struct Both {
    view: Recorder,
    film: story::Recorder,
    /// Steps of each, whenever a step of the world begins.
    pairs: Vec<(usize, usize)>,
    frames: usize,
}

impl Observer for Both {
    fn tap(&self) -> Option<Tap> {
        Observer::tap(&self.view)
    }
    fn step(&mut self, stepped: &Stepped, world: &World<Cluster>, layout: &Layout) {
        self.pairs.push((self.view.len(), self.frames));
        self.frames += 1;
        self.view.step(stepped, world, layout);
        self.film.step(stepped, world, layout);
    }
    fn fault(&mut self, time_ns: u64, fault: &Fault) {
        self.view.fault(time_ns, fault);
    }
    fn strike(&mut self, time_ns: u64, node: NodeId, strike: &Strike) {
        self.view.strike(time_ns, node, strike);
    }
    fn scripted(&mut self, number: usize) {
        self.view.scripted(number);
    }
    fn topic(&mut self, id: Uuid, name: &str) {
        self.view.topic(id, name);
        self.film.topic(id, name);
    }
    fn note(&mut self, time_ns: u64, node: NodeId, note: &Note) {
        // What is said at the very start makes a frame of its own there.
        if self.frames == 0 {
            self.frames = 1;
        }
        self.view.note(time_ns, node, note);
        self.film.note(time_ns, node, note);
    }
}

#[test]
fn the_changes_add_up_to_the_moment_at_every_step() {
    for name in [
        "section-17-timeline",
        "museum-06-timeline",
        "leader-loses-power-unsynced",
    ] {
        let scenario = load(name);
        let mut both = Both {
            view: Recorder::new(&scenario),
            film: story::Recorder::new(&scenario),
            pairs: Vec::new(),
            frames: 0,
        };
        let (outcome, _) = run::observe(&scenario, 0, &Options::default(), &mut both);
        let (view, film) = (both.view.finish(&scenario, &outcome, ""), both.film.finish(&outcome));
        let mut walked = State::default();
        let mut next = 0;
        let mut compared = 0;
        for (steps, frames) in both.pairs.iter().filter(|(steps, frames)| *steps > 0 && *frames > 0) {
            while next < *steps {
                walked.apply(&view.steps[next].changes);
                next += 1;
            }
            let told = film.moment(frames - 1);
            for (lane, node) in told.nodes.iter().enumerate() {
                for replica in &node.replicas {
                    let key = (lane as u16, named(&view, &replica.partition));
                    let ours = walked.replicas.get(&key).expect("both have heard of it");
                    let ours = moment::Replica::of(replica.partition.clone(), ours.clone());
                    assert_eq!(ours, *replica, "{name}: {}, step {steps}", node.name);
                    compared += 1;
                }
                let controls = walked.nodes.get(&(lane as u16)).is_some_and(|node| node.controls);
                assert_eq!(controls, node.controls, "{name}: {}, step {steps}", node.name);
            }
        }
        assert!(compared > 3_000, "{name}: {compared} replicas were compared");
        for at in (0..view.steps.len()).step_by(97).chain([view.steps.len() - 1]) {
            let mut state = State::default();
            view.steps[..=at].iter().for_each(|step| state.apply(&step.changes));
            assert_eq!(
                view.state(at),
                state,
                "{name}: by keyframe and from the start, step {at}"
            );
        }
    }
}

#[test]
fn a_run_that_is_watched_is_the_same_run_and_the_same_bytes() {
    let scenario = load("section-17-timeline");
    let (view, outcome) = record(&scenario, 3);
    assert_eq!(outcome.digest, run::run(&scenario, 3, &Options::default()).digest);
    assert_eq!(page(&view), page(&record(&scenario, 3).0));
    assert_ne!(page(&view), page(&record(&scenario, 4).0));
}

#[test]
fn a_lesson_stays_below_two_hundred_kilobytes_and_a_long_run_below_five_megabytes() {
    let lesson = page(&record(&load("section-17-timeline"), 0).0).len();
    assert!(lesson < 200_000, "{lesson} bytes");
    let (view, _) = record(&load("chaos-replication"), 0);
    let bytes = page(&view).len();
    assert!(view.steps.len() > 10_000);
    let long = bytes * 100_000 / view.steps.len();
    assert!(long < 5_000_000, "{long} bytes for 100,000 steps");
}

#[test]
fn a_message_is_read_by_the_node_that_it_was_sent_to() {
    let (view, _) = record(&load("section-17-timeline"), 0);
    let mut answered = 0;
    for message in &view.messages {
        assert_eq!(view.steps[message.sent as usize].node, Some(message.from));
        if let (Some(ended), false) = (message.ended, message.is_lost) {
            assert!(ended > message.sent);
            assert_eq!(view.steps[ended as usize].node, Some(message.to));
            assert!(
                view.steps[ended as usize]
                    .causes
                    .contains(&(Cause::Message, message.sent))
            );
        }
        if let Some(question) = message.answers.map(|number| &view.messages[number as usize]) {
            answered += 1;
            assert_eq!(
                (question.from, question.to, question.api),
                (message.to, message.from, message.api)
            );
            assert!(question.ended.is_some_and(|read| read <= message.sent));
        }
        let text = view.texts.text(&message.words);
        assert!(
            !text.contains("cannot be read") && !text.contains("no request"),
            "{text}"
        );
    }
    assert!(answered > 300, "{answered}");
    let last = view.steps.len() as u32;
    let pending = view
        .messages
        .iter()
        .filter(|message| message.ended.is_none() && message.sent + 100 < last);
    assert_eq!(pending.count(), 0, "nothing is under way for ever once all is healed");
    assert!(
        view.messages.iter().any(|message| message.is_lost),
        "b1 lost power with answers to it under way"
    );
}

#[test]
fn the_truncation_of_section_17_is_asked_for_shown_and_explained() {
    let (view, _) = record(&load("section-17-timeline"), 0);
    let is_cut = |step: &Step| step.said.iter().any(|said| said.turn == Some(Turn::Truncation));
    let at = view.steps.iter().position(is_cut).expect("b1 truncates");
    let t0 = named(&view, "t-0");
    let end = |at: usize| view.state(at).replicas[&(0, t0)].log_end_offset;
    assert_eq!((view.lanes[0].name.as_str(), end(at - 1), end(at)), ("b1", 103, 102));
    let question = view.steps[at]
        .narration
        .as_ref()
        .and_then(|words| words.question.as_ref());
    let question = question.expect("it is asked");
    assert_eq!(question.choices[question.right], "offset 102");
    assert!(
        question.choices.len() >= 3,
        "a question has wrong answers: {:?}",
        question.choices
    );
    let (cause, sent) = view.causes(at)[0];
    assert_eq!(
        (cause, view.steps[sent].node),
        (Some(Cause::Message), Some(1)),
        "b2 told it"
    );
    let value = |lane: u16| {
        let appends = view.steps.iter().flat_map(|step| &step.appended);
        let mut found = appends.filter(|(node, partition, base, _)| (*node, *partition, *base) == (lane, t0, 102));
        found.next().map(|(.., values)| view.texts.text(&values[0]))
    };
    assert_eq!(
        (value(0).as_deref(), value(1).as_deref()),
        (Some("p1-00000000"), Some("p2-00000102"))
    );
    let told: Vec<&str> = view
        .steps
        .iter()
        .filter_map(|step| step.narration.as_ref()?.told.as_deref())
        .collect();
    assert!(
        told.iter().any(|words| words.starts_with("p1 was told success.")),
        "{told:#?}"
    );
    assert!(
        told.last().is_some_and(|words| words.ends_with("One history.")),
        "{told:#?}"
    );
}

#[test]
fn cut_links_and_dead_nodes_are_part_of_the_moment() {
    let (view, _) = record(&load("section-17-timeline"), 0);
    let words = |at: usize| view.texts.text(&view.steps[at].what);
    let find = |text: &str| (0..view.steps.len()).find(|at| words(*at).contains(text));
    let cut = find("no byte goes from b1 to b2, b3").expect("links are cut");
    assert_eq!(view.state(cut).cuts, [(0, 1), (0, 2)]);
    let death = find("loses power; everything written survives").expect("b1 dies");
    assert!(view.state(death - 1).nodes[&0].up && !view.state(death).nodes[&0].up);
    assert!(view.steps[death].causes.contains(&(Cause::Script, death as u32 - 1)));
    let healed = find("all links work again").expect("links heal");
    assert!(view.state(healed).cuts.is_empty() && healed > death);
}

#[test]
fn what_is_concluded_from_silence_has_the_fault_behind_it_as_its_cause() {
    let behind = |view: &View, said: &str| -> Vec<String> {
        let says = |step: &&Step| step.said.iter().any(|own| view.texts.text(&own.words).contains(said));
        let causes = view.steps.iter().filter(says).flat_map(|step| &step.causes);
        let faults = causes.filter(|(cause, _)| *cause == Cause::Fault);
        faults
            .map(|(_, at)| view.texts.text(&view.steps[*at as usize].what))
            .collect()
    };
    let (death, _) = record(&load("section-17-timeline"), 0);
    assert_eq!(
        behind(&death, "broker 1 (epoch 4) is fenced"),
        ["loses power; everything written survives"]
    );
    let (pause, _) = record(&load("museum-03-timeline"), 0);
    assert_eq!(
        behind(&pause, "broker 2 (epoch 3) is fenced"),
        ["is paused (SIGSTOP); its kernel goes on"]
    );
    let lesson = crate::lessons::named("consistency")
        .expect("valid")
        .expect("there is one");
    let (cut, _) = record(&lesson, 0);
    let link = "no byte goes from b2, b3, p2 to b1, p1, r1 any more";
    assert_eq!(behind(&cut, "asks for ISR {1} of t-0"), [link]);
}

#[test]
fn a_sentence_names_the_kip_behind_it() {
    let (view, _) = record(&load("section-17-timeline"), 0);
    let said = || view.steps.iter().flat_map(|step| &step.said);
    let is_said = |text: &str| said().any(|said| view.texts.text(&said.words) == text);
    assert!(is_said("stands for election in quorum epoch 1 (KIP-595)"));
    assert!(is_said("decided that broker 1 (epoch 4) is fenced (KIP-631)"));
    assert!(is_said("epoch 1 of t-0 starts at 102 (KIP-101)"));
}

#[test]
fn a_broken_promise_has_its_step_and_three_sentences() {
    let (view, outcome) = record(&load("museum-02-timeline"), 0);
    assert_eq!(view.failures.len(), outcome.violations.len());
    let failure = &view.failures[0];
    let step = &view.steps[failure.step as usize];
    assert_eq!((failure.check.as_str(), step.node), ("X11", Some(1)));
    assert!(failure.promised.starts_with("X11 promises everybody"), "{failure:?}");
    assert!(
        failure.happened.starts_with("In t-0 broker 1 was credited up to 8"),
        "{failure:?}"
    );
    assert!(
        failure.place.contains(&format!("at b2, in step {}", failure.step + 1)),
        "{failure:?}"
    );
}

#[test]
fn who_will_lead_is_answered_by_what_the_controller_did() {
    let answers = |name: &str| -> Vec<String> {
        let (view, _) = record(&load(name), 0);
        let asked = view.steps.into_iter().filter_map(|step| step.narration?.question);
        asked.map(|question| question.answer).collect()
    };
    let is_unclean = |answer: &String| answer.contains("an unclean election");
    let is_clean = |answer: &String| answer.contains("taken from the in-sync replicas that are alive");
    let unclean = answers("unclean-election-loses");
    assert!(unclean.iter().any(is_unclean), "{unclean:?}");
    let clean = answers("section-17-timeline");
    assert!(clean.iter().any(is_clean) && !clean.iter().any(is_unclean), "{clean:?}");
}

#[test]
fn faults_that_last_are_shown_until_they_end() {
    let (view, _) = record(&load("chaos-replication"), 0);
    let with_faults = (0..view.steps.len())
        .step_by(50)
        .filter(|at| !view.state(*at).faults.is_empty());
    assert!(with_faults.count() > 10, "a swarm slows and loses things");
    let end = view.state(view.steps.len() - 1);
    assert!(end.faults.is_empty() && end.cuts.is_empty(), "{end:?}");
}

#[test]
fn a_lessons_words_and_questions_stand_before_what_they_ask_about() {
    let scenario = crate::lessons::named("truncation")
        .expect("valid")
        .expect("there is one");
    let (view, _) = record(&scenario, 0);
    let lesson = scenario.lesson.as_ref().expect("it is one");
    let narrations = || {
        view.steps
            .iter()
            .enumerate()
            .filter_map(|(at, step)| Some((at, step.narration.as_ref()?)))
    };
    let told: Vec<(usize, &String)> = narrations()
        .filter_map(|(at, narration)| Some((at, narration.told.as_ref()?)))
        .collect();
    assert!(told[0].1.starts_with(&lesson.opening[0]));
    assert!(
        told[told.len() - 1]
            .1
            .ends_with(&lesson.closing[lesson.closing.len() - 1])
    );
    let asked: Vec<(usize, &Question)> = narrations()
        .filter_map(|(at, narration)| Some((at, narration.question.as_ref()?)))
        .collect();
    let quizzes: Vec<_> = scenario
        .faults
        .script
        .iter()
        .filter(|step| step.quiz.is_some())
        .collect();
    assert_eq!(asked.len(), quizzes.len());
    for ((at, question), step) in asked.iter().zip(quizzes) {
        let quiz = step.quiz.as_ref().expect("filtered");
        assert_eq!((&question.ask, question.right + 1), (&quiz.question, quiz.answer));
        let own = told
            .iter()
            .find(|(_, words)| words.contains(&step.note))
            .expect("its step is told")
            .0;
        assert!(*at <= own, "it is asked at {at}, and its step is {own}");
        let before = told
            .iter()
            .rev()
            .find(|(told, _)| *told < own)
            .map_or(0, |(told, _)| *told);
        assert!(*at > before, "the step before, {before}, has been shown");
        // Nothing that matters is shown between the two.
        assert!(
            view.steps[before + 1..*at]
                .iter()
                .all(|step| step.said.iter().all(|said| said.turn.is_none()))
        );
    }
}
