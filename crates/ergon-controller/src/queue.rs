//! The work queue: keys to reconcile, each at most once at a time.
//!
//! Keys come in flows, such as all that belongs to one run: the flows take turns, so that none waits for all of another,
//! and within a flow it is first come, first served. A key that is there already is not added again; a key that is added
//! while it is worked on comes again afterwards; a key that failed comes again after a delay that doubles. It knows nothing
//! of what keys mean, and takes its time from tokio, so that a simulation can drive it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::lock;

/// The delay after the first failure.
pub const FIRST_DELAY: Duration = Duration::from_millis(50);
/// The longest delay.
pub const LONGEST_DELAY: Duration = Duration::from_mins(1);

/// What to do with a key after it was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing, until it is added again.
    Rest,
    /// Come again at that time, even if nothing adds it.
    WakeAt(Instant),
    /// Come again after a delay that doubles with each failure in a row.
    Retry,
}

/// Says which flow a key belongs to.
type FlowOf<K> = Box<dyn Fn(&K) -> u64 + Send + Sync>;

/// A queue of keys. See the module.
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    flow_of: FlowOf<K>,
}

impl<K: fmt::Debug> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("state", &self.state).finish_non_exhaustive()
    }
}

/// The keys that are ready, by flow.
#[derive(Debug)]
struct Ready<K> {
    flows: HashMap<u64, VecDeque<K>>,
    /// Whose turn is next; each flow that has keys is there once.
    turns: VecDeque<u64>,
    count: usize,
}

impl<K> Default for Ready<K> {
    fn default() -> Self {
        Self { flows: HashMap::new(), turns: VecDeque::new(), count: 0 }
    }
}

impl<K> Ready<K> {
    fn push(&mut self, flow: u64, key: K) {
        let keys = self.flows.entry(flow).or_default();
        if keys.is_empty() {
            self.turns.push_back(flow);
        }
        keys.push_back(key);
        self.count += 1;
    }

    fn pop(&mut self) -> Option<K> {
        let flow = self.turns.pop_front()?;
        let keys = self.flows.get_mut(&flow)?;
        let key = keys.pop_front()?;
        self.count -= 1;
        if keys.is_empty() {
            self.flows.remove(&flow);
        } else {
            self.turns.push_back(flow);
        }
        Some(key)
    }
}

#[derive(Debug)]
struct State<K> {
    ready: Ready<K>,
    entries: HashMap<K, Entry>,
    timers: BTreeSet<(Instant, K)>,
    closed: bool,
}

/// A key that is ready, worked on, waiting for its timer, or has failed.
#[derive(Debug, Default)]
struct Entry {
    flow: u64,
    ready: bool,
    running: bool,
    /// Added while it was worked on.
    again: bool,
    failures: u32,
    timer: Option<Instant>,
}

/// All keys are of one flow.
impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self::with_flows(|_| 0)
    }
}

impl<K> Queue<K> {
    /// With flows as `flow_of` says, which must not come back to the queue. Whoever adds a key must not hold what it locks.
    pub fn with_flows(flow_of: impl Fn(&K) -> u64 + Send + Sync + 'static) -> Self {
        let state = State {
            ready: Ready::default(),
            entries: HashMap::new(),
            timers: BTreeSet::new(),
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), flow_of: Box::new(flow_of) }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Adds a key, to be worked on as soon as possible.
    pub fn add(&self, key: K) {
        let flow = (self.flow_of)(&key);
        if lock(&self.state).add(key, flow) {
            self.changed.notify_one();
        }
    }

