//! The live stream: who may read what, from where, and how a reader catches up.
//!
//! A reader that resumes pages through the journal at its own pace, queueing nothing meanwhile, and takes its seat on
//! the bus at the journal's head: [`Bus::join`] refuses while there is more to read, so there is no seam.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::App;
use super::instances;
use crate::bus::{self, Bus, Subscription};
use crate::domain::Timestamp;
use crate::domain::access::{Caller, Holder, Scope};
use crate::domain::error::{Code, Error};
use crate::domain::event::{API_VERSION, EventFilter, EventName, SharedFrame};
use crate::domain::id::{EventId, InstanceId};
use crate::store::{ReadError, Store};
use crate::sys::clock;

/// Journal entries looked at in one read; small enough that a read stays far below a millisecond.
const PAGE: usize = 200;

/// Frames that wait together are handed out as one piece up to this size: one write to the socket instead of many.
const PIECE_BYTES: usize = 64 << 10;

/// Says that what follows happens now; a reader that only wants the past may go.
const CAUGHT_UP: &[u8] = b": caught up\n\n";

/// Open event streams by key or sign-in, so that they can be counted and ended.
#[derive(Clone)]
pub struct Streams {
    max_per_key: Arc<AtomicU32>,
    open: Arc<Mutex<HashMap<Holder, Open>>>,
    /// How many are open, of keys and of the owner.
    all: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Open {
    count: u32,
    ended: CancellationToken,
}

impl Streams {
    /// No streams yet; at most `max_per_key` of one key or sign-in.
    pub fn new(max_per_key: u32) -> Self {
        Self {
            max_per_key: Arc::new(max_per_key.into()),
            open: Arc::default(),
            all: Arc::default(),
        }
    }

    /// How many are open, of keys and of the owner.
    pub fn open_in_all(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// How many one key may hold open.
    pub fn max_per_key(&self) -> u32 {
        self.max_per_key.load(Ordering::Relaxed)
    }

    /// From now on this many; what is open stays open.
    pub fn set_max_per_key(&self, max: u32) {
        self.max_per_key.store(max, Ordering::Relaxed);
    }

    /// How many this key or sign-in holds open.
    pub fn open_of(&self, holder: Option<Holder>) -> u32 {
        holder.map_or(0, |holder| self.open().get(&holder).map_or(0, |open| open.count))
    }

    /// Ends every stream of a key or sign-in.
    pub(super) fn end_of(&self, holder: Holder) {
        if let Some(open) = self.open().remove(&holder) {
            open.ended.cancel();
        }
    }

    fn take(&self, holder: Option<Holder>) -> Result<Seat, Error> {
        let Some(holder) = holder else {
            return Ok(self.seat(None, CancellationToken::new()));
        };
        let mut all = self.open();
        let open = all.entry(holder).or_default();
        if open.count >= self.max_per_key() {
            return Err(Error::new(
                Code::TooManyStreams,
                format!(
                    "This {} holds {} event streams open, the most allowed. Close some, or read with one stream for many instances.",
                    match holder {
                        Holder::Key(_) => "key",
                        Holder::Login(_) => "sign-in",
                    },
                    open.count
                ),
            )
            .with_retry_after(Duration::from_secs(5)));
        }
        open.count += 1;
        Ok(self.seat(Some(holder), open.ended.clone()))
    }

    fn seat(&self, holder: Option<Holder>, ended: CancellationToken) -> Seat {
        self.all.fetch_add(1, Ordering::Relaxed);
        Seat {
            streams: self.clone(),
            holder,
            ended,
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Holder, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open stream's place in the count; given back on drop.
struct Seat {
    streams: Streams,
    holder: Option<Holder>,
    ended: CancellationToken,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.streams.all.fetch_sub(1, Ordering::Relaxed);
        let Some(holder) = self.holder else { return };
        // After a revocation the entry is gone already.
        if self.ended.is_cancelled() {
            return;
        }
        let mut all = self.streams.open();
        if let Some(open) = all.get_mut(&holder) {
            open.count -= 1;
            if open.count == 0 {
                all.remove(&holder);
            }
        }
    }
}

/// What a reader asks for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Wanted {
    /// Only this instance.
    pub instance: Option<InstanceId>,
    /// Only these events and, with the instance, nothing else.
    pub filter: EventFilter,
    /// The last event that the reader saw.
    pub resume_after: Option<EventId>,
}

/// Opens a stream. From here on the reader misses nothing, even before it reads its first byte.
pub fn subscribe(app: &App, caller: &Caller, wanted: Wanted) -> Result<Reader, Error> {
    caller.require(Scope::EventsRead)?;
    if let Some(id) = wanted.instance {
        instances::visible(app, caller, id)?;
    }
    let filter = [
        Some(EventFilter::ALL.of_instance(wanted.instance)),
        Some(EventFilter::ALL.of_instance(caller.instance)),
        caller.stream,
    ]
    .into_iter()
    .flatten()
    .try_fold(wanted.filter, EventFilter::and)
    .ok_or_else(|| {
        Error::new(
            Code::InstanceAccessDenied,
            "This stream token is for another instance. Ask for one without an instance, or for the right one.",
        )
    })?;
    let seat = app.streams.take(caller.holder())?;
    // The key may have been revoked between looking it up and taking the seat; from the seat on, revoking ends it.
    if let Some(key) = caller.key
        && app.keys.by_id(key)?.is_none()
    {
        return Err(Error::new(Code::AuthInvalid, "This API key was just revoked."));
    }
    if let Some(login) = caller.login
        && !app.sessions.is_open(login)?
    {
        return Err(Error::new(Code::AuthInvalid, "This sign-in has just ended."));
    }
    let phase = match wanted.resume_after {
        None => Phase::Live(app.bus.subscribe(filter)),
        Some(after) => Phase::resume(&app.store, after)?,
    };
    Ok(Reader {
        store: app.store.clone(),
        bus: app.bus.clone(),
        filter,
        phase,
        ended: seat.ended.clone(),
        expires_at: caller.expires_at,
        _seat: seat,
    })
}

/// Why a stream is over.
#[derive(Debug)]
pub enum Ended {
    /// The gateway stops.
    Closed,
    /// The reader did not keep up; it may resume.
    TooSlow,
    /// The key was revoked, or the sign-in ended.
    Revoked,
    /// The key, token or sign-in expired.
    Expired,
    /// The journal could not be read.
    Failed(ReadError),
}

enum Phase {
    /// Reading the journal; frames already read stand in `page`.
    Replay {
        gap: Option<Bytes>,
        page: VecDeque<SharedFrame>,
        after: EventId,
    },
    Live(Subscription),
}

impl Phase {
    fn resume(store: &Store, after: EventId) -> Result<Self, ReadError> {
        let head = store.head();
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method is bound to one lifetime, the closure is not"
        )]
        let oldest = store.read(|view| view.oldest_event())?;
        // An id from the future is one of another journal: the state was reset or restored since.
        let foreign = head < Some(after);
        let gap = foreign || oldest.is_none_or(|oldest| after < oldest) && head != Some(after);
        Ok(Self::Replay {
            gap: gap.then(|| gap_frame(after, oldest)),
            page: VecDeque::new(),
            after: if foreign {
                head.unwrap_or(EventId::from_u128(0))
            } else {
                after
            },
        })
    }
}

/// Tells a reader that it may have missed something. Without `id:`, so that the reader's place stays where it was.
fn gap_frame(requested: EventId, oldest: Option<EventId>) -> Bytes {
    let json = serde_json::json!({
        "event": EventName::StreamGap,
        "api_version": API_VERSION,
        "occurred_at": clock::now(),
        "requested_event_id": requested,
        "oldest_event_id": oldest,
    });
    format!("data: {json}\n\n").into()
}

/// The reading end of one stream.
pub struct Reader {
    store: Store,
    bus: Bus,
    filter: EventFilter,
    phase: Phase,
    ended: CancellationToken,
    expires_at: Option<Timestamp>,
    _seat: Seat,
}

impl Reader {
    /// The next frames, complete and ready for the wire, or why there will be none. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Bytes, Ended> {
        if self.ended.is_cancelled() {
            return Err(Ended::Revoked);
        }
        if self.expires_at.is_some_and(|at| at <= clock::now()) {
            return Err(Ended::Expired);
        }
        loop {
            if let Phase::Replay { .. } = self.phase {
                if let Some(piece) = self.replay().map_err(Ended::Failed)? {
                    return Ok(piece);
                }
                // Many pages may hold nothing for this filter; others want to run too.
                tokio::task::yield_now().await;
                continue;
            }
            let Phase::Live(subscription) = &mut self.phase else {
                continue;
            };
            return tokio::select! {
                biased;
                () = self.ended.cancelled() => Err(Ended::Revoked),
                () = expiry(self.expires_at) => Err(Ended::Expired),
                first = subscription.next() => match first {
                    Ok(first) => Ok(together(&first, subscription)),
                    Err(bus::Ended::Closed) => Err(Ended::Closed),
                    Err(bus::Ended::TooSlow) => Err(Ended::TooSlow),
                },
            };
        }
    }

