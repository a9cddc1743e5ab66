//! From a request to a reply: find the route, recognise the caller, count, call, dress the answer, write one log line.
//!
//! Once path and method are found nothing is a warp rejection any more: a rejection that escapes would fall through to
//! whatever filter comes next and answer something else entirely.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::body::Incoming;
use super::call::{Call, Query};
use super::connection::Peer;
use super::reply::Reply;
use super::route::{self, Access, Found, Route};
use super::tally::Tally;
use super::{Options, cors, error, forwarded, openapi, session, ui};
use crate::app::limits::Allowance;
use crate::app::system::Door;
use crate::app::{App, authentication, stream_tokens};
use crate::domain::access::Caller;
use crate::domain::error::{Code, Error};
use crate::domain::id::RequestId;
use crate::sys::clock;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Everything that requests share.
pub struct Site {
    /// The use cases.
    pub app: App,
    /// How the site behaves.
    pub options: Options,
    /// Cancelled when the process stops.
    pub shutdown: CancellationToken,
    openapi: OnceLock<Bytes>,
    cookie: OnceLock<String>,
    /// What was asked since the start.
    pub tally: Tally,
    /// Ports that are open.
    open_ports: AtomicUsize,
    /// Said once that a proxy seems to be in front.
    hint_at_proxy: Once,
}

/// What arrived, before anybody looked at it.
pub struct Arrival {
    /// From where.
    pub peer: Peer,
    /// The method.
    pub method: Method,
    /// The path, still encoded.
    pub path: String,
    /// What stands behind the `?`; holds tokens, so it never reaches a log.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, unread.
    pub body: Incoming,
}

/// What is told about a request besides its reply.
struct Trace {
    request: RequestId,
    route: &'static str,
    allowance: Option<Allowance>,
    /// Whether the answer is for one browser alone: kept by no cache, read by no other site's page.
    private: bool,
}

impl Site {
    /// A site that has not been called yet.
    pub fn new(app: App, options: Options, shutdown: CancellationToken) -> Self {
        Self {
            app,
            options,
            shutdown,
            openapi: OnceLock::new(),
            cookie: OnceLock::new(),
            tally: Tally::default(),
            open_ports: AtomicUsize::new(0),
            hint_at_proxy: Once::new(),
        }
    }

    /// A port was opened.
    pub fn note_open(&self) {
        self.open_ports.fetch_add(1, Ordering::Relaxed);
    }

    /// A port was closed.
    pub fn note_closed(&self) {
        self.open_ports.fetch_sub(1, Ordering::Relaxed);
    }

    /// What the site knows about itself.
    pub fn door(&self) -> Door {
        Door {
            listening: self.open_ports.load(Ordering::Relaxed) > 0,
            stopping: self.shutdown.is_cancelled(),
        }
    }

    /// The OpenAPI document, made at first use.
    pub fn openapi(&self) -> Bytes {
        let cookie = self.cookie_name().unwrap_or("whatisup");
        self.openapi.get_or_init(|| openapi::document(cookie).into()).clone()
    }

    /// Answers one request; the only errors left are those of the connection.
    pub async fn answer(self: Arc<Self>, mut arrival: Arrival) -> warp::reply::Response {
        let started = clock::moment();
        let mut trace = Trace {
            request: RequestId::new(clock::now()),
            route: "-",
            allowance: self.app.limits.peek(&Caller::OWNER),
            private: false,
        };
        let in_api = is_api(&arrival.path);
        let mut reply = match self.decide(&mut arrival, &mut trace).await {
            Ok(reply) => reply,
            Err(error) => {
                if error::status(error.code) == http::StatusCode::UNAUTHORIZED {
                    self.tally.note_auth_failure(error.code.as_str());
                }
                error::reply(&error, trace.request)
            }
        };
        // Before the rest of the body is swallowed, which is the caller's time.
        let took = clock::moment().since(started);
        let counted_as = if trace.route == "-" { "none" } else { trace.route };
        self.tally.note(counted_as, reply.status().as_u16(), took);
        if trace.private {
            reply.set(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        } else if in_api {
            cors::admit(&mut reply, &arrival.headers, &self.options.cors_origins.get());
        }
        dress(&mut reply, &trace);
        if !arrival.body.drain().await {
            reply.set(CONNECTION, HeaderValue::from_static("close"));
        }
        let status = reply.status().as_u16();
        let duration_ms = u64::try_from(clock::moment().since(started).as_millis()).unwrap_or(u64::MAX);
        let (request, route, method) = (trace.request, trace.route, &arrival.method);
        // What pages, monitors and pollers ask all day is no news.
        if route != "-" && (status >= 500 || !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)) {
            tracing::info!(request.id = %request, %method, route, status, duration_ms, "request");
        } else {
            tracing::debug!(request.id = %request, %method, route, status, duration_ms, "request");
        }
        reply.into_response()
    }

