//! How many requests are under way at once: more while the API server takes them, half as many when it says that it is
//! too much. A fixed rate is either too slow for a large cluster or too much for a small one.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::sync::lock;

/// How many at the start, at least and at most. API servers let a connection have 100 streams or more.
const FIRST: usize = 32;
const LEAST: usize = 2;
const MOST: usize = 96;
/// What was under way when the number was halved may still be refused: that says nothing new.
const ONCE_IN: Duration = Duration::from_secs(1);
/// And for so long it does not grow again.
const CALM: Duration = Duration::from_secs(10);

/// A place for each request that may be under way.
#[derive(Debug)]
pub struct Pace {
    places: Arc<Semaphore>,
    state: Mutex<State>,
    gauge: Gauge,
}

#[derive(Debug)]
struct State {
    /// How many places there are.
    limit: usize,
    /// How many of the places that are taken are not to be given back.
    surplus: usize,
    /// How many requests were answered since the number changed and all places were taken.
    answered: usize,
    /// All places were taken at once since the number changed.
    was_full: bool,
    halved: Option<Instant>,
}

impl Pace {
    /// With as many places as at the start.
    pub fn new(gauge: Gauge) -> Self {
        gauge.set(i64::try_from(FIRST).unwrap_or_default());
        Self {
            places: Arc::new(Semaphore::new(FIRST)),
            state: Mutex::new(State { limit: FIRST, surplus: 0, answered: 0, was_full: false, halved: None }),
            gauge,
        }
    }

    /// A request has taken its place.
    fn begun(&self) {
        if self.places.available_permits() == 0 {
            lock(&self.state).was_full = true;
        }
    }

    /// Gives a place back, and draws the conclusion from the answer. While not all places are taken at once, there are enough.
    fn answered(&self, place: OwnedSemaphorePermit, is_too_much: bool) {
        let mut state = lock(&self.state);
        let is_calm = state.halved.is_none_or(|halved| halved.elapsed() >= CALM);
        if is_too_much {
            self.halve(&mut state);
        } else if state.was_full && is_calm && state.limit < MOST {
            state.answered += 1;
            if state.answered >= state.limit {
                state.answered = 0;
                state.was_full = false;
                state.limit += 1;
                if state.surplus > 0 {
                    state.surplus -= 1;
                } else {
                    self.places.add_permits(1);
                }
            }
        }
        if state.surplus > 0 {
            state.surplus -= 1;
            place.forget();
        }
        self.gauge.set(i64::try_from(state.limit).unwrap_or_default());
    }

    fn halve(&self, state: &mut State) {
        if state.halved.is_some_and(|halved| halved.elapsed() < ONCE_IN) {
            return;
        }
        let limit = (state.limit / 2).max(LEAST);
        let fewer = state.limit - limit;
        let taken_away = self.places.forget_permits(fewer);
        *state = State {
            limit,
            surplus: state.surplus + fewer - taken_away,
            answered: 0,
            was_full: false,
            halved: Some(Instant::now()),
        };
    }
}

/// Puts a client's requests under a [`Pace`].
#[derive(Debug, Clone)]
pub struct PaceLayer(Arc<Pace>);

impl PaceLayer {
    /// Of this pace.
    pub fn new(pace: Arc<Pace>) -> Self {
        Self(pace)
    }
}

impl<S> Layer<S> for PaceLayer {
    type Service = Paced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Paced { inner, pace: Arc::clone(&self.0), coming: None, place: None }
    }
}

/// A service under a [`Pace`]: it is ready when there is a place for a request.
pub struct Paced<S> {
    inner: S,
    pace: Arc<Pace>,
    coming: Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>>,
    place: Option<OwnedSemaphorePermit>,
}

impl<S, B, R> Service<Request<B>> for Paced<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.place.is_none() {
            let coming = self.coming.get_or_insert_with(|| {
                let places = Arc::clone(&self.pace.places);
                // It is never closed.
                Box::pin(async move { places.acquire_owned().await.ok() })
            });
            self.place = ready!(coming.as_mut().poll(context));
            self.coming = None;
        }
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (place, pace) = (self.place.take(), Arc::clone(&self.pace));
        pace.begun();
        let answer = self.inner.call(request);
        Box::pin(async move {
            // Until the headers are there: a watch goes on for as long as it likes.
            let answer = answer.await;
            let is_too_much = answer.as_ref().is_ok_and(|answer| {
                matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            });
            if let Some(place) = place {
                pace.answered(place, is_too_much);
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tower::ServiceExt as _;
    use tower::buffer::Buffer;

    use super::*;

    /// A server that does so many requests at once, and refuses the others.
    #[derive(Clone, Default)]
    struct Server {
        room: usize,
        now: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        refused: Arc<AtomicUsize>,
    }

    type Service = Buffer<Request<()>, BoxFuture<'static, Result<Response<()>, Infallible>>>;

    impl Server {
        fn paced(&self) -> (Service, Gauge) {
            let gauge = Gauge::default();
            let server = self.clone();
            let service = tower::service_fn(move |_: Request<()>| {
                let server = server.clone();
                async move {
                    let now = server.now.fetch_add(1, Ordering::Relaxed) + 1;
                    server.most.fetch_max(now, Ordering::Relaxed);
                    let is_refused = now > server.room;
                    if is_refused {
                        server.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    server.now.fetch_sub(1, Ordering::Relaxed);
                    let mut answer = Response::new(());
                    if is_refused {
                        *answer.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                    }
                    Ok(answer)
                }
            });
            let layer = PaceLayer::new(Arc::new(Pace::new(gauge.clone())));
            (Buffer::new(layer.layer(service), 1024), gauge)
        }
    }

    async fn ask(
        client: &Buffer<Request<()>, BoxFuture<'static, Result<Response<()>, Infallible>>>,
        times: usize,
    ) {
        let asked = (0..times).map(|_| {
            let client = client.clone();
            async move { client.oneshot(Request::new(())).await.expect("an answer") }
        });
        join_all(asked).await;
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_more_where_all_are_answered() {
        let server = Server { room: usize::MAX, ..Server::default() };
        let (client, gauge) = server.paced();
        ask(&client, 20).await;
        assert_eq!(gauge.get(), 32, "nobody had to wait");
        for _ in 0..20 {
            ask(&client, 1000).await;
        }
        assert_eq!(gauge.get(), 96);
        assert_eq!(server.most.load(Ordering::Relaxed), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_fewer_where_some_are_refused() {
        let server = Server { room: 8, ..Server::default() };
        let (client, gauge) = server.paced();
        for _ in 0..20 {
            ask(&client, 500).await;
        }
        let before = server.refused.load(Ordering::Relaxed);
        ask(&client, 1000).await;
        let refused = server.refused.load(Ordering::Relaxed) - before;
        assert!(refused < 250, "{refused} of 1000 were refused");
        assert!((4..=17).contains(&gauge.get()), "{}", gauge.get());
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_always_a_place() {
        let server = Server { room: 0, ..Server::default() };
        let (client, gauge) = server.paced();
        for _ in 0..30 {
            ask(&client, 300).await;
        }
        assert_eq!(gauge.get(), 2);
    }
}