    /// One step of catching up: what was read, or `None` after looking at a page without anything wanted; a comment
    /// after taking the seat on the bus.
    fn replay(&mut self) -> Result<Option<Bytes>, ReadError> {
        let Phase::Replay { gap, page, after } = &mut self.phase else {
            return Ok(None);
        };
        if let Some(gap) = gap.take() {
            return Ok(Some(gap));
        }
        if let Some(first) = page.pop_front() {
            let mut piece = BytesMut::from(first.sse().as_ref());
            while let Some(frame) = page.pop_front_if(|frame| piece.len() + frame.len() <= PIECE_BYTES) {
                piece.extend_from_slice(&frame.sse());
            }
            return Ok(Some(piece.freeze()));
        }
        let read = self.store.read(|view| view.journal(Some(*after), PAGE))?;
        let now = clock::now();
        page.extend(read.frames.into_iter().filter(|frame| {
            self.filter.wants(frame.instance, frame.name) && frame.expires_at.is_none_or(|at| at > now)
        }));
        *after = read.scanned_to.unwrap_or(*after).max(*after);
        if !read.at_head {
            return Ok(None);
        }
        if page.is_empty()
            && let Ok(subscription) = self.bus.join(self.filter, Some(*after))
        {
            self.phase = Phase::Live(subscription);
            return Ok(Some(Bytes::from_static(CAUGHT_UP)));
        }
        Ok(None)
    }
}

/// Everything that waits, in one piece.
fn together(first: &SharedFrame, subscription: &mut Subscription) -> Bytes {
    let alone = first.sse();
    let mut piece: Option<BytesMut> = None;
    while piece.as_ref().map_or(alone.len(), BytesMut::len) < PIECE_BYTES {
        // An end is told again at the next call.
        let Some(Ok(frame)) = subscription.next().now_or_never() else {
            break;
        };
        piece
            .get_or_insert_with(|| BytesMut::from(alone.as_ref()))
            .extend_from_slice(&frame.sse());
    }
    piece.map_or(alone, BytesMut::freeze)
}

async fn expiry(at: Option<Timestamp>) {
    match at {
        Some(at) => clock::sleep_until_time(at).await,
        None => std::future::pending().await,
    }
}