    async fn decide(self: &Arc<Self>, arrival: &mut Arrival, trace: &mut Trace) -> Result<Reply, Error> {
        let (route, parameters) = match route::find(&arrival.method, &arrival.path) {
            Found::Route(route, parameters) => (route, parameters),
            Found::OtherMethods(allow) if arrival.method == Method::OPTIONS => return Ok(cors::options(&allow)),
            Found::OtherMethods(allow) => return Err(error::method_not_allowed(&allow)),
            Found::Nothing if is_api(&arrival.path) => {
                return Err(Error::new(
                    Code::NotFound,
                    "There is no such call. GET /openapi.json lists all there are.",
                ));
            }
            Found::Nothing => return ui::answer(&arrival.method, &arrival.path, &arrival.headers),
        };
        trace.route = route.id;
        trace.private = matches!(route.access, Access::Page | Access::Login);
        let query = Query::parse(&arrival.query);
        let address = self.address(arrival);
        let caller = self.recognise(arrival, address, route, &query)?;
        let caller = caller.asking(trace.request, address);
        trace.private |= caller.login.is_some();
        trace.allowance = self.app.limits.peek(&caller);
        self.admit(route, &caller, trace)?;
        query.check(route)?;
        let body = if matches!(route.method, Method::GET | Method::DELETE) {
            Bytes::new()
        } else {
            arrival.body.read_json(&arrival.headers).await?
        };
        let call = Call {
            request: trace.request,
            caller,
            site: self.clone(),
            parameters,
            query,
            headers: arrival.headers.clone(),
            body,
        };
        // On a task of its own: a client that hangs up must not stop a use case half way, and a panic must not take
        // the connection along.
        let span = tracing::info_span!("request", request.id = %trace.request, route = route.id);
        tokio::spawn((route.handler)(self.app.clone(), call).instrument(span))
            .await
            .unwrap_or_else(|crash| Err(Error::internal(crash)))
    }

    /// From which address somebody calls; `None` for the owner on the admin socket.
    fn address(&self, arrival: &Arrival) -> Option<IpAddr> {
        let Peer::Address(peer) = arrival.peer else {
            return None;
        };
        if !self.options.behind_proxy && arrival.headers.contains_key(forwarded::FOR) {
            self.hint_at_proxy.call_once(|| {
                tracing::warn!(
                    "a request came with X-Forwarded-For, which is ignored; if a reverse proxy is in front, start with --behind-proxy, else all its callers count as one"
                );
            });
        }
        let behind_proxy = self.options.behind_proxy;
        Some(forwarded::address(peer.ip(), &arrival.headers, behind_proxy))
    }

    /// Who calls. An address that failed too often is refused before anything is hashed.
    fn recognise(
        &self,
        arrival: &Arrival,
        address: Option<IpAddr>,
        route: &Route,
        query: &Query,
    ) -> Result<Caller, Error> {
        if route.access == Access::Open {
            return Ok(Caller::OWNER);
        }
        let Some(address) = address else {
            return Ok(Caller::OWNER);
        };
        if route.access == Access::Owner {
            return Err(Error::new(
                Code::NotFound,
                "There is no such call here; it belongs to the admin socket.",
            ));
        }
        if route.access == Access::Page {
            return self.visitor(arrival);
        }
        // Whoever shows a key wants to be that key.
        let shows_key = arrival.headers.contains_key(AUTHORIZATION) || token_in_query(route, query).is_some();
        if !shows_key && let Some(caller) = self.signed_in(arrival)? {
            return Ok(caller);
        }
        let token = credential(&arrival.headers, route, query);
        let shown = token.as_ref().ok().copied();
        if !shown.is_some_and(|token| self.app.keys.recently_good(token)) {
            self.app.limits.require_trustworthy(address)?;
        }
        let caller = token.and_then(|token| {
            if token.starts_with(stream_tokens::PREFIX) {
                require_stream(route, &arrival.headers)?;
                authentication::by_stream_token(&self.app, token)
            } else {
                authentication::by_key(&self.app, token)
            }
        });
        if let Err(error) = &caller
            && error::status(error.code) == http::StatusCode::UNAUTHORIZED
        {
            self.app.limits.note_failure(address);
            if let Some(token) = shown {
                self.app.keys.note_bad(token);
            }
        }
        caller
    }

    /// The caller behind the cookie, if there is one. Neither counted as a failure nor refused for the failures of
    /// others: nobody guesses 256 bits, and whoever is signed in stays so, however many fail from the same address.
    fn signed_in(&self, arrival: &Arrival) -> Result<Option<Caller>, Error> {
        let cookies = session::given(&arrival.headers, self.cookie_name()?);
        if cookies.is_empty() {
            return Ok(None);
        }
        if let Some(reason) = session::foreign(&arrival.method, &arrival.headers, false) {
            return Err(Error::new(
                Code::AuthMissing,
                format!(
                    "A sign-in counts on requests of the dashboard's own page only, and this is none: {reason}. Programs send an API key: -H 'Authorization: Bearer <key>'."
                ),
            ));
        }
        let mut callers = cookies
            .iter()
            .map(|cookie| authentication::by_cookie(&self.app, cookie.value()));
        let first = callers.next().transpose();
        match first {
            Err(error) => callers
                .find_map(Result::ok)
                .map_or(Err(error), |caller| Ok(Some(caller))),
            found => found,
        }
    }

