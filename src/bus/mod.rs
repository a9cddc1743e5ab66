//! The bus carries committed events to whoever listens now.
//!
//! Frames arrive in commit order on the writer's thread and are put into one bounded queue a subscriber. A full queue
//! ends that subscription and nobody else's: the reader resumes from the journal by id. Subscribers stand in groups by
//! filter, so that a filter is tested once a group and an event costs nothing to streams that do not want it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::domain::event::{EventFilter, SharedFrame};
use crate::domain::id::EventId;
use crate::store::CommitSink;

/// Frames that may wait for one subscriber before it is cut. A single commit may bring hundreds (a backlog of messages
/// after a night offline), which no reader could take in between; the bytes below are the bound on memory.
pub const QUEUE_FRAMES: usize = 1024;

/// Bytes that may wait for one subscriber before it is cut; a queue of QR pictures is larger than one of receipts.
pub const QUEUE_BYTES: usize = 1 << 20;

/// The bus; cheap to clone.
#[derive(Clone, Default)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    cut: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The last journaled event that went out.
    head: Option<EventId>,
    groups: HashMap<EventFilter, HashMap<u64, Seat>>,
    next_seat: u64,
    closed: bool,
}

/// The sending end of one subscription.
struct Seat {
    queue: mpsc::Sender<SharedFrame>,
    waiting: Arc<AtomicUsize>,
    overrun: Arc<AtomicBool>,
    /// Events up to here were already read from the journal.
    joined_at: Option<EventId>,
}

/// Joining at the head failed: the journal has more to read first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Behind;

/// Why a subscription ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The bus was closed, because the process stops.
    Closed,
    /// The reader did not keep up.
    TooSlow,
}

impl Bus {
    /// A bus without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the store's writer calls after each commit.
    pub fn sink(&self) -> CommitSink {
        let bus = self.clone();
        Arc::new(move |frames| bus.publish(frames))
    }

    /// Tells the bus where the journal stands at start, before anybody subscribes.
    pub fn start_at(&self, head: Option<EventId>) {
        let mut state = self.state();
        state.head = state.head.max(head);
    }

    /// Hands frames to everybody who wants them. Called in commit order; never blocks.
    pub fn publish(&self, frames: &[SharedFrame]) {
        let mut state = self.state();
        if let Some(last) = frames.iter().filter_map(|frame| frame.id).next_back() {
            state.head = state.head.max(Some(last));
        }
        let mut cut = 0;
        state.groups.retain(|filter, seats| {
            for frame in frames.iter().filter(|frame| filter.wants(frame.instance, frame.name)) {
                seats.retain(|_, seat| {
                    let kept = seat.offer(frame);
                    cut += u64::from(!kept);
                    kept
                });
            }
            !seats.is_empty()
        });
        self.shared.cut.fetch_add(cut, Ordering::Relaxed);
    }

    /// Subscribes from now on.
    pub fn subscribe(&self, filter: EventFilter) -> Subscription {
        self.seat(&mut self.state(), filter, None)
    }

    /// Subscribes without a seam behind `read_to`, the last event that was looked at in the journal; refuses while
    /// the journal has published more than that, and then the caller reads on first.
    pub fn join(&self, filter: EventFilter, read_to: Option<EventId>) -> Result<Subscription, Behind> {
        let mut state = self.state();
        if state.head > read_to {
            return Err(Behind);
        }
        Ok(self.seat(&mut state, filter, read_to))
    }

    /// Ends every subscription; later ones end at once.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.groups.clear();
    }

    /// How many subscriptions are open.
    pub fn subscribers(&self) -> usize {
        self.state().groups.values().map(HashMap::len).sum()
    }

    /// How many subscriptions were cut because they did not keep up.
    pub fn cut(&self) -> u64 {
        self.shared.cut.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing inside can be left half done by a panic, so a poisoned lock is as good as a clean one.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(&self, state: &mut State, filter: EventFilter, joined_at: Option<EventId>) -> Subscription {
        let (sender, receiver) = mpsc::channel(QUEUE_FRAMES);
        let waiting = Arc::new(AtomicUsize::new(0));
        let overrun = Arc::new(AtomicBool::new(false));
        let number = state.next_seat;
        state.next_seat += 1;
        if !state.closed {
            let seat = Seat {
                queue: sender,
                waiting: waiting.clone(),
                overrun: overrun.clone(),
                joined_at,
            };
            state.groups.entry(filter).or_default().insert(number, seat);
        }
        Subscription {
            bus: self.clone(),
            filter,
            number,
            queue: receiver,
            waiting,
            overrun,
        }
    }
}

