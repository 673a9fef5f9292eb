//! A run in which every task is mocked: only decisions are made, and time passes as fast as they are.

use std::collections::BTreeMap;

use ergon_engine::{ImageConfig, Need};
use ergon_resolve::Resolvers;
use jiff::Timestamp;

use super::mock::{MockPod, Mocked};
use super::pod::Finding;
use super::tell::Teller;
use super::world::{Effect, World};
use super::{Folders, Outcome, RunError, RunOptions, inputs, outcome, remote};
use crate::event::{Event, Stream};

/// How many steps of time a run may take: a run that never comes to its end must not hold its test.
const MOST_TURNS: usize = 100_000;

/// Plays a run to its end without a container, and gives the lines that were printed. None: a task is not mocked, and
/// so the run needs [`super::play`].
///
/// # Errors
/// Documents that are no run, and a run that waits for something that never comes.
pub(crate) async fn simulate(options: &RunOptions) -> Result<Option<(Outcome, Vec<Event>)>, RunError> {
    // Nothing is made below it but the claims of the files.
    let folders = Folders::unmade(&options.home);
    let files = inputs::files(options, &folders)?;
    let world = inputs::world(options, files, folders.run.join("claims"))?;
    let mut simulation =
        Simulation { world, pods: BTreeMap::new(), lines: Vec::new(), now: Timestamp::now(), options };
    let done = simulation.until_the_end().await;
    if folders.run.exists() {
        folders.remove().await;
    }
    let Simulation { world, lines, .. } = simulation;
    Ok(done?.then(|| (Outcome::of(&world, outcome::status(&world)), lines)))
}

/// What an image says whose command does not matter, because nothing runs it.
pub(super) fn some_command() -> ImageConfig {
    ImageConfig { entrypoint: vec!["entrypoint".to_owned()], cmd: Vec::new() }
}

struct Simulation<'a> {
    world: World,
    pods: BTreeMap<String, (String, MockPod)>,
    lines: Vec<Event>,
    now: Timestamp,
    options: &'a RunOptions,
}

impl Simulation<'_> {
    /// False: a pod would have to be carried out.
    async fn until_the_end(&mut self) -> Result<bool, RunError> {
        let resolvers = Resolvers::new(true);
        for _ in 0..MOST_TURNS {
            let pass = self.world.decide(self.now);
            let quiet = pass.effects.is_empty() && !pass.changed;
            for effect in pass.effects {
                if !self.perform(effect, &resolvers).await {
                    return Ok(false);
                }
            }
            let news = self.look();
            if !quiet || news {
                continue;
            }
            if self.world.is_done() {
                return Ok(true);
            }
            let due = self.pods.values().filter_map(|(_, pod)| pod.next()).min();
            let due = due.and_then(|at| Timestamp::from_millisecond(at).ok());
            let next = due.into_iter().chain(pass.wake_at).min();
            let Some(next) = next else { break };
            // Whatever is due in the past was looked at just now, and would be again.
            self.now = next.max(self.now + jiff::SignedDuration::from_millis(1));
            let now = self.now.as_millisecond();
            self.pods.values_mut().for_each(|(_, pod)| pod.advance(now));
            self.look();
        }
        Err(RunError::Input("the run waits for something that never comes".to_owned()))
    }

    async fn perform(&mut self, effect: Effect, resolvers: &Resolvers) -> bool {
        match effect {
            Effect::LookUp(Need::Image { reference, .. }) => {
                self.world.library.images.insert(reference, Ok(some_command()));
            }
            Effect::LookUp(Need::Remote(request)) => {
                let answer = remote::fetch(resolvers, &self.world, &request).await;
                self.world.library.remote.insert(request, answer);
            }
            Effect::LookUp(need) => self.world.nothing_found(&need),
            Effect::StartPod(pod) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                let (task, attempt) = Teller::task_of_pod(&self.world, &name);
                let Some(Mocked::Whole(said)) = self.options.mocks.of(&task, attempt) else { return false };
                let Some(mock) = MockPod::start(&pod, said, self.now.as_millisecond()) else { return false };
                self.pods.insert(name, (task, mock));
            }
            Effect::EndPod(name) => {
                let now = self.now.as_millisecond();
                if let Some((_, pod)) = self.pods.get_mut(&name) {
                    pod.stop(now);
                }
            }
            Effect::MakeClaim(_) => {}
        }
        true
    }

    /// Takes in what pods have to say; true where one has ended.
    fn look(&mut self) -> bool {
        let mut ended = Vec::new();
        for (name, (task, pod)) in &mut self.pods {
            for (step, text) in std::mem::take(&mut pod.lines) {
                self.lines.push(Event::Line { task: task.clone(), step, stream: Stream::Stdout, text });
            }
            self.world.take_in(Finding::Report { pod: name.clone(), report: pod.report() });
            if let Some(status) = pod.end() {
                self.world.take_in(Finding::Ended { pod: name.clone(), status });
                ended.push(name.clone());
            }
        }
        self.pods.retain(|name, _| !ended.contains(name));
        !ended.is_empty()
    }
}