    /// The next key; waits until there is one. None once the queue is closed.
    /// Each key that is handed out must be given back with [`Self::done`].
    pub async fn next(&self) -> Option<K> {
        loop {
            let wake_at = {
                let mut state = lock(&self.state);
                if state.closed {
                    return None;
                }
                if let Some(key) = state.take(Instant::now()) {
                    if state.ready.count > 0 {
                        // Two adds in a row may have left one permit: pass the wake-up on.
                        self.changed.notify_one();
                    }
                    return Some(key);
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match wake_at {
                Some(at) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// The next key if there is one now.
    pub fn try_next(&self) -> Option<K> {
        lock(&self.state).take(Instant::now())
    }

    /// Gives a key back.
    pub fn done(&self, key: &K, after: After) {
        let mut state = lock(&self.state);
        let Some(entry) = state.entries.get_mut(key) else { return };
        entry.running = false;
        let old = entry.timer.take();
        entry.timer = match after {
            After::Rest | After::WakeAt(_) => {
                entry.failures = 0;
                if let After::WakeAt(at) = after { Some(at) } else { None }
            }
            After::Retry => {
                let delay = delay(entry.failures);
                entry.failures = entry.failures.saturating_add(1);
                Some(Instant::now() + delay)
            }
        };
        let new = entry.timer;
        let again = std::mem::take(&mut entry.again);
        let idle = new.is_none() && !again;
        let flow = entry.flow;
        if let Some(old) = old {
            state.timers.remove(&(old, key.clone()));
        }
        if let Some(new) = new {
            state.timers.insert((new, key.clone()));
        }
        if idle {
            state.entries.remove(key);
        }
        if again {
            state.add(key.clone(), flow);
        }
        drop(state);
        if !idle {
            // A worker that sleeps may have to wake earlier than it thought.
            self.changed.notify_one();
        }
    }

    /// Hands out no more keys.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Runs `work` while nobody else can use the queue: to see in which order others come to it.
    #[cfg(test)]
    pub(crate) fn while_locked<R>(&self, work: impl FnOnce() -> R) -> R {
        let _state = lock(&self.state);
        work()
    }

    /// How many keys wait to be worked on now.
    pub fn depth(&self) -> usize {
        lock(&self.state).ready.count
    }
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    /// Whether a key became ready.
    fn add(&mut self, key: K, flow: u64) -> bool {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.running {
            entry.again = true;
            return false;
        }
        if entry.ready {
            return false;
        }
        entry.ready = true;
        entry.flow = flow;
        self.ready.push(flow, key);
        true
    }

    fn take(&mut self, now: Instant) -> Option<K> {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.timers.pop_first() else { break };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.timer = None;
            let flow = entry.flow;
            self.add(key, flow);
        }
        let key = self.ready.pop()?;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.ready = false;
            entry.running = true;
        }
        Some(key)
    }
}

fn delay(failures: u32) -> Duration {
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn drain(queue: &Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.try_next()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn keys_come_in_order_and_once() {
        let queue = Queue::default();
        for key in ["b", "a", "b", "c", "a"] {
            queue.add(key);
        }
        assert_eq!(queue.depth(), 3);
        assert_eq!(drain(&queue), ["b", "a", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn flows_take_turns() {
        // By the first letter.
        let queue =
            Queue::with_flows(|key: &&'static str| key.as_bytes().first().copied().map_or(0, u64::from));
        for key in ["a1", "a2", "a3", "a4", "b1", "c1", "b2"] {
            queue.add(key);
        }
        assert_eq!(queue.depth(), 7);
        assert_eq!(drain(&queue), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        queue.add("a1");
        queue.done(&"a1", After::Rest);
        queue.add("b3");
        assert_eq!(drain(&queue), ["a1", "b3"], "what waited for its end is of the same flow");
        assert!(lock(&queue.state).ready.flows.is_empty(), "a flow without keys takes no memory");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_by_one_at_a_time_and_comes_again() {
        let queue = Queue::default();
        queue.add("a");
        assert_eq!(queue.try_next(), Some("a"));
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.try_next(), None);
        queue.done(&"a", After::Rest);
        assert_eq!(drain(&queue), ["a"]);
        queue.done(&"a", After::Rest);
        assert_eq!(queue.try_next(), None);
        assert!(lock(&queue.state).entries.is_empty(), "a key at rest takes no memory");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_delay_and_success_resets_it() {
        let queue = Queue::default();
        queue.add("a");
        let mut delays = Vec::new();
        for _ in 0..13 {
            let start = Instant::now();
            assert_eq!(queue.next().await, Some("a"));
            delays.push(start.elapsed().as_millis());
            queue.done(&"a", After::Retry);
        }
        assert_eq!(delays, [0, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000]);
        queue.next().await;
        queue.done(&"a", After::Rest);
        queue.add("a");
        queue.next().await;
        queue.done(&"a", After::Retry);
        let start = Instant::now();
        queue.next().await;
        assert_eq!(start.elapsed(), FIRST_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_wakes_at_its_time_and_the_newest_time_counts() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add("a");
        queue.next().await;
        queue.done(&"a", After::WakeAt(start + Duration::from_hours(1)));
        queue.add("a");
        queue.next().await;
        queue.done(&"a", After::WakeAt(start + Duration::from_secs(10)));
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        queue.done(&"a", After::Rest);
        assert!(lock(&queue.state).timers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn every_waiting_worker_gets_its_key() {
        let queue = Arc::new(Queue::default());
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        for key in 0..4 {
            queue.add(key);
        }
        let mut keys = Vec::new();
        for worker in workers {
            keys.extend(worker.await.expect("no panic"));
        }
        keys.sort_unstable();
        assert_eq!(keys, [0, 1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_all_workers() {
        let queue: Arc<Queue<u8>> = Arc::new(Queue::default());
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = Arc::clone(&queue);
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        queue.add(1);
        queue.close();
        for worker in workers {
            worker.await.expect("no panic");
        }
        assert_eq!(queue.next().await, None);
    }
}