impl Seat {
    /// Puts a frame into the queue; `false` ends the subscription.
    fn offer(&self, frame: &SharedFrame) -> bool {
        if frame.id.is_some() && frame.id <= self.joined_at {
            return true;
        }
        let waiting = self.waiting.fetch_add(frame.len(), Ordering::AcqRel);
        if waiting > 0 && waiting + frame.len() > QUEUE_BYTES || self.queue.try_send(frame.clone()).is_err() {
            self.overrun.store(true, Ordering::Release);
            return false;
        }
        true
    }
}

/// The receiving end of one subscription; dropping it leaves the bus.
pub struct Subscription {
    bus: Bus,
    filter: EventFilter,
    number: u64,
    queue: mpsc::Receiver<SharedFrame>,
    waiting: Arc<AtomicUsize>,
    overrun: Arc<AtomicBool>,
}

impl Subscription {
    /// The next frame, or why there will be none.
    pub async fn next(&mut self) -> Result<SharedFrame, Ended> {
        match self.queue.recv().await {
            Some(frame) => {
                self.waiting.fetch_sub(frame.len(), Ordering::AcqRel);
                Ok(frame)
            }
            None if self.overrun.load(Ordering::Acquire) => Err(Ended::TooSlow),
            None => Err(Ended::Closed),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.bus.state();
        if let Some(seats) = state.groups.get_mut(&self.filter) {
            seats.remove(&self.number);
            if seats.is_empty() {
                state.groups.remove(&self.filter);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{EventName, Frame};
    use crate::domain::id::InstanceId;

    fn frame(id: u128, instance: u128) -> SharedFrame {
        Arc::new(Frame::new(
            Some(EventId::from_u128(id)),
            InstanceId::from_u128(instance),
            EventName::MessageSent,
            None,
            b"{}",
        ))
    }

    fn only(instance: u128) -> EventFilter {
        EventFilter::ALL.of_instance(Some(InstanceId::from_u128(instance)))
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_its_filter_wants_in_order() {
        let bus = Bus::new();
        let (mut all, mut one) = (bus.subscribe(EventFilter::ALL), bus.subscribe(only(1)));
        bus.publish(&[frame(1, 2), frame(2, 1)]);
        bus.publish(&[frame(3, 1)]);
        for expected in 1..=3 {
            assert_eq!(all.next().await.unwrap().id, Some(EventId::from_u128(expected)));
        }
        for expected in 2..=3 {
            assert_eq!(one.next().await.unwrap().id, Some(EventId::from_u128(expected)));
        }
    }

    #[tokio::test]
    async fn a_subscriber_that_does_not_keep_up_is_cut_and_nobody_else() {
        let bus = Bus::new();
        let (mut slow, mut other) = (bus.subscribe(only(1)), bus.subscribe(only(2)));
        for id in 0..=QUEUE_FRAMES as u128 {
            bus.publish(&[frame(id + 1, 1)]);
        }
        bus.publish(&[frame(1_000, 2)]);
        for _ in 0..QUEUE_FRAMES {
            slow.next().await.unwrap();
        }
        assert_eq!(slow.next().await.unwrap_err(), Ended::TooSlow);
        assert_eq!(other.next().await.unwrap().id, Some(EventId::from_u128(1_000)));
        assert_eq!((bus.subscribers(), bus.cut()), (1, 1));
    }

    #[tokio::test]
    async fn joining_at_the_head_leaves_no_seam_and_no_duplicate() {
        let bus = Bus::new();
        bus.publish(&[frame(5, 1)]);
        assert_eq!(
            bus.join(EventFilter::ALL, Some(EventId::from_u128(4))).err(),
            Some(Behind)
        );
        // The reader saw event 6 in the journal before the bus spoke of it.
        let mut joined = bus.join(EventFilter::ALL, Some(EventId::from_u128(6))).unwrap();
        bus.publish(&[frame(6, 1), frame(7, 1)]);
        assert_eq!(joined.next().await.unwrap().id, Some(EventId::from_u128(7)));
    }

    #[tokio::test]
    async fn closing_ends_subscriptions_old_and_new() {
        let bus = Bus::new();
        let mut before = bus.subscribe(EventFilter::ALL);
        bus.close();
        let mut after = bus.subscribe(EventFilter::ALL);
        assert_eq!(before.next().await.unwrap_err(), Ended::Closed);
        assert_eq!(after.next().await.unwrap_err(), Ended::Closed);
    }
}