    /// Who stands at the dashboard's door: somebody signed in, or anybody.
    fn visitor(&self, arrival: &Arrival) -> Result<Caller, Error> {
        let reads = matches!(arrival.method, Method::GET | Method::HEAD);
        if !reads && let Some(reason) = session::foreign(&arrival.method, &arrival.headers, true) {
            return Err(Error::new(
                Code::AuthInvalid,
                format!("A password is given on the dashboard's own page only, and this request is not its: {reason}."),
            ));
        }
        match self.signed_in(arrival) {
            Ok(caller) => Ok(caller.unwrap_or(Caller::OWNER)),
            Err(error) if error::status(error.code) == http::StatusCode::UNAUTHORIZED => Ok(Caller::OWNER),
            Err(error) => Err(error),
        }
    }

    /// The name of the cookie of a sign-in.
    pub fn cookie_name(&self) -> Result<&str, Error> {
        if let Some(name) = self.cookie.get() {
            return Ok(name);
        }
        let name = session::name(&self.app.sessions.cookie_suffix()?);
        Ok(self.cookie.get_or_init(|| name))
    }

    /// Takes a token from the caller's bucket and asks for the route's scope.
    fn admit(&self, route: &Route, caller: &Caller, trace: &mut Trace) -> Result<(), Error> {
        let scope = match route.access {
            Access::Open | Access::Free | Access::Page | Access::Owner => return Ok(()),
            Access::Login => None,
            Access::Scope(scope) | Access::Stream(scope) => Some(scope),
        };
        match self.app.limits.take(caller) {
            Ok(allowance) => trace.allowance = allowance,
            Err(allowance) => {
                trace.allowance = Some(allowance);
                return Err(Error::new(
                    Code::RateLimited,
                    "Too many requests with this key or sign-in. Wait as long as Retry-After says; GET /v1/limits is free.",
                )
                .with_retry_after(allowance.next_in));
            }
        }
        match scope {
            Some(scope) => caller.require(scope),
            None if caller.key.is_none() => Ok(()),
            None => Err(Error::new(
                Code::InsufficientScope,
                "This call belongs to whoever is signed in to the dashboard; no API key can make it.",
            )),
        }
    }
}

/// Whether a path belongs to the API, where every answer is JSON and every origin may ask.
fn is_api(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/") || path == "/openapi.json"
}

/// The credential in the query, where one is allowed.
fn token_in_query<'a>(route: &Route, query: &'a Query) -> Option<&'a str> {
    let token = matches!(route.access, Access::Stream(_)).then(|| query.get("token"));
    token.flatten().filter(|token| !token.is_empty())
}

/// The credential in the header, or in the query where that is allowed.
fn credential<'a>(headers: &'a HeaderMap, route: &Route, query: &'a Query) -> Result<&'a str, Error> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return token_in_query(route, query).ok_or_else(|| {
            if route.access == Access::Login {
                return Error::new(Code::AuthMissing, "Sign in to the dashboard first: POST /v1/session.");
            }
            Error::new(
                Code::AuthMissing,
                "Send an API key: add -H 'Authorization: Bearer <key>'. `whatisup keys create --name …` makes one.",
            )
        });
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty() && !token.contains(' '))
        .ok_or_else(|| {
            Error::new(
                Code::AuthMalformed,
                "The Authorization header must be `Bearer <key>`: the word Bearer, one space, the key.",
            )
        })
}

/// A stream token stands for a key in an address only, so that nobody builds on it elsewhere.
fn require_stream(route: &Route, headers: &HeaderMap) -> Result<(), Error> {
    if matches!(route.access, Access::Stream(_)) && !headers.contains_key(AUTHORIZATION) {
        return Ok(());
    }
    Err(Error::new(
        Code::AuthInvalid,
        "A stream token works as GET /v1/events?token=… only. Use an API key here.",
    ))
}

/// Headers that every reply has.
fn dress(reply: &mut Reply, trace: &Trace) {
    if let Ok(id) = HeaderValue::from_str(&trace.request.to_string()) {
        reply.set(REQUEST_ID, id);
    }
    // Of our clock, which the sandbox can move: the page counts by it.
    let date = clock::now().http_date().map(HeaderValue::try_from);
    if let Some(Ok(date)) = date {
        reply.set(DATE, date);
    }
    if let Some(allowance) = trace.allowance {
        reply.set(LIMIT, allowance.burst.into());
        reply.set(REMAINING, allowance.remaining.into());
        // Rounded up: at that second the bucket is full.
        let full_at = clock::now().plus(allowance.full_in).millis();
        reply.set(RESET, (full_at.saturating_add(999) / 1_000).into());
    }
    reply.set(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
}
